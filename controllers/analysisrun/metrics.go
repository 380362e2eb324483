package analysisrun

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

var (
	measurements = promauto.With(metrics.Registry).NewCounterVec(prometheus.CounterOpts{
		Name: "belay_analysis_measurements_total",
		Help: "Measurements written to the status of AnalysisRuns, by result: passed, failed, nodata or error.",
	}, []string{"result"})
	queryDuration = promauto.With(metrics.Registry).NewHistogram(prometheus.HistogramOpts{
		Name:    "belay_analysis_query_duration_seconds",
		Help:    "Time from sending a metric's query to its answer or error.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	})
)

func init() {
	for _, result := range []string{analysis.ResultPassed, analysis.ResultFailed, analysis.ResultNoData, analysis.ResultError} {
		measurements.WithLabelValues(strings.ToLower(result))
	}
}

// countMeasurements counts this round's measurements as they were judged.
func countMeasurements(s v1alpha1.AnalysisRunStatus, outcomes map[string]analysis.Outcome) {
	for _, m := range s.Metrics {
		if o, measured := outcomes[m.Name]; measured && o.Job == nil && len(m.Recent) > 0 {
			measurements.WithLabelValues(strings.ToLower(m.Recent[0].Result)).Inc()
		}
	}
}
