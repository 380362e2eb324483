package analysis

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// leastSpan is how long stable must have been observed for its traffic to say something.
	leastSpan = time.Minute
	// leastBad stands in for a share of bad requests of 0: nothing is known of smaller ones.
	leastBad = 1e-4
	// Never is a time that is longer than anybody waits.
	Never = 4 * 7 * 24 * time.Hour
)

// Before adds up what stable did before a run.
type Before struct {
	metric        int // of errors, in the order of the engine's; -1: there is none
	begun         bool
	requests, bad float64
	span          time.Duration
}

// NewBefore looks for the first metric of errors.
func NewBefore(cfg compare.Config) Before {
	for i, m := range cfg.Metrics {
		if m.Kind == compare.Errors {
			return Before{metric: i}
		}
	}
	return Before{metric: -1}
}

// Add adds a block. One in which no stable pod was measured says nothing, also not that there were no requests. The first one
// is left out: a counter whose beginning was not seen may bring what it had counted before.
func (b *Before) Add(block compare.Block) {
	if b.metric < 0 || b.metric >= len(block.Metrics) || len(block.Metrics[b.metric].Stable) == 0 {
		return
	}
	if !b.begun {
		b.begun = true
		return
	}
	b.span += block.End.Sub(block.Start)
	for _, t := range block.Metrics[b.metric].Stable {
		b.requests += t.Requests
		b.bad += t.Bad
	}
}

// Traffic is what was added up; nil where it is too little to say anything.
func (b *Before) Traffic() *v1alpha1.ObservedTraffic {
	if b.span < leastSpan {
		return nil
	}
	ratio := 0.0
	if b.requests > 0 {
		ratio = b.bad / b.requests
	}
	return &v1alpha1.ObservedTraffic{RequestsPerSecond: number(b.requests / b.span.Seconds()), BadRatio: number(ratio), Span: v1alpha1.Duration(fmt.Sprintf("%ds", int64(b.span.Seconds())))}
}

// Assumed is what a forecast assumes of the stable revision.
type Assumed struct {
	// RequestsPerSecond to all pods together.
	RequestsPerSecond float64
	// BadRatio is the share of bad requests, above 0 and below 1.
	BadRatio float64
	// Dispersion between its pods, at least 1; 0 stands for what is assumed of an unknown service.
	Dispersion float64
}

// AssumedOf reads what was observed.
func AssumedOf(t v1alpha1.ObservedTraffic) (Assumed, error) {
	rate, err := strconv.ParseFloat(t.RequestsPerSecond, 64)
	bad, err2 := strconv.ParseFloat(t.BadRatio, 64)
	if err != nil || err2 != nil || !(rate >= 0) || !(bad >= 0 && bad <= 1) {
		return Assumed{}, fmt.Errorf("traffic of %q requests per second, %q of them bad, is none", t.RequestsPerSecond, t.BadRatio)
	}
	return Assumed{RequestsPerSecond: rate, BadRatio: math.Min(math.Max(bad, leastBad), 0.99)}, nil
}

// StepTimes is how long one step takes, in canary requests and in time. Never stands for times that are longer.
type StepTimes struct {
	// Index of the step.
	Index int
	Name  string
	// Weight of the step, and the one that must be proven safe, of Total.
	Weight, Next, Total int32
	// Excess that is ruled out, a share of the canary's requests.
	Excess float64
	// Requests until the proof; infinite where no number suffices.
	Requests float64
	// Takes is the time until the proof, Halts1 and Halts5 those until 1 and 5 percentage points more errors are halted.
	Takes, Halts1, Halts5 time.Duration
	MaxHold               time.Duration
}

// Late says that a step's maxHold is over before its proof; the sentence says what can be done.
func (s StepTimes) Late() string {
	switch {
	case s.Takes >= Never:
		return fmt.Sprintf("step %s cannot be proven at this traffic: give it more weight, or more traffic, or take other metrics", s.Name)
	case s.MaxHold > 0 && s.Takes > s.MaxHold:
		return fmt.Sprintf("step %s: maxHold %s is over before its proof, which takes about %s: give it more time, or more traffic", s.Name, s.MaxHold, ShortTime(s.Takes))
	}
	return ""
}

// Forecast tells how long the steps of a Rollout take to be proven, those without a weight left out.
func Forecast(spec *v1alpha1.RolloutSpec, cfg compare.Config, a Assumed) []StepTimes {
	metric := max(NewBefore(cfg).metric, 0)
	total, steps := spec.Traffic.Total(), spec.Steps()
	var out []StepTimes
	for i := range steps {
		weight, next := weightOf(steps[i]), total
		if i+1 < len(steps) && steps[i+1].Weight != nil {
			next = max(weight, *steps[i+1].Weight)
		}
		if weight <= 0 || next <= 0 {
			continue
		}
		s := StepTimes{Index: i, Name: steps[i].Name, Weight: weight, Next: next, Total: total, MaxHold: steps[i].MaxHold.Or(0)}
		if s.Name == "" {
			s.Name = fmt.Sprintf("step-%d", i+1)
		}
		share, ahead := float64(weight)/float64(total), float64(next)/float64(total)
		s.Excess = math.Min(1, compare.Budget(cfg)/ahead)
		q := compare.Question{Stable: a.BadRatio, Dispersion: a.Dispersion, Weight: share}
		s.Requests = compare.ToStep(cfg, metric, q, ahead)
		s.Takes = max(takes(s.Requests, a.RequestsPerSecond*share), compare.Dwell(cfg))
		s.Halts1 = takes(compare.ToHalt(cfg, metric, q, 0.01), a.RequestsPerSecond*share)
		s.Halts5 = takes(compare.ToHalt(cfg, metric, q, 0.05), a.RequestsPerSecond*share)
		out = append(out, s)
	}
	return out
}

func weightOf(s v1alpha1.Step) int32 {
	if s.Weight == nil {
		return 0
	}
	return *s.Weight
}

func takes(requests, perSecond float64) time.Duration {
	seconds := requests / perSecond
	if !(seconds < Never.Seconds()) { // also where there is no traffic at all
		return Never
	}
	return time.Duration(seconds * float64(time.Second))
}

// ShortTime is a time for people; empty for Never.
func ShortTime(d time.Duration) string {
	switch {
	case d >= Never:
		return ""
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Minute).String()
}
