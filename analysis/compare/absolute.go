package compare

import "math"

// absolute is the evidence, as an e-process, that the canary's share of bad requests exceeds ratio times stable's plus an absolute
// share. It sees what harm cannot: where stable has next to no bad requests, nearly all of them are the canary's even if it is
// within the margin, and who had them tells little; that there are many tells all.
//
// Each block multiplies by the likelihood of its counts under an alternative, chosen from earlier blocks, over the greatest
// likelihood that any shares within the margin give them (universal inference: Wasserman, Ramdas, Balakrishnan, PNAS 2020,
// doi:10.1073/pnas.1922664117, block by block). Whatever the shares are, that is at most the likelihood ratio to them, whose mean is
// 1; and since they are found anew for each block, it holds while they move, as in a brown-out of both. Alternatives and later starts
// are averaged as those of harm.
type absolute struct{ harm }

func newAbsolute() *absolute { return &absolute{*newHarm()} }

// add takes in a block; p is stable's share as earlier blocks show it, phi the dispersion, at least 1.
func (a *absolute) add(s split, ratio, margin, p, phi float64) {
	if !s.comparable() {
		return
	}
	null := withinMargin(s, ratio, margin)
	for i, g := range alternatives {
		q := math.Min(g*(ratio*p+margin), mostBad)
		a.sum[i] += math.Min((likelihood(s, q, p)-null)/phi, maxIncrement)
	}
}

// mostBad bounds the alternatives: under a share of 1 a single good request would be impossible.
const mostBad = 0.95

// likelihood is the logarithm of that of a block, without the binomial coefficients: q is the canary's share, p stable's.
func likelihood(s split, q, p float64) float64 {
	return times0(s.xc, math.Log(q)) + times0(s.nc-s.xc, math.Log1p(-q)) + times0(s.xs, math.Log(p)) + times0(s.ns-s.xs, math.Log1p(-p))
}

// times0 is the product, and 0 where none was counted, whatever the logarithm.
func times0(n, log float64) float64 {
	if n == 0 {
		return 0
	}
	return n * log
}

// withinMargin is the greatest likelihood over all shares with q <= ratio*p+margin. It is concave in both: where the shares as counted
// are not within the margin, it lies on its edge, and there where the slope is 0.
func withinMargin(s split, ratio, margin float64) float64 {
	if q, p := s.xc/s.nc, s.xs/s.ns; q <= ratio*p+margin {
		return likelihood(s, q, p)
	}
	low, high := 0.0, (1-margin)/ratio
	for range 60 {
		p := (low + high) / 2
		q := ratio*p + margin
		if ratio*(s.xc/q-(s.nc-s.xc)/(1-q))+s.xs/p-(s.ns-s.xs)/(1-p) > 0 {
			low = p
		} else {
			high = p
		}
	}
	// The slope is not 0 within the last bit: the better of both ends, which is the edge itself where stable had no bad request.
	return math.Max(onEdge(s, low, ratio, margin), onEdge(s, high, ratio, margin))
}

func onEdge(s split, p, ratio, margin float64) float64 {
	return likelihood(s, ratio*p+margin, p)
}
