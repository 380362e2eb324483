package compare

import (
	"cmp"
	"time"
)

// Kind of a metric.
type Kind int

// Kinds of metrics.
const (
	// Errors counts requests and those that went wrong.
	Errors Kind = iota
	// Latency is a histogram of durations in seconds.
	Latency
	// Level is a quantity that each pod has at all times, such as memory in use.
	Level
	// Restarts counts restarts of containers over the seconds that pods live.
	Restarts
)

// Margin is a difference between the arms. Of Errors, ratio is that of the bad shares and absolute, a share from 0 to 1, is
// added to it. Of Latency, ratio is on the scale of time: 1.15 is 15 % slower. Of Level, absolute has the unit of the level; of
// Restarts, it is a number of restarts in each second of each pod.
type Margin struct {
	Ratio, Absolute float64
}

// Metric says what is borne of one metric. Zero values stand for the defaults.
type Metric struct {
	// Name of the metric, for people.
	Name string
	// Kind of the metric.
	Kind Kind
	// Margin that is borne: the canary is halted only if it is worse than that. Default: ratio 1.3 and absolute 0.001 of
	// Errors, ratio 1.15 of Latency, 1.25 of Level, 2 of Restarts and one in four hours.
	Margin Margin
	// Exclude is the ratio that must be ruled out, beside the harm budget, before a step. Default: 2 of Errors, 1.6 of
	// Latency, 2 of Level.
	Exclude float64
	// Objective is the share of bad requests of stable from which on it counts as broken itself: nothing is concluded then.
	// 0: none. Errors only.
	Objective float64
	// Advisory metrics are reported and decide nothing.
	Advisory bool
}

// Config of the judgement of one rollout. Zero values stand for the defaults.
type Config struct {
	// Alpha is the greatest probability that a rollout whose canary is no worse than the margins is ever halted, over all
	// metrics and all looks. Default 0.01.
	Alpha float64
	// Beta is the greatest probability that a step is opened although the excess that must be ruled out is there. Default 0.05.
	Beta float64
	// Budget is the share of all requests that a bad revision may harm at the next weight. Default 0.005.
	Budget float64
	// Dwell is how long the evidence of a step is gathered at least. Default 2m.
	Dwell time.Duration
	// WarmUp is how long a canary pod's latency is left out, counted from its birth. Default 2m.
	WarmUp time.Duration
	// Independent takes requests to be independent: dispersion is 1, whatever is measured. For comparison only.
	Independent bool
	// Metrics that are judged together.
	Metrics []Metric
}

// Defaults.
const (
	defaultAlpha  = 0.01
	defaultBeta   = 0.05
	defaultBudget = 0.005
	defaultDwell  = 2 * time.Minute
	defaultWarmUp = 2 * time.Minute
)

func (c Config) withDefaults() Config {
	c.Alpha, c.Beta, c.Budget = cmp.Or(c.Alpha, defaultAlpha), cmp.Or(c.Beta, defaultBeta), cmp.Or(c.Budget, defaultBudget)
	c.Dwell, c.WarmUp = cmp.Or(c.Dwell, defaultDwell), cmp.Or(c.WarmUp, defaultWarmUp)
	metrics := make([]Metric, len(c.Metrics))
	for i, m := range c.Metrics {
		metrics[i] = m.withDefaults()
	}
	c.Metrics = metrics
	return c
}

func (m Metric) withDefaults() Metric {
	switch m.Kind {
	case Latency:
		m.Margin.Ratio, m.Exclude = cmp.Or(m.Margin.Ratio, 1.15), cmp.Or(m.Exclude, 1.6)
	case Level:
		m.Margin.Ratio, m.Exclude = cmp.Or(m.Margin.Ratio, 1.25), cmp.Or(m.Exclude, 2)
		m.Exclude = max(m.Exclude, 1.2*m.Margin.Ratio)
	case Restarts:
		m.Margin.Ratio, m.Margin.Absolute = cmp.Or(m.Margin.Ratio, 2), cmp.Or(m.Margin.Absolute, 0.25/time.Hour.Seconds())
	default:
		if m.Margin == (Margin{}) {
			m.Margin.Absolute = 0.001
		}
		m.Margin.Ratio, m.Exclude = cmp.Or(m.Margin.Ratio, 1.3), cmp.Or(m.Exclude, 2)
	}
	return m
}

// Tally is what one pod did in one block.
type Tally struct {
	// Pod is the pod's name.
	Pod string
	// Born is when the pod began to get traffic; its latency counts after Config.WarmUp.
	Born time.Time
	// Requests in all; of Restarts, the seconds that the pod lived in the block.
	Requests float64
	// Bad requests, of Errors; of Restarts, the restarts.
	Bad float64
	// Sum of the durations of all requests in seconds, of Latency; Summed says whether it was measured.
	Sum    float64
	Summed bool
	// Level of the pod at the end of the block, of Level; Levelled says whether it was measured.
	Level    float64
	Levelled bool
	// Above[i] is how many requests took longer than Bounds[i] of the block, of Latency.
	Above []float64
}

// Counts of one metric in one block, by pod. A pod without a sample in the block is left out.
type Counts struct {
	Canary, Stable []Tally
	// Bounds are the upper bounds of the histogram's finite buckets, in seconds, ascending.
	Bounds []float64
}

// Block is what both arms did in a span of time.
type Block struct {
	Start, End time.Time
	// Metrics in the order of Config.Metrics.
	Metrics []Counts
}
