package sync

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var applies = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "belay_sync_applies_total",
	Help: "Rounds of Syncs, by result: applied, unchanged, waiting, denied, failed, conflict.",
}, []string{"result"})

var healthChanges = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "belay_sync_health_changes_total",
	Help: "Bundles that broke after they were applied (unhealthy), and that recovered (healthy), by namespace of the Sync.",
}, []string{"namespace", "health"})

func init() { metrics.Registry.MustRegister(applies, healthChanges) }

func count(result string) { applies.WithLabelValues(result).Inc() }

// resultOf is the result of a round that applied nothing new: who waits for a gate or for another Sync has not failed.
func resultOf(reason string) string {
	switch reason {
	case ReasonDenied:
		return "denied"
	case ReasonWaiting:
		return "waiting"
	}
	return "failed"
}
