package lint

import (
	"strings"
	"testing"
)

const otherRoute = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: inside}
spec: {parentRefs: [{name: other}], rules: [{backendRefs: [{name: SERVICE, port: 80}]}]}
`

func TestTrafficTogether(t *testing.T) {
	with := func(old, new string) string {
		if !strings.Contains(rolloutFile, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(rolloutFile, old, new, 1)
	}
	tiered := strings.Replace(with("labels: {app: shop}", "labels: {app: shop, tier: web}"), "spec: {selector: {app: shop}}", "spec: {selector: {app: shop, tier: web}}", 1)
	share := with("  traffic:\n", "  traffic:\n    confirm: [{controllerName: x/y, level: Share, share: {templates: [{name: share}]}}]\n")
	template := "---\napiVersion: belay.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: share}\nspec: {ARGS metrics: [{name: share, threshold: {max: \"0.1\", prometheus: {query: 'x{{args.share}}'}}}]}\n"
	for _, c := range []struct{ name, text, want string }{
		{"another route", rolloutFile + strings.Replace(otherRoute, "SERVICE", "shop", 1), "spec.traffic.routes: warning: requests go past the split through HTTPRoute inside: it refers to Service shop too"},
		{"a route of another Service", rolloutFile + strings.Replace(otherRoute, "SERVICE", "other", 1), ""},
		{"a label of the Service", strings.Replace(tiered, "  traffic:\n", "  roleMetadata: {canary: {labels: {tier: trial}}}\n  traffic:\n", 1), "spec.roleMetadata.canary.labels[tier]: Service shop selects pods by this label"},
		{"another label", strings.Replace(tiered, "  traffic:\n", "  roleMetadata: {canary: {labels: {track: trial}}}\n  traffic:\n", 1), ""},
		{"share", share + strings.Replace(template, "ARGS", "args: [{name: share}],", 1), ""},
		{"share without its argument", share + strings.Replace(template, "x{{args.share}}", "x", 1) + "", "spec.traffic.confirm[0].share: "},
		{"share of nothing", share, `spec.traffic.confirm[0].share.templates[0].name: AnalysisTemplate "share" is not in these files`},
	} {
		got := lintText(t, strings.Replace(c.text, "ARGS ", "", 1))
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
