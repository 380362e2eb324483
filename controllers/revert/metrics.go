package revert

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var reverts = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "belay_reverts_total",
	Help: "Reverts that reached a state: Pushed, NotNeeded, Proposed, Declined, Suspended, Conflict, Rejected.",
}, []string{"state"})

func init() { metrics.Registry.MustRegister(reverts) }
