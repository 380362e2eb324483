package lint

import (
	"slices"
	"strings"
	"testing"
)

// TestExpressionsAreCompiled: what the schema cannot see of a check is found by its field.
func TestExpressionsAreCompiled(t *testing.T) {
	const template = "apiVersion: belay.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec:\n  args: [{name: a}]\n  metrics:\n  - {name: m, "
	for spec, want := range map[string]string{
		`threshold: {prometheus: {query: up}, condition: "value <"}`:                                           "f.yaml:7: AnalysisTemplate/t: spec.metrics[0].threshold.condition: ",
		`threshold: {prometheus: {query: up}, condition: "json.a"}`:                                            "undeclared reference to 'json'",
		`threshold: {prometheus: {query: up}, condition: "value < 1.0"}`:                                       "",
		`web: {url: "http://x/{{args.b}}"}`:                                                                    "f.yaml:7: AnalysisTemplate/t: spec.metrics[0].web.url: ",
		`web: {url: "http://{{args.a}}.svc/{{canary.service}}"}`:                                               "",
		`web: {url: "http://x", value: "body", max: "1"}`:                                                      "web.value: the expression gives string, and must give a number or null",
		`web: {url: "http://x", condition: "value < 1.0"}`:                                                     "web.condition: undeclared reference to 'value'",
		`web: {url: "http://x", value: "json.v", condition: "value < status"}`:                                 "",
		`web: {url: "http://x", headers: [{name: A, value: "{{canary.pods}}"}]}`:                               "web.headers[0].value: placeholder {{canary.pods}} is a regular expression",
		`job: {template: {spec: {containers: [{name: c, image: i, args: ["{{args.a}}"]}]}}}`:                   "",
		`job: {template: {spec: {containers: [{name: c, image: i, arguments: [a]}]}}}`:                         "job.template.spec.containers[0].arguments: this field is not known",
		`job: {template: {spec: {containers: [{name: c, image: i, args: one}]}}}`:                              "job.template: it is no template of a pod",
		`job: {template: {spec: {restartPolicy: Always, containers: [{name: c, image: i}]}}}`:                  "job.template.spec.restartPolicy: Always is not possible for a Job",
		`job: {template: {spec: {containers: [{name: c, image: i, env: [{name: A, value: "{{args.no}}"}]}]}}}`: "args.no",
	} {
		got := lintText(t, template+spec+"}\n")
		if want == "" && len(got) > 0 || want != "" && !slices.ContainsFunc(got, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
}
