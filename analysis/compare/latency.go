package compare

import (
	"math"
	"slices"
)

// distribution is how many of the last requests took longer than each of the bounds.
type distribution struct {
	n      float64
	bounds []float64
	above  []float64
}

// add takes in a block. Bounds that changed begin a new distribution: buckets of different histograms cannot be added.
func (d *distribution) add(bounds []float64, n float64, above []float64) {
	if n == 0 {
		return
	}
	if !slices.Equal(d.bounds, bounds) {
		*d = distribution{bounds: slices.Clone(bounds), above: make([]float64, len(bounds))}
	}
	d.n = d.n*memoryOfRatio + n
	for i := range d.above {
		d.above[i] = d.above[i]*memoryOfRatio + above[i]
	}
}

// survival at bound i: the share of requests that took longer, smoothed so that it is never 0 or 1.
func (d *distribution) survival(i int) float64 { return (d.above[i] + 0.5) / (d.n + 1) }

// quantile is the index of the least bound that a share of the requests does not exceed; the last bound where none is.
func (d *distribution) quantile(share float64) int {
	for i := range d.bounds {
		if d.above[i] <= (1-share)*d.n {
			return i
		}
	}
	return len(d.bounds) - 1
}

// watched are the bounds at which latency is watched: those at or above the median, p90, p99 and 2.5 times p99. The last
// one catches a new slow mode.
func (d *distribution) watched() []float64 {
	if d.n == 0 || len(d.bounds) == 0 {
		return nil
	}
	var out []float64
	for _, share := range []float64{0.5, 0.9, 0.99} {
		out = append(out, d.bounds[d.quantile(share)])
	}
	far := slices.IndexFunc(d.bounds, func(b float64) bool { return b >= 2.5*out[2] })
	if far < 0 {
		far = len(d.bounds) - 1
	}
	out = append(out, d.bounds[far])
	slices.Sort(out)
	return slices.Compact(out)
}

// slope of the survival between bounds i-1 and i, on logarithmic scales; 0 where there is no bound below.
func (d *distribution) slope(i int) float64 {
	if i <= 0 || i >= len(d.bounds) || d.bounds[i-1] <= 0 {
		return 0
	}
	return math.Log(d.survival(i)/d.survival(i-1)) / math.Log(d.bounds[i]/d.bounds[i-1])
}

// slower is how many times more requests exceed bound i where every request takes kappa times as long: S(b/kappa)/S(b). Inside
// a bucket the steeper of its slope and the next one's is taken; otherwise the ratio is understated, and a canary that is
// exactly kappa times slower would be halted.
func (d *distribution) slower(i int, kappa float64) float64 {
	target := d.bounds[i] / kappa
	j := i // target lies between bounds j-1 and j
	for j > 0 && d.bounds[j-1] >= target {
		j--
	}
	steepest := math.Min(d.slope(j), d.slope(j+1))
	s := d.survival(j) * math.Pow(target/d.bounds[j], steepest)
	return math.Max(1, math.Min(s, 1)/d.survival(i))
}
