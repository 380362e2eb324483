package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// dark begins with a step that only requests with a header of the team's reach.
func dark(ro *v1alpha1.Rollout) {
	team := v1alpha1.Step{Name: "team", Hold: "1s", Match: &v1alpha1.Match{Headers: []v1alpha1.ValueMatch{{Name: "x-team", Value: "shop"}}}}
	c := ro.Spec.Strategy.Canary
	c.Steps = append([]v1alpha1.Step{team}, c.Steps...)
}

// copied are the rules of a route that have the canary alone.
func copied(r *unstructured.Unstructured) []map[string]any {
	var out []map[string]any
	rules, _, _ := unstructured.NestedSlice(r.Object, "spec", "rules")
	for _, item := range rules {
		rule := item.(map[string]any)
		refs := rule["backendRefs"].([]any)
		if len(refs) == 1 && refs[0].(map[string]any)["name"] == app+"-canary" {
			out = append(out, rule)
		}
	}
	return out
}

func TestDarkCanary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dark).started()
	owner := sha256.Sum256([]byte(w.ns + "/" + app))
	w.alias.add(hex.EncodeToString(owner[:4]), "<owner>") // in the names of copies
	before := w.getRoute(app)
	v2 := w.deploy("v2")
	ro := w.until("confirmed in the dark", func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.StepName == "team" && a.ConfirmedAt != nil
	})
	if a := ro.Status.Attempt; a.Match == nil || a.Weight != 0 || a.ExposedAt == nil || a.Match.Headers[0].Type != v1alpha1.MatchExact {
		t.Errorf("the status does not say what matches: %+v", a)
	}
	if c := copied(w.getRoute(app)); len(c) != 1 || !strings.HasPrefix(c[0]["name"].(string), "belay-") {
		t.Errorf("copies: %v", c)
	}
	w.until("half", atStep(1))
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	ro = w.rest()
	golden(t, "dark-canary", w.record.text(0))
	w.idle()
	if diff := cmp.Diff(before.Object["spec"], w.getRoute(app).Object["spec"]); diff != "" || ro.Status.Stable.Revision != v2 {
		t.Errorf("stable is %s, the route (-before +after):\n%s", ro.Status.Stable.Revision, diff)
	}
}

func TestAbortOfADarkCanary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dark, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Steps[0].Approval = v1alpha1.ApprovalRequired }).started()
	before := w.getRoute(app)
	w.deploy("v2")
	w.until("waiting for an approval", awaitsApproval)
	w.say(v1alpha1.ActionAbort, func(*v1alpha1.DecisionSpec) {})
	w.until("taken back", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt == nil || ro.Status.Attempt.Verdict != nil })
	if c := copied(w.getRoute(app)); len(c) != 0 {
		t.Errorf("after the look that took it back: %v", c)
	}
	w.until("aborted", finished(v1alpha1.OutcomeAborted))
	w.rest()
	if diff := cmp.Diff(before.Object["spec"], w.getRoute(app).Object["spec"]); diff != "" {
		t.Errorf("the route (-before +after):\n%s", diff)
	}
	w.idle()
}

func TestMatchThatTheRouteCannotCarryIsRefusedBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dark).started()
	route := w.getRoute(app)
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	rules[0].(map[string]any)["matches"] = []any{map[string]any{"headers": []any{map[string]any{"name": "X-Team", "value": "any"}}}}
	w.must(unstructured.SetNestedSlice(route.Object, rules, "spec", "rules"))
	w.must(w.user.Update(t.Context(), route))
	w.deploy("v2")
	w.settle()
	for range 3 {
		if _, _, err := w.look(); err != nil {
			t.Fatal(err)
		}
	}
	ro := w.get()
	want := "step team cannot be done on HTTPRoute app: spec.rules[0] already matches header \"x-team\""
	if ro.Status.Attempt != nil || !strings.Contains(ro.Status.BlockedBy, want) {
		t.Errorf("attempt %v, blocked by %q", ro.Status.Attempt, ro.Status.BlockedBy)
	}
}
