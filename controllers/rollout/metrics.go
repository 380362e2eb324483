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
)

func init() { metrics.Registry.MustRegister(attemptsTotal, attemptSeconds) }

// countAttempts counts the attempt that ended between two statuses.
func countAttempts(before, after v1alpha1.RolloutStatus) {
	if len(after.History) == 0 || len(before.History) > 0 && before.History[0].Number == after.History[0].Number {
		return
	}
	last := after.History[0]
	attemptsTotal.WithLabelValues(string(last.Outcome), last.Reason).Inc()
	attemptSeconds.WithLabelValues(string(last.Outcome)).Observe(last.EndedAt.Sub(last.StartedAt.Time).Seconds())
}
