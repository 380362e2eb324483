package sync

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var applies = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "belay_sync_applies_total",
	Help: "Rounds of Syncs, by result: applied, unchanged, denied, failed, conflict.",
}, []string{"result"})

func init() { metrics.Registry.MustRegister(applies) }

func count(result string) { applies.WithLabelValues(result).Inc() }
