package prometheus

import (
	"testing"

	"github.com/prometheus/common/model"
)

// A native histogram has a sum like a classic one, from which mean durations are made.
func TestUnfoldHasSum(t *testing.T) {
	labels := map[string]string{"__name__": "latency_seconds", "pod": "a"}
	pair := func(at model.Time, sum, count float64) model.SampleHistogramPair {
		return model.SampleHistogramPair{Timestamp: at, Histogram: &model.SampleHistogram{Count: model.FloatString(count), Sum: model.FloatString(sum),
			Buckets: model.HistogramBuckets{{Lower: 0.5, Upper: model.FloatString(0.5 * 1.0905077326652577), Count: model.FloatString(count)}}}}
	}
	found := 0
	pairs := []model.SampleHistogramPair{pair(1000, 2, 4), pair(16000, 5, 9)}
	for _, s := range unfold(labels, pairs, gridOf(pairs)) {
		if s.Labels["le"] != "" {
			continue
		}
		found++
		if s.Labels["__name__"] != "latency_seconds_sum" || s.Labels["pod"] != "a" || len(s.Points) != 2 || s.Points[0].Value != 2 || s.Points[1].Value != 5 {
			t.Errorf("%v", s)
		}
	}
	if found != 1 {
		t.Errorf("%d series without a bound", found)
	}
	if labels["__name__"] != "latency_seconds" {
		t.Errorf("labels of the caller were changed: %v", labels)
	}
}
