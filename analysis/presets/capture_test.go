package presets_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var update = flag.Bool("update", false, "capture anew what real libraries expose")

// traffic that is sent to a pod before a scrape.
type traffic struct{ good, bad, slow int }

// plan is what each pod gets before its two scrapes.
var plan = map[string][2]traffic{
	"web-new-c1": {{good: 5, bad: 1}, {good: 13, bad: 3, slow: 4}},
	"web-old-s1": {{good: 90, bad: 4}, {good: 50, bad: 2, slow: 4}},
	"web-old-s2": {{good: 10, bad: 1}, {good: 22, slow: 2}},
}

// work answers POST with an error and is slow where it is asked to be.
func work(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		time.Sleep(120 * time.Millisecond)
	}
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func send(t *testing.T, url string, n traffic) {
	t.Helper()
	one := func(times int, method, path string) {
		for range times {
			req, err := http.NewRequestWithContext(t.Context(), method, url+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	}
	one(n.good, http.MethodGet, "/")
	one(n.bad, http.MethodPost, "/")
	one(n.slow, http.MethodGet, "/slow")
}

// TestCaptureHTTPServer writes what client_golang's middleware exposes into testdata: go test -run TestCapture -update.
func TestCaptureHTTPServer(t *testing.T) {
	if !*update {
		t.Skip("SKIPPED: captures are written with -update only")
	}
	for pod, rounds := range plan {
		registry := prometheus.NewRegistry()
		requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests answered."}, []string{"code", "method"})
		seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1}}, []string{"method"})
		registry.MustRegister(requests, seconds)
		web := httptest.NewServer(promhttp.InstrumentHandlerDuration(seconds, promhttp.InstrumentHandlerCounter(requests, http.HandlerFunc(work))))
		for i, round := range rounds {
			send(t, web.URL, round)
			answer := httptest.NewRecorder()
			promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			save(t, "http-server", pod, i, answer.Body.Bytes())
		}
		web.Close()
	}
}

func save(t *testing.T, preset, pod string, scrape int, text []byte) {
	t.Helper()
	dir := filepath.Join("testdata", preset)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, pod+"@"+string(rune('0'+scrape))+".txt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}
