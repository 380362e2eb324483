package compare

import (
	"math"
	"slices"
)

const (
	// levelSpan is how many blocks make one observation of levels: a minute.
	levelSpan = 4
	// priorSpread and priorSpreadWeight are what is assumed of the sd of stable pods' levels on the logarithmic scale, and how
	// many degrees of freedom that is worth.
	priorSpread, priorSpreadWeight = 0.1, 8
	// leastNoise is the least sd of an observation.
	leastNoise = 0.02
	// unlimited is for proofs that need no guard against a single burst.
	unlimited = math.MaxFloat64
)

// levels compare a quantity that every pod has at all times: memory in use, the length of a queue. An observation is the
// logarithm of the canary pods' mean over the median of the stable pods, a minute long. Levels of a pod hang together over
// time, so what makes pods unlike for good widens the margin, and only what changes from one minute to the next is noise
// (half the variance of the differences: for a course with correlation between neighbours it counts too little, so this is an
// approximation, and metrics of levels advise by default).
type levels struct {
	harm, safe           normal
	spread, noise        squares
	canary               mean2
	pods                 map[string]mean2
	before               map[string]float64
	blocks               int
	lastCanary, lastStab float64
}

// squares is a sum of squares and its degrees of freedom.
type squares struct{ ss, df float64 }

func (s *squares) forget() { s.ss, s.df = s.ss*memoryOfLevels, s.df*memoryOfLevels }

// memoryOfLevels is an hour of minutes.
const memoryOfLevels = 1 - 1.0/60

type mean2 struct{ sum, n float64 }

func (m mean2) mean() float64 { return m.sum / m.n }

func newLevels() *levels { return &levels{pods: map[string]mean2{}, before: map[string]float64{}} }

// step begins the proof of safety anew.
func (l *levels) step() { l.safe = normal{} }

// between is how far pods are apart for good, as a variance on the logarithmic scale.
func (l *levels) between() float64 {
	return (l.spread.ss + priorSpread*priorSpread*priorSpreadWeight) / (l.spread.df + priorSpreadWeight)
}

func (l *levels) variance() float64 {
	if l.noise.df == 0 {
		return l.between()
	}
	return math.Max(l.noise.ss/l.noise.df, leastNoise*leastNoise)
}

// add takes in a block; canary pods that were born after the warm-up's beginning are left out by the caller.
func (l *levels) add(canary, stable []Tally, m Metric) {
	for _, t := range canary {
		if t.Levelled {
			l.canary = mean2{l.canary.sum + t.Level, l.canary.n + 1}
		}
	}
	for _, t := range stable {
		if t.Levelled {
			p := l.pods[t.Pod]
			l.pods[t.Pod] = mean2{p.sum + t.Level, p.n + 1}
		}
	}
	if l.blocks++; l.blocks < levelSpan {
		return
	}
	l.observe(m)
	l.canary, l.blocks = mean2{}, 0
	clear(l.pods)
}

func (l *levels) observe(m Metric) {
	if len(l.pods) == 0 {
		return
	}
	names := make([]string, 0, len(l.pods))
	values := make([]float64, 0, len(l.pods))
	for name := range l.pods {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values = append(values, l.pods[name].mean())
	}
	middle := medianOf(values)
	if l.canary.n > 0 {
		l.judge(l.canary.mean(), middle, m)
	}
	l.learn(names, values, middle, m.Margin.Absolute)
}

// judge takes in an observation. Nothing can be said where both are 0 and no absolute margin is given.
func (l *levels) judge(canary, stable float64, m Metric) {
	borne, excluded := m.Margin.Ratio*stable+m.Margin.Absolute, m.Exclude*stable+2*m.Margin.Absolute
	if borne <= 0 || canary < 0 {
		return
	}
	l.lastCanary, l.lastStab = canary, stable
	floor := borne * 1e-3 // a level of 0 is no more than a thousand times less
	y := math.Log(math.Max(canary, floor) / math.Max(stable, floor))
	margin := math.Log(borne / math.Max(stable, floor))
	v := l.variance()
	l.harm.add(y, math.Max(margin, farPods*math.Sqrt(l.between())), v, maxIncrement)
	l.safe.add(-y, -math.Log(excluded/math.Max(stable, floor)), v, unlimited)
}

// learn updates what is known of stable pods, after the observation was judged.
func (l *levels) learn(names []string, values []float64, middle, absolute float64) {
	l.spread.forget()
	l.noise.forget()
	base := middle + absolute
	if base <= 0 {
		return
	}
	k := 0.0
	for i, name := range names {
		d := math.Log((values[i] + absolute + base*1e-3) / (base * (1 + 1e-3)))
		if before, known := l.before[name]; known {
			l.noise.ss, l.noise.df = l.noise.ss+(d-before)*(d-before)/2, l.noise.df+1
		}
		l.before[name] = d
		l.spread.ss, k = l.spread.ss+d*d, k+1
	}
	l.spread.df += k - 1
}

func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func (l *levels) safety() float64 { return mixture(l.safe.s, l.safe.w) }
