// Captures what otelhttp and OpenTelemetry's Prometheus exporter expose for the traffic of capture_test.go: go run . FOLDER
package main

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

type traffic struct{ good, bad, slow int }

var plan = map[string][2]traffic{
	"web-new-c1": {{good: 5, bad: 1}, {good: 13, bad: 3, slow: 4}},
	"web-old-s1": {{good: 90, bad: 4}, {good: 50, bad: 2, slow: 4}},
	"web-old-s2": {{good: 10, bad: 1}, {good: 22, slow: 2}},
}

func work(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		time.Sleep(120 * time.Millisecond)
	}
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func main() {
	for pod, rounds := range plan {
		registry := prometheus.NewRegistry()
		exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
		if err != nil {
			log.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/", work)
		web := httptest.NewServer(otelhttp.NewHandler(mux, "web", otelhttp.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter)))))
		for i, n := range rounds {
			send(web.URL, "GET", "/", n.good)
			send(web.URL, "POST", "/", n.bad)
			send(web.URL, "GET", "/slow", n.slow)
			answer := httptest.NewRecorder()
			promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
			name := filepath.Join(os.Args[1], fmt.Sprintf("%s@%d.txt", pod, i))
			if err := os.WriteFile(name, answer.Body.Bytes(), 0o600); err != nil {
				log.Fatal(err)
			}
		}
		web.Close()
	}
}

func send(url, method, path string, times int) {
	for range times {
		req, err := http.NewRequest(method, url+path, http.NoBody)
		if err != nil {
			log.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}
