package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
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

	leak := &leak{size: s.leak}
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
		leak.grow()
		code := http.StatusOK
		if rand.Float64() < s.errorRate || !helps(r.Context(), s.dependency) {
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

// leak is memory that nothing is done with and that is never given back.
type leak struct {
	size int
	mu   sync.Mutex
	kept [][]byte
}

func (l *leak) grow() {
	if l.size == 0 {
		return
	}
	more := make([]byte, l.size)
	for i := 0; i < len(more); i += 1 << 10 { // a page that is not written to takes no memory
		more[i] = 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, more)
}

// helps asks what the application depends on; without a dependency nothing can be wrong with it.
func helps(ctx context.Context, dependency string) bool {
	if dependency == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, dependency, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10)) // so that the connection is used again
	return err == nil && res.StatusCode == http.StatusOK
}

// knownMethod bounds the values of the method label.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return m
	}
	return "other"
}
