package compare

import (
	"math"
	"slices"
)

const (
	// maxIncrement is the most evidence, in nats, that one block may add: a single burst cannot halt.
	maxIncrement = 2.5
	// maxRestarts is how many later starts are kept beside the first; the one with the least evidence gives way.
	maxRestarts = 24
)

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
type harm struct {
	sum      []float64 // log-likelihood ratio of each alternative, from the beginning on
	restarts []restart
	made     int
}

type restart struct {
	k    int
	from []float64
}

func newHarm() *harm { return &harm{sum: make([]float64, len(alternatives))} }

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

// restart begins to average in a new start.
func (h *harm) restart() {
	h.made++
	h.restarts = append(h.restarts, restart{k: h.made, from: slices.Clone(h.sum)})
	if len(h.restarts) <= maxRestarts {
		return
	}
	least := 0
	for i := range h.restarts[:len(h.restarts)-1] {
		if h.weighted(i) < h.weighted(least) {
			least = i
		}
	}
	h.restarts = slices.Delete(h.restarts, least, least+1)
}

func (h *harm) weighted(i int) float64 {
	r := h.restarts[i]
	return restartWeight(r.k) * h.since(r.from)
}

func restartWeight(k int) float64 { return 1 / (2 * float64(k) * float64(k+1)) }

// since is the average over the alternatives of the evidence since a start.
func (h *harm) since(from []float64) float64 {
	total := 0.0
	for i, s := range h.sum {
		if from != nil {
			s -= from[i]
		}
		total += math.Exp(s)
	}
	return total / float64(len(h.sum))
}

// value of the e-process. It may be +Inf.
func (h *harm) value() float64 {
	e := h.since(nil)/2 + 1/(2*float64(h.made+1))
	for i := range h.restarts {
		e += h.weighted(i)
	}
	return e
}
