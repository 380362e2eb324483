package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/test/testbed/load"
	"github.com/belay-delivery/belay/test/testbed/parts"
)

// program builds the testbed command, which contains the node and the Git server.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "testbed")
	if out, err := exec.Command("go", "build", "-o", path, "./cmd/testbed").CombinedOutput(); err != nil {
		t.Fatalf("building the testbed command: %v\n%s", err, out)
	}
	return path
}

func requireParts(t *testing.T) {
	t.Helper()
	b, err := parts.NewBuilder(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts.All() {
		if _, err := b.Find(t.Context(), p); err != nil {
			t.Skipf("NOT TESTED: %s is not built (%v); run `go run ./cmd/testbed build`, or set BELAY_TESTBED=1", p.Name, err)
		}
	}
}

func TestUp(t *testing.T) {
	requireParts(t)
	dir := filepath.Join(t.TempDir(), "bed")
	bed, err := Up(t.Context(), Options{Dir: dir, Program: program(t), Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	down := false
	defer func() {
		if !down {
			_ = bed.Down(context.WithoutCancel(t.Context()))
		}
	}()
	info, err := ReadInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, info, "apply", "--server-side", "-f", "testdata/shop.yaml")
	kubectl(t, info, "rollout", "status", "deployment/shop", "--timeout=60s")
	t.Run("traffic reaches the pods", func(t *testing.T) { checkTraffic(t, info) })
	t.Run("Prometheus counts per pod", func(t *testing.T) { checkPrometheus(t, info) })
	t.Run("bad pods show what is wrong", func(t *testing.T) { checkBadPods(t, info) })
	t.Run("metrics of pods and the node", func(t *testing.T) { checkMetrics(t, info) })
	t.Run("a restart loses no request", func(t *testing.T) { checkRestart(t, info) })

	down = true
	if err := bed.Down(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	for _, p := range info.Processes {
		if p.Alive() {
			t.Errorf("%s still runs", p.Name)
		}
	}
}

func kubectl(t *testing.T, info Info, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(info.Assets, "kubectl"), append([]string{"--kubeconfig", info.Kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := await(ctx, what, ask); err != nil {
		t.Error(err)
	}
}

func checkTraffic(t *testing.T, info Info) {
	pods := map[string]bool{}
	eventually(t, "answers of both pods through the gateway", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, info.GatewayURL, nil)
		if err != nil {
			return err
		}
		req.Host = "shop.example"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK || res.Header.Get("X-Version") != "v1" {
			return fmt.Errorf("%s: %s %w", res.Status, body, err)
		}
		if pods[string(body)] = true; len(pods) < 2 {
			return fmt.Errorf("only %v answered", pods)
		}
		return nil
	})
}

func checkPrometheus(t *testing.T, info Info) {
	query := `count(http_requests_total{namespace="default",app="shop",role="stable",version="v1",code="200",pod=~"shop-.*"} > 0)`
	for q, want := range map[string]string{query: "2", `count(traefik_service_requests_total) > 0`: "1"} {
		eventually(t, q, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, info.PrometheusURL+"/api/v1/query?query="+url.QueryEscape(q), nil)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			var answer struct {
				Data struct{ Result []struct{ Value [2]any } }
			}
			if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
				return err
			}
			if r := answer.Data.Result; len(r) != 1 || r[0].Value[1] != want {
				return fmt.Errorf("got %v, want %s", r, want)
			}
			return nil
		})
	}
}

func checkBadPods(t *testing.T, info Info) {
	for name, want := range map[string]string{"missing": "ImagePullBackOff", "crashing": "CrashLoopBackOff", "huge": "Unschedulable"} {
		eventually(t, name, func(context.Context) error {
			if got := kubectl(t, info, "get", "pod", name, "-o", "jsonpath={.status}"); !strings.Contains(got, want) {
				return errors.New(got)
			}
			return nil
		})
	}
}

// checkMetrics asks as a person does, and as an autoscaler.
func checkMetrics(t *testing.T, info Info) {
	eventually(t, "kubectl top pods", func(context.Context) error {
		if got := kubectl(t, info, "top", "pods", "-l", "app=shop", "--no-headers"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "Mi") {
			return errors.New(got)
		}
		return nil
	})
	if got := kubectl(t, info, "top", "nodes", "--no-headers"); !strings.Contains(got, "node-0") {
		t.Errorf("kubectl top nodes: %s", got)
	}
	kubectl(t, info, "autoscale", "deployment/shop", "--cpu=50%", "--min=2", "--max=4")
	defer kubectl(t, info, "delete", "hpa/shop")
	eventually(t, "a number for the autoscaler", func(context.Context) error {
		if got := kubectl(t, info, "get", "hpa/shop", "-o", "jsonpath={.status}"); !strings.Contains(got, `"averageUtilization"`) {
			return errors.New(got)
		}
		return nil
	})
}

// checkRestart replaces all pods under load: their drain has to cover the time until the gateway knows.
func checkRestart(t *testing.T, info Info) {
	o := load.Options{URL: info.GatewayURL, Host: "shop.example", Rate: 100}
	r := load.NewRecorder(o, nil)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- load.Run(ctx, o, r) }()
	kubectl(t, info, "set", "env", "deployment/shop", "VERSION=v2")
	kubectl(t, info, "rollout", "status", "deployment/shop", "--timeout=60s")
	eventually(t, "the old pods' end", func(context.Context) error {
		if got := kubectl(t, info, "get", "pods", "-l", "app=shop", "-o", "name"); strings.Count(got, "\n") != 2 {
			return errors.New(got)
		}
		return nil
	})
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text, err := r.JSON(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	var s load.Summary
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.All.Failed != 0 || s.Version["v1"] == nil || s.Version["v2"] == nil {
		t.Errorf("%d of %d requests failed; versions %v", s.All.Failed, s.All.Total, s.Version)
	}
}
