package prometheus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/belay-delivery/belay/analysis/compare"
)

const (
	// maxSamples bounds the size of an answer with raw samples, in bytes after decompression.
	maxSamples = 32 << 20
	// maxSeries bounds how many series such an answer may have.
	maxSeries = 50000
)

// Samples are the raw samples of one series. A native histogram has a series for each of its bounds and one for its sum, like
// a classic one: le is a label of the former, and the name of the latter ends in _sum.
type Samples struct {
	Labels map[string]string
	Points []compare.Point
}

// Sampler asks for raw samples.
type Sampler interface {
	// Samples gives the raw samples that a selector matches, of a span of time that ends at a time and does not hold its
	// beginning. No series is no error.
	Samples(ctx context.Context, selector string, until time.Time, span time.Duration) ([]Samples, error)
}

type limitKey struct{}

// limitOf is how much of an answer may be read.
func limitOf(ctx context.Context) int64 {
	if n, ok := ctx.Value(limitKey{}).(int64); ok {
		return n
	}
	return maxAnswer
}

// Samples implements Sampler.
func (c *Client) Samples(ctx context.Context, selector string, until time.Time, span time.Duration) ([]Samples, error) {
	limited, cancel := context.WithTimeout(context.WithValue(ctx, limitKey{}, int64(maxSamples)), c.timeout)
	defer cancel()
	query := fmt.Sprintf("%s[%dms]", selector, span.Milliseconds())
	value, warnings, _, err := c.api.Query(limited, query, until, promv1.WithTimeout(c.timeout))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("asking Prometheus at %s: %w", c.host, ctx.Err())
	case err != nil && limited.Err() != nil:
		return nil, fmt.Errorf("asking Prometheus at %s: no answer within %s: %w", c.host, c.timeout, context.DeadlineExceeded)
	case err != nil:
		return nil, c.explain(err)
	case len(warnings) > 0:
		return nil, fmt.Errorf("asking Prometheus at %s: the answer is not complete: %s", c.host, clip(c.creds.redact(warnings[0])))
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, &ResultError{Type: fmt.Sprintf("%v", value.Type())}
	}
	return flatten(matrix)
}

func flatten(matrix model.Matrix) ([]Samples, error) {
	var out []Samples
	for _, stream := range matrix {
		if stream == nil {
			continue
		}
		labels := make(map[string]string, len(stream.Metric))
		for k, v := range stream.Metric {
			labels[string(k)] = string(v)
		}
		if len(stream.Values) > 0 {
			s := Samples{Labels: labels}
			for _, p := range stream.Values {
				s.Points = append(s.Points, compare.Point{At: p.Timestamp.Time(), Value: float64(p.Value)})
			}
			out = append(out, s)
		}
		out = append(out, unfold(labels, stream.Histograms)...)
		if len(out) > maxSeries {
			return nil, fmt.Errorf("the answer has more than %d series: select fewer", maxSeries)
		}
	}
	return out, nil
}

// gridFrom and gridTo are the exponents, in eighths, of the powers of two that native histograms are unfolded to: 1 ms to 128 s.
const gridFrom, gridTo = -80, 56

// unfold makes cumulative buckets of native histograms: one series for each power of 2^(1/8), or of the histogram's own factor
// where that is greater, and one for +Inf. The bounds do not depend on which buckets happen to be filled: a series that
// appears later would count from 0.
func unfold(labels map[string]string, histograms []model.SampleHistogramPair) []Samples {
	step := 1
	for _, h := range histograms {
		step = max(step, factor(h.Histogram))
	}
	if len(histograms) == 0 {
		return nil
	}
	var bounds []float64
	for k := gridFrom; k <= gridTo; k += step {
		bounds = append(bounds, math.Pow(2, float64(k)/8))
	}
	bounds = append(bounds, math.Inf(1))
	out := make([]Samples, len(bounds), len(bounds)+1)
	sums := Samples{Labels: maps.Clone(labels)}
	sums.Labels["__name__"] += "_sum"
	for i, bound := range bounds {
		out[i].Labels = map[string]string{"le": strconv.FormatFloat(bound, 'g', -1, 64)}
		for k, v := range labels {
			out[i].Labels[k] = v
		}
	}
	for _, h := range histograms {
		if h.Histogram == nil {
			continue
		}
		sums.Points = append(sums.Points, compare.Point{At: h.Timestamp.Time(), Value: float64(h.Histogram.Sum)})
		buckets := slices.Clone(h.Histogram.Buckets)
		slices.SortFunc(buckets, func(a, b *model.HistogramBucket) int { return cmp.Compare(a.Upper, b.Upper) })
		sum, next := 0.0, 0
		for i, bound := range bounds {
			for next < len(buckets) && float64(buckets[next].Upper) <= bound*(1+1e-9) {
				sum += float64(buckets[next].Count)
				next++
			}
			value := sum
			if math.IsInf(bound, 1) {
				value = float64(h.Histogram.Count)
			}
			out[i].Points = append(out[i].Points, compare.Point{At: h.Timestamp.Time(), Value: value})
		}
	}
	return append(out, sums)
}

// factor of a native histogram's buckets, in eighths of a power of two, at least 1: schema 3 and finer have 1, schema 0 has 8.
func factor(h *model.SampleHistogram) int {
	if h == nil {
		return 1
	}
	for _, b := range h.Buckets {
		if lower, upper := float64(b.Lower), float64(b.Upper); lower > 1e-9 && upper > lower {
			return max(1, int(math.Round(8*math.Log2(upper/lower))))
		}
	}
	return 1
}
