package compare

import (
	"math"
	"slices"
	"time"
)

const (
	// leastRequests of each arm make one observation of the means: fewer are put together with those of the next block.
	leastRequests = 30
	// leastObservations are needed before anything is halted for its mean.
	leastObservations = 3
	// farPods is how many standard deviations stable pods differ from each other that a canary pod may differ from them.
	farPods = 3
)

// means compares the mean durations of both arms: sum over count. It sees a shift of the whole distribution sooner than any
// bound does, and does not depend on where the bounds lie. It can halt; what may step is proven at the bounds.
//
// An observation is the logarithm of the ratio of the arms' means in a block. Its variance is that of a request, measured
// between stable pods, over the requests: no fewer than it takes to be nearly normal, and no pod counts for more requests
// than the pods at which the variance was measured. That some pods are slower, and stay so, is no noise of a block: the
// margin is there for it, and is never less than farPods standard deviations of stable pods.
type means struct {
	normal         normal
	scatter        *scatter
	canary, stable weighed
	canaryPods     float64
	seen           [2]weighed
}

func newMeans() *means { return &means{scatter: newScatter()} }

// add judges a block, and then learns from it. Latency of canary pods that were born after warm is left out.
func (m *means) add(c Counts, margin float64, warm time.Time) {
	var canary, stable weighed
	pods := 0.0
	for _, t := range c.Canary {
		if t.Summed && t.Requests > 0 && !t.Born.After(warm) {
			canary, pods = weighed{canary.n + t.Requests, canary.sum + t.Sum}, pods+1
		}
	}
	for _, t := range c.Stable {
		if t.Summed && t.Requests > 0 {
			stable = weighed{stable.n + t.Requests, stable.sum + t.Sum}
		}
	}
	if canary.n > 0 && stable.n > 0 {
		m.canary = weighed{m.canary.n + canary.n, m.canary.sum + canary.sum}
		m.stable = weighed{m.stable.n + stable.n, m.stable.sum + stable.sum}
		m.canaryPods = math.Max(m.canaryPods, pods)
		m.observe(margin)
	}
	m.learn(c)
}

// observe makes an observation of what was put together, where that is enough.
func (m *means) observe(margin float64) {
	one, known := m.scatter.request()
	if !known || m.canary.n < leastRequests || m.stable.n < leastRequests || m.canary.sum <= 0 || m.stable.sum <= 0 {
		return
	}
	counted := math.Min(m.canary.n, m.canaryPods*math.Max(m.scatter.short.size(), leastRequests))
	y := math.Log(m.canary.sum / m.canary.n / (m.stable.sum / m.stable.n))
	m.normal.add(y, m.borne(margin), one*(1/counted+1/m.stable.n), maxIncrement)
	for i, arm := range []weighed{m.canary, m.stable} {
		m.seen[i] = weighed{m.seen[i].n + arm.n, m.seen[i].sum + arm.sum}
	}
	m.canary, m.stable, m.canaryPods = weighed{}, weighed{}, 0
}

func (m *means) learn(c Counts) {
	names, cells := make([]string, 0, len(c.Stable)), make([]weighed, 0, len(c.Stable))
	for _, t := range c.Stable {
		if t.Summed && t.Requests > 0 {
			names, cells = append(names, t.Pod), append(cells, weighed{t.Requests, t.Sum})
		}
	}
	if len(names) > 0 {
		m.scatter.add(names, cells)
	}
}

// borne is the margin on the logarithmic scale.
func (m *means) borne(margin float64) float64 {
	return math.Max(math.Log(margin), farPods*math.Sqrt(m.scatter.between()))
}

func (m *means) value() float64 { return m.normal.value() }

// known says whether the histogram has a sum at all.
func (m *means) known() bool { return m.scatter.short.df > 0 }

func (m *means) enough() bool { return m.normal.observed >= leastObservations }

func sortedNames(m map[string]weighed) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
