package analysis

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Reasons of the conditions Ready and Stalled of an AnalysisRun.
const (
	// ReasonMeasuring: the provider answers.
	ReasonMeasuring = "Measuring"
	// ReasonNotMeasured: nothing was asked yet.
	ReasonNotMeasured = "NotMeasured"
	// ReasonEnded: the run ended.
	ReasonEnded = "Ended"
	// ReasonProviderError: the provider cannot be reached, refuses, or answers in part.
	ReasonProviderError = "ProviderError"
	// ReasonBadAddress: there is no address to ask, or it is none.
	ReasonBadAddress = "BadAddress"
	// ReasonSecretNotFound: the Secret with the credentials does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretUnreadable: the Secret with the credentials cannot be read.
	ReasonSecretUnreadable = "SecretUnreadable"
	// ReasonBadSecret: the Secret holds no credentials, or they do not parse.
	ReasonBadSecret = "BadSecret"
	// ReasonBadQuery: the query cannot be expanded, or the provider refuses it.
	ReasonBadQuery = "BadQuery"
	// ReasonBadResult: the query gives something other than one number.
	ReasonBadResult = "BadResult"
)

// Plan is what a run needs next.
type Plan struct {
	// Measure are the metrics that are due, the one that has waited longest first.
	Measure []v1alpha1.Metric
	// Next is when to look again if nothing is measured now; zero means never.
	Next time.Time
}

// PlanRun says which metrics of a run are due. A run that ended, or is stopped, measures nothing.
func PlanRun(run *v1alpha1.AnalysisRun, now time.Time) Plan {
	if run.Status.FinishedAt != nil || run.Spec.State == v1alpha1.RunStopped {
		return Plan{}
	}
	type dueMetric struct {
		metric v1alpha1.Metric
		since  time.Time
	}
	var due []dueMetric
	var p Plan
	for _, m := range run.Spec.Metrics {
		s := statusOf(run.Status, m)
		isDue, next := Due(s, m, now)
		if isDue {
			if s.NextAt == nil {
				next = time.Time{} // never measured: before all others
			}
			due = append(due, dueMetric{m, next})
			p.Next = now
		} else if !next.IsZero() && (p.Next.IsZero() || next.Before(p.Next)) {
			p.Next = next
		}
	}
	slices.SortStableFunc(due, func(a, b dueMetric) int { return a.since.Compare(b.since) })
	for _, d := range due {
		p.Measure = append(p.Measure, d.metric)
	}
	return p
}

// Judge takes the outcomes of one round, by the names of their metrics, into a run's status. The result shares no
// memory with the run. Without outcomes, and with nothing new in the spec, it changes nothing, except that it ends a
// run that is stopped. A run that ended stays as it is.
func Judge(run *v1alpha1.AnalysisRun, outcomes map[string]Outcome, now time.Time) v1alpha1.AnalysisRunStatus {
	s := *run.Status.DeepCopy()
	s.ObservedGeneration = run.Generation
	if s.FinishedAt != nil {
		setConditions(&s, run, outcomes, now)
		return s
	}
	second := metav1.NewTime(now.Truncate(time.Second))
	if s.StartedAt == nil {
		s.StartedAt = &second
	}
	s.Metrics = make([]v1alpha1.MetricStatus, 0, len(run.Spec.Metrics))
	for _, m := range run.Spec.Metrics {
		ms := statusOf(run.Status, m)
		if o, measured := outcomes[m.Name]; measured && run.Spec.State != v1alpha1.RunStopped {
			ms = Observe(ms, m, o)
			if s.Traffic == nil && o.Traffic != nil {
				s.Traffic = o.Traffic
			}
		}
		s.Metrics = append(s.Metrics, ms)
	}
	s.Verdict, s.Message = verdict(run.Spec, s)
	if ended(run.Spec, s) {
		s.FinishedAt = &second
		for i := range s.Metrics {
			s.Metrics[i].NextAt = nil
			conclude(&s.Metrics[i])
		}
	}
	setConditions(&s, run, outcomes, now)
	return s
}

// statusOf is the status of a metric; one that was never measured is pending.
func statusOf(s v1alpha1.AnalysisRunStatus, m v1alpha1.Metric) v1alpha1.MetricStatus {
	if i := slices.IndexFunc(s.Metrics, func(ms v1alpha1.MetricStatus) bool { return ms.Name == m.Name }); i >= 0 {
		return *s.Metrics[i].DeepCopy()
	}
	return v1alpha1.MetricStatus{
		Name: m.Name, Mode: modeOf(m), Verdict: v1alpha1.VerdictPending, Message: subject(m) + ": not measured yet",
	}
}

// ended says whether a run is over: failed, stopped, or all metrics that decide have passed for good (a run of dry runs
// alone: all of them are done).
func ended(spec v1alpha1.AnalysisRunSpec, s v1alpha1.AnalysisRunStatus) bool {
	if spec.State == v1alpha1.RunStopped || s.Verdict == v1alpha1.VerdictFail {
		return true
	}
	dryRunsOnly := !slices.ContainsFunc(spec.Metrics, decides)
	for _, m := range spec.Metrics {
		if (decides(m) || dryRunsOnly) && !Done(statusOf(s, m), m) {
			return false
		}
	}
	return true
}

// conclude says of a comparison that ended without a proof that it is inconclusive.
func conclude(m *v1alpha1.MetricStatus) {
	if m.Comparison != nil && m.Comparison.State == v1alpha1.StateWatch {
		m.Comparison.State = v1alpha1.StateInconclusive
	}
}

func decides(m v1alpha1.Metric) bool { return m.Decides() }

// setConditions derives Ready and Stalled from the metrics. Ready is False while any metric's last answer was an error.
// Stalled is True when a query is at fault, since the metrics of a run cannot be changed.
func setConditions(s *v1alpha1.AnalysisRunStatus, run *v1alpha1.AnalysisRun, outcomes map[string]Outcome, now time.Time) {
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonMeasuring, Message: "every metric can be measured"}
	erring := slices.IndexFunc(s.Metrics, func(m v1alpha1.MetricStatus) bool { return m.ConsecutiveErrors > 0 })
	switch {
	case erring >= 0:
		ready.Status = metav1.ConditionFalse
		ready.Reason, ready.Message = errorReason(s, s.Metrics[erring], outcomes)
	case s.FinishedAt != nil:
		ready.Reason, ready.Message = ReasonEnded, "the run ended"
	case !slices.ContainsFunc(s.Metrics, func(m v1alpha1.MetricStatus) bool { return len(m.Recent) > 0 }):
		ready.Status, ready.Reason, ready.Message = metav1.ConditionUnknown, ReasonNotMeasured, "nothing was measured yet"
	}
	stalled := metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionFalse, Reason: ready.Reason, Message: ready.Message}
	if erring >= 0 && s.FinishedAt == nil && ready.Reason == ReasonBadQuery {
		stalled.Status = metav1.ConditionTrue
		stalled.Message = clip(ready.Message+"; the metrics of a run cannot be changed: make a new one", 2048)
	}
	for _, c := range []metav1.Condition{ready, stalled} {
		c.ObservedGeneration = run.Generation
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		meta.SetStatusCondition(&s.Conditions, c)
	}
}

// errorReason is the reason of a metric's error: from this round, or as the condition has said it since that round.
func errorReason(s *v1alpha1.AnalysisRunStatus, m v1alpha1.MetricStatus, outcomes map[string]Outcome) (reason, message string) {
	message = fmt.Sprintf("metric %s could not be measured", m.Name)
	if len(m.Recent) > 0 {
		message = fmt.Sprintf("metric %s: %s", m.Name, m.Recent[0].Message)
	}
	if o, now := outcomes[m.Name]; now && o.Reason != "" {
		return o.Reason, message
	}
	if c := v1alpha1.FindCondition(s.Conditions, v1alpha1.ConditionReady); c != nil && c.Status == metav1.ConditionFalse && c.Message == message {
		return c.Reason, message
	}
	return ReasonProviderError, message
}
