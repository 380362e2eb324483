package gatewayapi

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestAttachedTo(t *testing.T) {
	route := &unstructured.Unstructured{Object: map[string]any{"kind": "HTTPRoute", "metadata": map[string]any{"name": "shop", "namespace": "n"}}}
	target := func(change func(map[string]any)) map[string]any {
		m := map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop", "sectionName": "main"}
		change(m)
		return m
	}
	for name, test := range map[string]struct {
		namespace string
		spec      map[string]any
		want      []string
	}{
		"a rule":                {"n", map[string]any{"targetRef": target(func(map[string]any) {})}, []string{"main"}},
		"several":               {"n", map[string]any{"targetRefs": []any{target(func(m map[string]any) { m["sectionName"] = "z" }), target(func(map[string]any) {}), "odd"}}, []string{"main", "z"}},
		"the whole route":       {"n", map[string]any{"targetRef": target(func(m map[string]any) { delete(m, "sectionName") })}, nil},
		"another route":         {"n", map[string]any{"targetRef": target(func(m map[string]any) { m["name"] = "other" })}, nil},
		"another kind":          {"n", map[string]any{"targetRef": target(func(m map[string]any) { m["kind"] = "GRPCRoute" })}, nil},
		"a listener":            {"n", map[string]any{"targetRef": target(func(m map[string]any) { m["kind"] = "Gateway" })}, nil},
		"another group":         {"n", map[string]any{"targetRef": target(func(m map[string]any) { m["group"] = "x" })}, nil},
		"from elsewhere":        {"m", map[string]any{"targetRef": target(func(map[string]any) {})}, nil},
		"from elsewhere, named": {"m", map[string]any{"targetRef": target(func(m map[string]any) { m["namespace"] = "n" })}, []string{"main"}},
		"nonsense":              {"n", map[string]any{"targetRef": "x", "targetRefs": map[string]any{"a": 1}}, nil},
		"nothing":               {"n", nil, nil},
	} {
		policy := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "p", "namespace": test.namespace}}}
		if test.spec != nil {
			policy.Object["spec"] = test.spec
		}
		if got := AttachedTo(policy, route); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestCopied(t *testing.T) {
	rule := func(name, service string) map[string]any {
		return map[string]any{"name": name, "backendRefs": []any{map[string]any{"name": service, "port": int64(80)}}}
	}
	route := &unstructured.Unstructured{Object: map[string]any{"kind": "HTTPRoute", "metadata": map[string]any{"name": "shop", "namespace": "n"},
		"spec": map[string]any{"rules": []any{rule("main", "shop"), rule("legacy", "old"), rule("api", "shop")}}}}
	s := Split{Namespace: "n", StableService: "shop", CanaryService: "shop-canary", Total: 100, Present: true, Owner: "n/shop"}
	if got := Copied(route, s); len(got) != 0 {
		t.Errorf("a weight copies no rule: %v", got)
	}
	s.Match = &Match{Headers: []Condition{{Name: "x", Value: "1"}}}
	if got := Copied(route, s); !slices.Equal(got, []string{"main", "api"}) {
		t.Errorf("match: %v", got)
	}
	s.Rules = []string{"api"}
	if got := Copied(route, s); !slices.Equal(got, []string{"api"}) {
		t.Errorf("match of one rule: %v", got)
	}
	s.Match, s.Mirror, s.Rules = nil, &Mirror{Percent: 10}, nil
	if got := Copied(route, s); !slices.Equal(got, []string{"main", "api"}) {
		t.Errorf("mirror: %v", got)
	}
}
