package gatewayapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProbeRule(t *testing.T) {
	git := parse(t, "kind: HTTPRoute\nmetadata: {name: r, namespace: shop, uid: u, resourceVersion: '7'}\nspec: {hostnames: ['*.example.com'], rules: [{matches: [{path: {value: /a}}], backendRefs: [{name: checkout, port: 80}]}, {backendRefs: [{name: other, port: 80}]}]}")
	s := checkout(20)
	s.Probe = "a1-s0-c0"
	live := apply(t, git, s)
	rules := objects(live, "spec", "rules")
	if len(rules) != 3 || rules[2]["backendRefs"] != nil || !strings.Contains(fmt.Sprint(rules[2]), "hostname:a1-s0-c0.belay.invalid") || !strings.Contains(fmt.Sprint(rules[2]), ProbePath("shop/checkout")) {
		t.Fatalf("rules %v", rules)
	}
	if v := Inspect(live, s); v.Matched || v.MaxCanary != 20 || !v.Matches || v.Managed != 1 {
		t.Errorf("%+v", v)
	}
	// The API server fills in defaults, and the rule stays what it is.
	rules[2]["matches"].([]any)[0].(map[string]any)["method"] = nil
	next := s
	next.Canary, next.Probe = 50, "a1-s1-c0"
	later := apply(t, live, next)
	if rules = objects(later, "spec", "rules"); len(rules) != 3 || !strings.Contains(fmt.Sprint(rules[2]), "a1-s1-c0") {
		t.Errorf("rules at the next step: %v", rules)
	}
	if diff := cmp.Diff(git.Object, apply(t, later, restored(s)).Object); diff != "" {
		t.Errorf("T9: %s", diff)
	}
	dark := next
	dark.Canary, dark.Match = 0, &Match{Headers: []Condition{{Name: "x-team", Value: "1"}}}
	if rules = objects(apply(t, later, dark), "spec", "rules"); len(rules) != 4 || !strings.Contains(fmt.Sprint(rules[3]), "RequestRedirect") {
		t.Errorf("with a copy: %v", rules)
	}
	if diff := cmp.Diff(later.Object["spec"], Merge(git, later).Object["spec"]); diff != "" {
		t.Errorf("merge: %s", diff)
	}
	later.SetAnnotations(nil) // the record is gone, and the rule goes all the same
	if rules = objects(apply(t, later, restored(s)), "spec", "rules"); len(rules) != 2 {
		t.Errorf("rules without a record: %v", rules)
	}
	if got := ProbeHostname(git); got != "belay-probe.example.com" {
		t.Errorf("hostname %q", got)
	}
	full := parse(t, "kind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec: {rules: ["+strings.Repeat("{backendRefs: [{name: other, port: 80}]},", 15)+"{backendRefs: [{name: checkout, port: 80}]}]}")
	if v := Inspect(full, s); !strings.Contains(v.Problem, "route has 16 rules, and level Probe needs one more") {
		t.Errorf("problem %q", v.Problem)
	}
}

func TestAddresses(t *testing.T) {
	gateway := parse(t, "metadata: {name: g}\nspec: {listeners: [{name: web, port: 80, protocol: HTTP}, {name: two, port: 8080, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS}]}\nstatus: {addresses: [{value: 10.0.0.1}, {value: 'fd00::1'}]}")
	for _, test := range []struct {
		parent Parent
		want   string
	}{
		{Parent{}, "[10.0.0.1:80 10.0.0.1:8080 [fd00::1]:80 [fd00::1]:8080]"},
		{Parent{Section: "two"}, "[10.0.0.1:8080 [fd00::1]:8080]"},
		{Parent{Port: "443"}, "[]"},
	} {
		if got := fmt.Sprint(Addresses(gateway, test.parent)); got != test.want {
			t.Errorf("%+v: %s", test.parent, got)
		}
	}
}
