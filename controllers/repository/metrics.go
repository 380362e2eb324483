package repository

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var fetchDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "belay_repository_fetch_duration_seconds",
	Help:    "Time that Git operations took, by operation (head, fetch) and result (ok, error).",
	Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
}, []string{"operation", "result"})

var hookRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "belay_webhook_requests_total",
	Help: "Requests of Git servers that tell of a push, by result (accepted, refused, limited, malformed).",
}, []string{"result"})

func init() { metrics.Registry.MustRegister(fetchDuration, hookRequests) }

func observe(operation string, started time.Time, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	fetchDuration.WithLabelValues(operation, result).Observe(time.Since(started).Seconds())
}
