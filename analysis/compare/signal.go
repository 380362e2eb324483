package compare

import (
	"math"
	"slices"
	"time"
)

// noTime is before everything.
var noTime time.Time

// signal is one metric at one bound: bad is an error, or slower than the bound.
type signal struct {
	bound      float64 // seconds; of Latency only
	harm       *harm
	absolute   *absolute // nil where no absolute share is borne
	safety     *safety
	dispersion *dispersion
	stable     recent
	effect     *effect
	// seen since the beginning, of the blocks that both arms are part of.
	seen split
	// stepRequests are the canary's since the step began.
	stepRequests float64
	// badBlocks counts the blocks in which the canary had bad requests.
	badBlocks int
}

func newSignal(bound float64) *signal {
	return &signal{bound: bound, harm: newHarm(), safety: newSafety(false), dispersion: newDispersion(), effect: newEffect()}
}

// evidence that the canary is worse than the margin: of both tests, where there are two, the average.
func (s *signal) evidence() float64 {
	if s.absolute == nil {
		return s.harm.value()
	}
	return (s.harm.value() + s.absolute.value()) / 2
}

// judged is what a metric's signals share.
type judged struct {
	Metric
	signals  []*signal
	means    *means  // of Latency only
	levels   *levels // of Level only
	restarts rates   // of Restarts only
	stable   distribution
	// lastStable are the last blocks of stable, newest last, for the objective.
	lastStable []podCount
	// last are the last two blocks in which the canary had requests, for the guard against failing altogether.
	last []split
}

func newJudged(m Metric) *judged {
	j := &judged{Metric: m}
	switch m.Kind {
	case Latency:
		j.means = newMeans()
	case Level:
		j.levels = newLevels()
	default:
		j.signals = []*signal{newSignal(0)}
		if m.Kind == Errors && m.Margin.Absolute > 0 {
			j.signals[0].absolute = newAbsolute()
		}
	}
	return j
}

// reference takes in what stable did before the canary got traffic.
func (j *judged) reference(c Counts) {
	switch j.Kind {
	case Level:
		j.levels.add(nil, c.Stable, j.Metric)
		return
	case Restarts:
		sp := j.signals[0].split(Errors, c, noTime)
		j.restarts.add(sp.ns, sp.xs)
		return
	case Latency:
		n, above := total(c.Stable, len(c.Bounds))
		j.stable.add(c.Bounds, n, above)
		if len(j.signals) == 0 || !slices.Equal(j.bounds(), j.stable.watched()) {
			j.signals = nil
			for _, b := range j.stable.watched() {
				j.signals = append(j.signals, newSignal(b))
			}
		}
	}
	for _, s := range j.signals {
		j.learn(s, c)
	}
	if j.means != nil {
		j.means.learn(c)
	}
}

func (j *judged) bounds() []float64 {
	out := make([]float64, len(j.signals))
	for i, s := range j.signals {
		out[i] = s.bound
	}
	return out
}

// learn updates what is known of stable. It comes after a block was judged: estimates are of earlier blocks only.
func (j *judged) learn(s *signal, c Counts) {
	names, cells := make([]string, 0, len(c.Stable)), make([]podCount, 0, len(c.Stable))
	for _, t := range c.Stable {
		if n, x, ok := s.of(j.Kind, t, c.Bounds); ok && n > 0 {
			names, cells = append(names, t.Pod), append(cells, podCount{n, x})
			s.stable.add(n, x)
		}
	}
	s.dispersion.add(names, cells)
}

// of is what a pod did, as the signal sees it; nothing where the histogram has no such bound any more.
func (s *signal) of(kind Kind, t Tally, bounds []float64) (n, x float64, ok bool) {
	if kind != Latency {
		return t.Requests, math.Min(t.Bad, t.Requests), true
	}
	i, found := slices.BinarySearch(bounds, s.bound)
	if !found || i >= len(t.Above) {
		return 0, 0, false
	}
	return t.Requests, math.Min(t.Above[i], t.Requests), true
}

// add judges a block, and then learns from it. next is the weight of the step that is to be proven safe, from 0 to 1; full
// says that all of the traffic is the canary's.
func (j *judged) add(c Counts, start time.Time, cfg Config, next float64, full bool) {
	switch j.Kind {
	case Level:
		if full { // idle pods need less
			return
		}
		warm := slices.DeleteFunc(slices.Clone(c.Canary), func(t Tally) bool { return t.Born.After(start.Add(-cfg.WarmUp)) })
		j.levels.add(warm, c.Stable, j.Metric)
		return
	case Restarts:
		j.addRestarts(c)
		return
	}
	if j.Kind == Latency && len(j.signals) == 0 {
		j.reference(c) // there was no traffic to look back on: begin now
	}
	if j.means != nil {
		j.means.add(c, j.Margin.Ratio, start.Add(-cfg.WarmUp))
	}
	var both split
	for _, s := range j.signals {
		sp := s.split(j.Kind, c, start.Add(-cfg.WarmUp))
		borne, excluded, bound := j.ratios(s, cfg.Budget/next, full)
		phi := s.dispersion.phi()
		chance, far := s.dispersion.apart()
		if cfg.Independent {
			phi, chance, far = 1, 1, 1
		}
		s.harm.add(sp, math.Max(borne, far), chance)
		if s.absolute != nil {
			s.absolute.add(sp, math.Max(j.Margin.Ratio, far), j.Margin.Absolute, s.stable.worse(), chance)
		}
		s.safety.add(sp, excluded, bound, phi)
		s.effect.add(sp, phi)
		s.stepRequests += sp.nc
		if sp.comparable() {
			s.seen = split{s.seen.nc + sp.nc, s.seen.xc + sp.xc, s.seen.ns + sp.ns, s.seen.xs + sp.xs}
		}
		if sp.xc > 0 {
			s.badBlocks++
		}
		both = sp
		j.learn(s, c)
	}
	if j.Kind == Latency {
		n, above := total(c.Stable, len(c.Bounds))
		j.stable.add(c.Bounds, n, above)
	}
	if both.ns > 0 {
		j.lastStable = lastOf(j.lastStable, podCount{both.ns, both.xs}, 4)
	}
	if both.nc > 0 {
		j.last = lastOf(j.last, both, 2)
	}
}

func lastOf[T any](list []T, one T, n int) []T {
	list = append(list, one)
	return list[max(0, len(list)-n):]
}

// split sums up both arms. Latency of canary pods that were born after warm is left out.
func (s *signal) split(kind Kind, c Counts, warm time.Time) split {
	var out split
	for _, t := range c.Canary {
		if kind == Latency && t.Born.After(warm) {
			continue
		}
		if n, x, ok := s.of(kind, t, c.Bounds); ok {
			out.nc, out.xc = out.nc+n, out.xc+x
		}
	}
	for _, t := range c.Stable {
		if n, x, ok := s.of(kind, t, c.Bounds); ok {
			out.ns, out.xs = out.ns+n, out.xs+x
		}
	}
	return out
}

// ratios are the ratio of bad shares that is borne, the one that must be ruled out, and the canary's bad share that must be,
// or 0 where bad requests are not rare. excess is the harm budget in terms of the canary's requests at the next weight.
func (j *judged) ratios(s *signal, excess float64, full bool) (borne, excluded, bound float64) {
	p, now := s.stable.share(), s.stable.worse()
	if j.Kind == Errors {
		borne, excluded = j.Margin.Ratio+j.Margin.Absolute/p, j.Exclude+excess/now
		bound = 0.5*j.Exclude*p + excess
	} else {
		i, found := slices.BinarySearch(j.stable.bounds, s.bound)
		if !found {
			return 1, 1, 0
		}
		slow := j.stable.slower(i, j.Exclude)
		borne, excluded, bound = j.stable.slower(i, j.Margin.Ratio)+j.Margin.Absolute/p, slow+excess/now, p+excess
		if full {
			bound = slow*p + excess
		}
	}
	if p >= rare && !full {
		bound = 0
	}
	return borne, excluded, bound
}

func total(tallies []Tally, bounds int) (float64, []float64) {
	n, above := 0.0, make([]float64, bounds)
	for _, t := range tallies {
		if len(t.Above) != bounds {
			continue
		}
		n += t.Requests
		for i, x := range t.Above {
			above[i] += x
		}
	}
	return n, above
}

// broken says whether stable itself is beyond the metric's objective, over its last four blocks.
func (j *judged) broken() (float64, bool) {
	n, x := 0.0, 0.0
	for _, c := range j.lastStable {
		n, x = n+c.n, x+c.x
	}
	if j.Kind != Errors || j.Objective <= 0 || n < 20 {
		return 0, false
	}
	return x / n, x/n > j.Objective
}

// allFail says whether every request of the canary failed in two blocks in a row, 20 or more, while stable's of the same blocks did
// not; where stable had none, those before count.
func (j *judged) allFail() bool {
	if j.Kind != Errors || len(j.last) < 2 {
		return false
	}
	var both split
	for _, b := range j.last {
		both = split{both.nc + b.nc, both.xc + b.xc, both.ns + b.ns, both.xs + b.xs}
	}
	beside := j.signals[0].stable.share()
	if both.ns > 0 {
		beside = (both.xs + 0.5) / (both.ns + 1)
	}
	return both.nc >= 20 && both.xc == both.nc && beside < 0.5
}

// harmValue is the average of the signals' evidence. Where there are means, they and the bounds weigh the same.
func (j *judged) harmValue() float64 {
	if j.levels != nil {
		return j.levels.harm.value()
	}
	bounds := j.boundsValue()
	if j.means == nil || !j.means.known() {
		return bounds
	}
	return (bounds + j.means.value()) / 2
}

func (j *judged) boundsValue() float64 {
	if len(j.signals) == 0 {
		return 1
	}
	e := 0.0
	for _, s := range j.signals {
		e += s.evidence()
	}
	return e / float64(len(j.signals))
}

// safetyValue is the evidence of the signal that is proven least; 1 where there is no signal yet.
func (j *judged) safetyValue() float64 {
	if j.levels != nil {
		return j.levels.safety()
	}
	least := math.Inf(1)
	for _, s := range j.signals {
		least = math.Min(least, s.safety.value())
	}
	if math.IsInf(least, 1) && len(j.signals) == 0 {
		return 1
	}
	return least
}
