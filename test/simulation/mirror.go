package simulation

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// mirrorSteps begin with copies of requests, which the canary answers for nobody.
func mirrorSteps() []v1alpha1.Step {
	return []v1alpha1.Step{{Name: "shadow", Mirror: &v1alpha1.Mirror{Percent: 10}, Hold: "10s"}, weighted(20, v1alpha1.Step{Name: "fifth"}),
		{Name: "shadow-again", Mirror: &v1alpha1.Mirror{Percent: 100, UnsafeMethods: v1alpha1.ConsentAllow}}, weighted(60, v1alpha1.Step{Name: "most"})}
}

// mirrors says whether a rule sends copies of its requests to the canary: no user in these worlds writes one.
func mirrors(rule map[string]any) bool {
	filters, _ := rule["filters"].([]any)
	return slices.ContainsFunc(filters, func(f any) bool {
		mirror, _ := f.(map[string]any)["requestMirror"].(map[string]any)
		to, _ := mirror["backendRef"].(map[string]any)
		return to["name"] == canaryService
	})
}

func mirrorRules(o *unstructured.Unstructured) []map[string]any {
	var out []map[string]any
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, r := range rules {
		if rule := r.(map[string]any); mirrors(rule) {
			out = append(out, rule)
		}
	}
	return out
}

func mirrored(o *unstructured.Unstructured) bool { return len(mirrorRules(o)) > 0 }

// checkMirrors: requests are copied to the canary only as the stored intent says (T7), once its endpoints are there (T3) and have
// settled (T2), by rules of ours whose answers come from stable (T1).
func (x *executor) checkMirrors(view planner.Observed, a planner.PatchRoute, was, is *unstructured.Unstructured) {
	if !mirrored(is) || mirrored(was) {
		return
	}
	at := x.rollout.Status.Attempt
	switch {
	case at == nil || at.Verdict != nil || at.Stage != v1alpha1.StageStepping || at.Mirror == nil || x.rollout.DeletionTimestamp != nil:
		x.violate("T7", "route %s mirrors, and no mirror is stored", a.Name)
		return
	case !a.Raises:
		x.violate("T7", "route %s begins to mirror, and the patch is not said to raise", a.Name)
	}
	if have := view.Canary.Endpoints[at.Revision]; have < needed(view, at) {
		x.violate("T3", "requests are mirrored to the canary with %d of %d endpoints", have, needed(view, at))
	}
	if _, had := x.weights(was); had == 0 && (at.EndpointsAt == nil || x.now.Before(at.EndpointsAt.Add(settle))) {
		x.violate("T2", "requests are mirrored to the canary before its endpoints have settled: since %v", at.EndpointsAt)
	}
	for _, rule := range mirrorRules(is) {
		name, _ := rule["name"].(string)
		refs, _ := rule["backendRefs"].([]any)
		if !strings.HasPrefix(name, "belay-") || !slices.ContainsFunc(refs, func(r any) bool { return r.(map[string]any)["name"] == stableService }) {
			x.violate("T1", "a rule of route %s that mirrors is not ours, or is not answered by stable: %v", a.Name, rule)
		}
	}
}
