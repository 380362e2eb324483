package simulation

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

const editedTimeout = "7s"

// edit is a user's own change of a route: another timeout in its first rule. A copy of ours that stands first is nobody's to edit:
// what is written there goes with it.
func (r *route) edit(o *unstructured.Unstructured) {
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	first := rules[0].(map[string]any)
	first["timeouts"] = map[string]any{"request": editedTimeout}
	o.Object["spec"].(map[string]any)["rules"] = rules
	r.edited = r.edited || !isCopy(first) && !mirrors(first)
}

// checkEdits (T10): what a user has changed in a route is still there at rest.
func (w *World) checkEdits() {
	for _, r := range w.routes {
		if !r.edited {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(r.object.Object, "spec", "rules")
		if !slices.ContainsFunc(rules, func(rule any) bool {
			request, _, _ := unstructured.NestedString(rule.(map[string]any), "timeouts", "request")
			return request == editedTimeout
		}) {
			w.violate("T10", "the timeout that a user has set in route %s is gone", r.object.GetName())
		}
	}
}

// checkDisturbed (T10): while a route does not carry what the step asks for, whoever changed it, the step is not confirmed: what is
// measured meanwhile is no evidence for it.
func (w *World) checkDisturbed(view planner.Observed, was, is *v1alpha1.Attempt) {
	if was == nil || is == nil || was.Number != is.Number || was.Step != is.Step || is.Verdict != nil || is.Stage != v1alpha1.StageStepping ||
		is.ConfirmedAt == nil || was.Weight != is.Weight {
		return
	}
	for _, r := range view.Routes {
		if r.Unread != "" {
			continue // what nobody can see
		}
		least, most := w.weights(r.Object)
		if least != is.Weight || most != is.Weight || (is.Match != nil) != matched(r.Object) || (is.Mirror != nil) != mirrored(r.Object) {
			w.violate("T10", "%d is confirmed while route %s carries %d to %d, with copies: %t, mirrors: %t", is.Weight, r.Name, least, most, matched(r.Object), mirrored(r.Object))
		}
	}
}

// meanwhile says whether a run has failed by what it measured while routes were not ours, and were not contested.
func meanwhile(run *v1alpha1.AnalysisRun, c *v1alpha1.Contest) bool {
	m := run.Status.Metrics[0]
	if c == nil || c.Since == nil || c.Changes > 5 || m.Comparison != nil {
		return false
	}
	at := m.Recent[0].At
	return !at.Before(c.Since) && (c.Until == nil || at.Before(c.Until))
}

// letIn says that the stable Service has none of its own pods, and those of others only because somebody took the role out of its
// selector: without that it was empty before.
func (w *World) letIn() bool {
	st := w.rollout.Status.Stable
	return w.truth.foreign && st != nil && w.services[0].role != string(v1alpha1.RoleStable) && !slices.ContainsFunc(w.pods, func(p pod) bool {
		return p.ready && p.Revision == st.Revision
	})
}
