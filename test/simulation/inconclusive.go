package simulation

import (
	"cmp"
	"strings"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// checkInconclusive (A2): want of evidence does what the step says it does, and not before maxHold is over, counted anew
// from a resumption.
func (x *executor) checkInconclusive(a, b *v1alpha1.Attempt) {
	if a == nil || b == nil || a.Number != b.Number || x.truth.edited {
		return
	}
	var step v1alpha1.Step
	if steps := x.rollout.Spec.Steps(); int(a.Step) < len(steps) {
		step = steps[a.Step]
	}
	did := inconclusiveDid(a, b)
	if did == "" {
		return
	}
	x.truth.count.Inconclusive++
	want := cmp.Or(step.OnInconclusive, v1alpha1.InconclusivePause)
	if did != want && !(did == v1alpha1.InconclusivePause && want == v1alpha1.InconclusiveRollback && x.cfg.Pause) {
		x.violate("A2", "step %d is inconclusive: %s instead of %s", a.Step, did, want)
	}
	if a.ConfirmedAt == nil || step.MaxHold == "" {
		x.violate("A2", "step %d is inconclusive without a maxHold or confirmed traffic", a.Step)
		return
	}
	for _, since := range []*v1alpha1.Attempt{a, b} {
		if h := since.HeldSince; h != nil && x.now.Before(h.Add(step.MaxHold.Or(0))) && since.Step == a.Step {
			x.violate("A2", "step %d is inconclusive again before maxHold is over since it was resumed", a.Step)
		}
	}
	if x.now.Before(a.ConfirmedAt.Add(step.MaxHold.Or(0))) {
		x.violate("A2", "step %d is inconclusive before its maxHold of %s is over", a.Step, step.MaxHold)
	}
}

// inconclusiveDid is what came of want of evidence, where something did.
func inconclusiveDid(a, b *v1alpha1.Attempt) v1alpha1.InconclusiveAction {
	switch {
	case b.Verdict != nil && a.Verdict == nil && b.Verdict.Reason == planner.ReasonInconclusive:
		return v1alpha1.InconclusiveRollback
	case b.Pause != nil && a.Pause == nil && strings.Contains(b.Pause.Reason, "is inconclusive after"):
		return v1alpha1.InconclusivePause
	case len(b.Unproven) > len(a.Unproven):
		return v1alpha1.InconclusiveProceed
	case b.InconclusiveAt != nil && a.InconclusiveAt == nil && b.Pause == nil && b.Verdict == nil:
		return v1alpha1.InconclusiveExtend
	}
	return ""
}
