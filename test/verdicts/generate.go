package verdicts

import (
	"fmt"
	"math"
	"math/rand/v2"
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
	for i := -64; i <= 32; i++ {
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
}

// Service is one seeded course of events. Blocks must be asked for in order.
type Service struct {
	Scenario
	rps                 float64
	bounds              []float64
	r                   *rand.Rand
	block               int     // since the canary began; negative in the look-back
	began               float64 // minutes since the canary began at which a brown-out or spike starts
	traffic, errs, slow ar
	pods                []pod
	start               time.Time
	// Baseline is what a pod of the stable revision did that got as much traffic as the canary, for rules that need one: its
	// errors, and its durations. It is drawn apart, so that rules that do without see the same course of events.
	Baseline [2]compare.Tally
	second   *rand.Rand
	mate     pod
}

type pod struct {
	name          string
	errors, speed float64
	drift         ar
}

// ar is an AR(1) process with a stationary sd.
type ar struct{ value, sd, rho float64 }

func (a *ar) step(r *rand.Rand) float64 {
	a.value = a.rho*a.value + a.sd*math.Sqrt(1-a.rho*a.rho)*r.NormFloat64()
	return math.Exp(a.value)
}

// NewService makes the course of events of a scenario, a rate of requests per second in all, and a seed.
func NewService(s Scenario, rps float64, native bool, seed uint64) *Service {
	r := rand.New(rand.NewPCG(seed, 0xbe1a7))
	v := &Service{Scenario: s, rps: rps, bounds: defaultBuckets, r: r, block: -lookBack, began: 2 + 10*r.Float64(),
		traffic: ar{sd: 0.2, rho: 0.95}, errs: ar{sd: 0.3, rho: 0.9}, slow: ar{sd: 0.05, rho: 0.9},
		start: time.Unix(1_800_000_000, 0).UTC()}
	if native {
		v.bounds = fineBuckets
	}
	for _, a := range []*ar{&v.traffic, &v.errs, &v.slow} {
		a.value = a.sd * r.NormFloat64()
	}
	for i := range stablePods + 1 {
		p := pod{name: fmt.Sprintf("stable-%d", i), errors: math.Exp(0.15 * s.spreadOfPods * r.NormFloat64()),
			speed: math.Exp(0.03 * s.spreadOfPods * r.NormFloat64()), drift: ar{sd: s.Drift, rho: 0.97}}
		p.drift.value = p.drift.sd * r.NormFloat64()
		v.pods = append(v.pods, p)
	}
	v.pods[stablePods].name = "canary-0"
	v.second = rand.New(rand.NewPCG(seed, 0xba5e))
	v.mate = pod{errors: math.Exp(0.15 * s.spreadOfPods * v.second.NormFloat64()), speed: math.Exp(0.03 * s.spreadOfPods * v.second.NormFloat64()),
		drift: ar{sd: s.Drift, rho: 0.97}}
	return v
}

// Next block at a weight from 0 to 1; 0 is the time before the canary.
func (v *Service) Next(weight float64) compare.Block {
	minutes := float64(v.block) * width.Minutes()
	rate := v.rps * width.Seconds() * v.traffic.step(v.r)
	errs, slow := baseErrors*v.errs.step(v.r), v.slow.step(v.r)
	during := v.block >= 0 && minutes >= v.began && minutes < v.began+5
	if v.brownOut && during {
		errs, slow = errs+0.10, slow*2
	}
	if v.spike && during {
		rate, slow = rate*3, slow*1.2
	}
	b := compare.Block{Start: v.start.Add(time.Duration(v.block) * width), Metrics: make([]compare.Counts, 2)}
	b.End = b.Start.Add(width)
	b.Metrics[1].Bounds = v.bounds
	clusters := v.clusters(rate, errs, weight)
	for i := range v.pods {
		p, canary := &v.pods[i], i == stablePods
		share := (1 - weight) / stablePods
		if canary {
			share = weight
		}
		drift := p.drift.step(v.r)
		if share == 0 {
			continue
		}
		e, d := errs*p.errors*drift, median*slow*p.speed*math.Exp(0.02*v.r.NormFloat64())
		if v.bursts > 0 {
			e *= 0.3
		}
		mode := 0.0
		if canary {
			e, d, mode = v.regress(e, d, minutes, weight)
		}
		requests := rate * share
		errors, latency := compare.Tally{Pod: p.name, Born: v.start}, compare.Tally{Pod: p.name, Born: v.start}
		errors.Bad = v.poisson(requests*min(e, 1)) + clusters[i]
		errors.Requests = errors.Bad + v.poisson(requests*(1-min(e, 1)))
		latency.Requests, latency.Above = v.durations(requests, d, mode)
		if canary {
			b.Metrics[0].Canary, b.Metrics[1].Canary = []compare.Tally{errors}, []compare.Tally{latency}
		} else {
			b.Metrics[0].Stable, b.Metrics[1].Stable = append(b.Metrics[0].Stable, errors), append(b.Metrics[1].Stable, latency)
		}
	}
	v.baseline(rate*weight, errs, median*slow)
	v.block++
	return b
}

func (v *Service) baseline(requests, errs, duration float64) {
	first := v.r
	v.r = v.second
	defer func() { v.r = first }()
	e := errs * v.mate.errors * v.mate.drift.step(v.r)
	clustered := 0.0
	if v.bursts > 0 {
		for range int(v.poisson(0.7 * requests * e / v.bursts)) {
			clustered += 1 + math.Floor(math.Log(1-v.r.Float64())/math.Log(1-1/v.bursts))
		}
		e *= 0.3
	}
	bad := v.poisson(requests*min(e, 1)) + clustered
	v.Baseline[0] = compare.Tally{Bad: bad, Requests: bad + v.poisson(requests*(1-min(e, 1)))}
	v.Baseline[1].Requests, v.Baseline[1].Above = v.durations(requests, duration*v.mate.speed*math.Exp(0.02*v.r.NormFloat64()), 0)
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

// clusters are 70 % of the errors, in geometric clusters on one pod each.
func (v *Service) clusters(rate, errs, weight float64) []float64 {
	out := make([]float64, len(v.pods))
	if v.bursts == 0 {
		return out
	}
	for range int(v.poisson(0.7 * rate * errs / v.bursts)) {
		at := stablePods
		if v.r.Float64() >= weight {
			at = v.r.IntN(stablePods)
		}
		out[at] += 1 + math.Floor(math.Log(1-v.r.Float64())/math.Log(1-1/v.bursts))
	}
	return out
}

// durations are drawn bucket by bucket: the parts of a Poisson number are Poisson.
func (v *Service) durations(requests, d, mode float64) (float64, []float64) {
	n, above := 0.0, make([]float64, len(v.bounds))
	below := 0.0
	for i := 0; i <= len(v.bounds); i++ {
		share := 1.0
		if i < len(v.bounds) {
			share = 0.5 * math.Erfc(-(math.Log(v.bounds[i]/d))/(spread*math.Sqrt2))
			share *= 1 - mode
			if v.bounds[i] >= 2 {
				share += mode
			}
		}
		x := v.poisson(requests * (share - below))
		below = share
		n += x
		for k := range min(i, len(v.bounds)) {
			above[k] += x
		}
	}
	return n, above
}

func (v *Service) poisson(mean float64) float64 {
	if mean < 1e-9 {
		return 0
	}
	return distuv.Poisson{Lambda: mean, Src: v.r}.Rand()
}
