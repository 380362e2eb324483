package policy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

func bundle(t testing.TB) Bundle {
	web := "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {team: a}}, spec: {replicas: %d, template: {spec: {containers: [{name: c, image: \"registry.example.com/web:1\", resources: {limits: {memory: 64Mi}}}]}}}}"
	return Bundle{
		Objects: []Object{
			{New: object(t, fmt.Sprintf(web, 3)), Old: object(t, fmt.Sprintf(web, 2))},
			{New: object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}")},
		},
		Commit: map[string]string{"sha": "c0ffee", "branch": "main", "repository": "fleet"}, Environment: "prod",
	}
}

func rule(expression string) Rule {
	return Rule{Name: "DeliveryPolicy p", Spec: v1alpha1.DeliveryPolicySpec{Expression: expression, Message: "broken", Rationale: "because"}}
}

func TestG03_Evaluate(t *testing.T) {
	const suffix = " (why: because)"
	for name, test := range map[string]struct {
		expression string
		change     func(*v1alpha1.DeliveryPolicySpec)
		want       []string
	}{
		"kept":                   {expression: "true"},
		"each object":            {expression: "false", want: []string{"0 Deny DeliveryPolicy p: broken" + suffix, "1 Deny DeliveryPolicy p: broken" + suffix}},
		"of a kind":              {expression: "false", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Kinds = []string{"ConfigMap"} }, want: []string{"1 Deny DeliveryPolicy p: broken" + suffix}},
		"of a kind and group":    {expression: "false", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Kinds = []string{"Deployment.apps"} }, want: []string{"0 Deny DeliveryPolicy p: broken" + suffix}},
		"of another group":       {expression: "false", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Kinds = []string{"Deployment.example.com"} }},
		"of an environment":      {expression: "false", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Environments = []string{"staging"} }},
		"severity":               {expression: "object.kind == 'Deployment'", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Severity = v1alpha1.SeverityWarn }, want: []string{"1 Warn DeliveryPolicy p: broken" + suffix}},
		"once for the bundle":    {expression: "bundle.exists(o, o.kind == 'NetworkPolicy')", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Target = v1alpha1.TargetBundle }, want: []string{"-1 Deny DeliveryPolicy p: broken" + suffix}},
		"old object":             {expression: "oldObject == null || object.spec.replicas >= oldObject.spec.replicas"},
		"commit and environment": {expression: "commit.sha == 'c0ffee' && commit.branch == 'main' && environment == 'prod'"},
		"no such field": {expression: "object.spec.paused", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Kinds = []string{"Deployment"} },
			want: []string{"0 Deny DeliveryPolicy p: broken (the expression could not be evaluated: no such key: paused)" + suffix}},
		"no bool": {expression: "object.metadata.name", change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Kinds = []string{"ConfigMap"} },
			want: []string{"1 Deny DeliveryPolicy p: broken (the expression could not be evaluated: it does not give true or false)" + suffix}},
		"libraries of Kubernetes": {expression: "object.spec.template.spec.containers.all(c, quantity(c.resources.limits.memory).isLessThan(quantity('65Mi')) && c.image.find('^[^/]+') == 'registry.example.com')",
			change: func(s *v1alpha1.DeliveryPolicySpec) { s.Match.Kinds = []string{"Deployment"} }},
	} {
		t.Run(name, func(t *testing.T) {
			r := rule(test.expression)
			if test.change != nil {
				test.change(&r.Spec)
			}
			found, err := Evaluate(t.Context(), bundle(t), []Rule{r})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, fmt.Sprintf("%d %s %s", f.Object, f.Severity, f.Text))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	for expression, says := range map[string]string{
		"object.spec.": "Syntax error", "objekt.spec == 1": "undeclared reference to 'objekt'", "'text'": "it gives string, and must give bool", "1 + 'a'": "no matching overload",
	} {
		if err := Compile(expression); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", expression, err, says)
		}
		if _, err := Evaluate(t.Context(), bundle(t), []Rule{rule(expression)}); err == nil || !strings.HasPrefix(err.Error(), "DeliveryPolicy p: ") {
			t.Errorf("%s is evaluated: %v", expression, err)
		}
	}
}

func TestEvaluationIsBounded(t *testing.T) {
	b := bundle(t)
	for len(b.Objects) < 300 {
		b.Objects = append(b.Objects, b.Objects[0])
	}
	expensive := rule("bundle.all(a, bundle.all(b, bundle.all(c, a.kind + b.kind + c.kind != 'x')))")
	expensive.Spec.Target = v1alpha1.TargetBundle
	found, err := Evaluate(t.Context(), b, []Rule{expensive})
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Text, "cost limit exceeded") {
		t.Errorf("found %v, %v", found, err)
	}
	// Many calls that are each within their limit end too.
	each := rule("bundle.all(a, bundle.all(b, a.kind != 'x' || b.kind != 'y'))")
	found, err = evaluate(t.Context(), b, []Rule{each}, 1_000_000)
	if err != nil || len(found) == 0 || !strings.Contains(found[len(found)-1].Text, "cost too much together") {
		t.Errorf("%d found, %v", len(found), err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Evaluate(ended, b, []Rule{expensive}); err == nil {
		t.Error("it does not end with its context")
	}
}

func BenchmarkEvaluate(b *testing.B) {
	in := bundle(b)
	for len(in.Objects) < 100 {
		in.Objects = append(in.Objects, in.Objects[0])
	}
	r := rule("!has(object.spec) || object.spec.template.spec.containers.all(c, has(c.resources) && c.image.startsWith('registry.example.com/'))")
	for b.Loop() {
		if _, err := Evaluate(b.Context(), in, []Rule{r}); err != nil {
			b.Fatal(err)
		}
	}
}
