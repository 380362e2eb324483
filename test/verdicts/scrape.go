package verdicts

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/belay-delivery/belay/analysis/compare"
)

// What goes wrong with scrapes in every scenario.
const (
	usuallyMissing = 0.02
	usualRestarts  = 0.1 // of each stable pod in an hour
	late           = 0.02
)

// counters of a pod, as a scrape sees them: requests by code, of which that of errors appears with the first error, and a
// histogram with its sum.
type counters struct {
	scrapes  *source
	offset   time.Duration // of its scrapes, from the beginning of a block
	began    float64       // what it had counted before anybody looked
	good     float64
	bad      float64
	erred    bool
	shown    bool      // a scrape has seen that
	buckets  []float64 // cumulative, the last one is that of +Inf
	sum      float64
	drawn    []float64
	series   []compare.Series
	restarts float64 // in a block
}

func (v *Service) watch() {
	restarts := max(v.restarts, usualRestarts) * width.Hours()
	for i := range v.pods {
		p := &v.pods[i]
		c := &p.counters
		c.scrapes = newSource(p.r.Uint64(), 0x5c7a9e)
		c.offset = time.Duration(c.scrapes.Int64N(int64(width)-1) + 1)
		c.buckets = make([]float64, len(v.bounds)+1)
		c.series = v.list(p.name)
		created := v.start.Add(-24 * time.Hour)
		if i == stablePods {
			created = v.start
		} else {
			c.began, c.restarts = float64(c.scrapes.IntN(1e6)), restarts
			c.good = c.began
		}
		p.created = created
	}
	v.build()
}

func (v *Service) build() {
	metrics := []compare.Metric{{Name: "errors", Kind: compare.Errors}, {Name: "latency", Kind: compare.Latency}}
	v.builder = compare.NewBuilder(metrics, v.start, width)
	for i, p := range v.pods {
		v.builder.Watch(compare.Pod{Name: p.name, Canary: i == stablePods, Created: p.created, Born: v.start})
	}
}

// Clone goes on from here by itself: the same things happen to it. Its builder begins with the last scrape of each pod. Between
// blocks, at the end of the look-back.
func (v *Service) Clone() *Service {
	out := *v
	out.chance, out.scraped = v.chance.clone(), nil
	out.pods = make([]pod, len(v.pods))
	for i := range v.pods {
		out.pods[i] = v.pods[i].clone(v)
	}
	out.mate = v.mate.clone(v)
	out.build()
	for i := range stablePods {
		c := &out.pods[i].counters
		for k, s := range c.series {
			if !s.Points[0].At.IsZero() && (c.shown || k == 0 || k > 2) {
				out.scraped = append(out.scraped, s)
			}
		}
	}
	out.builder.Add(out.scraped)
	out.builder.Close(v.start.Add(time.Duration(v.block) * width))
	return &out
}

func (p *pod) clone(v *Service) pod {
	out := *p
	out.r = p.r.clone()
	if c := &out.counters; c.scrapes != nil {
		c.scrapes, c.buckets, c.drawn, c.series = c.scrapes.clone(), slices.Clone(c.buckets), nil, v.list(p.name)
		for i := range c.series {
			c.series[i].Points[0] = p.counters.series[i].Points[0]
		}
	}
	return out
}

// scrape adds what a pod did to its counters, and takes a sample of each. A pod that restarts begins again at 0, and what it
// did since its last scrape is lost as far as it came before that.
func (v *Service) scrape(p *pod, canary bool, s served) {
	c := &p.counters
	kept := 1.0
	if c.restarts > 0 && c.scrapes.Float64() < c.restarts {
		c.good, c.bad, c.erred, c.sum = 0, 0, false, 0
		clear(c.buckets)
		kept = c.scrapes.Float64()
	}
	c.count(s, kept)
	missed, wait := c.scrapes.Float64(), 0.1*c.scrapes.ExpFloat64()
	if c.scrapes.Float64() < late {
		wait += 5 * c.scrapes.Float64()
	}
	if missed < max(v.missing, usuallyMissing) {
		return
	}
	at := v.start.Add(time.Duration(v.block)*width + c.offset + time.Duration(wait*float64(time.Second)))
	v.sample(c, at)
}

// sample gives the values of a pod's counters; series are in the order of their names.
func (v *Service) sample(c *counters, at time.Time) {
	n := 0
	add := func(value float64) {
		c.series[n].Points[0] = compare.Point{At: at, Value: value}
		n++
	}
	add(c.good)
	add(c.bad)
	add(c.bad)
	for _, x := range c.buckets {
		add(x)
	}
	add(c.sum)
	c.shown = c.erred
	if c.erred {
		v.scraped = append(v.scraped, c.series...)
		return
	}
	v.scraped = append(append(v.scraped, c.series[0]), c.series[3:]...) // nobody has seen an error yet
}

// list makes the series of a pod.
func (v *Service) list(name string) []compare.Series {
	var out []compare.Series
	add := func(metric int, part compare.Part, bound float64, id string) {
		out = append(out, compare.Series{Metric: metric, Part: part, Bound: bound, Pod: name, ID: name + id, Source: "pods", Points: make([]compare.Point, 1)})
	}
	add(0, compare.Total, 0, "/0-code=200")
	add(0, compare.Total, 0, "/0-code=500")
	add(0, compare.Bad, 0, "/0-code=500")
	for i, b := range append(slices.Clone(v.bounds), math.Inf(1)) {
		add(1, compare.Bucket, b, fmt.Sprintf("/1-%04d-le=%g", i, b))
	}
	add(1, compare.Sum, 0, "/2-sum")
	return out
}

// count adds what was served; of a pod that restarted, a share of it.
func (c *counters) count(s served, kept float64) {
	part := func(x float64) float64 {
		if kept == 1 {
			return x
		}
		return math.Floor(x * kept)
	}
	c.good += part(s.requests - s.bad)
	c.bad += part(s.bad)
	c.erred = c.erred || c.bad > 0
	upTo := 0.0
	for i, x := range s.buckets {
		upTo += part(x)
		c.buckets[i] += upTo
	}
	c.sum += s.sum * kept
}
