package e2e

import (
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// goldenSignals judges by comparison alone.
const goldenSignals = `
apiVersion: belay.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: checkout-errors}
spec:
  metrics:
  - name: errors
    compare:
      errors:
        total: 'http_requests_total{namespace="{{namespace}}"}'
        bad: 'http_requests_total{namespace="{{namespace}}",code=~"5.."}'
  - name: latency
    compare:
      latency: {histogram: 'http_request_duration_seconds{namespace="{{namespace}}"}'}
`

// compared has one step at half the traffic.
func compared(a *stage.App) {
	a.Query, a.Bake = goldenSignals, "0s"
	a.Steps = []stage.Step{{Name: "half", Weight: 50, Hold: "1s"}}
}

// A version that fails 5 % of its requests, which no threshold was set for, is halted.
func TestCompareHaltsFivePercent(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{change: compared})
	s.release("v2", stage.Release("v1", "v2", "0.05"))
	ro := s.awaitOutcome(2, v1alpha1.OutcomeRolledBack)
	h := ro.Status.History[0]
	if h.Reason != "AnalysisFailed" || h.Metric != "errors" {
		t.Errorf("the attempt ended because of %s, metric %q (%s), want AnalysisFailed by errors", h.Reason, h.Metric, h.Message)
	}
	samples := s.finish("v2")
	bad := samples.Of("v2")
	var exposed time.Duration
	if len(bad) > 0 {
		exposed = bad[len(bad)-1].Sent.Sub(bad[0].Sent)
	}
	t.Logf("5 %% more errors: halted %s after the first request, which exposed %d requests, %d of them failed: %s", exposed.Round(time.Second), len(bad), len(bad.Failed()), h.Message)
	s.answeredBy(samples, "v1")
	s.restored()
}

// A version that is as good is proven safe, and promoted; nobody said what good is.
func TestComparePromotes(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 50, change: compared})
	s.release("v2", stage.Release("v1", "v2", ""))
	state, err := s.timeline.Await(t.Context(), "the end of attempt 2", 9*time.Minute, func(ro *v1alpha1.Rollout) bool { _, over := stage.Over(ro, 2); return over })
	s.must(err)
	if outcome, _ := stage.Over(state.Rollout, 2); outcome != v1alpha1.OutcomePromoted {
		t.Fatalf("attempt 2 ended as %s: %s", outcome, stage.Describe(state.Rollout))
	}
	h := state.Rollout.Status.History[0]
	t.Logf("as good: promoted %s after it began", h.EndedAt.Sub(h.StartedAt.Time))
	s.await("rest", stage.AtRest)
	s.answeredBy(s.finish(""), "v2")
	s.restored()
}
