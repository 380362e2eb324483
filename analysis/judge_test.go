package analysis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func runOf(metrics ...v1alpha1.Metric) *v1alpha1.AnalysisRun {
	run := &v1alpha1.AnalysisRun{Spec: v1alpha1.AnalysisRunSpec{Metrics: metrics}}
	run.Generation = 1
	return run
}

func dryRun(m v1alpha1.Metric) v1alpha1.Metric { m.Mode = v1alpha1.MetricDryRun; return m }

func good(at time.Time) Outcome { return Outcome{At: at, Value: 0} }
func bad(at time.Time) Outcome  { return Outcome{At: at, Value: 1} }
func broken(at time.Time, reason string) Outcome {
	return Outcome{At: at, Err: errors.New("broken"), Reason: reason}
}

func TestVerdictIsTheWorst(t *testing.T) {
	order := []v1alpha1.RunVerdict{"Fail", "Pause", "Hold", "Pending", "Pass"}
	for i, a := range order {
		for j, b := range order {
			run := runOf(metric("a", "q"), metric("b", "q"), dryRun(metric("c", "q")))
			run.Status.Metrics = []v1alpha1.MetricStatus{{Name: "b", Verdict: b, Message: "b"}, {Name: "a", Verdict: a, Message: "a"}, {Name: "c", Verdict: "Fail"}}
			if got, _ := Verdict(run); got != order[min(i, j)] {
				t.Errorf("%s and %s give %s, want %s", a, b, got, order[min(i, j)])
			}
		}
	}
}

func TestVerdictMessages(t *testing.T) {
	status := func(name string, v v1alpha1.RunVerdict) v1alpha1.MetricStatus {
		return v1alpha1.MetricStatus{Name: name, Verdict: v, Message: "metric " + name + ": so"}
	}
	for _, tc := range []struct {
		name    string
		metrics []v1alpha1.Metric
		status  []v1alpha1.MetricStatus
		state   v1alpha1.RunState
		verdict v1alpha1.RunVerdict
		message string
	}{
		{"no status", []v1alpha1.Metric{metric("a", "q")}, nil, "", "Pending", "metric a: not measured yet"},
		{"one passes", []v1alpha1.Metric{metric("a", "q")}, []v1alpha1.MetricStatus{status("a", "Pass")}, "", "Pass", "metric a: so"},
		{"two pass", []v1alpha1.Metric{metric("a", "q"), metric("b", "q")}, []v1alpha1.MetricStatus{status("a", "Pass"), status("b", "Pass")}, "", "Pass", "all 2 metrics are within bounds"},
		{"two fail", []v1alpha1.Metric{metric("a", "q"), metric("b", "q")}, []v1alpha1.MetricStatus{status("a", "Fail"), status("b", "Fail")}, "", "Fail", "metric a: so; and 1 metric more"},
		{"dry runs alone", []v1alpha1.Metric{dryRun(metric("a", "q"))}, []v1alpha1.MetricStatus{status("a", "Fail")}, "", "Pass", "no metric decides: all are dry runs"},
		{"unknown verdict is pending", []v1alpha1.Metric{metric("a", "q")}, []v1alpha1.MetricStatus{status("a", "Great")}, "", "Pending", "metric a: so"},
		{"stopped", []v1alpha1.Metric{metric("a", "q")}, nil, v1alpha1.RunStopped, "Pending", "stopped before a verdict: metric a: not measured yet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := runOf(tc.metrics...)
			run.Spec.State, run.Status.Metrics = tc.state, tc.status
			v, message := Verdict(run)
			if v != tc.verdict || message != tc.message {
				t.Errorf("%s: %q, want %s: %q", v, message, tc.verdict, tc.message)
			}
		})
	}
}

// judge takes outcomes into a run as the controller does.
func judge(run *v1alpha1.AnalysisRun, now time.Time, outcomes map[string]Outcome) {
	run.Status = Judge(run, outcomes, now)
}

func TestARunEnds(t *testing.T) {
	counted := metric("a", "q")
	counted.Threshold.Count = 1
	for _, tc := range []struct {
		name     string
		run      *v1alpha1.AnalysisRun
		outcomes map[string]Outcome
		ended    bool
		verdict  v1alpha1.RunVerdict
	}{
		{"nothing measured", runOf(counted), nil, false, "Pending"},
		{"count reached", runOf(counted), map[string]Outcome{"a": good(t0)}, true, "Pass"},
		{"another is open", runOf(counted, metric("b", "q")), map[string]Outcome{"a": good(t0), "b": good(t0)}, false, "Pass"},
		{"only a dry run is open", runOf(counted, dryRun(metric("b", "q"))), map[string]Outcome{"a": good(t0)}, true, "Pass"},
		{"one failed", runOf(metric("a", "q"), metric("b", "q")), map[string]Outcome{"b": bad(t0)}, true, "Fail"},
		{"a dry run failed", runOf(metric("a", "q"), dryRun(metric("b", "q"))), map[string]Outcome{"a": good(t0), "b": bad(t0)}, false, "Pass"},
		{"dry runs alone, open", runOf(dryRun(metric("b", "q"))), map[string]Outcome{"b": good(t0)}, false, "Pass"},
		{"dry runs alone, done", runOf(dryRun(counted)), map[string]Outcome{"a": good(t0)}, true, "Pass"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			judge(tc.run, t0, tc.outcomes)
			if got := tc.run.Status.FinishedAt != nil; got != tc.ended || tc.run.Status.Verdict != tc.verdict {
				t.Errorf("ended %t with %s, want %t with %s", got, tc.run.Status.Verdict, tc.ended, tc.verdict)
			}
			if p := PlanRun(tc.run, t0.Add(time.Hour)); tc.ended && (len(p.Measure) > 0 || !p.Next.IsZero()) {
				t.Errorf("a run that ended plans %+v", p)
			}
			before := tc.run.Status.DeepCopy()
			judge(tc.run, t0.Add(time.Hour), nil)
			if d := cmp.Diff(*before, tc.run.Status); d != "" {
				t.Errorf("judging without outcomes changed the status: %s", d)
			}
		})
	}
}

func TestAStoppedRunStaysUndecided(t *testing.T) {
	run := runOf(metric("a", "q"))
	judge(run, t0, nil)
	run.Spec.State = v1alpha1.RunStopped
	run.Generation = 2
	judge(run, t0.Add(time.Second), map[string]Outcome{"a": good(t0)}) // its answer came too late
	if s := run.Status; s.Verdict != "Pending" || s.FinishedAt == nil || s.Metrics[0].Measured != 0 || s.ObservedGeneration != 2 {
		t.Errorf("status %+v", s)
	}
	run.Spec.State = v1alpha1.RunRunning
	judge(run, t0.Add(time.Minute), map[string]Outcome{"a": good(t0.Add(time.Minute))})
	if run.Status.Verdict != "Pending" || len(PlanRun(run, t0.Add(time.Hour)).Measure) > 0 {
		t.Errorf("a run that ended goes on: %+v", run.Status)
	}
}

func TestConditions(t *testing.T) {
	run := runOf(metric("a", "q"), metric("b", "q"))
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	for _, step := range []struct {
		name           string
		outcomes       map[string]Outcome
		ready, stalled metav1.ConditionStatus
		reason         string
		message        string
	}{
		{"first look", nil, "Unknown", "False", ReasonNotMeasured, "nothing was measured yet"},
		{"all well", map[string]Outcome{"a": good(at(0)), "b": good(at(0))}, "True", "False", ReasonMeasuring, "every metric can be measured"},
		{"b breaks", map[string]Outcome{"b": broken(at(1), ReasonSecretNotFound)}, "False", "False", ReasonSecretNotFound, "metric b: broken"},
		{"b is broken still", map[string]Outcome{"a": good(at(2))}, "False", "False", ReasonSecretNotFound, "metric b: broken"},
		{"b's query is bad", map[string]Outcome{"b": broken(at(3), ReasonBadQuery)}, "False", "True", ReasonBadQuery, "metric b: broken"},
		{"a breaks for a reason unknown", map[string]Outcome{"a": broken(at(4), "")}, "False", "False", ReasonProviderError, "metric a: broken"},
		{"all well again", map[string]Outcome{"a": good(at(5)), "b": good(at(5))}, "True", "False", ReasonMeasuring, "every metric can be measured"},
		{"failed", map[string]Outcome{"a": bad(at(6))}, "True", "False", ReasonEnded, "the run ended"},
	} {
		judge(run, t0, step.outcomes)
		ready := v1alpha1.FindCondition(run.Status.Conditions, v1alpha1.ConditionReady)
		stalled := v1alpha1.FindCondition(run.Status.Conditions, v1alpha1.ConditionStalled)
		if ready.Status != step.ready || ready.Reason != step.reason || ready.Message != step.message || stalled.Status != step.stalled || ready.ObservedGeneration != 1 {
			t.Errorf("%s: ready %+v, stalled %+v", step.name, ready, stalled)
		}
	}
}

func TestPlanRun(t *testing.T) {
	run := runOf(metric("a", "q"), metric("b", "q"), metric("c", "q"))
	next := func(s int) *metav1.Time { v := metav1.NewTime(t0.Add(time.Duration(s) * time.Second)); return &v }
	run.Status.Metrics = []v1alpha1.MetricStatus{{Name: "a", NextAt: next(5)}, {Name: "b", NextAt: next(3)}}
	names := func(p Plan) (all []string) {
		for _, m := range p.Measure {
			all = append(all, m.Name)
		}
		return all
	}
	if d := cmp.Diff([]string{"c", "b", "a"}, names(PlanRun(run, t0.Add(6*time.Second)))); d != "" {
		t.Errorf("longest waiting first: %s", d)
	}
	run.Status.Metrics = append(run.Status.Metrics, v1alpha1.MetricStatus{Name: "c", NextAt: next(9)})
	if p := PlanRun(run, t0); len(p.Measure) != 0 || !p.Next.Equal(t0.Add(3*time.Second)) {
		t.Errorf("nothing due, next at 3s: %+v", p)
	}
}

func TestPassedSince(t *testing.T) {
	counted := metric("b", "q")
	counted.Threshold.Count = 1
	run := runOf(metric("a", "q"), counted, dryRun(metric("c", "q")))
	since := t0.Add(30 * time.Second)
	check := func(when string, want bool, text string) {
		t.Helper()
		if ok, why := PassedSince(run, since); ok != want || !strings.Contains(why, text) {
			t.Errorf("%s: %t, %q", when, ok, why)
		}
	}
	check("nothing measured", false, "not measured yet")
	judge(run, t0, map[string]Outcome{"a": good(t0), "b": good(t0)})
	check("measured too early, b for good", false, "metric a: no good measurement yet since")
	judge(run, since, map[string]Outcome{"a": good(since.Add(-time.Millisecond))})
	check("a moment too early", false, "metric a")
	judge(run, since, map[string]Outcome{"a": good(since)})
	check("just in time", true, "")
	judge(run, since, map[string]Outcome{"a": {At: since.Add(time.Minute), NoData: true}})
	check("no data takes nothing back", true, "")
	judge(run, since, map[string]Outcome{"a": bad(since.Add(time.Hour))})
	check("failed", false, "above max")
}

// Any sequence of rounds: a failed or stopped run never changes its verdict, and only evidence makes a Pass.
func TestJudgeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMetric(t)
		run := runOf(m, dryRun(metric("dry", "q")))
		at := t0
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			at = at.Add(time.Minute)
			outcomes := map[string]Outcome{}
			for _, due := range PlanRun(run, at).Measure {
				outcomes[due.Name] = drawOutcome(t, at)
			}
			if rapid.IntRange(0, 9).Draw(t, "stop") == 0 {
				run.Spec.State = v1alpha1.RunStopped
			}
			before := run.Status.DeepCopy()
			judge(run, at, outcomes)
			if before.FinishedAt != nil && run.Status.Verdict != before.Verdict {
				t.Fatalf("a run that ended went from %s to %s", before.Verdict, run.Status.Verdict)
			}
			if run.Spec.State == v1alpha1.RunStopped && before.Verdict != "" && run.Status.Verdict != before.Verdict {
				t.Fatalf("stopping changed %s to %s", before.Verdict, run.Status.Verdict)
			}
			if v, _ := Verdict(run); v != run.Status.Verdict {
				t.Fatalf("Verdict says %s, status %s", v, run.Status.Verdict)
			}
			if again := Judge(run, nil, at.Add(time.Hour)); cmp.Diff(run.Status, again) != "" {
				t.Fatalf("judging nothing is not idempotent: %s", cmp.Diff(run.Status, again))
			}
		}
	})
}
