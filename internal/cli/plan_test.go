package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const planFile = `
apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  traffic: {stableService: shop, routes: [{kind: HTTPRoute, name: shop}]}
  strategy:
    canary:
      steps:
      - {name: dark, weight: 0}
      - {name: first, weight: 5, hold: 1m}
      - {weight: 10, maxHold: 30s}
      - {weight: 50}
  analysis: {templates: [{name: signals}]}
---
apiVersion: belay.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: signals}
spec: {metrics: [{name: errors, compare: {errors: {total: t, bad: 't{code="500"}'}}}]}
`

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  []string
		code  int
		wants []string
		not   string
	}{
		{"at 100 requests a second", []string{"--rps", "100"}, 0, []string{"dark", "+5 pp", "131", "2m0s", "+0.5 pp", "2332", "A good revision takes about",
			"warning: step step-3: maxHold 30s is over before its proof, which takes about 2m0s"}, "never"},
		{"at one request in a minute", []string{"--rps", "0.016", "-o", "json"}, 0, []string{`"kind": "RolloutPlan"`, `"name": "first"`, `"takes": "45h`}, ""},
		{"no traffic", []string{"--rps", "0"}, 1, []string{"--rps must be above 0"}, ""},
		{"both", []string{"--rps", "5", "--prometheus", "http://x"}, 1, []string{"give --rps or --prometheus, not both"}, ""},
		{"no share", []string{"--rps", "5", "--error-ratio", "0"}, 1, []string{"--error-ratio is 0: it must be above 0 and below 1"}, ""},
		{"no dispersion", []string{"--rps", "5", "--dispersion", "0.5"}, 1, []string{"--dispersion is 0.5: it must be 1 or more"}, ""},
	} {
		streams, in, out, errs := genericiooptions.NewTestIOStreams()
		in.WriteString(planFile)
		code := Main(t.Context(), append([]string{"plan", "-f", "-"}, test.args...), streams)
		text := out.String() + errs.String()
		if code != test.code {
			t.Errorf("%s: exit code %d: %s", test.name, code, text)
		}
		for _, want := range test.wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", test.name, want, text)
			}
		}
		if test.not != "" && strings.Contains(text, test.not) {
			t.Errorf("%s: %q in\n%s", test.name, test.not, text)
		}
	}
}

// TestPlanFromPrometheus: the traffic and the share of errors are those of the series that the template names.
func TestPlanFromPrometheus(t *testing.T) {
	answers := map[string]string{`sum(increase(t[1200s]))`: "120000", `sum(increase(t{code="500"}[1200s]))`: "1200"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		result := []any{}
		if v := answers[r.Form.Get("query")]; v != "" {
			result = append(result, map[string]any{"metric": map[string]string{}, "value": []any{1.0, v}})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
	}))
	defer server.Close()
	run := func(want int, texts ...string) {
		t.Helper()
		streams, in, out, errs := genericiooptions.NewTestIOStreams()
		in.WriteString(planFile)
		if code := Main(t.Context(), []string{"plan", "-f", "-", "--prometheus", server.URL}, streams); code != want {
			t.Errorf("exit code %d: %s", code, errs.String())
		}
		for _, text := range texts {
			if !strings.Contains(out.String()+errs.String(), text) {
				t.Errorf("no %q in\n%s%s", text, out.String(), errs.String())
			}
		}
	}
	run(0, "Rollout shop at 100 requests per second, 1 % of stable's bad, as Prometheus observed in the last 20m0s", "A good revision takes about")
	delete(answers, `sum(increase(t{code="500"}[1200s]))`)
	run(0, "at 100 requests per second, 0.01 % of stable's bad")
	answers[`sum(increase(t[1200s]))`] = "0"
	run(1, "Rollout shop: there were no requests in the last 20m0s: t")
	delete(answers, `sum(increase(t[1200s]))`)
	run(1, "Rollout shop: no series of the last 20m0s match t")
}

// TestPlanFromTheCluster: without flags the traffic is what the manager wrote.
func TestPlanFromTheCluster(t *testing.T) {
	h := newHarness(t)
	file := t.TempDir() + "/f.yaml"
	h.must(os.WriteFile(file, []byte(planFile), 0o600))
	h.want(h.run("plan", "-f", file), 1, "the manager has not observed its traffic yet")
	h.status(func(r *v1alpha1.Rollout) {
		r.Status.Forecast = &v1alpha1.Forecast{Attempt: 3, At: metav1.Now(), Traffic: v1alpha1.ObservedTraffic{RequestsPerSecond: "40", BadRatio: "0.002", Span: "1200s"}}
	})
	h.want(h.run("plan", "-f", file), 0, "Rollout shop at 40 requests per second, 0.2 % of stable's bad, as observed before attempt 3")
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}
