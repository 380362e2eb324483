package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name, path string
		s          settings
		code       int
		body       string
	}{
		{"healthy", "/", settings{version: "v1", pod: "p"}, 200, "v1 p\n"},
		{"all errors", "/", settings{version: "v2", pod: "p", errorRate: 1}, 500, "v2 p\n"},
		{"ready", "/healthz", settings{}, 200, "ok\n"},
		{"not ready", "/healthz", settings{ready: time.Hour}, 503, "not ready yet\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			newHandler(tc.s, now).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, tc.path, nil))
			if rec.Code != tc.code || rec.Body.String() != tc.body {
				t.Errorf("got %d %q, want %d %q", rec.Code, rec.Body, tc.code, tc.body)
			}
		})
	}
}

// What the application depends on decides with it whether it answers.
func TestDependency(t *testing.T) {
	code := http.StatusOK
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	defer other.Close()
	h := newHandler(settings{version: "v1", dependency: other.URL}, time.Now())
	for _, tc := range []struct{ dependency, want int }{{200, 200}, {503, 500}, {200, 200}} {
		code = tc.dependency
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if rec.Code != tc.want {
			t.Errorf("with %d of the dependency the answer is %d, want %d", tc.dependency, rec.Code, tc.want)
		}
	}
}

func TestLeakIsKept(t *testing.T) {
	l := &leak{size: 64 << 10}
	l.grow()
	l.grow()
	if len(l.kept) != 2 || len(l.kept[0]) != 64<<10 {
		t.Errorf("kept %d blocks, want 2 of 64 KiB", len(l.kept))
	}
}

func TestHandlerCounts(t *testing.T) {
	h := newHandler(settings{version: "v3", errorRate: 1}, time.Now())
	for range 3 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`http_requests_total{code="500",method="GET",version="v3"} 3`,
		`http_requests_total{code="200",method="GET",version="v3"} 0`,
		`http_request_duration_seconds_count{version="v3"} 3`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("metrics lack %s:\n%s", want, rec.Body)
		}
	}
}

func TestBurnUsesProcessorTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	burn(20 * time.Millisecond)
	if used := threadTime() - before; used < 20*time.Millisecond {
		t.Errorf("used %s, want at least 20ms", used)
	}
}

func TestReadSettings(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  map[string]string
		ok   bool
	}{
		{"nothing set", nil, true},
		{"all set", map[string]string{"ERROR_RATE": "0.05", "LATENCY_MS": "12", "CPU_MS": "0.5", "CRASH": "0s", "READY_DELAY": "1s", "DRAIN": "0s", "LEAK_KIB": "8"}, true},
		{"rate too high", map[string]string{"ERROR_RATE": "5"}, false},
		{"no number", map[string]string{"LATENCY_MS": "x"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := readSettings(func(k string) string { return tc.env[k] })
			if (err == nil) != tc.ok {
				t.Fatalf("got %+v, %v", s, err)
			}
			if tc.ok && tc.env == nil && (s.crash >= 0 || s.drain != 3*time.Second || s.address != ":8080") {
				t.Errorf("wrong defaults: %+v", s)
			}
		})
	}
}
