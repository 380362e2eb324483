package lint

import (
	"strings"
	"testing"
)

const hpaFile = `---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec:
  scaleTargetRef: {apiVersion: belay.dev/v1alpha1, kind: Rollout, name: shop}
  maxReplicas: 9
  behavior: {scaleUp: {tolerance: "0"}, scaleDown: {tolerance: "0"}}
`

func TestAutoscaler(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(hpaFile, old, new, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"as it should be", rolloutFile + hpaFile, ""},
		{"a number beside it", strings.Replace(rolloutFile, "  selector:", "  replicas: 3\n  selector:", 1) + hpaFile, "Rollout/shop: spec.replicas: warning: HorizontalPodAutoscaler shop scales this Rollout"},
		{"default tolerance", rolloutFile + with(`behavior: {scaleUp: {tolerance: "0"}, scaleDown: {tolerance: "0"}}`, "minReplicas: 2"), "HorizontalPodAutoscaler/shop: spec.behavior.scaleUp.tolerance: warning: pods on trial lower the average"},
		{"default tolerance of one direction", rolloutFile + with(`, scaleDown: {tolerance: "0"}`, ""), "HorizontalPodAutoscaler/shop: spec.behavior.scaleDown.tolerance: warning: pods on trial"},
		{"of another workload", rolloutFile + strings.Replace(with(`behavior: {scaleUp: {tolerance: "0"}, scaleDown: {tolerance: "0"}}`, "minReplicas: 2"), "kind: Rollout", "kind: Deployment", 1), ""},
		{"in another namespace", strings.Replace(rolloutFile, "metadata: {name: shop}", "metadata: {name: shop, namespace: a}", 1) +
			strings.Replace(with(`behavior: {scaleUp: {tolerance: "0"}, scaleDown: {tolerance: "0"}}`, "minReplicas: 2"), "metadata: {name: shop}", "metadata: {name: shop, namespace: b}", 1), ""},
	} {
		got := lintText(t, c.text)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
