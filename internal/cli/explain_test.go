package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

const explained = `apiVersion: belay.dev/v1alpha1
kind: AnalysisRun
metadata: {name: checkout-7, namespace: shop}
spec: {metrics: [{name: errors, compare: {errors: {total: t, bad: b}}}], evidence: {falseAbortRate: "0.02"}}
status:
  verdict: Fail
  message: "metric errors: 60 of 900 canary requests were bad"
  startedAt: "2026-03-01T12:00:00Z"
  metrics:
  - name: errors
    verdict: Fail
    message: "metric errors: 60 of 900 canary requests were bad"
    comparison: {state: Halt, canaryRequests: 900, canaryBad: 60, stableRequests: 9000, stableBad: 20, harm: "140", safety: "0.002", ratio: "30 (12.1 to 60.3)", dispersion: "1.2"}
    history:
    - {at: "2026-03-01T12:01:00Z", state: Watch, weight: 5, counts: "1/90 2/900", harm: "1.2", safety: "0.6", ratio: "5 (0.2 to 40)"}
    - {at: "2026-03-01T12:02:00Z", state: Watch, weight: 5, counts: "20/400 9/4000", harm: "30", safety: "0.02", ratio: "22 (6 to 60)"}
    - {at: "2026-03-01T12:03:00Z", state: Halt, weight: 5, counts: "60/900 20/9000", harm: "140", safety: "0.002", ratio: "30 (12.1 to 60.3)"}
`

// A run is explained from a file alone: no cluster is there to be asked.
func TestExplainFile(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	file := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(file, []byte(explained), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-f", file}, {"-f", "-"}} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), append([]string{"explain", "--width", "60", "--color", "never"}, args...),
			genericiooptions.IOStreams{In: strings.NewReader(explained), Out: &out, ErrOut: &errs})
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, errs.String())
		}
		for _, want := range []string{"AnalysisRun shop/checkout-7  Fail", "errors  Halt", "canary 60 of 900 bad, stable 20 of 9000", "halts at 50", "12:01", "12:03", "H"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: no %q in\n%s", args, want, out.String())
			}
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		args      []string
		in, wants string
	}{
		"nothing":       {[]string{"explain"}, "", "give the name of an AnalysisRun, or a file"},
		"both":          {[]string{"explain", "x", "-f", "-"}, explained, "give the name of an AnalysisRun, or a file"},
		"another kind":  {[]string{"explain", "-f", "-"}, strings.Replace(explained, "kind: AnalysisRun", "kind: Rollout", 1), "an AnalysisRun of belay.dev/v1alpha1 is needed"},
		"no YAML":       {[]string{"explain", "-f", "-"}, "a: [", "reading"},
		"too narrow":    {[]string{"explain", "-f", "-", "--width", "10"}, explained, "--width is 10: it must be at least 40"},
		"no such file":  {[]string{"explain", "-f", "/nowhere/run.yaml"}, "", "/nowhere/run.yaml"},
		"text for time": {[]string{"explain", "-f", "-"}, strings.Replace(explained, `at: "2026-03-01T12:01:00Z"`, "at: noon", 1), "reading"},
	} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), test.args, genericiooptions.IOStreams{In: strings.NewReader(test.in), Out: &out, ErrOut: &errs})
		if code != 1 || !strings.Contains(errs.String(), test.wants) {
			t.Errorf("%s: exit code %d, %q, want %q", name, code, errs.String(), test.wants)
		}
	}
}
