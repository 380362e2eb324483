package reading

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixed gives the same samples to every question.
type fixed []prometheus.Samples

func (f fixed) Samples(context.Context, string, time.Time, time.Duration) ([]prometheus.Samples, error) {
	return f, nil
}

func one(name string, value float64, labels ...string) prometheus.Samples {
	s := prometheus.Samples{Labels: map[string]string{"__name__": name}, Points: []compare.Point{{At: noon, Value: value}}}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels[labels[i]] = labels[i+1]
	}
	return s
}

func ask(t *testing.T, c *v1alpha1.Compare, f fixed) ([]compare.Series, error) {
	t.Helper()
	r, err := New(c, Arms{Variables: analysis.Variables{Canary: &analysis.Arm{}, Stable: &analysis.Arm{}}, Pods: []compare.Pod{{Name: "a"}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r.Ask(t.Context(), f, noon, time.Minute)
}

// Durations in milliseconds are counted in seconds, and the answer that others share stays as it is.
func TestMilliseconds(t *testing.T) {
	c := &v1alpha1.Compare{Latency: &v1alpha1.CompareLatency{Histogram: "d", Unit: v1alpha1.UnitMilliseconds}}
	answer := fixed{one("d_bucket", 7, "pod", "a", "le", "250"), one("d_bucket", 9, "pod", "a", "le", "+Inf"), one("d_sum", 1800, "pod", "a")}
	got, err := ask(t, c, answer)
	if err != nil || len(got) != 3 || got[0].Bound != 0.25 || got[0].Points[0].Value != 7 || got[2].Part != compare.Sum || got[2].Points[0].Value != 1.8 {
		t.Errorf("%+v, %v", got, err)
	}
	if answer[2].Points[0].Value != 1800 {
		t.Error("the shared answer was changed")
	}
	native := one("d", 9, "pod", "a", "le", "+Inf")
	if _, err := ask(t, c, fixed{native}); err == nil || !strings.Contains(err.Error(), "native histogram of milliseconds") {
		t.Errorf("a native one: %v", err)
	}
	if got, err = ask(t, c, append(answer, native)); err != nil || len(got) != 3 {
		t.Errorf("kept both ways: %+v, %v", got, err)
	}
}

// Two replicas of a Prometheus behind a view that does not leave out one count once.
func TestReplicasOfPrometheusCountOnce(t *testing.T) {
	for _, label := range []string{"prometheus_replica", "__replica__"} {
		for name, c := range map[string]*v1alpha1.Compare{
			"pods":     {Errors: &v1alpha1.CompareErrors{Total: "n", Bad: `n{code="500"}`}},
			"backends": {Errors: &v1alpha1.CompareErrors{Total: "n", Bad: `n{code="500"}`}, Arms: &v1alpha1.CompareArms{Label: "pod", Canary: "a", Stable: "b"}},
		} {
			var answer fixed
			for _, replica := range []string{"0", "1"} {
				s := one("n", 5, "pod", "a", "code", "200", "instance", "x", label, replica)
				s.Points = append(s.Points, compare.Point{At: noon.Add(time.Second), Value: 12})
				answer = append(answer, s)
			}
			got, err := ask(t, c, answer)
			if err != nil {
				t.Fatal(err)
			}
			b := compare.NewBuilder([]compare.Metric{{}}, noon.Add(-time.Second), 15*time.Second)
			b.Watch(compare.Pod{Name: "a"})
			b.Add(got)
			blocks := b.Close(noon.Add(time.Minute))
			sum := 0.0
			for _, block := range blocks {
				for _, tally := range block.Metrics[0].Stable {
					sum += tally.Requests
				}
			}
			if sum != 7 {
				t.Errorf("%s, %s: %g requests, want 7", label, name, sum)
			}
		}
	}
}
