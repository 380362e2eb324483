package prometheus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/analysis"
)

// startPrometheus starts a real server that scrapes itself, and gives its address.
func startPrometheus(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("BELAY_TEST_PROMETHEUS") // test/run gives that of the testbed
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("BELAY_TEST_REQUIRE") != "" {
			t.Fatalf("needs a Prometheus binary: set BELAY_TEST_PROMETHEUS: %v", err)
		}
		t.Skip("SKIPPED: needs a Prometheus binary: set BELAY_TEST_PROMETHEUS to its path")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	yaml := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: self\n  static_configs: [{targets: [%q], labels: {pod: web-1.a}}]\n", address)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for s := bufio.NewScanner(out); s.Scan(); {
		}
	}()
	t.Cleanup(func() { cancel(); <-drained; _ = cmd.Wait() })
	return "http://" + address
}

// eventually asks until f is content, or a minute has passed.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestRealPrometheus(t *testing.T) {
	address := startPrometheus(t)
	eventually(t, "ready", func() error {
		resp, err := http.Get(address + "/-/ready")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	c := client(t, Config{Address: address})
	vars := analysis.Variables{Args: map[string]string{"job": "self", "evil": `x"} or vector(7) or up{a="`, "window": "5m"},
		Canary: &analysis.Arm{Pods: []string{"web-1.a", "other"}}, Stable: &analysis.Arm{}}
	ask := func(query string) (float64, error) {
		expanded, err := analysis.Expand(query, vars)
		if err != nil {
			return 0, err
		}
		return c.Query(t.Context(), expanded, time.Now().Truncate(time.Second))
	}
	eventually(t, "scraped", func() error { _, err := ask(`up{job="{{args.job}}",pod=~"{{canary.pods}}"} == 1`); return err })
	for name, tc := range map[string]struct {
		query string
		want  float64
		err   func(error) bool
	}{
		"vector":                 {query: `up{pod=~"{{canary.pods}}"}`, want: 1},
		"back quotes":            {query: "up{pod=~`{{canary.pods}}`}", want: 1},
		"single quotes":          {query: "up{pod=~'{{canary.pods}}'}", want: 1},
		"scalar":                 {query: "scalar(up)+1", want: 2},
		"window":                 {query: "count_over_time(up[{{args.window}}]) > bool 0", want: 1},
		"no pods":                {query: `up{pod=~"{{stable.pods}}"}`, err: func(err error) bool { return errors.Is(err, ErrNoData) }},
		"injection":              {query: `up{job="{{args.evil}}"}`, err: func(err error) bool { return errors.Is(err, ErrNoData) }},
		"injection, single":      {query: `up{job='{{args.evil}}'}`, err: func(err error) bool { return errors.Is(err, ErrNoData) }},
		"bad query":              {query: `up{`, err: isQueryError},
		"several series":         {query: "prometheus_http_requests_total or up", err: func(err error) bool { e := (*ResultError)(nil); return errors.As(err, &e) }},
		"infos are not warnings": {query: "sum(rate(up[5m])) * 0", want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ask(tc.query)
			if tc.err != nil {
				if !tc.err(err) {
					t.Errorf("%v, error %v", got, err)
				}
				return
			}
			if err != nil && strings.Contains(name, "infos") && errors.Is(err, ErrNoData) {
				return // a rate needs two samples
			}
			if err != nil || got != tc.want {
				t.Errorf("%v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

// TestRealSamples: raw samples of a real server come in order, once for all that ask the same, and are those that it holds.
func TestRealSamples(t *testing.T) {
	address := startPrometheus(t)
	c := client(t, Config{Address: address})
	var got []Samples
	eventually(t, "three scrapes", func() error {
		var err error
		got, err = c.Samples(t.Context(), `prometheus_http_requests_total{pod="web-1.a",handler="/metrics"}`, time.Now(), time.Minute)
		switch {
		case err != nil:
			return err
		case len(got) != 1 || len(got[0].Points) < 3:
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	p := got[0].Points
	for i := 1; i < len(p); i++ {
		if !p[i].At.After(p[i-1].At) || p[i].Value < p[i-1].Value {
			t.Errorf("a counter goes back: %v", p)
		}
	}
	if got[0].Labels["__name__"] != "prometheus_http_requests_total" || got[0].Labels["code"] != "200" {
		t.Errorf("labels %v", got[0].Labels)
	}
	if c.Ahead() != 0 {
		t.Errorf("the clock of a server on the same machine is ahead by %s", c.Ahead())
	}
	at := time.Now()
	first, err := c.Samples(t.Context(), "up", at, time.Minute)
	if err != nil || len(first) != 1 {
		t.Fatalf("%v, %v", first, err)
	}
	again, err := c.Samples(t.Context(), "up", at, time.Minute)
	if err != nil || &again[0] != &first[0] {
		t.Errorf("the same question was asked twice: %v", err)
	}
	for name, selector := range map[string]string{"a histogram": `prometheus_http_request_duration_seconds_bucket{handler="/metrics"}`, "by name": `{__name__=~"prometheus_http_request_duration_seconds(_bucket|_sum)?",handler="/metrics"}`} {
		if got, err := c.Samples(t.Context(), selector, time.Now(), time.Minute); err != nil || len(got) < 5 {
			t.Errorf("%s: %d series, %v", name, len(got), err)
		}
	}
	if _, err := c.Samples(t.Context(), "up{", time.Now(), time.Minute); !isQueryError(err) {
		t.Errorf("a bad selector: %v", err)
	}
}
