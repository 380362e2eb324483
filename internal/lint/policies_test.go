package lint

import (
	"strings"
	"testing"
)

func TestG03_LintCompilesPolicies(t *testing.T) {
	const file = `apiVersion: belay.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: p}
spec:
  expression: objekt.spec == 1
  message: m
  rationale: r
---
apiVersion: belay.dev/v1alpha1
kind: ClusterDeliveryPolicy
metadata: {name: wide}
spec: {expression: "'text'", message: m, rationale: r}
---
apiVersion: belay.dev/v1alpha1
kind: Sync
metadata: {name: s}
spec: {repository: r, path: a, serviceAccountName: d, policies: [{name: p}, {name: lost}, {kind: ClusterDeliveryPolicy, name: wide}]}
`
	got := strings.Join(lintText(t, file), "\n")
	for _, want := range []string{
		"f.yaml:5: DeliveryPolicy/p: spec.expression: compiling the expression: ERROR: <input>:1:1: undeclared reference to 'objekt'",
		"ClusterDeliveryPolicy/wide: spec.expression: compiling the expression: it gives string, and must give bool",
		`Sync/s: spec.policies[1].name: warning: DeliveryPolicy "lost" is not in these files`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "policies[0]") || strings.Contains(got, "policies[2]") {
		t.Errorf("policies that are there are said to be missing:\n%s", got)
	}
}
