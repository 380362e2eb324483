package cli

import (
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
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
			"warning: step step-3: maxHold 30s is over before its proof, which takes about 1m30s"}, "never"},
		{"at one request in a minute", []string{"--rps", "0.016", "-o", "json"}, 0, []string{`"kind": "RolloutPlan"`, `"name": "first"`, `"takes": "45h`}, ""},
		{"no traffic", nil, 1, []string{"--rps must be above 0"}, ""},
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
