package planner

import (
	"strings"
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// atRest is a Rollout at rest whose revision a is stable, and o was promoted before it.
func atRest() Observed {
	o := observed("")
	o.Revision = "a"
	o.Rollout.Spec.OnFailure.Revert = &v1alpha1.Revert{Repository: "fleet", Path: "apps"}
	o.Rollout.Status.History = []v1alpha1.AttemptRecord{{Number: 2, Revision: "a", Outcome: v1alpha1.OutcomePromoted},
		{Number: 1, Revision: "o", Outcome: v1alpha1.OutcomePromoted, Commit: "c0"}}
	o.Rollout.Status.Quarantine = nil
	o.Rollout.Status.Revert = nil
	return o
}

func TestUndo(t *testing.T) {
	o := atRest()
	o.decision(v1alpha1.ActionUndo, 0, 0)
	p := Make(o)
	r := p.Status.Revert
	if r == nil || r.State != v1alpha1.RevertPending || r.Bad != "a" || r.Good != "o" || r.GoodCommit != "c0" || r.RequestedBy == nil || r.RequestedBy.Name != "kim" || !p.Store {
		t.Fatalf("revert %+v", r)
	}
	if len(p.Status.Quarantine) != 1 || p.Status.Quarantine[0].Revision != "a" || p.Status.Attempt != nil {
		t.Errorf("quarantine %+v, attempt %+v", p.Status.Quarantine, p.Status.Attempt)
	}
	// Nothing moves before Git does, though Git still says a.
	o.Rollout.Status = p.Status
	if again := Make(o); again.Status.Attempt != nil || again.Status.Stable.Revision != "a" {
		t.Errorf("attempt %+v", again.Status.Attempt)
	}
	for name, test := range map[string]struct {
		change func(*Observed)
		says   string
	}{
		"under way":      {func(o *Observed) { *o = observed(stepping); o.Rollout.Spec.OnFailure.Revert = &v1alpha1.Revert{} }, "abort it instead"},
		"another stable": {func(o *Observed) { o.Rollout.Status.Stable.Revision, o.Revision = "x", "x" }, "is not the stable one"},
		"not in Git":     {func(o *Observed) { o.Rollout.Spec.OnFailure.Revert = nil }, "onFailure.revert is not set"},
		"nothing before": {func(o *Observed) { o.Rollout.Status.History, o.Rollout.Status.Previous = nil, nil }, "no revision that was promoted before a"},
		"before it is bad": {func(o *Observed) {
			o.Rollout.Status.Quarantine = []v1alpha1.Quarantined{{Revision: "o"}}
			o.Rollout.Status.Previous = nil
		}, "no revision that was promoted before a"},
		"one is pending": {func(o *Observed) {
			o.Rollout.Status.Revert = &v1alpha1.RevertStatus{Attempt: 1, State: v1alpha1.RevertProposed}
		}, "is not finished"},
	} {
		t.Run(name, func(t *testing.T) {
			o := atRest()
			test.change(&o)
			o.decision(v1alpha1.ActionUndo, 0, 0)
			said := ""
			for _, a := range Make(o).Actions {
				if answer, ok := a.(Answer); ok {
					said = answer.Message
				}
			}
			if !strings.Contains(said, test.says) {
				t.Errorf("%q, want %q", said, test.says)
			}
		})
	}
}
