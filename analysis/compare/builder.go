package compare

import (
	"cmp"
	"fmt"
	"maps"
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
)

// Point is one raw sample of a cumulative counter.
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
	start   time.Time
	width   time.Duration
	kinds   []Kind
	pods    map[string]Pod
	series  map[string]*Point           // last sample by ID
	scraped []map[string]time.Time      // earliest sample of each pod, by metric
	sources []map[string]string         // of each pod, by metric
	bounds  []map[string][]float64      // of each pod's histogram, by metric
	open    map[int64][]map[string]*sum // by block, metric and pod
	closed  int64                       // index of the next block to close
	begun   bool
	// Skipped counts samples that were no counts.
	Skipped int
	// Doubled names pods whose second source was left out.
	Doubled map[string]string
}

type sum struct {
	total, bad float64
	seen       bool // a sample of Total or of the bucket +Inf
	buckets    map[float64]float64
}

// NewBuilder makes a builder of blocks of a width; block 0 begins at start, and those before it are the reference.
func NewBuilder(metrics []Metric, start time.Time, width time.Duration) *Builder {
	b := &Builder{start: start, width: width, pods: map[string]Pod{}, series: map[string]*Point{}, open: map[int64][]map[string]*sum{},
		Doubled: map[string]string{}}
	for _, m := range metrics {
		b.kinds = append(b.kinds, m.Kind)
		b.scraped, b.sources = append(b.scraped, map[string]time.Time{}), append(b.sources, map[string]string{})
		b.bounds = append(b.bounds, map[string][]float64{})
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
	slices.SortFunc(series, func(x, y Series) int { return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID)) })
	var use []Series
	for _, s := range series {
		if _, watched := b.pods[s.Pod]; !watched || len(s.Points) == 0 || s.Metric >= len(b.kinds) {
			continue
		}
		if source, known := b.sources[s.Metric][s.Pod]; known && source != s.Source {
			b.Doubled[s.Pod] = s.Source
			continue
		}
		b.sources[s.Metric][s.Pod] = s.Source
		first := s.Points[0].At
		if t, known := b.scraped[s.Metric][s.Pod]; !known || first.Before(t) {
			b.scraped[s.Metric][s.Pod] = first
		}
		if s.Part == Bucket {
			b.know(s)
		}
		use = append(use, s)
	}
	for _, s := range use {
		for _, p := range s.Points {
			b.point(s, p)
		}
	}
}

func (b *Builder) know(s Series) {
	known := b.bounds[s.Metric][s.Pod]
	if i, found := slices.BinarySearch(known, s.Bound); !found && !math.IsInf(s.Bound, 1) {
		b.bounds[s.Metric][s.Pod] = slices.Insert(known, i, s.Bound)
	}
}

func (b *Builder) point(s Series, p Point) {
	if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || p.Value < 0 {
		b.Skipped++
		return
	}
	key := fmt.Sprintf("%d/%d/%s", s.Metric, s.Part, s.ID)
	last := b.series[key]
	if last != nil && !p.At.After(last.At) {
		return
	}
	increment := p.Value
	switch {
	case last != nil && p.Value >= last.Value:
		increment = p.Value - last.Value
	case last != nil: // a reset: it began again at 0
	case p.At.After(b.scraped[s.Metric][s.Pod]): // its pod was scraped before, and did not have it
	case b.pods[s.Pod].Created.Before(b.from()): // it may have counted long before anybody looked
		increment = 0
	}
	b.series[key] = &Point{At: p.At, Value: p.Value}
	index := b.index(p.At)
	if b.begun && index < b.closed {
		index = b.closed // it came late
	}
	c := b.cell(index, s.Metric, s.Pod)
	switch {
	case s.Part == Bad:
		c.bad += increment
	case s.Part == Total:
		c.total += increment
		c.seen = true
	case math.IsInf(s.Bound, 1):
		c.total += increment
		c.seen = true
	default:
		c.buckets[s.Bound] += increment
	}
}

// from is where the samples that are asked for begin.
func (b *Builder) from() time.Time {
	earliest := b.start
	for _, pods := range b.scraped {
		for _, t := range pods {
			if t.Before(earliest) {
				earliest = t
			}
		}
	}
	return earliest
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

func (b *Builder) cell(index int64, metric int, pod string) *sum {
	if b.open[index] == nil {
		b.open[index] = make([]map[string]*sum, len(b.kinds))
	}
	if b.open[index][metric] == nil {
		b.open[index][metric] = map[string]*sum{}
	}
	c := b.open[index][metric][pod]
	if c == nil {
		c = &sum{buckets: map[float64]float64{}}
		b.open[index][metric][pod] = c
	}
	return c
}

// Close gives the blocks that ended at or before a time, in order, blocks without samples included; each only once. Give
// late scrapes time: a sample that comes after its block was closed counts in the next one.
func (b *Builder) Close(until time.Time) []Block {
	if !b.begun {
		if len(b.open) == 0 {
			return nil
		}
		b.closed, b.begun = min(0, slices.Min(slices.Collect(maps.Keys(b.open)))), true
	}
	var out []Block
	for ; ; b.closed++ {
		end := b.start.Add(time.Duration(b.closed+1) * b.width)
		if end.After(until) {
			return out
		}
		out = append(out, b.block(b.closed, end))
		delete(b.open, b.closed)
	}
}

func (b *Builder) block(index int64, end time.Time) Block {
	out := Block{Start: end.Add(-b.width), End: end, Metrics: make([]Counts, len(b.kinds))}
	for m, kind := range b.kinds {
		var cells map[string]*sum
		if b.open[index] != nil {
			cells = b.open[index][m]
		}
		counts := &out.Metrics[m]
		if kind == Latency {
			counts.Bounds = b.shared(m)
		}
		for _, name := range slices.Sorted(maps.Keys(cells)) {
			c, pod := cells[name], b.pods[name]
			if !c.seen {
				continue
			}
			t := Tally{Pod: name, Born: pod.Born, Requests: c.total, Bad: c.bad}
			for _, bound := range counts.Bounds {
				if upTo, sampled := c.buckets[bound]; sampled {
					t.Above = append(t.Above, max(0, c.total-upTo))
				}
			}
			if len(t.Above) != len(counts.Bounds) { // its histogram has other buckets now
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

// shared are the bounds that the histograms of all pods have.
func (b *Builder) shared(metric int) []float64 {
	var out []float64
	for i, name := range slices.Sorted(maps.Keys(b.bounds[metric])) {
		if i == 0 {
			out = slices.Clone(b.bounds[metric][name])
			continue
		}
		out = slices.DeleteFunc(out, func(bound float64) bool {
			_, found := slices.BinarySearch(b.bounds[metric][name], bound)
			return !found
		})
	}
	return out
}
