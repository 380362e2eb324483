package compare

import (
	"math"
	"slices"
)

// maxRestarts is how many later starts are kept beside the first; the one with the least evidence gives way.
const maxRestarts = 24

// process is an e-process: an average over alternatives, and over starts. What came before a start does not count for it, so that
// neither a good nor a bad beginning decides for ever. The average is fixed beforehand: the first start weighs 1-later, the k-th
// restart later/(k(k+1)), and those to come stand at 1.
type process struct {
	sum      []float64 // log-likelihood ratio of each alternative, from the beginning on
	later    float64
	restarts []restart
	made     int
}

type restart struct {
	k    int
	from []float64
}

// restart begins to average in a new start.
func (p *process) restart() {
	p.made++
	p.restarts = append(p.restarts, restart{k: p.made, from: slices.Clone(p.sum)})
	if len(p.restarts) <= maxRestarts {
		return
	}
	least := weakest(len(p.restarts)-1, p.weighted)
	p.restarts = slices.Delete(p.restarts, least, least+1)
}

// weakest is which of the first n starts has the least weighted evidence.
func weakest(n int, weighted func(int) float64) int {
	least := 0
	for i := range n {
		if weighted(i) < weighted(least) {
			least = i
		}
	}
	return least
}

func (p *process) weighted(i int) float64 {
	r := p.restarts[i]
	return p.later / (float64(r.k) * float64(r.k+1)) * p.since(r.from)
}

// since is the average over the alternatives of the evidence since a start.
func (p *process) since(from []float64) float64 {
	total := 0.0
	for i, s := range p.sum {
		if from != nil {
			s -= from[i]
		}
		total += math.Exp(s)
	}
	return total / float64(len(p.sum))
}

// value of the e-process. It may be +Inf.
func (p *process) value() float64 {
	e := (1-p.later)*p.since(nil) + p.later/float64(p.made+1)
	for i := range p.restarts {
		e += p.weighted(i)
	}
	return e
}
