package analysis

import (
	"fmt"
	"slices"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// severity orders verdicts from best to worst.
var severity = []v1alpha1.RunVerdict{
	v1alpha1.VerdictPass, v1alpha1.VerdictPending, v1alpha1.VerdictHold, v1alpha1.VerdictPause, v1alpha1.VerdictFail,
}

// worse says whether a is worse than b; what is no verdict counts as Pending.
func worse(a, b v1alpha1.RunVerdict) bool { return rank(a) > rank(b) }

func rank(v v1alpha1.RunVerdict) int {
	if i := slices.Index(severity, v); i >= 0 {
		return i
	}
	return slices.Index(severity, v1alpha1.VerdictPending)
}

// Verdict is the worst verdict of a run's deciding metrics and one sentence that says why: Fail, Pause, Hold, Pending,
// Pass, from worst to best. A metric without a status is Pending. A run of dry runs alone passes, since nothing in it
// may decide.
func Verdict(run *v1alpha1.AnalysisRun) (v1alpha1.RunVerdict, string) {
	return verdict(run.Spec, run.Status)
}

func verdict(spec v1alpha1.AnalysisRunSpec, s v1alpha1.AnalysisRunStatus) (v1alpha1.RunVerdict, string) {
	worst := v1alpha1.VerdictPass
	var like []v1alpha1.MetricStatus // the metrics whose verdict is worst
	for _, m := range spec.Metrics {
		if !decides(m) {
			continue
		}
		ms := statusOf(s, m)
		if worse(ms.Verdict, worst) {
			worst, like = severity[rank(ms.Verdict)], nil
		}
		if rank(ms.Verdict) == rank(worst) {
			like = append(like, ms)
		}
	}
	return worst, verdictMessage(spec, worst, like)
}

func verdictMessage(spec v1alpha1.AnalysisRunSpec, worst v1alpha1.RunVerdict, like []v1alpha1.MetricStatus) string {
	text := ""
	switch {
	case len(like) == 0:
		text = "no metric decides: all are dry runs"
	case len(like) == 1:
		text = like[0].Message
	case worst == v1alpha1.VerdictPass:
		text = fmt.Sprintf("all %d metrics are within bounds", len(like))
	default:
		text = fmt.Sprintf("%s; and %s more", like[0].Message, plural(int32(len(like)-1), "metric"))
	}
	if spec.State == v1alpha1.RunStopped && worst != v1alpha1.VerdictFail && worst != v1alpha1.VerdictPass {
		text = "stopped before a verdict: " + text
	}
	return clip(text, 2048)
}

// PassedSince says whether a run is evidence for what has been so since a time: its verdict is Pass, and each of its
// deciding metrics has a good measurement that was taken then or later, or has passed for good (its count is reached).
// If not, the sentence says what is missing.
//
// A measurement is taken at the second that LastPassedAt says, and says nothing about later times. So since must not be
// rounded down: round it up to the second where only seconds are stored.
func PassedSince(run *v1alpha1.AnalysisRun, since time.Time) (bool, string) {
	v, why := Verdict(run)
	if v != v1alpha1.VerdictPass {
		return false, why
	}
	for _, m := range run.Spec.Metrics {
		s := statusOf(run.Status, m)
		if !decides(m) || passedForGood(s, m) {
			continue
		}
		if s.LastPassedAt == nil || s.LastPassedAt.Time.Before(since) {
			return false, subject(m) + ": no good measurement yet since the traffic was moved"
		}
	}
	return true, why
}
