package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newHandler answers as settings s say, for an application that started at the given time.
func newHandler(s settings, started time.Time) http.Handler {
	registry := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "Requests answered.",
	}, []string{"code", "method", "version"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Time to answer a request.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"version"})
	registry.MustRegister(requests, seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError} { // a counter that is born at 1 hides its first event
		requests.WithLabelValues(strconv.Itoa(code), http.MethodGet, s.version)
	}

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if time.Since(started) < s.ready {
			http.Error(w, "not ready yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		time.Sleep(s.latency)
		burn(s.cpu)
		code := http.StatusOK
		if rand.Float64() < s.errorRate {
			code = http.StatusInternalServerError
		}
		w.Header().Set("X-Version", s.version)
		w.WriteHeader(code)
		fmt.Fprintf(w, "%s %s\n", s.version, s.pod)
		requests.WithLabelValues(strconv.Itoa(code), knownMethod(r.Method), s.version).Inc()
		seconds.WithLabelValues(s.version).Observe(time.Since(begin).Seconds())
	})
	return mux
}

// knownMethod bounds the values of the method label.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return m
	}
	return "other"
}
