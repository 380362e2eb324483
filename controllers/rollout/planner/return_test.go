package planner

import (
	"strings"
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func promoted(revisions ...string) []v1alpha1.AttemptRecord {
	var out []v1alpha1.AttemptRecord
	for i, r := range revisions {
		out = append(out, v1alpha1.AttemptRecord{Number: int64(len(revisions) - i), Revision: r, Outcome: v1alpha1.OutcomePromoted})
	}
	return out
}

// A revision that was stable before goes back without steps, within rollbackWindow.
func TestRollbackWindow(t *testing.T) {
	const direct, steps = "Stepping 3 at 100", "Stepping 0 at 25"
	for _, test := range []struct {
		name    string
		history []v1alpha1.AttemptRecord
		window  *int32
		change  func(*Observed)
		want    string
	}{
		{"never seen", promoted("a"), nil, nil, steps},
		{"the one before", promoted("a", "b"), nil, nil, direct},
		{"the third", promoted("a", "d", "c", "b"), nil, nil, direct},
		{"the fourth", promoted("a", "e", "d", "c", "b"), nil, nil, steps},
		{"stable counts once and not", promoted("a", "c", "a", "d", "a", "b"), nil, nil, direct},
		{"a window of one", promoted("a", "c", "b"), ptr(int32(1)), nil, steps},
		{"no window", promoted("a", "b"), ptr(int32(0)), nil, steps},
		{"it was rolled back", []v1alpha1.AttemptRecord{{Revision: "a", Outcome: v1alpha1.OutcomePromoted}, {Revision: "b", Outcome: v1alpha1.OutcomeRolledBack}}, nil, nil, steps},
		{"it failed after it was promoted", append([]v1alpha1.AttemptRecord{{Revision: "b", Outcome: v1alpha1.OutcomeRolledBack}}, promoted("a", "b")...), nil, nil, steps},
		{"it was aborted after it was promoted", append([]v1alpha1.AttemptRecord{{Revision: "b", Outcome: v1alpha1.OutcomeAborted}}, promoted("a", "b")...), nil, nil, steps},
		{"it was superseded after it was promoted", append([]v1alpha1.AttemptRecord{{Revision: "b", Outcome: v1alpha1.OutcomeSuperseded}}, promoted("a", "b")...), nil, nil, direct},
		{"it was promoted after it had failed", append(promoted("a", "b"), v1alpha1.AttemptRecord{Revision: "b", Outcome: v1alpha1.OutcomeRolledBack}), nil, nil, direct},
		{"its templates are gone", promoted("a", "b"), nil, func(o *Observed) { o.AnalysisProblem = "AnalysisTemplate t does not exist" }, direct},
		{"the templates of a new one are gone", promoted("a"), nil, func(o *Observed) { o.AnalysisProblem = "AnalysisTemplate t does not exist" }, "over: Promoted "},
		{"it is in quarantine", promoted("a", "b"), nil, func(o *Observed) {
			o.Rollout.Status.Quarantine = []v1alpha1.Quarantined{{Revision: "b", Attempt: 1}}
		}, "over: Promoted "},
		{"paused", promoted("a", "b"), nil, func(o *Observed) { o.Rollout.Spec.Paused = true }, "over: Promoted "},
	} {
		o := observed("")
		o.Revision, o.Rollout.Status.History, o.Rollout.Spec.RollbackWindow.Revisions = "b", test.history, test.window
		if test.change != nil {
			test.change(&o)
		}
		p := Make(o)
		if got := summary(p); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		if a := p.Status.Attempt; a != nil && (a.Full != nil) != (test.want == direct) {
			t.Errorf("%s: full is %v", test.name, a.Full)
		}
		if test.want == direct && !strings.Contains(lines(p), "create ReplicaSet b with 4 pods") {
			t.Errorf("%s: it does not start all pods:\n%s", test.name, lines(p))
		}
		if strings.Contains(lines(p), "patch HTTPRoute") {
			t.Errorf("%s: traffic before there are pods:\n%s", test.name, lines(p))
		}
	}
}

// Full weight stays full weight, whatever becomes of the steps before it.
func TestReturnWhileStepsAreEdited(t *testing.T) {
	for _, weights := range [][]int32{{10}, {10, 20}, {10, 20, 30, 40, 50}} {
		o := observed(stepping)
		a := o.attempt()
		a.Step, a.StepName, a.Weight, a.Full = 3, fullStep, 100, &v1alpha1.Actor{Name: ActorBelay}
		canary := o.Rollout.Spec.Strategy.Canary
		canary.Steps = nil
		for _, w := range weights {
			canary.Steps = append(canary.Steps, v1alpha1.Step{Weight: ptr(w)})
		}
		if got := Make(o).Status.Attempt; got.Weight != 100 || got.StepName != fullStep || got.Step != int32(len(weights)) {
			t.Errorf("%d steps: %d %s at %d", len(weights), got.Step, got.StepName, got.Weight)
		}
	}
}
