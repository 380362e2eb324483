package analysis

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// CompareInterval is the width of a block of samples, and how often compare metrics are judged.
const CompareInterval = 15 * time.Second

// summaryEvery is how often the numbers of a compare metric are written while its verdict stays the same.
const summaryEvery = time.Minute

// CompareConfig is the configuration of the engine for the compare metrics of a run, and their places among its metrics. A
// number that does not parse is an error that names its field; the schema lets none through.
func CompareConfig(metrics []v1alpha1.Metric) (compare.Config, []int, error) {
	var cfg compare.Config
	var places []int
	for i, m := range metrics {
		if m.Compare == nil {
			continue
		}
		out := compare.Metric{Name: "metric " + m.Name, Advisory: !decides(m)}
		var err error
		if e := m.Compare.Errors; e != nil {
			out.Kind, err = compare.Errors, errorsConfig(&out, e)
		} else if l := m.Compare.Latency; l != nil {
			out.Kind = compare.Latency
			if l.Margin != nil {
				err = parse("latency.margin.ratio", l.Margin.Ratio, &out.Margin.Ratio)
			}
		} else {
			err = otherConfig(&out, m.Compare)
		}
		if err != nil {
			return compare.Config{}, nil, fmt.Errorf("metric %s: compare.%w", m.Name, err)
		}
		cfg.Metrics, places = append(cfg.Metrics, out), append(places, i)
	}
	return cfg, places, nil
}

func otherConfig(out *compare.Metric, c *v1alpha1.Compare) error {
	if r := c.Restarts; r != nil {
		out.Kind = compare.Restarts
		if r.Margin == nil {
			return nil
		}
		if err := parse("restarts.margin.ratio", r.Margin.Ratio, &out.Margin.Ratio); err != nil {
			return err
		}
		perHour := 0.0
		err := parse("restarts.margin.perHour", r.Margin.PerHour, &perHour)
		out.Margin.Absolute = perHour / time.Hour.Seconds()
		return err
	}
	out.Kind = compare.Level
	if c.Gauge == nil || c.Gauge.Margin == nil {
		return nil
	}
	if err := parse("gauge.margin.ratio", c.Gauge.Margin.Ratio, &out.Margin.Ratio); err != nil {
		return err
	}
	return parse("gauge.margin.absolute", c.Gauge.Margin.Absolute, &out.Margin.Absolute)
}

// Demand puts what a run asks of its evidence into the engine's configuration.
func Demand(cfg *compare.Config, e *v1alpha1.Evidence) error {
	if e == nil {
		return nil
	}
	if err := parse("falseAbortRate", e.FalseAbortRate, &cfg.Alpha); err != nil {
		return fmt.Errorf("evidence.%w", err)
	}
	if err := parse("harmBudget", e.HarmBudget, &cfg.Budget); err != nil {
		return fmt.Errorf("evidence.%w", err)
	}
	return nil
}

// Divide is what one of several runs of an attempt may take of what the attempt's evidence must be: false aborts of all of them
// together are no more than the rate (Boole's inequality).
func Divide(e *v1alpha1.Evidence, runs int) *v1alpha1.Evidence {
	if runs <= 1 {
		return e.DeepCopy()
	}
	out := v1alpha1.Evidence{FalseAbortRate: "0.01", HarmBudget: "0.005"}
	if e != nil {
		out.FalseAbortRate, out.HarmBudget = cmp.Or(e.FalseAbortRate, out.FalseAbortRate), cmp.Or(e.HarmBudget, out.HarmBudget)
	}
	rate, err := strconv.ParseFloat(out.FalseAbortRate, 64)
	if err != nil {
		return &out // the schema lets none through
	}
	out.FalseAbortRate = strconv.FormatFloat(max(rate/float64(runs), 0.0001), 'f', 6, 64)
	return &out
}

func errorsConfig(out *compare.Metric, e *v1alpha1.CompareErrors) error {
	if e.Margin != nil {
		if err := parse("errors.margin.ratio", e.Margin.Ratio, &out.Margin.Ratio); err != nil {
			return err
		}
		if err := parse("errors.margin.absolute", e.Margin.Absolute, &out.Margin.Absolute); err != nil {
			return err
		}
	}
	out.Objective = 0.5
	return parse("errors.objective", e.Objective, &out.Objective)
}

func parse(field, text string, into *float64) error {
	if text == "" {
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%s %q is not a number of at least 0", field, clip(text, 32))
	}
	*into = v
	return nil
}

// ObserveComparison takes what the engine says of a compare metric, or why it could not be asked, into its status. At is the
// end of the last block. A metric passes with the first block that proves its current step, and waits again when a step
// begins. Numbers are written when the verdict or an error changes, and once a minute otherwise: a look that changes nothing
// gives the same status.
func ObserveComparison(status v1alpha1.MetricStatus, metric v1alpha1.Metric, o Outcome) v1alpha1.MetricStatus {
	s := *status.DeepCopy()
	s.Name, s.Mode, s.NextAt = metric.Name, modeOf(metric), nil
	if s.Verdict == v1alpha1.VerdictFail {
		return s
	}
	at := metav1.NewTime(o.At.Truncate(time.Second))
	if o.Err != nil {
		m := v1alpha1.Measurement{At: at, Result: ResultError, Message: clip(o.Err.Error(), 512)}
		count(&s, metric, m)
		s.Recent = append([]v1alpha1.Measurement{m}, s.Recent[:min(len(s.Recent), maxRecent-1)]...)
		if v := erring(s, metric); v != "" {
			s.Verdict = v
		}
		s.Message = clip(subject(metric)+": "+errorMessage(s, metric, m), 1024)
		return s
	}
	if o.Comparison == nil {
		return s
	}
	verdict := comparedVerdict(o)
	fresh := s.Verdict != verdict || s.ConsecutiveErrors > 0 || s.Comparison == nil || !SameStep(s.Comparison.Step, o.Step)
	if !fresh && len(s.Recent) > 0 && at.Sub(s.Recent[0].At.Time) < summaryEvery {
		return s
	}
	m := v1alpha1.Measurement{At: at, Result: ResultNoData, Value: number(told(o.Comparison))}
	switch verdict {
	case v1alpha1.VerdictPass:
		m.Result = ResultPassed
	case v1alpha1.VerdictFail:
		m.Result = ResultFailed
	}
	s.ConsecutiveErrors, s.Verdict, s.Message = 0, verdict, clip(o.Comparison.Text, 1024)
	if m.Result == ResultPassed && (status.Verdict != v1alpha1.VerdictPass || s.Comparison == nil || !SameStep(s.Comparison.Step, o.Step)) {
		s.LastPassedAt = &m.At
	}
	s.Comparison = comparison(o.Comparison)
	s.Comparison.Step = o.Step.DeepCopy()
	s.History = remember(s.History, point(s.Comparison, at))
	s.Recent = append([]v1alpha1.Measurement{m}, s.Recent[:min(len(s.Recent), maxRecent-1)]...)
	return s
}

func comparedVerdict(o Outcome) v1alpha1.RunVerdict {
	switch o.Comparison.State {
	case compare.Halt:
		return v1alpha1.VerdictFail
	case compare.Hold:
		return v1alpha1.VerdictHold
	case compare.Step:
		if o.Step != nil && o.Dwelt {
			return v1alpha1.VerdictPass
		}
	}
	return v1alpha1.VerdictPending
}

// SameStep says whether two steps are the same: what is proven of one is proven of the other.
func SameStep(a, b *v1alpha1.RunStep) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Since.Equal(&b.Since) && a.Weight == b.Weight && a.NextWeight == b.NextWeight && a.TotalWeight == b.TotalWeight
}

// erring is the verdict that provider errors in a row lead to; empty below the limit.
func erring(s v1alpha1.MetricStatus, metric v1alpha1.Metric) v1alpha1.RunVerdict {
	if s.ConsecutiveErrors <= errorLimit(metric) {
		return ""
	}
	switch metric.OnProviderError {
	case v1alpha1.ProviderErrorRollback:
		return v1alpha1.VerdictFail
	case v1alpha1.ProviderErrorPause:
		return v1alpha1.VerdictPause
	default:
		return v1alpha1.VerdictHold
	}
}

func errorLimit(metric v1alpha1.Metric) int32 {
	if metric.Compare == nil {
		return providerErrorLimit(ruleOf(metric))
	}
	if metric.Compare.ProviderErrorLimit == nil {
		return defaultProviderErrorLimit
	}
	return *metric.Compare.ProviderErrorLimit
}

func comparison(r *compare.Report) *v1alpha1.Comparison {
	c := &v1alpha1.Comparison{State: v1alpha1.ComparisonState(r.State), CanaryRequests: int64(r.CanaryRequests), CanaryBad: int64(r.CanaryBad), StableRequests: int64(r.StableRequests),
		StableBad: int64(r.StableBad), Dispersion: number(r.Dispersion), Harm: number(r.Harm), Safety: number(r.Safety)}
	if r.Counted {
		c.Ratio = fmt.Sprintf("%s (%s to %s)", number(r.Likely), number(r.Low), number(r.High))
	}
	if m := r.Means; m != nil {
		c.CanaryMean, c.StableMean = number(m.Canary), number(m.Stable)
		c.MeanRatio = fmt.Sprintf("%s (%s to %s)", number(m.Likely), number(m.Low), number(m.High))
	}
	if r.Bound > 0 {
		c.Bound = strconv.FormatFloat(r.Bound, 'g', 6, 64)
	}
	if r.Wait > 0 {
		c.Wait = v1alpha1.Duration(fmt.Sprintf("%ds", int64(r.Wait.Seconds())))
	}
	return c
}

// told is the ratio that a measurement tells of: that of the means where there are means.
func told(r *compare.Report) float64 {
	if r.Means != nil {
		return r.Means.Likely
	}
	return r.Likely
}

// number with three digits.
func number(x float64) string { return strconv.FormatFloat(x, 'g', 3, 64) }
