package compare

import "math"

// rare is the share of bad requests below which clean requests of the canary are evidence by themselves.
const rare = 0.05

// laterOfSafety is what later starts weigh together at full weight: what the first start loses by it is a tenth of a nat.
const laterOfSafety = 0.1

// safety is the evidence, as an e-process, that a signal of the canary is better than what must be ruled out. It begins anew
// at each step: every level of load is proven on its own.
//
// It averages two: the mirror image of harm (H0: the odds are at least those of the ratio that is ruled out), and, where bad
// requests are rare, a test of the canary alone (H0: its bad share is at least bound), which sees what the first cannot:
// many requests of which none is bad.
//
// At full weight the second is all there is, and what befalls everybody tells against the canary for want of a stable that it befalls
// too. There later starts are averaged in, so that a minute of trouble is not worked off for an hour.
type safety struct {
	process       // of both: the first half of the alternatives' sums is the mirror's
	mirror, alone []float64
}

func newSafety(full bool) *safety {
	n := len(alternatives)
	f := &safety{process: process{sum: make([]float64, 2*n)}}
	f.mirror, f.alone = f.sum[:n], f.sum[n:]
	if full {
		f.later = laterOfSafety
	}
	return f
}

// add takes in a block. ratio is the ratio of bad shares, and bound the canary's bad share, that are ruled out.
func (f *safety) add(s split, ratio, bound, phi float64) {
	if s.comparable() && s.xc+s.xs > 0 {
		o := s.nc * ratio / s.ns
		null := math.Log1p(o)
		for i, g := range alternatives {
			f.mirror[i] += (-s.xc*alternativeLogs[i] + (s.xc+s.xs)*(null-math.Log1p(o/g))) / phi
		}
	}
	if s.nc == 0 || bound <= 0 || bound >= 1 {
		return
	}
	null := math.Log1p(-bound)
	for i, g := range alternatives {
		f.alone[i] += (-s.xc*alternativeLogs[i] + (s.nc-s.xc)*(math.Log1p(-bound/g)-null)) / phi
	}
}
