package compare

import "math"

// ratios are the ratios of bad shares, canary to stable, between which the confidence sequence tells.
var effectGrid = logGrid(1.0/64, 64, 97)

var effectLogs = logs(effectGrid)

func logs(grid []float64) []float64 {
	out := make([]float64, len(grid))
	for i, x := range grid {
		out[i] = math.Log(x)
	}
	return out
}

// effect is a confidence sequence for the ratio of bad shares: the set of ratios that a mixture over the grid has not refuted.
// It holds at all times at once (prior-posterior-ratio martingale: Waudby-Smith and Ramdas, arXiv 2006.04347).
type effect struct{ log []float64 }

func newEffect() *effect { return &effect{log: make([]float64, len(effectGrid))} }

func (e *effect) add(s split, phi float64) {
	if !s.comparable() || s.xc+s.xs == 0 {
		return
	}
	o := s.nc / s.ns
	known := math.Log(o)
	for i, r := range effectGrid {
		e.log[i] += (s.xc*(effectLogs[i]+known) - (s.xc+s.xs)*math.Log1p(r*o)) / phi
	}
}

// interval is the least and the greatest ratio that is not refuted at alpha, and the most likely one. The ends of the grid
// stand for 0 and infinity.
func (e *effect) interval(alpha float64) (low, likely, high float64) {
	top, at := math.Inf(-1), 0
	for i, l := range e.log {
		if l > top {
			top, at = l, i
		}
	}
	mass := 0.0
	for _, l := range e.log {
		mass += math.Exp(l - top)
	}
	floor := top + math.Log(mass/float64(len(e.log))) - math.Log(1/alpha)
	first, last := at, at
	for i, l := range e.log {
		if l > floor {
			first, last = min(first, i), max(last, i)
		}
	}
	low, likely, high = effectGrid[first], effectGrid[at], effectGrid[last]
	if first == 0 {
		low = 0
	}
	if last == len(e.log)-1 {
		high = math.Inf(1)
	}
	return low, likely, high
}
