package analysis

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Results of a measurement, as Measurement.Result says them.
const (
	ResultPassed = "Passed"
	ResultFailed = "Failed"
	ResultNoData = "NoData"
	ResultError  = "Error"
)

const (
	defaultInterval           = 30 * time.Second
	defaultProviderErrorLimit = 4
	// firstRetry is the longest wait after a first provider error; the waits after further ones double.
	firstRetry = 10 * time.Second
	maxRecent  = 10
)

// Outcome is what came of asking a provider once: an error if Err is set, else no value if NoData is set or Value is
// NaN, else Value.
type Outcome struct {
	// At is when the query was sent, and the time that it was asked for.
	At time.Time
	// Done is when the answer, or the error, was there; zero means At.
	Done   time.Time
	Value  float64
	NoData bool
	// Passed is what was decided by something else than bounds; nil where bounds decide. Said tells people what decided.
	Passed *bool
	Said   string
	// Valueless says that there is no value, and that none was asked for.
	Valueless bool
	// Job is the Job that is waited for, with nothing decided yet; nil otherwise.
	Job *v1alpha1.JobStatus
	Err error
	// Reason is the condition reason for Err; empty means ReasonProviderError.
	Reason string
	// Comparison is what the engine says of a compare metric; nil where there is no block yet.
	Comparison *compare.Report
	// Traffic of stable before the run; nil where it is not known.
	Traffic *v1alpha1.ObservedTraffic
	// Step is the step that the comparison speaks of, nil before there is one; Dwelt says that it has lasted long enough.
	Step  *v1alpha1.RunStep
	Dwelt bool
}

// Observe takes one outcome into a metric's status. The result shares no memory with status. A metric that is measured
// no more (it failed, or it passed for good) does not change.
func Observe(status v1alpha1.MetricStatus, metric v1alpha1.Metric, o Outcome) v1alpha1.MetricStatus {
	if metric.Compare != nil {
		return ObserveComparison(status, metric, o)
	}
	s := *status.DeepCopy()
	s.Name, s.Mode = metric.Name, modeOf(metric)
	if Done(s, metric) {
		return s
	}
	if o.Job != nil {
		return observeJob(s, metric, o)
	}
	s.Job = nil
	at := metav1.NewTime(o.At.Truncate(time.Second))
	m := v1alpha1.Measurement{At: at}
	m.Result, m.Value, m.Message = classify(metric, o)
	count(&s, metric, m)
	s.Recent = append([]v1alpha1.Measurement{m}, s.Recent[:min(len(s.Recent), maxRecent-1)]...)
	s.Verdict = verdictOf(s, metric)
	s.Message = metricMessage(s, metric, m)
	s.NextAt = nil
	if !Done(s, metric) {
		next := metav1.NewTime(nextAt(s, metric, o).Round(time.Second))
		s.NextAt = &next
	}
	return s
}

// Done says whether a metric is measured no more: it failed, or it passed for good.
func Done(status v1alpha1.MetricStatus, metric v1alpha1.Metric) bool {
	return status.Verdict == v1alpha1.VerdictFail || passedForGood(status, metric)
}

func passedForGood(status v1alpha1.MetricStatus, metric v1alpha1.Metric) bool {
	n := metric.PassCount()
	return n > 0 && status.Passed >= n && status.Verdict == v1alpha1.VerdictPass
}

// Due says whether a metric is to be measured now, and when it is next: the zero time if it is measured no more. A
// metric that was never measured is due at once, as is one whose next time is further off than any wait is long (a
// clock that was set back).
func Due(status v1alpha1.MetricStatus, metric v1alpha1.Metric, now time.Time) (bool, time.Time) {
	if Done(status, metric) || metric.Compare != nil { // compare metrics are judged together, block by block
		return false, time.Time{}
	}
	if status.Job != nil { // it is waited for
		return false, time.Time{}
	}
	if status.NextAt == nil {
		return true, now
	}
	next := status.NextAt.Time
	longest := max(intervalOf(metric), firstRetry) + time.Second // Round adds up to half of it
	return !now.Before(next) || next.Sub(now) > longest, next
}

// classify judges one outcome by itself. A provider's answer that cannot be judged, for want of a bound that is a
// number, is an error: it is evidence for nothing.
func classify(metric v1alpha1.Metric, o Outcome) (result, value, message string) {
	if o.Err != nil {
		return ResultError, "", clip(o.Err.Error(), 512)
	}
	if o.NoData || math.IsNaN(o.Value) {
		switch metric.OnNoData {
		case v1alpha1.NoDataPass:
			return ResultPassed, "", ""
		case v1alpha1.NoDataFail:
			return ResultFailed, "", ""
		default:
			return ResultNoData, "", ""
		}
	}
	if !o.Valueless {
		value = formatValue(o.Value)
	}
	if o.Passed != nil {
		return map[bool]string{true: ResultPassed, false: ResultFailed}[*o.Passed], value, clip(o.Said, 512)
	}
	lower, upper, err := bounds(ruleOf(metric))
	switch {
	case err != nil:
		return ResultError, value, clip(err.Error(), 512)
	case o.Value < lower || o.Value > upper:
		return ResultFailed, value, ""
	default:
		return ResultPassed, value, ""
	}
}

// bounds of a threshold; a bound that is unset is infinite.
func bounds(t v1alpha1.Threshold) (lower, upper float64, err error) {
	if t.Min == nil && t.Max == nil {
		return 0, 0, errors.New("the threshold has neither min nor max")
	}
	if lower, err = bound("min", t.Min, math.Inf(-1)); err != nil {
		return 0, 0, err
	}
	if upper, err = bound("max", t.Max, math.Inf(1)); err != nil {
		return 0, 0, err
	}
	return lower, upper, nil
}

func bound(name string, text *string, unset float64) (float64, error) {
	if text == nil {
		return unset, nil
	}
	v, err := strconv.ParseFloat(*text, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("threshold.%s %q is not a finite number", name, clip(*text, 32))
	}
	return v, nil
}

func count(s *v1alpha1.MetricStatus, metric v1alpha1.Metric, m v1alpha1.Measurement) {
	if m.Result == ResultError {
		s.ProviderErrors++
		s.ConsecutiveErrors++
		return
	}
	s.ConsecutiveErrors = 0
	switch m.Result {
	case ResultPassed:
		s.Measured++
		s.Passed++
		s.ConsecutiveFailed = 0
		s.LastPassedAt = &m.At
	case ResultFailed:
		s.Measured++
		s.Failed++
		s.ConsecutiveFailed++
	default:
		s.NoData++
	}
}

// verdictOf is the verdict of a metric that had not failed before, from its counters alone.
func verdictOf(s v1alpha1.MetricStatus, metric v1alpha1.Metric) v1alpha1.RunVerdict {
	if limit, set := failureLimit(ruleOf(metric)); set && s.Failed > limit {
		return v1alpha1.VerdictFail
	}
	if n := ruleOf(metric).ConsecutiveFailureLimit; n > 0 && s.ConsecutiveFailed >= n {
		return v1alpha1.VerdictFail
	}
	if v := erring(s, metric); v != "" {
		return v
	}
	if s.ConsecutiveFailed == 0 && s.Passed >= max(ruleOf(metric).Count, 1) {
		return v1alpha1.VerdictPass
	}
	return v1alpha1.VerdictPending
}

// failureLimit is the number of failed measurements borne in all, and whether there is such a limit.
func failureLimit(t v1alpha1.Threshold) (int32, bool) {
	if t.FailureLimit != nil {
		return *t.FailureLimit, true
	}
	return 0, t.ConsecutiveFailureLimit == 0
}

func providerErrorLimit(t v1alpha1.Threshold) int32 {
	if t.ProviderErrorLimit == nil {
		return defaultProviderErrorLimit
	}
	return *t.ProviderErrorLimit
}

// nextAt is an interval after the query was sent; after a provider error it is a wait after the error that starts at
// the interval, or firstRetry if that is shorter, and doubles up to the longer of the two.
func nextAt(s v1alpha1.MetricStatus, metric v1alpha1.Metric, o Outcome) time.Time {
	interval := intervalOf(metric)
	if s.ConsecutiveErrors == 0 {
		return o.At.Add(interval)
	}
	done := o.Done
	if done.Before(o.At) {
		done = o.At
	}
	wait, longest := min(interval, firstRetry), max(interval, firstRetry)
	for range s.ConsecutiveErrors - 1 {
		if wait *= 2; wait >= longest {
			break
		}
	}
	return done.Add(min(wait, longest))
}

func intervalOf(metric v1alpha1.Metric) time.Duration {
	return max(ruleOf(metric).Interval.Or(defaultInterval), time.Second)
}

func modeOf(metric v1alpha1.Metric) v1alpha1.MetricMode {
	if !metric.Decides() {
		return v1alpha1.MetricDryRun
	}
	if metric.Mode == "" {
		return v1alpha1.MetricEnforce
	}
	return metric.Mode
}
