package planner

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// comparing is an attempt at its second step of three, whose run compares.
func comparing() (Observed, *v1alpha1.AnalysisRun) {
	o := observed(stepping)
	run := o.analysed(v1alpha1.VerdictPass, ptr(at(-time.Second)))
	for i := range run.Spec.Metrics {
		run.Spec.Metrics[i].Compare, run.Spec.Metrics[i].Threshold = &v1alpha1.Compare{}, v1alpha1.Threshold{}
	}
	step := v1alpha1.RunStep{Since: *o.attempt().ConfirmedAt, Weight: 50, NextWeight: 100, TotalWeight: 100}
	for i := range run.Status.Metrics {
		run.Status.Metrics[i].Comparison = &v1alpha1.Comparison{Step: step.DeepCopy()}
	}
	return o, run
}

// A compare metric opens a step only with a proof of this very step: of the weight after it, begun when its traffic was
// confirmed.
func TestCompareProvesTheStep(t *testing.T) {
	confirmed := func(o *Observed) metav1.Time { return *o.attempt().ConfirmedAt }
	for _, test := range []struct {
		name   string
		change func(*Observed, *v1alpha1.AnalysisRun)
		want   string
		marks  bool
		says   string
	}{
		{"not told of the step", nil, "Stepping 1 at 50", true, "its evidence for this step begins"},
		{"told, and proven", func(o *Observed, run *v1alpha1.AnalysisRun) {
			run.Spec.Steps = []v1alpha1.RunStep{{Since: confirmed(o), Weight: 50, NextWeight: 100, TotalWeight: 100}}
		}, "Stepping 2 at 100", false, ""},
		{"told of another weight", func(o *Observed, run *v1alpha1.AnalysisRun) {
			run.Spec.Steps = []v1alpha1.RunStep{{Since: confirmed(o), Weight: 25, NextWeight: 50, TotalWeight: 100}}
		}, "Stepping 1 at 50", true, "begins"},
		{"proven before the step was confirmed anew", func(o *Observed, run *v1alpha1.AnalysisRun) {
			run.Spec.Steps = []v1alpha1.RunStep{{Since: at(-time.Hour), Weight: 50, NextWeight: 100, TotalWeight: 100}}
		}, "Stepping 1 at 50", true, "begins"},
		{"told, and the proof is of a smaller step", func(o *Observed, run *v1alpha1.AnalysisRun) {
			run.Spec.Steps = []v1alpha1.RunStep{{Since: confirmed(o), Weight: 50, NextWeight: 100, TotalWeight: 100}}
			run.Status.Metrics[0].Comparison.Step.NextWeight = 60
		}, "Stepping 1 at 50", false, "begins"},
		{"told, and the proof is older", func(o *Observed, run *v1alpha1.AnalysisRun) {
			run.Spec.Steps = []v1alpha1.RunStep{{Since: confirmed(o), Weight: 50, NextWeight: 100, TotalWeight: 100}}
			run.Status.Metrics[0].LastPassedAt = ptr(metav1.NewTime(confirmed(o).Add(-time.Second)))
		}, "Stepping 1 at 50", false, "neither harm nor safety is proven"},
		{"told, and watched", func(o *Observed, run *v1alpha1.AnalysisRun) {
			run.Spec.Steps = []v1alpha1.RunStep{{Since: confirmed(o), Weight: 50, NextWeight: 100, TotalWeight: 100}}
			run.Status.Verdict, run.Status.Metrics[0].Verdict, run.Status.Metrics[0].Message = v1alpha1.VerdictPending, v1alpha1.VerdictPending, "about 3m more"
		}, "Stepping 1 at 50", false, "about 3m more"},
	} {
		o, run := comparing()
		if test.change != nil {
			test.change(&o, run)
		}
		p := Make(o)
		if got := summary(p); got != test.want || !strings.Contains(p.Status.BlockedBy, test.says) {
			t.Errorf("%s: got %s (blocked by %q), want %s (%q)", test.name, got, p.Status.BlockedBy, test.want, test.says)
		}
		if got := strings.Contains(lines(p), "of a step"); got != test.marks {
			t.Errorf("%s: the run is told: %t\n%s", test.name, got, lines(p))
		}
	}
}

// After promotion there is nothing to compare with: the bake waits for thresholds alone.
func TestCompareInTheBake(t *testing.T) {
	o := observed(baking)
	run := o.analysed(v1alpha1.VerdictPending, nil)
	for i := range run.Spec.Metrics {
		run.Spec.Metrics[i].Compare = &v1alpha1.Compare{}
	}
	o.Rollout.Status.Attempt.StageSince = at(-time.Hour)
	if got := summary(Make(o)); got != "over: Promoted StepsPassed" {
		t.Errorf("the bake: %s", got)
	}
}
