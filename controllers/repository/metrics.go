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

func init() { metrics.Registry.MustRegister(fetchDuration) }

func observe(operation string, started time.Time, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	fetchDuration.WithLabelValues(operation, result).Observe(time.Since(started).Seconds())
}
