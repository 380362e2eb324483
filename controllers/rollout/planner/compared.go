package planner

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// markStep tells a run with compare metrics which step is under way: evidence of safety counts from the moment its traffic
// was confirmed, and what must be proven follows from the weight after it.
func (d *draft) markStep(name string) {
	run, a := d.Runs[name], d.s.Attempt
	if run == nil || run.Spec.State == v1alpha1.RunStopped || !compares(run) || a.Stage != v1alpha1.StageStepping || a.ConfirmedAt == nil {
		return
	}
	if step := d.runStep(); !marked(run, step) {
		d.do(MarkStep{Name: name, Step: step, Why: fmt.Sprintf("step %s is confirmed at weight %d", a.StepName, a.Weight)})
	}
}

// runStep is the current step, as runs are told of it.
func (d *draft) runStep() v1alpha1.RunStep {
	a, next := d.s.Attempt, d.total()
	if int(a.Step)+1 < len(d.steps()) {
		next = max(d.stepWeight(a.Step+1), a.Weight)
	}
	return v1alpha1.RunStep{Since: *a.ConfirmedAt, Weight: a.Weight, NextWeight: max(next, 1), TotalWeight: d.total()}
}

func compares(run *v1alpha1.AnalysisRun) bool {
	for i := range run.Spec.Metrics {
		if run.Spec.Metrics[i].Compare != nil {
			return true
		}
	}
	return false
}

// marked says whether a step is the last one that a run was told of.
func marked(run *v1alpha1.AnalysisRun, step v1alpha1.RunStep) bool {
	if len(run.Spec.Steps) == 0 {
		return false
	}
	return sameStep(run.Spec.Steps[len(run.Spec.Steps)-1], step)
}

func sameStep(a, b v1alpha1.RunStep) bool {
	return a.Since.Equal(&b.Since) && a.Weight == b.Weight && a.NextWeight == b.NextWeight && a.TotalWeight == b.TotalWeight
}

// owesProof says what a compare metric owes to the current step: its proof must be of this very step, as the run was told of
// it. After promotion nothing can be compared any more, and nothing is owed.
func (d *draft) owesProof(run *v1alpha1.AnalysisRun, m v1alpha1.Metric, since metav1.Time) string {
	if d.s.Attempt.Stage != v1alpha1.StageStepping {
		return ""
	}
	step := d.runStep()
	if !marked(run, step) {
		return fmt.Sprintf("metric %s: its evidence for this step begins", m.Name)
	}
	for i := range run.Status.Metrics {
		s := &run.Status.Metrics[i]
		switch {
		case s.Name != m.Name:
		case s.Comparison == nil || s.Comparison.Step == nil || !sameStep(*s.Comparison.Step, step):
			return fmt.Sprintf("metric %s: its evidence for this step begins", m.Name)
		case s.Verdict == v1alpha1.VerdictPass && s.LastPassedAt != nil && since.Before(s.LastPassedAt):
			return ""
		case s.Message != "" && s.Verdict != v1alpha1.VerdictPass:
			return s.Message
		}
	}
	return fmt.Sprintf("metric %s: neither harm nor safety is proven at this weight yet", m.Name)
}
