package simulation

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

func header(name, value string) *v1alpha1.Match {
	return &v1alpha1.Match{Headers: []v1alpha1.ValueMatch{{Name: name, Value: value, Type: v1alpha1.MatchExact}}}
}

// matchSteps begin with a dark canary, go on with matching requests beside a share, and end without them.
func matchSteps() []v1alpha1.Step {
	return []v1alpha1.Step{{Name: "team", Match: header("x-team", "shop")}, weighted(30, v1alpha1.Step{Name: "beta", Match: header("x-beta", "yes"), Hold: "10s"}),
		weighted(60, v1alpha1.Step{Name: "most"})}
}

// copies are the rules that send all of their requests to the canary: no user in these worlds writes one.
func copies(o *unstructured.Unstructured) []map[string]any {
	var out []map[string]any
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, r := range rules {
		if rule := r.(map[string]any); isCopy(rule) {
			out = append(out, rule)
		}
	}
	return out
}

func isCopy(rule map[string]any) bool {
	refs, _ := rule["backendRefs"].([]any)
	return len(refs) > 0 && !slices.ContainsFunc(refs, func(r any) bool { return r.(map[string]any)["name"] != canaryService })
}

func matched(o *unstructured.Unstructured) bool { return len(copies(o)) > 0 }

// reach is the share as far as it matters whether the canary is reached at all.
func reach(most int32, matched bool) int32 {
	if matched {
		return max(1, most)
	}
	return most
}

// checkCopies: requests are sent to the canary by match only as the stored intent says (T7), once its endpoints are there
// and have settled (T2, T3), and one copy at most precedes each rule of the user's, with all that the rule says (T9).
func (x *executor) checkCopies(view planner.Observed, a planner.PatchRoute, was, is *unstructured.Unstructured) {
	now := copies(is)
	if len(now) == 0 {
		return
	}
	at := x.rollout.Status.Attempt
	added := !slices.EqualFunc(now, copies(was), func(a, b map[string]any) bool { return a["name"] == b["name"] })
	switch {
	case !added:
		return
	case at == nil || at.Verdict != nil || at.Stage != v1alpha1.StageStepping || at.Match == nil || x.rollout.DeletionTimestamp != nil:
		x.violate("T7", "route %s gets a copy of a rule, and no match is stored", a.Name)
		return
	case !a.Raises:
		x.violate("T7", "route %s gets a copy of a rule, and the patch is not said to raise", a.Name)
	}
	if have := view.Canary.Endpoints[at.Revision]; have < needed(view, at) {
		x.violate("T3", "requests that match are sent to the canary with %d of %d endpoints", have, needed(view, at))
	}
	if _, had := x.weights(was); had == 0 && !matched(was) && (at.EndpointsAt == nil || x.now.Before(at.EndpointsAt.Add(settle))) {
		x.violate("T2", "requests that match are sent to the canary before its endpoints have settled: since %v", at.EndpointsAt)
	}
	for _, rule := range now {
		x.checkCopy(a.Name, rule, at.Match, is)
	}
}

func (x *executor) checkCopy(route string, rule map[string]any, want *v1alpha1.Match, o *unstructured.Unstructured) {
	if name, _ := rule["name"].(string); !strings.HasPrefix(name, "belay-") {
		x.violate("T1", "a rule of route %s without our name has no stable Service: %v", route, rule)
	}
	matches, _ := rule["matches"].([]any)
	for _, m := range matches {
		headers, _ := m.(map[string]any)["headers"].([]any)
		for _, h := range want.Headers {
			if !slices.ContainsFunc(headers, func(l any) bool {
				return l.(map[string]any)["name"] == h.Name && l.(map[string]any)["value"] == h.Value
			}) {
				x.violate("T7", "a copy in route %s matches more than %s: %v", route, want, m)
			}
		}
	}
	if len(matches) == 0 {
		x.violate("T7", "a copy in route %s matches everything", route)
	}
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	i := slices.IndexFunc(rules, func(r any) bool { return r.(map[string]any)["name"] == rule["name"] })
	if i+1 >= len(rules) || isCopy(rules[i+1].(map[string]any)) {
		x.violate("T9", "a copy in route %s does not stand before a rule of the user's", route)
	}
}

// checkConfirmedMatch (T11): what is confirmed is what every route says.
func (w *World) checkConfirmedMatch(view planner.Observed, is *v1alpha1.Attempt) {
	for _, r := range view.Routes {
		if r.Unread != "" {
			continue
		}
		if (is.Match != nil) != matched(r.Object) {
			w.violate("T11", "match %v is confirmed while route %s has copies: %t", is.Match, r.Name, matched(r.Object))
		}
		if (is.Mirror != nil) != mirrored(r.Object) {
			w.violate("T11", "mirror %v is confirmed while route %s mirrors: %t", is.Mirror, r.Name, mirrored(r.Object))
		}
	}
}
