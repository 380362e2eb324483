package compare

import (
	"math"
	"slices"
)

// normal is the evidence, as an e-process, that the mean of a course of observations is above 0, where each observation is
// nearly normal and has a variance v of its own: the log-likelihood ratio of a mean delta against 0 is
//
//	delta*S - delta^2*W/2,  S = sum y/v,  W = sum 1/v,
//
// and so is that of a mixture over delta (Robbins 1970, Statistical methods related to the law of the iterated logarithm). As
// variances are estimated, it holds asymptotically (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476). Later
// starts are averaged in as in harm.
type normal struct {
	s, w     float64
	restarts []start
	made     int
	// raw is S without what was cut off, on the scale of the observations.
	raw float64
	// observed counts the observations.
	observed int
}

type start struct {
	k    int
	s, w float64
}

// shifts are the alternatives, on the logarithmic scale: from 2 % to 5 times beyond the margin.
var shifts = logGrid(0.02, 1.6, 10)

// add takes in an observation of variance v; margin is what is borne of it. What is far above the margin is cut to most, in
// nats, that one observation may add: the cut only lowers an observation, so the null hypothesis stays where it is.
func (n *normal) add(y, margin, v, most float64) {
	n.raw += y / v
	n.s += math.Min(y-margin, math.Sqrt(2*most*v)) / v
	n.w += 1 / v
	n.observed++
}

func (n *normal) restart() {
	n.made++
	n.restarts = append(n.restarts, start{k: n.made, s: n.s, w: n.w})
	if len(n.restarts) <= maxRestarts {
		return
	}
	least := weakest(len(n.restarts)-1, n.weighted)
	n.restarts = slices.Delete(n.restarts, least, least+1)
}

func (n *normal) weighted(i int) float64 {
	r := n.restarts[i]
	return laterOfHarm / (float64(r.k) * float64(r.k+1)) * mixture(n.s-r.s, n.w-r.w)
}

func mixture(s, w float64) float64 {
	total := 0.0
	for _, d := range shifts {
		total += math.Exp(d*s - d*d*w/2)
	}
	return total / float64(len(shifts))
}

// value of the e-process. It may be +Inf.
func (n *normal) value() float64 {
	e := mixture(n.s, n.w)/2 + 1/(2*float64(n.made+1))
	for i := range n.restarts {
		e += n.weighted(i)
	}
	return e
}

// expected is the sd, on the logarithmic scale, of the differences for which interval is the narrowest.
const expected = 0.3

// interval is a confidence sequence at alpha for the mean of the observations, and its estimate: those means that a normal
// mixture around them does not refute (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, arXiv 1810.08240, section 3.2).
// Without observations it is everything.
func (n *normal) interval(alpha float64) (low, likely, high float64) {
	if n.w == 0 {
		return math.Inf(-1), 0, math.Inf(1)
	}
	v, r := 1/n.w, expected*expected
	half := math.Sqrt(2 * v * (v + r) / r * (math.Log(1/alpha) + math.Log((v+r)/v)/2))
	likely = n.raw / n.w
	return likely - half, likely, likely + half
}

// scatter estimates how means of pods scatter around that of all: within a block by chance, and between pods for as long as
// a sum of 16 blocks lasts. Values are relative deviations.
type scatter struct {
	short, long moments
	sums        map[string]weighed
	single      []weighed
	blocks      int
}

// weighed is a pod's sum of a quantity, over a number of requests.
type weighed struct{ n, sum float64 }

// moments are sums of squared relative deviations, weighed by requests, their degrees of freedom, and how many requests a
// mean was of, over what is remembered.
type moments struct{ ss, df, requests, means float64 }

func (m *moments) forget() {
	m.ss, m.df = m.ss*memoryOfDispersion, m.df*memoryOfDispersion
	m.requests, m.means = m.requests*memoryOfDispersion, m.means*memoryOfDispersion
}

func (m *moments) add(cells []weighed) {
	var n, sum, k float64
	for _, c := range cells {
		if c.n > 0 {
			n, sum, k = n+c.n, sum+c.sum, k+1
		}
	}
	if k < 2 || !(sum > 0) {
		return
	}
	for _, c := range cells {
		if c.n > 0 {
			d := c.sum/c.n/(sum/n) - 1
			m.ss += c.n * d * d
		}
	}
	m.df += k - 1
	m.requests, m.means = m.requests+n, m.means+k
}

func (m *moments) size() float64 { return m.requests / m.means }

func newScatter() *scatter { return &scatter{sums: map[string]weighed{}} }

// add takes in a block of stable pods, by name in ascending order.
func (s *scatter) add(names []string, cells []weighed) {
	s.short.forget()
	s.long.forget()
	s.short.add(cells)
	for i, name := range names {
		sum := s.sums[name]
		s.sums[name] = weighed{sum.n + cells[i].n, sum.sum + cells[i].sum}
	}
	if len(cells) == 1 {
		s.single = append(s.single, cells[0])
	}
	if s.blocks++; s.blocks < longSpan {
		return
	}
	if len(s.sums) == 1 {
		s.short.add(s.single)
	} else {
		sums := make([]weighed, 0, len(s.sums))
		for _, name := range sortedNames(s.sums) {
			sums = append(sums, s.sums[name])
		}
		s.long.add(sums)
	}
	clear(s.sums)
	s.single, s.blocks = s.single[:0], 0
}

const (
	// leastScatter is how many degrees of freedom are needed before means are judged.
	leastScatter = 8
	// priorBetween and priorBetweenWeight are what is assumed of the sd of pods' means, and how many degrees of freedom that
	// is worth.
	priorBetween, priorBetweenWeight = 0.03, 8
)

// request is the variance that one request adds, relative to the square of the mean; ok says whether it is known.
func (s *scatter) request() (float64, bool) {
	if s.short.df < leastScatter {
		return 0, false
	}
	return math.Max(s.short.ss/s.short.df, 1e-6), true
}

// between is the variance of pods' means that does not go away in 16 blocks: pods are slower than others, and stay so.
func (s *scatter) between() float64 {
	const prior = priorBetween * priorBetween
	if s.long.df == 0 {
		return prior
	}
	one, _ := s.request()
	measured := math.Max(0, s.long.ss/s.long.df-one) / s.long.size()
	return (measured*s.long.df + prior*priorBetweenWeight) / (s.long.df + priorBetweenWeight)
}
