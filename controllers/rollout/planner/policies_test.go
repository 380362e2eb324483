package planner

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// A policy of one rule refuses a step that would put a copy before that rule, before the attempt and only then.
func TestPolicyOfOneRuleRefusesCopies(t *testing.T) {
	login := Policy{Name: "SecurityPolicy n/login", Rule: "main"}
	for name, test := range map[string]struct {
		step v1alpha1.Step
		rule string
		want string
	}{
		"match":        {v1alpha1.Step{Name: "team", Match: team()}, "main", `step team cannot be done on HTTPRoute r: SecurityPolicy n/login covers rule "main" alone`},
		"mirror":       {v1alpha1.Step{Name: "shadow", Mirror: tenth()}, "main", "step shadow cannot be done"},
		"weight":       {v1alpha1.Step{Name: "tenth", Weight: ptr(int32(10))}, "main", ""},
		"another rule": {v1alpha1.Step{Name: "team", Match: team()}, "other", ""},
	} {
		o := observed("")
		o.Revision = "b"
		o.Rollout.Spec.Strategy.Canary.Steps[0] = test.step
		rules, _, _ := unstructured.NestedSlice(o.Routes[0].Object.Object, "spec", "rules")
		rules[0].(map[string]any)["name"] = test.rule
		if err := unstructured.SetNestedSlice(o.Routes[0].Object.Object, rules, "spec", "rules"); err != nil {
			t.Fatal(err)
		}
		o.Routes[0].Policies = []Policy{login}
		o.Routes[0].Gateways = []Gateway{{Name: "Gateway n/gw", Controller: "x", Features: []string{"HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror", "HTTPRouteMethodMatching"}}}
		p := Make(o)
		if started := p.Status.Attempt != nil; started != (test.want == "") || !strings.Contains(p.Status.BlockedBy, test.want) {
			t.Errorf("%s: started %t, blocked by %q, want %q", name, started, p.Status.BlockedBy, test.want)
		}
		if test.want != "" && p.NextLook.IsZero() {
			t.Errorf("%s: nothing tells when the policy is gone, and no look is planned", name)
		}
	}
}
