package analysis

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

func pointAt(minute int, state v1alpha1.ComparisonState, weight int32) v1alpha1.ComparisonPoint {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(minute) * time.Minute)
	return v1alpha1.ComparisonPoint{At: metav1.NewTime(at), State: state, Weight: weight, Harm: fmt.Sprint(minute)}
}

// However long a run lasts, its course has at most 60 points, spans all of it, and keeps each change.
func TestHistoryIsBounded(t *testing.T) {
	for _, minutes := range []int{1, 59, 60, 61, 200, 3000} {
		var course []v1alpha1.ComparisonPoint
		for i := range minutes {
			state, weight := v1alpha1.StateWatch, int32(5)
			if i >= 37 {
				weight = 10
			}
			if i == 40 {
				state = v1alpha1.StateHold
			}
			course = remember(course, pointAt(i, state, weight))
			if len(course) > maxHistory {
				t.Fatalf("%d points after %d minutes", len(course), i+1)
			}
		}
		if first, last := course[0].Harm, course[len(course)-1].Harm; first != "0" || last != fmt.Sprint(minutes-1) {
			t.Errorf("%d minutes: from %s to %s", minutes, first, last)
		}
		if minutes > 41 && !strings.Contains(fmt.Sprint(course), "Hold") {
			t.Errorf("%d minutes: the minute of Hold is forgotten", minutes)
		}
		if minutes >= 200 && len(course) < maxHistory/3 {
			t.Errorf("%d minutes: only %d points are left", minutes, len(course))
		}
	}
}

// A state that changes all the time does not grow it either; a point of the same time takes the place of the last one.
func TestHistoryOfChanges(t *testing.T) {
	var course []v1alpha1.ComparisonPoint
	for i := range 500 {
		course = remember(course, pointAt(i, []v1alpha1.ComparisonState{v1alpha1.StateWatch, v1alpha1.StateHold}[i%2], 5))
	}
	if len(course) != maxHistory || course[len(course)-1].Harm != "499" {
		t.Errorf("%d points, the last one of minute %s", len(course), course[len(course)-1].Harm)
	}
	before := len(course)
	p := pointAt(499, v1alpha1.StateHalt, 5)
	if course = remember(course, p); len(course) != before || !cmp.Equal(course[len(course)-1], p) {
		t.Errorf("%d points, last %+v", len(course), course[len(course)-1])
	}
}

// What the API says of a metric and of evidence reaches the engine, and what is left out stands for the defaults.
func TestConfigOfGaugeRestartsAndEvidence(t *testing.T) {
	metrics := []v1alpha1.Metric{
		{Name: "memory", Compare: &v1alpha1.Compare{Gauge: &v1alpha1.CompareGauge{Series: "m", Margin: &v1alpha1.GaugeMargin{Ratio: "1.5", Absolute: "1e6"}}}},
		{Name: "queue", Compare: &v1alpha1.Compare{Gauge: &v1alpha1.CompareGauge{Series: "q", OnWorse: v1alpha1.GaugeHalt}}},
		{Name: "ooms", Compare: &v1alpha1.Compare{Restarts: &v1alpha1.CompareRestarts{Margin: &v1alpha1.RestartMargin{Ratio: "3", PerHour: "0.5"}}}},
	}
	cfg, _, err := CompareConfig(metrics)
	if err == nil {
		err = Demand(&cfg, &v1alpha1.Evidence{FalseAbortRate: "0.02", HarmBudget: "0.01"})
	}
	if err != nil {
		t.Fatal(err)
	}
	want := compare.Config{Alpha: 0.02, Budget: 0.01, Metrics: []compare.Metric{
		{Name: "metric memory", Kind: compare.Level, Margin: compare.Margin{Ratio: 1.5, Absolute: 1e6}, Advisory: true},
		{Name: "metric queue", Kind: compare.Level},
		{Name: "metric ooms", Kind: compare.Restarts, Margin: compare.Margin{Ratio: 3, Absolute: 0.5 / 3600}}}}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Error(diff)
	}
	if err := Demand(&cfg, &v1alpha1.Evidence{FalseAbortRate: "much"}); err == nil || !strings.Contains(err.Error(), "evidence.falseAbortRate") {
		t.Errorf("%v", err)
	}
}

// Runs of one attempt share out its rate of false aborts.
func TestDivide(t *testing.T) {
	if got := Divide(nil, 1); got != nil {
		t.Errorf("one run, nothing asked: %+v", got)
	}
	for runs, want := range map[int]float64{1: 0.02, 2: 0.01, 4: 0.005, 1000: 0.0001} {
		cfg := compare.Config{}
		if err := Demand(&cfg, Divide(&v1alpha1.Evidence{FalseAbortRate: "0.02"}, runs)); err != nil || math.Abs(cfg.Alpha-want) > 1e-9 {
			t.Errorf("%d runs: %g, want %g (%v)", runs, cfg.Alpha, want, err)
		}
	}
	if got := Divide(nil, 2); got.FalseAbortRate != "0.005000" || got.HarmBudget != "0.005" {
		t.Errorf("two runs, nothing asked: %+v", got)
	}
}

// A comparison that a run was stopped in is inconclusive; what was proven before stays.
func TestStoppedIsInconclusive(t *testing.T) {
	run := &v1alpha1.AnalysisRun{Spec: v1alpha1.AnalysisRunSpec{State: v1alpha1.RunStopped}}
	for name, state := range map[string]v1alpha1.ComparisonState{"a": v1alpha1.StateWatch, "b": v1alpha1.StateStep} {
		run.Spec.Metrics = append(run.Spec.Metrics, v1alpha1.Metric{Name: name, Compare: &v1alpha1.Compare{Restarts: &v1alpha1.CompareRestarts{}}})
		run.Status.Metrics = append(run.Status.Metrics, v1alpha1.MetricStatus{Name: name, Verdict: v1alpha1.VerdictPending, Comparison: &v1alpha1.Comparison{State: state}})
	}
	for _, m := range Judge(run, nil, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)).Metrics {
		if want := map[string]v1alpha1.ComparisonState{"a": v1alpha1.StateInconclusive, "b": v1alpha1.StateStep}[m.Name]; m.Comparison.State != want {
			t.Errorf("%s: %s, want %s", m.Name, m.Comparison.State, want)
		}
	}
}
