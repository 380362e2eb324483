package analysisrun

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Reasons of events.
const (
	EventPassed  = "AnalysisPassed"
	EventPending = "AnalysisPending"
	EventHeld    = "AnalysisHeld"
	EventPaused  = "AnalysisPaused"
	EventFailed  = "AnalysisFailed"
)

// maxNote is the most that the events API takes.
const maxNote = 1000

type event struct {
	kind, reason, note string
}

func (e event) record(to events.EventRecorder, about runtime.Object) {
	to.Eventf(about, nil, e.kind, e.reason, "Judge", "%s", e.note)
}

// verdictChanged says whether there is something to tell: not that a new run is pending.
func verdictChanged(before, after v1alpha1.AnalysisRunStatus) bool {
	if before.Verdict == "" {
		return after.Verdict != v1alpha1.VerdictPending
	}
	return before.Verdict != after.Verdict
}

func newVerdictEvent(run *v1alpha1.AnalysisRun) event {
	e := event{kind: corev1.EventTypeWarning, note: shorten(run.Status.Message)}
	switch run.Status.Verdict {
	case v1alpha1.VerdictFail:
		e.reason = EventFailed
	case v1alpha1.VerdictPause:
		e.reason = EventPaused
	case v1alpha1.VerdictHold:
		e.reason = EventHeld
	case v1alpha1.VerdictPass:
		e.kind, e.reason = corev1.EventTypeNormal, EventPassed
	default:
		e.kind, e.reason = corev1.EventTypeNormal, EventPending
	}
	return e
}

// shorten cuts at a character, since the API counts bytes and refuses what is not UTF-8.
func shorten(s string) string {
	for i := range s {
		if i > maxNote {
			return s[:i] + "…"
		}
	}
	return s
}
