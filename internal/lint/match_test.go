package lint

import (
	"strings"
	"testing"
)

const policyFile = `---
apiVersion: gateway.example.com/v1
kind: SecurityPolicy
metadata: {name: login}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop, sectionName: main}]}
`

func TestMatches(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(rolloutFile, old, new, 1) }
	match := with("{weight: 10,", "{match: {headers: [{name: X-Team, value: shop}]},")
	named := strings.Replace(match, "{rules: [{", "{rules: [{name: main, ", 1)
	refused := "spec.strategy.canary.steps[0].match: this step cannot be done on HTTPRoute shop: "
	for _, c := range []struct{ name, text, want string }{
		{"a dark canary", match, ""},
		{"regular expression", strings.Replace(match, "{rules: [{", "{rules: [{matches: [{path: {type: RegularExpression, value: /a.*}}], ", 1), refused + "spec.rules[0] matches its path by a regular expression"},
		{"same header", strings.Replace(match, "{rules: [{", "{rules: [{matches: [{headers: [{name: x-team, value: a}]}], ", 1), refused + `spec.rules[0] already matches header "X-Team"`},
		{"preview", strings.Replace(with(canarySteps, "    blueGreen: {hold: 1m, previewMatch: {methods: [GET]}}"), "{rules: [{", "{rules: [{matches: [{method: POST}], ", 1),
			"spec.strategy.blueGreen.previewMatch: this step cannot be done on HTTPRoute shop: spec.rules[0] matches method POST"},
		{"policy of another rule", match + policyFile, ""},
		{"policy without a match", strings.Replace(rolloutFile, "{rules: [{", "{rules: [{name: main, ", 1) + policyFile, ""},
		{"policy of the rule", named + policyFile, `SecurityPolicy/login: spec.targetRefs[0].sectionName: this policy covers rule "main" alone: requests that a step matches or mirrors would go around it`},
		{"policy of another route", named + strings.Replace(policyFile, "name: shop,", "name: other,", 1), ""},
	} {
		got := lintText(t, c.text)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
