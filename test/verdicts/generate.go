package verdicts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/belay-delivery/belay/analysis/compare"
)

// What every service has in common.
const (
	width      = 15 * time.Second
	stablePods = 9
	baseErrors = 0.002
	median     = 0.050 // seconds
	spread     = 0.6   // sigma of the logarithm of durations: p99 is 202 ms
	lookBack   = 80    // blocks: 20 minutes
)

// defaultBuckets are those of client_golang, in seconds.
var defaultBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// fineBuckets grow by 2^(1/8), about 9 %, as those of a native histogram of schema 3.
var fineBuckets = func() []float64 {
	var out []float64
	for i := -56; i <= 24; i++ {
		out = append(out, math.Pow(2, float64(i)/8))
	}
	return out
}()

// Scenario is a service, a new revision of it, and what happens meanwhile.
type Scenario struct {
	Name string
	// Bad revisions must be halted; Material ones must never be promoted.
	Bad, Material bool
	// Drift, of stress scenarios: the sd of each pod's own slow drift (AR(1), 0.97 a block) of error ratio.
	Drift float64

	bursts        float64 // mean length of error clusters; 0: none
	spreadOfPods  float64 // how unlike pods are, 1: 15 % in errors and 3 % in speed
	brownOut      bool
	spike         bool
	coldStart     bool
	errors        func(minutes, weight float64) float64 // added to the canary's share of errors
	slower        float64                               // factor on the canary's durations
	slowMode      float64                               // share of the canary's requests that take 2 s
	errorRatio    float64                               // factor on the canary's share of errors
	errorAbsolute float64
	flawless      bool    // but for what errors adds, no request is bad
	missing       float64 // share of scrapes that are missing; everywhere at least usuallyMissing
	restarts      float64 // restarts of each stable pod in an hour; everywhere at least usualRestarts
}

func plus(pp float64) func(float64, float64) float64 {
	return func(float64, float64) float64 { return pp / 100 }
}

// Good scenarios: the revisions are alike.
var Good = []Scenario{
	{Name: "independent requests"},
	{Name: "bursts of errors", bursts: 8},
	{Name: "pods differ", spreadOfPods: 1},
	{Name: "brown-out of both", brownOut: true},
	{Name: "traffic x3", spike: true},
	{Name: "cold start", coldStart: true},
	{Name: "bursts, pods differ", bursts: 8, spreadOfPods: 1},
}

// Bad scenarios: the new revision is worse. Pods differ in all of them.
var Bad = []Scenario{
	{Name: "errors +0.5 pp", Bad: true, spreadOfPods: 1, errors: plus(0.5)},
	{Name: "errors +1 pp", Bad: true, Material: true, spreadOfPods: 1, errors: plus(1)},
	{Name: "errors +5 pp", Bad: true, Material: true, spreadOfPods: 1, errors: plus(5)},
	{Name: "errors +20 pp", Bad: true, Material: true, spreadOfPods: 1, errors: plus(20)},
	{Name: "errors +5 pp, stable none", Bad: true, Material: true, spreadOfPods: 1, flawless: true, errors: plus(5)},
	{Name: "errors +2 pp, bursts", Bad: true, Material: true, spreadOfPods: 1, bursts: 8, errors: plus(2)},
	{Name: "latency x1.3", Bad: true, spreadOfPods: 1, slower: 1.3},
	{Name: "latency x2", Bad: true, Material: true, spreadOfPods: 1, slower: 2},
	{Name: "latency x5", Bad: true, Material: true, spreadOfPods: 1, slower: 5},
	{Name: "3 % take 2 s", Bad: true, Material: true, spreadOfPods: 1, slowMode: 0.03},
	{Name: "leak to +5 pp", Bad: true, Material: true, spreadOfPods: 1, errors: func(m, _ float64) float64 { return 0.05 * min(1, m/20) }},
	{Name: "late +3 pp (from 25 %)", Bad: true, Material: true, spreadOfPods: 1, errors: func(_, w float64) float64 {
		if w < 0.25 {
			return 0
		}
		return 0.03
	}},
}

// Stress scenarios: no worse than the margins, and hard to tell.
var Stress = []Scenario{
	{Name: "pods differ twice as much", spreadOfPods: 2},
	{Name: "bursts of 30", bursts: 30},
	{Name: "pods drift, sd 0.5", Drift: 0.5},
	{Name: "pods drift, sd 1", Drift: 1},
	{Name: "exactly at the margin of errors", errorRatio: 1.3, errorAbsolute: 0.001},
	{Name: "exactly at the margin of latency", slower: 1.15},
	{Name: "brown-out and bursts", brownOut: true, bursts: 8},
	{Name: "spike, bursts, cold start", spike: true, bursts: 8, coldStart: true},
	{Name: "a tenth of the scrapes missing, pods restart", spreadOfPods: 1, missing: 0.1, restarts: 2},
}

// Service is one seeded course of events. Blocks must be asked for in order. What is common to all pods, each pod, and the
// scrapes draw from sources of chance of their own: whatever weights a rule asks for, the same things happen at the same time.
type Service struct {
	Scenario
	rps                 float64
	native              bool
	bounds              []float64
	logs                []float64 // of the bounds
	chance              *source   // of what is common
	block               int       // since the canary began; negative in the look-back
	began               float64   // minutes since the canary began at which a brown-out or spike starts
	traffic, errs, slow ar
	pods                []pod
	start               time.Time
	builder             *compare.Builder
	scraped             []compare.Series
	// Baseline is what a pod of the stable revision did that got as much traffic as the canary, for rules that need one: its
	// errors, and its durations.
	Baseline [2]compare.Tally
	mate     pod
}

type pod struct {
	name          string
	r             *source
	errors, speed float64
	drift         ar
	created       time.Time
	counters      counters
}

// source of chance that can be copied.
type source struct {
	*rand.Rand
	state *rand.PCG
}

func newSource(seed, stream uint64) *source {
	state := rand.NewPCG(seed, stream)
	return &source{Rand: rand.New(state), state: state}
}

func (s *source) clone() *source {
	state := *s.state
	return &source{Rand: rand.New(&state), state: &state}
}

// ar is an AR(1) process with a stationary sd.
type ar struct{ value, sd, rho float64 }

func (a *ar) step(r *source) float64 {
	a.value = a.rho*a.value + a.sd*math.Sqrt(1-a.rho*a.rho)*r.NormFloat64()
	return math.Exp(a.value)
}

// NewService makes the course of events of a scenario, a rate of requests per second in all, and a seed.
func NewService(s Scenario, rps float64, native bool, seed uint64) *Service {
	r := newSource(seed, 0xbe1a7)
	v := &Service{Scenario: s, rps: rps, native: native, bounds: defaultBuckets, chance: r, block: -lookBack, began: 2 + 10*r.Float64(),
		traffic: ar{sd: 0.2, rho: 0.95}, errs: ar{sd: 0.3, rho: 0.9}, slow: ar{sd: 0.05, rho: 0.9},
		start: time.Unix(1_800_000_000, 0).UTC()}
	if native {
		v.bounds = fineBuckets
	}
	for _, b := range v.bounds {
		v.logs = append(v.logs, math.Log(b))
	}
	for _, a := range []*ar{&v.traffic, &v.errs, &v.slow} {
		a.value = a.sd * r.NormFloat64()
	}
	for i := range stablePods + 1 {
		v.pods = append(v.pods, v.pod(fmt.Sprintf("stable-%d", i), seed, uint64(i)))
	}
	v.pods[stablePods].name = "the-canary" // after stable-8
	v.mate = v.pod("mate", seed, 0xba5e)
	v.watch()
	return v
}

func (v *Service) pod(name string, seed, stream uint64) pod {
	r := newSource(seed, 0x90d<<32|stream)
	p := pod{name: name, r: r, errors: math.Exp(0.15 * v.spreadOfPods * r.NormFloat64()), speed: math.Exp(0.03 * v.spreadOfPods * r.NormFloat64()),
		drift: ar{sd: v.Drift, rho: 0.97}}
	p.drift.value = p.drift.sd * r.NormFloat64()
	return p
}

// moment is what is common to all pods in a block.
type moment struct{ minutes, weight, rate, errs, duration float64 }

func (v *Service) moment(weight float64) moment {
	m := moment{minutes: float64(v.block) * width.Minutes(), weight: weight, rate: v.rps * width.Seconds() * v.traffic.step(v.chance)}
	errs, slow := baseErrors*v.errs.step(v.chance), v.slow.step(v.chance)
	if v.flawless {
		errs = 0
	}
	during := v.block >= 0 && m.minutes >= v.began && m.minutes < v.began+5
	if v.brownOut && during {
		errs, slow = errs+0.10, slow*2
	}
	if v.spike && during {
		m.rate, slow = m.rate*3, slow*1.2
	}
	m.errs, m.duration = errs, median*slow
	return m
}

// Next block at a weight from 0 to 1; 0 is the time before the canary. Pods serve, are scraped, and the block is what the
// builder makes of the samples.
func (v *Service) Next(weight float64) compare.Block {
	m := v.moment(weight)
	v.scraped = v.scraped[:0]
	for i := range v.pods {
		p, canary := &v.pods[i], i == stablePods
		share := (1 - weight) / stablePods
		if canary {
			share = weight
		}
		if canary && v.block < 0 {
			continue // it is not there yet
		}
		v.scrape(p, canary, v.serve(p, canary, m, share))
	}
	v.baseline(m)
	v.block++
	end := v.start.Add(time.Duration(v.block) * width)
	v.builder.Add(v.scraped)
	if blocks := v.builder.Close(end); len(blocks) == 1 {
		return blocks[0]
	}
	return compare.Block{Start: end.Add(-width), End: end, Metrics: make([]compare.Counts, 2)}
}

// served is what a pod did in a block.
type served struct {
	requests, bad float64
	total, sum    float64
	buckets       []float64 // not cumulative; the last one is that of +Inf
}

func (v *Service) serve(p *pod, canary bool, m moment, share float64) served {
	drift := p.drift.step(p.r)
	e, d, mode := m.errs*p.errors*drift, m.duration*p.speed*math.Exp(0.02*p.r.NormFloat64()), 0.0
	requests := m.rate * share
	out := served{}
	if v.bursts > 0 { // 70 % of the errors come in geometric clusters
		for range int(poisson(p.r, 0.7*requests*e/v.bursts)) {
			out.bad += 1 + math.Floor(math.Log(1-p.r.Float64())/math.Log(1-1/v.bursts))
		}
		e *= 0.3
	}
	if canary {
		e, d, mode = v.regress(e, d, m.minutes, m.weight)
	}
	out.bad += poisson(p.r, requests*min(e, 1))
	out.requests = out.bad + poisson(p.r, requests*(1-min(e, 1)))
	v.durations(p, &out, requests, d, mode)
	return out
}

func (v *Service) baseline(m moment) {
	if m.weight == 0 {
		return
	}
	s := v.serve(&v.mate, false, m, m.weight)
	v.Baseline[0] = compare.Tally{Bad: s.bad, Requests: s.requests}
	above, left := make([]float64, len(v.bounds)), s.total
	for i := range above {
		left -= s.buckets[i]
		above[i] = left
	}
	v.Baseline[1] = compare.Tally{Requests: s.total, Above: above, Sum: s.sum, Summed: true}
}

// regress makes the canary what the scenario says.
func (v *Service) regress(errs, duration, minutes, weight float64) (float64, float64, float64) {
	if v.errors != nil {
		errs += v.errors(minutes, weight)
	}
	if v.errorRatio > 0 {
		errs = errs*v.errorRatio + v.errorAbsolute
	}
	if v.slower > 0 {
		duration *= v.slower
	}
	if v.coldStart {
		duration *= 1 + 2*math.Exp(-minutes*60/40)
	}
	return errs, duration, v.slowMode
}

// middle of a bucket of a native histogram, as a share of its bound.
var middle = math.Pow(2, -1.0/16)

// few requests are drawn one by one; of many, their numbers in each bucket.
const few = 60

// durations are drawn one by one, or bucket by bucket: the parts of a Poisson number are Poisson. The sum of the durations in
// a bucket is normal then, with the mean and the variance of a log-normal distribution that is cut off at its bounds.
func (v *Service) durations(p *pod, out *served, requests, d, mode float64) {
	out.buckets = slices.Grow(p.counters.drawn[:0], len(v.bounds)+1)[:len(v.bounds)+1]
	clear(out.buckets)
	p.counters.drawn = out.buckets
	slow := poisson(p.r, requests*mode)
	if slow > 0 {
		i, _ := slices.BinarySearch(v.bounds, 2)
		out.buckets[i] += slow
		out.total, out.sum = slow, 2*slow
	}
	mu, requests := math.Log(d), requests*(1-mode)
	if requests < few {
		for range int(poisson(p.r, requests)) {
			x := mu + spread*p.r.NormFloat64()
			i, _ := slices.BinarySearch(v.logs, x)
			out.buckets[i]++
			out.total++
			out.sum += math.Exp(x)
		}
		return
	}
	var below [3]float64
	variance := 0.0
	for i := 0; i <= len(v.bounds); i++ {
		upTo := [3]float64{1, 1, 1}
		if i < len(v.bounds) {
			z := (v.logs[i] - mu) / spread
			if z < -6 {
				continue
			}
			upTo[0] = normalShare(z)
			if !v.native {
				upTo[1], upTo[2] = normalShare(z-spread), normalShare(z-2*spread)
			}
		}
		share := upTo[0] - below[0]
		x := poisson(p.r, requests*share)
		if v.native && x > 0 { // narrow buckets: their middle will do
			out.buckets[i] += x
			out.total, out.sum = out.total+x, out.sum+x*v.bounds[min(i, len(v.bounds)-1)]*middle
		} else if x > 0 {
			first := d * math.Exp(spread*spread/2) * (upTo[1] - below[1]) / share
			second := d * d * math.Exp(2*spread*spread) * (upTo[2] - below[2]) / share
			out.buckets[i] += x
			out.total, out.sum = out.total+x, out.sum+x*first
			variance += x * max(0, second-first*first)
		}
		if below = upTo; upTo[0] > 1-1e-12 {
			break
		}
	}
	out.sum = max(0, out.sum+math.Sqrt(variance)*p.r.NormFloat64())
}

// normalShare is the distribution function of the normal distribution, between -8 and 8, from a table.
func normalShare(z float64) float64 {
	at := (min(max(z, -tableEnd), tableEnd) + tableEnd) * tableSteps
	i := min(int(at), len(normalTable)-2)
	return normalTable[i] + (at-float64(i))*(normalTable[i+1]-normalTable[i])
}

const tableEnd, tableSteps = 8, 512

var normalTable = func() []float64 {
	out := make([]float64, 2*tableEnd*tableSteps+1)
	for i := range out {
		out[i] = 0.5 * math.Erfc(-(float64(i)/tableSteps-tableEnd)/math.Sqrt2)
	}
	return out
}()

func poisson(r *source, mean float64) float64 {
	if mean < 1e-9 {
		return 0
	}
	return distuv.Poisson{Lambda: mean, Src: r}.Rand()
}
