package rollout

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var (
	attemptsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "belay_rollout_attempts_total", Help: "Attempts that are over, by outcome and reason.",
	}, []string{"outcome", "reason"})
	attemptSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "belay_rollout_attempt_duration_seconds", Help: "Time from the start of an attempt to its end, by outcome.",
		Buckets: prometheus.ExponentialBuckets(15, 2, 12),
	}, []string{"outcome"})
	routeChanges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "belay_rollout_route_changes_total", Help: "Changes by others of a route that carried what an attempt wanted, by the Rollout.",
	}, []string{"namespace", "rollout"})
)

func init() { metrics.Registry.MustRegister(attemptsTotal, attemptSeconds, routeChanges) }

// countChanges counts the changes of routes by others that were noted between two statuses.
func countChanges(ro *v1alpha1.Rollout, before, after *v1alpha1.Attempt) {
	if after == nil {
		return
	}
	have := int32(0)
	if before != nil && before.Number == after.Number {
		have = before.Contest.Count()
	}
	if n := after.Contest.Count() - have; n > 0 {
		routeChanges.WithLabelValues(ro.Namespace, ro.Name).Add(float64(n))
	}
}

// countAttempts counts the attempt that ended between two statuses.
func countAttempts(before, after v1alpha1.RolloutStatus) {
	if len(after.History) == 0 || len(before.History) > 0 && before.History[0].Number == after.History[0].Number {
		return
	}
	last := after.History[0]
	attemptsTotal.WithLabelValues(string(last.Outcome), last.Reason).Inc()
	attemptSeconds.WithLabelValues(string(last.Outcome)).Observe(last.EndedAt.Sub(last.StartedAt.Time).Seconds())
}
