package analysis

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestBefore: what stable did is added up from the blocks in which it was measured.
func TestBefore(t *testing.T) {
	b := NewBefore(compare.Config{Metrics: []compare.Metric{{Kind: compare.Latency}, {Kind: compare.Errors}}})
	start := time.Unix(0, 0)
	block := func(tallies ...compare.Tally) compare.Block {
		return compare.Block{Start: start, End: start.Add(15 * time.Second), Metrics: []compare.Counts{{}, {Stable: tallies, Canary: []compare.Tally{{Requests: 1e6}}}}}
	}
	b.Add(block(compare.Tally{Requests: 1e9}))
	for range 3 {
		b.Add(block(compare.Tally{Requests: 150, Bad: 3}, compare.Tally{Requests: 150}))
	}
	b.Add(block())
	if got := b.Traffic(); got != nil {
		t.Errorf("45 seconds say %+v, want nothing yet", got)
	}
	b.Add(block(compare.Tally{Requests: 300, Bad: 3}))
	if got := b.Traffic(); got == nil || *got != (v1alpha1.ObservedTraffic{RequestsPerSecond: "20", BadRatio: "0.01", Span: "60s"}) {
		t.Errorf("traffic %+v", got)
	}
	none := NewBefore(compare.Config{Metrics: []compare.Metric{{Kind: compare.Latency}}})
	none.Add(block(compare.Tally{Requests: 150}))
	if got := none.Traffic(); got != nil {
		t.Errorf("without a metric of errors: %+v", got)
	}
}

func TestForecast(t *testing.T) {
	w := func(n int32) *int32 { return &n }
	spec := &v1alpha1.RolloutSpec{Strategy: v1alpha1.Strategy{Canary: &v1alpha1.CanaryStrategy{Steps: []v1alpha1.Step{
		{Name: "dark"}, {Weight: w(5)}, {Name: "tenth", Weight: w(10), MaxHold: "15m"}, {Name: "half", Weight: w(50)}}}}}
	cfg := compare.Config{Metrics: []compare.Metric{{Name: "errors"}}}
	at := func(rate float64) []StepTimes {
		return Forecast(spec, cfg, Assumed{RequestsPerSecond: rate, BadRatio: 0.002})
	}
	fast := at(1000)
	if len(fast) != 3 || fast[0].Name != "step-2" || fast[0].Index != 1 || fast[0].Next != 10 || fast[2].Next != 100 {
		t.Fatalf("steps %+v", fast)
	}
	for _, s := range fast {
		if s.Takes != compare.Dwell(cfg) || s.Late() != "" {
			t.Errorf("%s at 1,000 requests a second: %s, %q; want the least time of a step", s.Name, s.Takes, s.Late())
		}
	}
	slow := at(1)
	for i, s := range slow {
		if s.Requests != fast[i].Requests || s.Takes != time.Duration(s.Requests/(float64(s.Weight)/100)*float64(time.Second)) {
			t.Errorf("%s at one request a second: %g requests in %s", s.Name, s.Requests, s.Takes)
		}
	}
	if !strings.Contains(slow[1].Late(), "step tenth: maxHold 15m0s is over before its proof, which takes about") || slow[0].Late() != "" {
		t.Errorf("late: %q, %q", slow[0].Late(), slow[1].Late())
	}
	for _, s := range at(0) {
		if s.Takes != Never || !strings.Contains(s.Late(), "cannot be proven at this traffic") {
			t.Errorf("%s without traffic: %s, %q", s.Name, s.Takes, s.Late())
		}
	}
	if a, err := AssumedOf(v1alpha1.ObservedTraffic{RequestsPerSecond: "12.5", BadRatio: "0"}); err != nil || a != (Assumed{RequestsPerSecond: 12.5, BadRatio: 1e-4}) {
		t.Errorf("assumed %+v, %v", a, err)
	}
	for _, bad := range []v1alpha1.ObservedTraffic{{RequestsPerSecond: "NaN", BadRatio: "0"}, {RequestsPerSecond: "-1", BadRatio: "0"}, {RequestsPerSecond: "1", BadRatio: "2"}, {}} {
		if a, err := AssumedOf(bad); err == nil {
			t.Errorf("%+v gives %+v", bad, a)
		}
	}
}
