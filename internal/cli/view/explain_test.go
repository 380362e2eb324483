package view

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func comparedRun(points int) *v1alpha1.AnalysisRun {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := metav1.NewTime(began)
	m := v1alpha1.MetricStatus{Name: "errors", Verdict: v1alpha1.VerdictFail,
		Message: "metric errors: 60 of 900 canary requests were bad, of stable's 20 of 9,000: 12.1 to 60.3 times its share; the chance that a canary within the margin looks like that is below 1 %",
		Comparison: &v1alpha1.Comparison{State: v1alpha1.StateHalt, CanaryRequests: 900, CanaryBad: 60, StableRequests: 9000, StableBad: 20,
			Dispersion: "1.2", Harm: "140", Safety: "0.002", Ratio: "30 (12.1 to 60.3)"}}
	for i := range points {
		m.History = append(m.History, v1alpha1.ComparisonPoint{At: metav1.NewTime(began.Add(time.Duration(i) * time.Minute)), State: v1alpha1.StateWatch,
			Harm: fmt.Sprintf("%g", 1.5*float64(i)), Safety: "0.5", Ratio: fmt.Sprintf("%d (0.5 to +Inf)", 1+i/4)})
	}
	return &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "checkout-7"},
		Spec:   v1alpha1.AnalysisRunSpec{Arms: &v1alpha1.Arms{CanaryRevision: "b", StableRevision: "a"}},
		Status: v1alpha1.AnalysisRunStatus{Verdict: v1alpha1.VerdictFail, Message: m.Message, StartedAt: &at, Metrics: []v1alpha1.MetricStatus{m}}}
}

// What a person on call needs stands in plain text, and no line is wider than the terminal.
func TestExplain(t *testing.T) {
	for _, width := range []int{40, 80, 120} {
		got := Explain(comparedRun(60), Style{}, width)
		for _, want := range []string{"AnalysisRun shop/checkout-7  Fail", "errors  Halt", "canary b against stable a", "o most likely", "H harm", "12:00", "12:59"} {
			if !strings.Contains(got, want) {
				t.Errorf("width %d: no %q in\n%s", width, want, got)
			}
		}
		for line := range strings.Lines(got) {
			chart := strings.HasPrefix(line, "   ") && !strings.Contains(line, ":")
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); chart && n > width {
				t.Errorf("width %d: a line of %d columns: %q", width, n, line)
			}
		}
		for _, r := range got {
			if r > 126 || r < 32 && r != '\n' {
				t.Fatalf("width %d: %q is no plain text", width, r)
			}
		}
		if strings.Count(got, "o") < 10 || strings.Count(got, "H") < 10 {
			t.Errorf("width %d: the charts are empty:\n%s", width, got)
		}
	}
}

// Evidence that grows is drawn higher to the right, and where it halts it reaches the line.
func TestExplainDrawsTheCourse(t *testing.T) {
	c := newChart(50, 7, 0.01, 1000, comparedRun(10).Status.Metrics[0].History)
	if c.row(0) != 6 || c.row(0.01) != 6 || c.row(1000) != 0 || c.row(1e9) != 0 || c.row(1) <= c.row(100) {
		t.Errorf("rows of 0.01, 1, 100, 1000: %d %d %d %d", c.row(0.01), c.row(1), c.row(100), c.row(1000))
	}
	if c.column(c.from) != 0 || c.column(c.to) != 39 {
		t.Errorf("columns %d to %d", c.column(c.from), c.column(c.to))
	}
}

// A run from a stranger's file does no harm: control characters are taken out, numbers that are none are left out.
func TestExplainBearsAnything(t *testing.T) {
	run := comparedRun(3)
	m := &run.Status.Metrics[0]
	run.Name, m.Message, m.Comparison.Ratio = "x\x1b[31m", "\x1b]0;title\x07", "\x1b[2J"
	m.History[0].Ratio, m.History[1].Ratio, m.History[2].Ratio = "a (b to c)", "NaN (1 to 2)", ""
	m.History[0].Harm, m.History[1].Harm, m.History[2].Harm = "+Inf", "-1", "x"
	if got := Explain(run, Style{}, 80); strings.ContainsAny(got, "\x1b\x07") {
		t.Errorf("%q", got)
	}
	for _, empty := range []*v1alpha1.AnalysisRun{{}, comparedRun(0), comparedRun(1)} {
		if got := Explain(empty, Style{}, 40); got == "" {
			t.Error("nothing is said")
		}
	}
}
