package compare

import "math"

// maxIncrement is the most evidence, in nats, that one block may add: a single burst cannot halt.
const maxIncrement = 2.5

// laterOfHarm is what later starts weigh together.
const laterOfHarm = 0.5

// alternatives are how many times worse than the margin a canary is taken to be: 20 points from 1.2 to 200, evenly spaced on
// the logarithmic scale.
var alternatives = logGrid(1.2, 200, 20)

var alternativeLogs = logs(alternatives)

func logGrid(from, to float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = from * math.Pow(to/from, float64(i)/float64(n-1))
	}
	return out
}

// split is what a test sees of one block: requests and bad requests of both arms.
type split struct {
	nc, xc, ns, xs float64
}

func (s split) comparable() bool { return s.nc > 0 && s.ns > 0 }

// harm is the evidence, as an e-process, that a signal of the canary is worse than the margin.
//
// H0: given that a request of the block is bad, it is the canary's with odds of at most o = nc*ratio/ns. Each alternative
// multiplies the odds. Starts later than the first are averaged in, so that a good beginning does not outweigh what comes
// later: the first start weighs 1/2, the k-th restart 1/(2k(k+1)), and those to come stand at 1.
type harm struct{ process }

func newHarm() *harm {
	return &harm{process{sum: make([]float64, len(alternatives)), later: laterOfHarm}}
}

// add takes in a block at a ratio of bad shares that is borne; phi is the dispersion, at least 1.
func (h *harm) add(s split, ratio, phi float64) {
	if !s.comparable() || s.xc+s.xs == 0 {
		return
	}
	o := s.nc * ratio / s.ns
	null := math.Log1p(o)
	for i, g := range alternatives {
		increment := (s.xc*alternativeLogs[i] + (s.xc+s.xs)*(null-math.Log1p(g*o))) / phi
		h.sum[i] += math.Min(increment, maxIncrement)
	}
}
