package verdicts

import (
	"math"
	"slices"

	"github.com/belay-delivery/belay/analysis/compare"
)

// Outcome of one rollout.
type Outcome struct {
	// Halted or Promoted; neither is inconclusive.
	Halted, Promoted bool
	// Blocks until then.
	Blocks int
	// Exposure is the canary's share of the traffic summed over blocks, until it was halted, or for 30 minutes after it was
	// promoted.
	Exposure float64
}

// Rule judges one rollout.
type Rule struct {
	Name string
	// Fixed judges a course of the fixed schedule; nil for a rule that opens the steps itself.
	Fixed func(*Course) Outcome
	// Closed judges a service after its look-back, and opens the steps itself.
	Closed func(*Service, []compare.Block) Outcome
}

// Course is what happens on the fixed schedule. Every rule sees the same.
type Course struct {
	bounds    []float64
	reference []compare.Block
	blocks    []compare.Block
	baseline  [][2]compare.Tally
}

// Record lets a service run through the fixed schedule. Then is the service as it was before the canary began.
func Record(v *Service) (c *Course, then *Service) {
	c = &Course{bounds: v.bounds}
	for range lookBack {
		c.reference = append(c.reference, v.Next(0))
	}
	then = v.Clone()
	for i := range stepBlocks * len(schedule) {
		c.blocks = append(c.blocks, v.Next(schedule[i/stepBlocks]))
		c.baseline = append(c.baseline, v.Baseline)
	}
	return c, then
}

var (
	schedule   = []float64{0.05, 0.10, 0.25, 0.50}
	stepBlocks = 20  // five minutes
	patience   = 240 // blocks that a step of the closed loop may take: an hour
	discovery  = 120 // blocks until a bad revision is noticed after its promotion: 30 minutes
)

// minute is what both arms did in a minute; the baseline is as large as the canary.
type minute struct {
	canary, baseline sample
	// last block of the minute.
	lastGood, lastAll float64
}

// sample of one arm.
type sample struct {
	requests, bad float64
	total         float64
	above         []float64
}

func (s *sample) add(errors, latency compare.Tally) {
	s.requests, s.bad, s.total = s.requests+errors.Requests, s.bad+errors.Bad, s.total+latency.Requests
	if len(s.above) < len(latency.Above) {
		s.above = append(s.above, make([]float64, len(latency.Above)-len(s.above))...)
	}
	for i, x := range latency.Above {
		s.above[i] += x
	}
}

// errorRatio is NaN without requests.
func (s *sample) errorRatio() float64 { return s.bad / s.requests }

// quantile of the histogram with linear interpolation inside the bucket, as histogram_quantile has it.
func (s *sample) quantile(bounds []float64, q float64) float64 {
	if s.total == 0 {
		return math.NaN()
	}
	rank := q * s.total
	below, low := 0.0, 0.0
	for i, b := range bounds {
		if upTo := s.total - s.above[i]; upTo >= rank {
			if upTo == below {
				return low
			}
			return low + (b-low)*(rank-below)/(upTo-below)
		} else {
			below, low = upTo, b
		}
	}
	return bounds[len(bounds)-1]
}

// only is what the canary pod did; nothing where its scrape is missing.
func only(c compare.Counts) compare.Tally {
	if len(c.Canary) == 0 {
		return compare.Tally{}
	}
	return c.Canary[0]
}

// fixed runs the schedule; look is asked after every block, with all whole minutes so far, and says whether to abort.
func fixed(c *Course, look func(b compare.Block, block int, minutes []minute) bool) Outcome {
	var minutes []minute
	var now minute
	var lastAll, lastGood float64
	out := Outcome{}
	for i, b := range c.blocks {
		out.Blocks++
		out.Exposure += schedule[i/stepBlocks]
		errors, latency := only(b.Metrics[0]), only(b.Metrics[1])
		now.canary.add(errors, latency)
		now.baseline.add(c.baseline[i][0], c.baseline[i][1])
		if errors.Requests > 0 { // irate takes the last two samples that there are
			lastAll, lastGood = errors.Requests, errors.Requests-errors.Bad
		}
		now.lastAll, now.lastGood = lastAll, lastGood
		if (i+1)%4 == 0 {
			minutes, now = append(minutes, now), minute{}
		}
		if look(b, i, minutes) {
			out.Halted = true
			return out
		}
	}
	out.Promoted = true
	out.Exposure += float64(discovery)
	return out
}

// everyMinute asks every n minutes.
func everyMinute(c *Course, n int, judge func(minutes []minute) bool) Outcome {
	return fixed(c, func(_ compare.Block, block int, minutes []minute) bool { return (block+1)%(4*n) == 0 && judge(minutes) })
}

// Peers are the rules of other tools, and two that statisticians warn of.
func Peers() []Rule {
	return []Rule{
		{Name: "threshold, 1m: success ≥ 99 %, p99 ≤ 500 ms, 5 failed checks", Fixed: func(c *Course) Outcome {
			failed := 0
			return everyMinute(c, 1, func(m []minute) bool {
				last := m[len(m)-1].canary
				if !(1-last.errorRatio() >= 0.99) || !(last.quantile(c.bounds, 0.99) <= 0.5) { // no data fails the check
					failed++
				}
				return failed >= 5
			})
		}},
		{Name: "threshold, every 5m: irate of success ≥ 95 %, failureLimit 3", Fixed: func(c *Course) Outcome {
			failed := 0
			return everyMinute(c, 5, func(m []minute) bool {
				last := m[len(m)-1]
				if last.lastAll > 0 && last.lastGood/last.lastAll < 0.95 {
					failed++
				}
				return failed > 3
			})
		}},
		{Name: "threshold, 1m: success ≥ 99 %, p99 ≤ 500 ms, failureLimit 3, no data passes", Fixed: func(c *Course) Outcome {
			errors, slow := 0, 0
			return everyMinute(c, 1, func(m []minute) bool {
				last := m[len(m)-1].canary
				if 1-last.errorRatio() < 0.99 {
					errors++
				}
				if last.quantile(c.bounds, 0.99) > 0.5 {
					slow++
				}
				return errors > 3 || slow > 3
			})
		}},
		{Name: "rank test 98 % with 25 % tolerance, every minute", Fixed: rankTest(1)},
		{Name: "rank test 98 % with 25 % tolerance, every 5 minutes", Fixed: rankTest(5)},
		{Name: "rank test 98 % with 25 % tolerance, once at the end", Fixed: rankTest(20)},
		{Name: "rank test p ≤ 0.05 either way, every 5 minutes, rate[5m]", Fixed: overlapping},
		{Name: "z-test at 1 %, at every scrape", Fixed: peeking},
		{Name: "anytime-valid test without margin or dispersion", Fixed: func(c *Course) Outcome {
			return engineOn(c, compare.Config{WarmUp: 1, Independent: true, Metrics: []compare.Metric{
				{Name: "errors", Margin: compare.Margin{Ratio: 1}}, {Name: "latency", Kind: compare.Latency, Margin: compare.Margin{Ratio: 1 + 1e-9}}}})
		}},
	}
}

// rankTest is the Mann-Whitney judgement of the points of each minute, so far: the canary is high if the lower end of the 98 %
// interval of the Hodges-Lehmann shift exceeds a quarter of the shift. Both metrics are critical.
func rankTest(every int) func(*Course) Outcome {
	return func(c *Course) Outcome {
		return everyMinute(c, every, func(m []minute) bool { return rankHigh(c, m) })
	}
}

func (c *Course) values() []func(sample) float64 {
	return []func(sample) float64{func(s sample) float64 { return s.errorRatio() }, func(s sample) float64 { return s.quantile(c.bounds, 0.99) }}
}

func rankHigh(c *Course, m []minute) bool {
	for _, value := range c.values() {
		var x, y []float64
		for _, one := range m {
			x, y = append(x, value(one.canary)), append(y, value(one.baseline))
		}
		if high(numbers(x), numbers(y)) {
			return true
		}
	}
	return false
}

func numbers(x []float64) []float64 { return slices.DeleteFunc(x, math.IsNaN) }

func high(x, y []float64) bool {
	if len(x) < 2 || len(y) < 2 { // nobody would judge one point
		return false
	}
	differences := make([]float64, 0, len(x)*len(y))
	for _, a := range x {
		for _, b := range y {
			differences = append(differences, a-b)
		}
	}
	slices.Sort(differences)
	n, m := float64(len(x)), float64(len(y))
	shift := differences[len(differences)/2]
	if len(differences)%2 == 0 {
		shift = (shift + differences[len(differences)/2-1]) / 2
	}
	const z99 = 2.3263478740408408
	k := int(math.Floor(n*m/2 - z99*math.Sqrt(n*m*(n+m+1)/12)))
	lower := differences[min(max(k-1, 0), len(differences)-1)]
	return lower > 0.25*math.Abs(shift) && lower > 0
}

// overlapping compares, every 5 minutes, six points a minute apart, each of them a rate over 5 minutes.
func overlapping(c *Course) Outcome {
	return everyMinute(c, 5, func(m []minute) bool {
		for _, value := range c.values() {
			var x, y []float64
			for end := max(1, len(m)-5); end <= len(m); end++ {
				var canary, baseline sample
				for _, one := range m[max(0, end-5):end] {
					canary, baseline = merge(canary, one.canary), merge(baseline, one.baseline)
				}
				x, y = append(x, value(canary)), append(y, value(baseline))
			}
			if p := rankP(numbers(x), numbers(y)); p <= 0.05 {
				return true
			}
		}
		return false
	})
}

func merge(a, b sample) sample {
	if len(a.above) < len(b.above) {
		a, b = b, a
	}
	out := sample{requests: a.requests + b.requests, bad: a.bad + b.bad, total: a.total + b.total, above: slices.Clone(a.above)}
	for i := range b.above {
		out.above[i] += b.above[i]
	}
	return out
}

// rankP is the two-sided p-value of the Mann-Whitney test by the normal approximation, with ties and continuity corrected.
func rankP(x, y []float64) float64 {
	n, m := float64(len(x)), float64(len(y))
	if n == 0 || m == 0 {
		return 1
	}
	u := 0.0
	for _, a := range x {
		for _, b := range y {
			switch {
			case a > b:
				u++
			case a == b:
				u += 0.5
			}
		}
	}
	all := slices.Concat(x, y)
	slices.Sort(all)
	ties := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	total := n + m
	sigma := math.Sqrt(n * m / 12 * (total + 1 - ties/(total*(total-1))))
	if sigma == 0 {
		return 1
	}
	z := max(0, math.Abs(u-n*m/2)-0.5) / sigma
	return math.Erfc(z / math.Sqrt2)
}

// peeking is a two-proportion z-test of everything so far, one-sided at 1 %, at every block.
func peeking(c *Course) Outcome {
	var sums [2]struct{ nc, xc, ns, xs float64 }
	far := farBound(c.bounds)
	return fixed(c, func(b compare.Block, _ int, _ []minute) bool {
		for i := range sums {
			s := &sums[i]
			for _, t := range b.Metrics[i].Canary {
				s.nc, s.xc = s.nc+t.Requests, s.xc+bad(t, far)
			}
			for _, t := range b.Metrics[i].Stable {
				s.ns, s.xs = s.ns+t.Requests, s.xs+bad(t, far)
			}
			pooled := (s.xc + s.xs) / (s.nc + s.ns)
			if z := (s.xc/s.nc - s.xs/s.ns) / math.Sqrt(pooled*(1-pooled)*(1/s.nc+1/s.ns)); z > 2.3263478740408408 {
				return true
			}
		}
		return false
	})
}

func bad(t compare.Tally, bound int) float64 {
	if t.Above != nil {
		return t.Above[bound]
	}
	return t.Bad
}

// farBound is the first bound at or above 250 ms: about p99.
func farBound(bounds []float64) int {
	i, _ := slices.BinarySearch(bounds, 0.2)
	return min(i, len(bounds)-1)
}

func engineOn(c *Course, cfg compare.Config) Outcome {
	e := compare.New(cfg)
	for _, b := range c.reference {
		e.Reference(b)
	}
	return fixed(c, func(b compare.Block, block int, _ []minute) bool {
		if block%stepBlocks == 0 {
			e.StepAt(b.Start, schedule[block/stepBlocks], next(block/stepBlocks))
		}
		e.Add(b)
		return e.State() == compare.Halt
	})
}

func next(step int) float64 {
	if step+1 < len(schedule) {
		return schedule[step+1]
	}
	return 1
}

// Defaults are what Belay judges by.
func Defaults(alpha float64) compare.Config {
	return compare.Config{Alpha: alpha, Metrics: []compare.Metric{{Name: "errors"}, {Name: "latency", Kind: compare.Latency}}}
}

// Belay on the fixed schedule, and in the closed loop, in which it opens the steps itself.
func Belay() []Rule {
	return []Rule{
		{Name: "Belay, α 0.01, fixed schedule", Fixed: func(c *Course) Outcome { return engineOn(c, Defaults(0.01)) }},
		{Name: "Belay, α 0.05, fixed schedule", Fixed: func(c *Course) Outcome { return engineOn(c, Defaults(0.05)) }},
		{Name: ClosedLoop, Closed: func(v *Service, r []compare.Block) Outcome { return closed(v, r, compare.New(Defaults(0.01))) }},
	}
}

// ClosedLoop is the name of the rule that Belay applies by default.
const ClosedLoop = "Belay, α 0.01, closed loop"

func closed(v *Service, reference []compare.Block, e *compare.Engine) Outcome {
	for _, b := range reference {
		e.Reference(b)
	}
	out := Outcome{}
	for i, weight := range schedule {
		for k := range patience {
			b := v.Next(weight)
			if k == 0 {
				e.StepAt(b.Start, weight, next(i))
			}
			e.Add(b)
			out.Blocks++
			out.Exposure += weight
			if e.State() == compare.Halt {
				out.Halted = true
				return out
			}
			if e.State() == compare.Step {
				break
			}
			if k == patience-1 {
				return out
			}
		}
	}
	out.Promoted = true
	out.Exposure += float64(discovery)
	return out
}
