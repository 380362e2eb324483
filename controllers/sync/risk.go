package sync

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/preflight"
)

// The actions of a plan.
const (
	actionCreate = "Create"
	actionUpdate = "Update"
	// actionRecreate deletes an object and makes it again.
	actionRecreate = "Recreate"
	actionPrune    = "Prune"
)

const (
	maxActions  = 50
	maxReasons  = 8
	reasonBytes = 256
	groupRBAC   = "rbac.authorization.k8s.io"
)

var rank = map[v1alpha1.Risk]int{v1alpha1.RiskLow: 0, v1alpha1.RiskMedium: 1, v1alpha1.RiskHigh: 2}

// assessed is a risk with its reasons; it only rises.
type assessed struct {
	risk    v1alpha1.Risk
	reasons []string
}

func (a *assessed) because(risk v1alpha1.Risk, format string, args ...any) {
	if rank[risk] > rank[a.risk] {
		a.risk = risk
	}
	if len(a.reasons) < maxReasons {
		a.reasons = append(a.reasons, cut(fmt.Sprintf(format, args...), reasonBytes))
	}
}

// describe says what a plan does to each object, how risky that is and why. It is pure: the same bundle and the same
// objects in the cluster give the same bytes. approve are policies that ask for an approval.
func describe(p Plan, commit, bundle string, total int, approve []string) *v1alpha1.SyncPlan {
	var actions []v1alpha1.SyncAction
	out := &v1alpha1.SyncPlan{Commit: commit, Bundle: bundle, Risk: v1alpha1.RiskLow}
	for _, level := range p.Apply {
		for _, item := range level {
			action, a := actionUpdate, assessed{risk: v1alpha1.RiskLow}
			switch {
			case item.Live == nil:
				action = actionCreate
				out.Create++
			case item.Recreate != "":
				action = actionRecreate
				out.Recreate++
			default:
				out.Update++
			}
			a.write(item)
			actions = append(actions, v1alpha1.SyncAction{Object: name(item.Entry), Action: action, Risk: a.risk, Reasons: a.reasons})
		}
	}
	out.Skip = int32(max(total-len(actions), 0)) //nolint:gosec // at most maxObjects
	for _, e := range p.Prune {
		a := assessed{risk: v1alpha1.RiskLow}
		a.prune(e)
		actions = append(actions, v1alpha1.SyncAction{Object: name(e), Action: actionPrune, Risk: a.risk, Reasons: a.reasons})
		out.Prune++
	}
	slices.SortStableFunc(actions, func(a, b v1alpha1.SyncAction) int {
		return cmp.Or(rank[b.Risk]-rank[a.Risk], strings.Compare(a.Object, b.Object))
	})
	for _, a := range actions {
		if rank[a.Risk] > rank[out.Risk] {
			out.Risk = a.Risk
		}
	}
	out.Actions = actions[:min(len(actions), maxActions)]
	for _, text := range approve[:min(len(approve), 16)] {
		out.Approvals = append(out.Approvals, cut(text, 1024))
	}
	out.Digest = planDigest(bundle, actions, approve)
	return out
}

func planDigest(bundle string, actions []v1alpha1.SyncAction, approve []string) string {
	encoded, err := json.Marshal([]any{bundle, actions, approve})
	if err != nil { // strings and lists of them always encode
		encoded = []byte(err.Error())
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

func (a *assessed) prune(e v1alpha1.InventoryEntry) {
	kind := schema.GroupKind{Group: e.Group, Kind: e.Kind}
	switch {
	case e.Group == groupCRD && e.Kind == kindCRD:
		a.because(v1alpha1.RiskHigh, "every object of the kind goes with its definition")
	case kind == schema.GroupKind{Kind: "Namespace"}:
		a.because(v1alpha1.RiskHigh, "everything in the namespace goes with it")
	case kind == schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		a.because(v1alpha1.RiskHigh, "its data may go with it")
	case preflight.IsWorkload(kind):
		a.because(v1alpha1.RiskHigh, "its pods go with it")
	default:
		a.because(v1alpha1.RiskMedium, "it is deleted: it left Git")
	}
}

// write judges a creation or an update.
func (a *assessed) write(item *Item) {
	kind := schema.GroupKind{Group: item.Entry.Group, Kind: item.Entry.Kind}
	if item.Recreate != "" {
		a.because(v1alpha1.RiskHigh, "%s cannot be changed in place: %s", item.Recreate, strings.Join(replacement(item), "; "))
	}
	if item.Unknown != "" {
		a.because(v1alpha1.RiskMedium, "PolicyUnknown: the API server could not try it")
	}
	if item.Fault != nil {
		a.because(v1alpha1.RiskMedium, "it was checked offline only: its kind or namespace comes with this bundle")
	}
	a.images(item)
	switch {
	case item.Entry.Group == groupRBAC:
		a.rights(item)
	case item.Entry.Group == "admissionregistration.k8s.io":
		a.because(v1alpha1.RiskMedium, "it decides what the API server accepts")
	case item.Live == nil:
	case kind == schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		a.because(v1alpha1.RiskMedium, "a claim on storage is changed")
	case item.Entry.Group == groupCRD && item.Entry.Kind == kindCRD:
		a.definition(item)
	case preflight.IsWorkload(kind):
		a.workload(item, kind)
	}
}

// images judges those that are new and need not be signed.
func (a *assessed) images(item *Item) {
	ran := map[string]bool{}
	if item.Live != nil {
		for _, image := range preflight.Images(item.Live) {
			ran[image.Name] = true
		}
	}
	for _, image := range item.Unsigned {
		if !ran[image] {
			ran[image] = true
			a.because(v1alpha1.RiskMedium, "image %s is new, and images.signatures lets it run unsigned", image)
		}
	}
}

func (a *assessed) workload(item *Item, kind schema.GroupKind) {
	before, _, _ := unstructured.NestedInt64(item.Live.Object, "spec", "replicas")
	after, said, _ := unstructured.NestedInt64(item.object().Object, "spec", "replicas")
	if said && after == 0 && before > 0 {
		a.because(v1alpha1.RiskHigh, "replicas go from %d to 0", before)
	}
	old, _ := preflight.PodSpec(item.Live)
	now, _ := preflight.PodSpec(item.object())
	if kind.Group != v1alpha1.Group && !equality.Semantic.DeepEqual(old, now) {
		a.because(v1alpha1.RiskMedium, "its pods are replaced without a canary")
	}
}

// definition judges a changed CustomResourceDefinition: a version that is no longer served breaks its clients.
func (a *assessed) definition(item *Item) {
	now := served(item.Desired)
	for version := range served(item.Live) {
		if !now[version] {
			a.because(v1alpha1.RiskHigh, "version %s is no longer served", version)
		}
	}
	a.because(v1alpha1.RiskMedium, "the definition of a kind is changed")
}

func served(u *unstructured.Unstructured) map[string]bool {
	out := map[string]bool{}
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	for _, v := range list {
		if version, ok := v.(map[string]any); ok && version["served"] == true {
			out[fmt.Sprint(version["name"])] = true
		}
	}
	return out
}

// rights judges RBAC: what is allowed after that was not before.
func (a *assessed) rights(item *Item) {
	switch item.Entry.Kind {
	case "Role", "ClusterRole":
		had := grants(item.Live)
		var more []string
		for g := range grants(item.object()) {
			if !had[g] && !had.covers(g) {
				more = append(more, g.String())
			}
		}
		if len(more) == 0 {
			return
		}
		slices.Sort(more)
		a.because(v1alpha1.RiskHigh, "it allows more: %s", list(more))
	case "RoleBinding", "ClusterRoleBinding":
		had, now := subjects(item.Live), subjects(item.object())
		for _, s := range now {
			if !slices.Contains(had, s) {
				a.because(v1alpha1.RiskHigh, "it gives rights to %s", s)
			}
		}
	}
}

// grant is one right.
type grant struct{ verb, group, resource, name string }

func (g grant) String() string {
	text := g.verb + " " + g.resource
	if g.group != "" {
		text += "." + g.group
	}
	return strings.TrimSpace(text + " " + g.name)
}

type grantSet map[grant]bool

// covers says whether a wildcard of the set allows it.
func (s grantSet) covers(g grant) bool {
	for have := range s {
		if (have.verb == "*" || have.verb == g.verb) && (have.group == "*" || have.group == g.group) &&
			(have.resource == "*" || have.resource == g.resource) && (have.name == "" || have.name == g.name) {
			return true
		}
	}
	return false
}

func grants(u *unstructured.Unstructured) grantSet {
	out := grantSet{}
	if u == nil {
		return out
	}
	var role rbacv1.ClusterRole
	if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &role) != nil {
		return out
	}
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				out[grant{verb: verb, resource: url}] = true
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range append(slices.Clone(rule.ResourceNames), onlyIf(len(rule.ResourceNames) == 0)...) {
						out[grant{verb, group, resource, name}] = true
					}
				}
			}
		}
	}
	return out
}

// onlyIf is one empty name, for every object, or nothing.
func onlyIf(all bool) []string {
	if all {
		return []string{""}
	}
	return nil
}

func subjects(u *unstructured.Unstructured) []string {
	if u == nil {
		return nil
	}
	var binding rbacv1.ClusterRoleBinding
	if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &binding) != nil {
		return nil
	}
	var out []string
	for _, s := range binding.Subjects {
		who := s.Kind + " " + s.Name
		if s.Namespace != "" {
			who = s.Kind + " " + s.Namespace + "/" + s.Name
		}
		out = append(out, who+": "+binding.RoleRef.Kind+" "+binding.RoleRef.Name)
	}
	slices.Sort(out)
	return out
}
