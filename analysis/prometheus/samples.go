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

	"github.com/prometheus/common/model"

	"github.com/belay-delivery/belay/analysis/compare"
)

const (
	// maxSamples bounds the size of an answer with raw samples, in bytes after decompression.
	maxSamples = 32 << 20
	// maxSeries bounds how many series such an answer may have.
	maxSeries = 50000
	// maxPoints of an answer, after native histograms were unfolded: 128 MiB.
	maxPoints = 4 << 20
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

// Samples implements Sampler. What it gives is shared with others that ask the same, and must not be changed.
func (c *Client) Samples(ctx context.Context, selector string, until time.Time, span time.Duration) ([]Samples, error) {
	got, err := c.shared.do(ctx, key("samples", selector, until, span), func(ctx context.Context) (any, int, error) {
		query := fmt.Sprintf("%s[%dms]", selector, span.Milliseconds())
		value, ahead, err := c.evaluate(context.WithValue(ctx, limitKey{}, int64(maxSamples)), query, until)
		if err != nil {
			return nil, 0, err
		}
		if value == nil {
			return nil, 0, &ResultError{Type: "result without a type"}
		}
		matrix, ok := value.(model.Matrix)
		if !ok {
			return nil, 0, &ResultError{Type: value.Type().String()}
		}
		samples, err := flatten(matrix, ahead)
		if err != nil {
			return nil, 0, fmt.Errorf("asking Prometheus at %s: %w", c.host, err)
		}
		points := 0
		for _, s := range samples {
			points += len(s.Points)
		}
		return samples, points, nil
	})
	if err != nil {
		return nil, c.ended(ctx, err)
	}
	return got.([]Samples), nil
}

// flatten makes samples in our time of an answer of a server whose clock is ahead.
func flatten(matrix model.Matrix, ahead time.Duration) ([]Samples, error) {
	var out []Samples
	points := 0
	seen := map[model.Fingerprint][]model.Metric{}
	for _, stream := range matrix {
		if stream == nil {
			continue
		}
		print := stream.Metric.Fingerprint()
		if slices.ContainsFunc(seen[print], stream.Metric.Equal) {
			return nil, fmt.Errorf("the answer has the series %s twice", clip(stream.Metric.String()))
		}
		seen[print] = append(seen[print], stream.Metric)
		bounds := gridOf(stream.Histograms)
		if points += len(stream.Values) + len(stream.Histograms)*(len(bounds)+1); points > maxPoints {
			return nil, fmt.Errorf("the answer has more than %d samples, each bucket of a native histogram counted: select fewer series, or scrape less often", maxPoints)
		}
		labels := make(map[string]string, len(stream.Metric))
		for k, v := range stream.Metric {
			labels[string(k)] = string(v)
		}
		if len(stream.Values) > 0 {
			s := Samples{Labels: labels}
			for _, p := range stream.Values {
				s.Points = append(s.Points, compare.Point{At: p.Timestamp.Time().Add(-ahead), Value: float64(p.Value)})
			}
			out = append(out, s)
		}
		if slices.ContainsFunc(stream.Histograms, func(h model.SampleHistogramPair) bool { return h.Histogram == nil }) {
			return nil, fmt.Errorf("the answer has a sample of %s without a value", clip(stream.Metric.String()))
		}
		histograms := slices.Clone(stream.Histograms)
		for i := range histograms {
			histograms[i].Timestamp = histograms[i].Timestamp.Add(-ahead)
		}
		out = append(out, unfold(labels, histograms, bounds)...)
		if len(out) > maxSeries {
			return nil, fmt.Errorf("the answer has more than %d series: select fewer", maxSeries)
		}
	}
	for _, s := range out {
		if !slices.IsSortedFunc(s.Points, func(a, b compare.Point) int { return a.At.Compare(b.At) }) {
			return nil, fmt.Errorf("the answer has samples of %s that are not in order", clip(s.Labels["__name__"]))
		}
	}
	return out, nil
}

// gridFrom and gridTo are the exponents, in eighths, of the powers of two that native histograms are unfolded to: 1 ms to 128 s.
const gridFrom, gridTo = -80, 56

// gridOf are the bounds that native histograms are unfolded to: each power of 2^(1/8), or of the histogram's own factor where that
// is greater, and +Inf. None without histograms.
func gridOf(histograms []model.SampleHistogramPair) []float64 {
	if len(histograms) == 0 {
		return nil
	}
	step := 1
	for _, h := range histograms {
		step = max(step, factor(h.Histogram))
	}
	var bounds []float64
	for k := gridFrom; k <= gridTo; k += step {
		bounds = append(bounds, math.Pow(2, float64(k)/8))
	}
	return append(bounds, math.Inf(1))
}

// unfold makes cumulative buckets of native histograms, a series for each bound. The bounds do not depend on which buckets happen to
// be filled: a series that appears later would count from 0.
func unfold(labels map[string]string, histograms []model.SampleHistogramPair, bounds []float64) []Samples {
	if len(histograms) == 0 {
		return nil
	}
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
