package compare

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Part says what a series counts.
type Part int

// Parts of a metric.
const (
	// Total counts all requests.
	Total Part = iota
	// Bad counts bad requests.
	Bad
	// Bucket counts requests that took no longer than Series.Bound; the bucket of +Inf counts them all.
	Bucket
	// Sum adds up the durations of all requests of a histogram, in seconds.
	Sum
	// Gauge is no counter, but what a pod has; the series of one pod are added.
	Gauge
)

// Point is one raw sample of a cumulative counter, or of a gauge.
type Point struct {
	At    time.Time
	Value float64
}

// Series is a counter of one pod, with raw samples in ascending order of time.
type Series struct {
	// Metric is its index in Config.Metrics.
	Metric int
	Part   Part
	// Bound of a bucket in seconds, +Inf included.
	Bound float64
	// Pod is the name of the pod.
	Pod string
	// ID tells the series from all others: its labels in a fixed order.
	ID string
	// Source says who scrapes it, job and instance. One pod scraped twice would count twice, so only the first source of a
	// pod, in alphabetical order of those seen together, is used.
	Source string
	Points []Point
}

// Pod is whose series count, and for which arm.
type Pod struct {
	Name   string
	Canary bool
	// Created is when the pod was made. Its counters began at 0 then.
	Created time.Time
	// Born is when it began to get traffic: Tally.Born.
	Born time.Time
}

// Builder makes blocks of raw samples. It takes differences itself: the first increment of a series that appears while its
// pod is watched counts from 0, a counter that goes down was reset, and what is not a number, negative or infinite is left
// out. A difference belongs to the block in which the later of its two samples was taken, so that late and missing scrapes
// move counts to a later block and invent none.
type Builder struct {
	start  time.Time
	width  time.Duration
	kinds  []Kind
	pods   map[string]Pod
	series map[seriesKey]*seriesState
	// watched are the pods with series, by metric and in the order of their names.
	watched [][]*podState
	// common are the bounds that the histograms of all pods have, by metric; nil: they must be looked for.
	common [][]float64
	// earliest sample of all.
	earliest time.Time
	closed   int64 // index of the next block to close
	begun    bool
	states   []*seriesState // of the series that were added last
	// Skipped counts samples that were no counts.
	Skipped int
	// Doubled names pods whose second source was left out.
	Doubled map[string]string
}

type seriesKey struct {
	metric int
	part   Part
	id     string
}

// seriesState is a series that counts.
type seriesState struct {
	key  seriesKey
	pod  *podState
	last Point
	seen bool
	slot int // of a bucket, among the pod's bounds
}

// podState is what is known of a pod's series of one metric.
type podState struct {
	name    string
	source  string
	scraped time.Time // earliest sample
	bounds  []float64 // in the order in which they were first seen
	open    []cell
	slots   []int // of the shared bounds
}

// cell is what a pod did in a block.
type cell struct {
	index           int64
	total, bad, sum float64
	seen            bool // a sample of Total or of the bucket +Inf
	summed          bool
	buckets         []float64
	sampled         []bool
	levels          []level // of each series, the last sample in the block
}

type level struct {
	id    string
	value float64
}

// NewBuilder makes a builder of blocks of a width; block 0 begins at start, and those before it are the reference.
func NewBuilder(metrics []Metric, start time.Time, width time.Duration) *Builder {
	b := &Builder{start: start, width: width, pods: map[string]Pod{}, series: map[seriesKey]*seriesState{}, earliest: start,
		watched: make([][]*podState, len(metrics)), common: make([][]float64, len(metrics)), Doubled: map[string]string{}}
	for _, m := range metrics {
		b.kinds = append(b.kinds, m.Kind)
	}
	return b
}

// Watch says whose series count. Pods are added, never taken away: what a pod did counts after it has gone.
func (b *Builder) Watch(pods ...Pod) {
	for _, p := range pods {
		b.pods[p.Name] = p
	}
}

// Add takes in samples; those that it has seen already, and those of pods that are not watched, are left out.
func (b *Builder) Add(series []Series) {
	order := func(x, y Series) int { return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID)) }
	if !slices.IsSortedFunc(series, order) {
		slices.SortFunc(series, order)
	}
	for i := range series { // what was scraped first is known before anything is counted
		if i == len(b.states) {
			b.states = append(b.states, nil)
		}
		b.states[i] = b.know(&series[i], b.states[i])
	}
	for i := range series {
		if b.states[i] == nil {
			continue
		}
		for _, p := range series[i].Points {
			b.point(&series[i], b.states[i], p)
		}
	}
}

// know finds a series that counts, or begins to count it; nil where it is nobody's, or that of a second source.
// Answers have the same order mostly: guess is the series that was in its place last time.
func (b *Builder) know(s *Series, guess *seriesState) *seriesState {
	if len(s.Points) == 0 {
		return nil
	}
	key, first := seriesKey{s.Metric, s.Part, s.ID}, s.Points[0].At
	state := guess
	if state == nil || state.key != key {
		state = b.series[key]
	}
	if state == nil {
		if _, watched := b.pods[s.Pod]; !watched || s.Metric < 0 || s.Metric >= len(b.kinds) {
			return nil
		}
		pod := b.podOf(s)
		if pod.source != s.Source {
			b.Doubled[s.Pod] = s.Source
			return nil
		}
		state = &seriesState{key: key, pod: pod}
		if s.Part == Bucket && !math.IsInf(s.Bound, 1) {
			state.slot = b.slot(s.Metric, pod, s.Bound)
		}
		b.series[key] = state
	}
	if state.pod.source != s.Source { // the same labels but for those that tell who scraped
		b.Doubled[s.Pod] = s.Source
		return nil
	}
	if first.Before(state.pod.scraped) {
		state.pod.scraped = first
	}
	if first.Before(b.earliest) {
		b.earliest = first
	}
	return state
}

func (b *Builder) podOf(s *Series) *podState {
	list := b.watched[s.Metric]
	i, found := slices.BinarySearchFunc(list, s.Pod, func(p *podState, name string) int { return cmp.Compare(p.name, name) })
	if !found {
		list = slices.Insert(list, i, &podState{name: s.Pod, source: s.Source, scraped: s.Points[0].At})
		b.watched[s.Metric] = list
		b.common[s.Metric] = nil
	}
	return list[i]
}

// slot of a bound of a pod's histogram.
func (b *Builder) slot(metric int, pod *podState, bound float64) int {
	if i := slices.Index(pod.bounds, bound); i >= 0 {
		return i
	}
	pod.bounds = append(pod.bounds, bound)
	b.common[metric] = nil
	return len(pod.bounds) - 1
}

func (b *Builder) point(s *Series, state *seriesState, p Point) {
	if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || p.Value < 0 {
		b.Skipped++
		return
	}
	if state.seen && !p.At.After(state.last.At) {
		return
	}
	increment := p.Value
	switch {
	case state.seen && p.Value >= state.last.Value:
		increment = p.Value - state.last.Value
	case state.seen: // a reset: it began again at 0
	case p.At.After(state.pod.scraped): // its pod was scraped before, and did not have it
	case b.pods[s.Pod].Created.Before(b.earliest): // it may have counted long before anybody looked
		increment = 0
	}
	state.last, state.seen = p, true
	index := b.index(p.At)
	if b.begun && index < b.closed {
		index = b.closed // it came late
	}
	c := state.pod.cell(index)
	switch {
	case s.Part == Gauge:
		c.gauge(s.ID, p.Value)
	case s.Part == Bad:
		c.bad += increment
	case s.Part == Sum:
		c.sum += increment
		c.summed = true
	case s.Part == Total, math.IsInf(s.Bound, 1):
		c.total += increment
		c.seen = true
	default:
		c.bucket(state.slot, increment)
	}
}

// index of the block in which a sample was taken; one at the very end of a block belongs to it.
func (b *Builder) index(at time.Time) int64 {
	since := at.Sub(b.start)
	i := int64(since / b.width)
	if since%b.width <= 0 {
		i--
	}
	return i
}

func (p *podState) cell(index int64) *cell {
	for i := range p.open {
		if p.open[i].index == index {
			return &p.open[i]
		}
	}
	p.open = append(p.open, cell{index: index})
	return &p.open[len(p.open)-1]
}

func (c *cell) gauge(id string, value float64) {
	i, found := slices.BinarySearchFunc(c.levels, id, func(l level, id string) int { return cmp.Compare(l.id, id) })
	if !found {
		c.levels = slices.Insert(c.levels, i, level{id: id})
	}
	c.levels[i].value, c.seen = value, true
}

func (c *cell) bucket(slot int, increment float64) {
	for len(c.buckets) <= slot {
		c.buckets, c.sampled = append(c.buckets, 0), append(c.sampled, false)
	}
	c.buckets[slot] += increment
	c.sampled[slot] = true
}

// take takes a block's cell away; nil where there is none.
func (p *podState) take(index int64) *cell {
	i := slices.IndexFunc(p.open, func(c cell) bool { return c.index == index })
	if i < 0 {
		return nil
	}
	c := p.open[i]
	p.open = slices.Delete(p.open, i, i+1)
	return &c
}

// first index of a block with samples.
func (b *Builder) first() (int64, bool) {
	least, found := int64(0), false
	for _, pods := range b.watched {
		for _, p := range pods {
			for _, c := range p.open {
				if !found || c.index < least {
					least, found = c.index, true
				}
			}
		}
	}
	return least, found
}

// Begin says that blocks are wanted from the start on though no sample may ever come.
func (b *Builder) Begin() {
	if _, found := b.first(); !found && !b.begun {
		b.closed, b.begun = 0, true
	}
}

// Close gives the blocks that ended at or before a time, in order, blocks without samples included; each only once. Give
// late scrapes time: a sample that comes after its block was closed counts in the next one.
func (b *Builder) Close(until time.Time) []Block {
	if !b.begun {
		first, found := b.first()
		if !found {
			return nil
		}
		b.closed, b.begun = min(0, first), true
	}
	var out []Block
	for ; ; b.closed++ {
		end := b.start.Add(time.Duration(b.closed+1) * b.width)
		if end.After(until) {
			return out
		}
		out = append(out, b.block(b.closed, end))
	}
}

func (b *Builder) block(index int64, end time.Time) Block {
	out := Block{Start: end.Add(-b.width), End: end, Metrics: make([]Counts, len(b.kinds))}
	for m, kind := range b.kinds {
		counts := &out.Metrics[m]
		if kind == Latency {
			counts.Bounds = b.shared(m)
		}
		for _, state := range b.watched[m] {
			c := state.take(index)
			if c == nil || !c.seen {
				continue
			}
			pod := b.pods[state.name]
			t := Tally{Pod: state.name, Born: pod.Born, Requests: c.total, Bad: c.bad, Sum: c.sum, Summed: c.summed, Levelled: len(c.levels) > 0}
			for _, l := range c.levels {
				t.Level += l.value
			}
			if !c.above(&t, state.slots) { // its histogram has other buckets now
				continue
			}
			if pod.Canary {
				counts.Canary = append(counts.Canary, t)
			} else {
				counts.Stable = append(counts.Stable, t)
			}
		}
	}
	return out
}

// above fills in what was above the shared bounds, and says whether each of them was sampled.
func (c *cell) above(t *Tally, slots []int) bool {
	if len(slots) == 0 {
		return true
	}
	t.Above = make([]float64, len(slots))
	for i, slot := range slots {
		if slot >= len(c.sampled) || !c.sampled[slot] {
			return false
		}
		t.Above[i] = max(0, c.total-c.buckets[slot])
	}
	return true
}

// shared are the bounds that the histograms of all pods have, ascending; it tells each pod where they are.
func (b *Builder) shared(metric int) []float64 {
	if b.common[metric] != nil {
		return b.common[metric]
	}
	out := []float64{}
	for i, pod := range b.watched[metric] {
		if i == 0 {
			out = slices.Sorted(slices.Values(pod.bounds))
			continue
		}
		out = slices.DeleteFunc(out, func(bound float64) bool { return !slices.Contains(pod.bounds, bound) })
	}
	for _, pod := range b.watched[metric] {
		pod.slots = make([]int, len(out))
		for i, bound := range out {
			pod.slots[i] = slices.Index(pod.bounds, bound)
		}
	}
	b.common[metric] = out
	return out
}
