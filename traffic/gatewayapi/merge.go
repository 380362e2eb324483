package gatewayapi

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// SelectorAnnotation, on a Service, records that Belay added RoleLabel to its
	// selector. Its value is the Rollout as namespace/name.
	SelectorAnnotation = "belay.dev/selector"
	// RoleLabel is the label by which a Service tells the pods of the stable
	// revision from all others.
	RoleLabel = "belay.dev/role"
)

// Merge is Git's route with the splits that are in progress on the live one
// applied to it: every rule of Git's, new ones included, that refers to a stable
// Service is split as the live rules are. Applying the result while Git is
// unchanged changes nothing of ours. Neither argument is modified; without a
// split in progress the result equals desired.
func Merge(desired, live *unstructured.Unstructured) *unstructured.Unstructured {
	out := desired.DeepCopy()
	records := readRecords(live)
	for _, owner := range slices.Sorted(maps.Keys(records)) {
		mergeSplit(out, live, owner, records[owner])
	}
	return out
}

// mergeSplit applies one Rollout's split to route.
func mergeSplit(route, live *unstructured.Unstructured, owner string, rec record) {
	if route.GetNamespace() == "" {
		defer route.SetNamespace("")
		route.SetNamespace(live.GetNamespace())
	}
	p := planRoute(route, Split{
		Namespace: rec.Namespace, StableService: rec.Stable, CanaryService: rec.Canary, Rules: rec.Only,
		Total: rec.Total, Canary: rec.Weight, Present: true, Owner: owner, Match: rec.Match, Mirror: rec.Mirror, Probe: rec.Probe,
	})
	if len(p.rules) == 0 {
		return
	}
	rules, _, _ := unstructured.NestedFieldNoCopy(route.Object, "spec", "rules")
	list, _ := rules.([]any)
	for index, edits := range p.edits {
		if rule, ok := list[index].(map[string]any); ok {
			refs, _ := rule["backendRefs"].([]any)
			rule["backendRefs"] = applied(refs, edits)
		}
	}
	for _, e := range p.ruleEdits {
		switch {
		case e.content == nil:
			list = slices.Delete(list, e.at, e.at+1)
		case e.replace:
			list[e.at] = any(e.content)
		default:
			list = slices.Insert(list, e.at, any(e.content))
		}
	}
	if spec, ok := route.Object["spec"].(map[string]any); ok && len(p.ruleEdits) > 0 {
		spec["rules"] = list
	}
	annotations := route.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[Annotation] = mergedRecord(p.want, live, owner)
	route.SetAnnotations(annotations)
}

// mergedRecord is the annotation after a merge. Where the live one says the same
// of every rule it is kept to the letter, so that no write follows.
func mergedRecord(merged string, live *unstructured.Unstructured, owner string) string {
	was := live.GetAnnotations()[Annotation]
	next, last := decodeRecords(merged), decodeRecords(was)
	for name, r := range next {
		next[name] = r.rounded(last[name])
	}
	if last[owner].covers(next[owner]) {
		next[owner] = last[owner]
	}
	return encode(next)
}

// applied carries the edits out on a list of references, in their order.
func applied(refs []any, edits []edit) []any {
	refs = slices.Clone(refs)
	for _, e := range edits {
		switch e.kind {
		case insert:
			refs = slices.Insert(refs, e.at, any(e.ref))
		case remove:
			refs = slices.Delete(refs, e.at, e.at+1)
		default:
			refs[e.at] = e.changed(refs[e.at])
		}
	}
	return refs
}

func (e edit) changed(ref any) any {
	object, _ := ref.(map[string]any)
	object = maps.Clone(object)
	switch e.kind {
	case setWeight:
		object["weight"] = e.to
	case dropWeight:
		delete(object, "weight")
	case rename:
		object["name"] = e.to
	}
	return object
}

// MergeService is Git's Service with RoleLabel in its selector where Belay has
// added it to the live one. A selector in Git that has the label, or that is
// empty, stays as it is. Neither argument is modified.
func MergeService(desired, live *unstructured.Unstructured) *unstructured.Unstructured {
	out := desired.DeepCopy()
	owner, ours := live.GetAnnotations()[SelectorAnnotation]
	role, has, _ := unstructured.NestedString(live.Object, "spec", "selector", RoleLabel)
	selector, _, _ := unstructured.NestedStringMap(out.Object, "spec", "selector")
	if _, declared := selector[RoleLabel]; declared || !ours || !has || len(selector) == 0 {
		return out
	}
	selector[RoleLabel] = role
	if err := unstructured.SetNestedStringMap(out.Object, selector, "spec", "selector"); err != nil {
		return out // unreachable: the selector was just read from there
	}
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[SelectorAnnotation] = owner
	out.SetAnnotations(annotations)
	return out
}
