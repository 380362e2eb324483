package gatewayapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The whole life of a split on a route with everything in it.
func TestLife(t *testing.T) {
	original := fixture(t, "route.yaml")
	route := original
	static := "static=-"
	others := "checkout=- checkout=-"
	for _, step := range []struct {
		canary int32
		want   []string
	}{
		{0, []string{"checkout-canary=0 checkout=100", "legacy=10 checkout-canary=0 checkout=90", static, others, "spare=1 checkout-canary=0 checkout=0"}},
		{5, []string{"checkout-canary=5 checkout=95", "legacy=20 checkout-canary=9 checkout=171", static, others, "spare=1 checkout-canary=0 checkout=0"}},
		{50, []string{"checkout-canary=50 checkout=50", "legacy=2 checkout-canary=9 checkout=9", static, others, "spare=1 checkout-canary=0 checkout=0"}},
		{100, []string{"checkout-canary=100 checkout=0", "legacy=1 checkout-canary=9 checkout=0", static, others, "spare=1 checkout-canary=0 checkout=0"}},
		{0, []string{"checkout-canary=0 checkout=100", "legacy=10 checkout-canary=0 checkout=90", static, others, "spare=1 checkout-canary=0 checkout=0"}},
	} {
		route = apply(t, route, checkout(step.canary))
		wantWeights(t, route, step.want...)
		got := Inspect(route, checkout(step.canary))
		want := View{Managed: 3, Injected: true, Traces: true, MinCanary: step.canary, MaxCanary: step.canary,
			Matches: true, StablePresent: true, Ports: []int32{8080, 9090}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("canary %d: %s", step.canary, diff)
		}
	}
	refs := objects(route, "spec", "rules")[0]["backendRefs"].([]any)
	canary, stable := refs[0].(map[string]any), refs[1].(map[string]any)
	delete(canary, "name")
	delete(stable, "name")
	canary["weight"] = stable["weight"]
	if diff := cmp.Diff(stable, canary); diff != "" {
		t.Errorf("the canary reference is not a copy of the stable one: %s", diff)
	}
	// From full exposure straight back.
	route = apply(t, original, checkout(100))
	route = apply(t, route, restored(checkout(0)))
	if diff := cmp.Diff(original.Object, route.Object); diff != "" {
		t.Errorf("restored route differs: %s", diff)
	}
	if v := Inspect(route, restored(checkout(0))); v.Traces || v.MaxCanary != 0 || v.Problem != "" {
		t.Errorf("at rest: %+v", v)
	}
}

func TestPatchBeginsWithTests(t *testing.T) {
	route := fixture(t, "route.yaml")
	data, err := Patch(route, checkout(5))
	if err != nil {
		t.Fatal(err)
	}
	var ops []operation
	if err := json.Unmarshal(data, &ops); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range ops {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s", op.Op, op.Path)))
	}
	want := []string{
		"test /metadata/resourceVersion", "test /metadata/uid",
		"test /spec/rules/0/backendRefs/0/name",
		"test /spec/rules/1/backendRefs/0/name", "test /spec/rules/1/backendRefs/1/name",
		"test /spec/rules/4/backendRefs/1/name",
		"add /spec/rules/0/backendRefs/0/weight", "add /spec/rules/0/backendRefs/0",
		"add /spec/rules/1/backendRefs/0/weight", "add /spec/rules/1/backendRefs/1/weight", "add /spec/rules/1/backendRefs/1",
		"add /spec/rules/4/backendRefs/1",
		"add /metadata/annotations/belay.dev~1split",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPatchRefusesAnotherObject(t *testing.T) {
	for _, change := range []string{`"resourceVersion":"7"`, `"uid":"u"`, `"name":"checkout"`} {
		route := simple(t, "{name: checkout, port: 80}")
		patch, err := Patch(route, checkout(5))
		if err != nil {
			t.Fatal(err)
		}
		other := mutate(t, route, change, strings.Replace(change, `":"`, `":"other`, 1))
		if _, err := tryPatch(t, other, patch); err == nil {
			t.Errorf("a patch for %s was applied to another object", change)
		}
	}
}

func TestAnnotationsMap(t *testing.T) {
	for _, annotations := range []string{"", "{}", "{a: b}"} {
		text := "metadata: {name: r, namespace: shop}\nspec: {rules: [{backendRefs: [{name: checkout}]}]}\n"
		if annotations != "" {
			text = strings.Replace(text, "shop}", "shop, annotations: "+annotations+"}", 1)
		}
		original := parse(t, text)
		route := apply(t, original, checkout(5))
		if route.GetAnnotations()[Annotation] == "" {
			t.Errorf("%q: no record", annotations)
		}
		route = apply(t, route, restored(checkout(0)))
		if diff := cmp.Diff(original.GetAnnotations(), route.GetAnnotations()); annotations == "{a: b}" && diff != "" {
			t.Error(diff)
		}
		if len(route.GetAnnotations()) != len(original.GetAnnotations()) {
			t.Errorf("%q: left %v", annotations, route.GetAnnotations())
		}
	}
}

func TestProblems(t *testing.T) {
	full := strings.Split(strings.Repeat("{name: x} ", 15), "} ")
	for i := range full {
		full[i] = fmt.Sprintf("{name: x%d}", i)
	}
	tests := []struct {
		name  string
		refs  []string
		split func(*Split)
		want  string
	}{
		{"no such rule", []string{"{name: cart}"}, nil, "route has no rule that refers to service checkout"},
		{"other namespace", []string{"{name: checkout, namespace: other}"}, nil, "no rule that refers"},
		{"named rule", []string{"{name: checkout}"}, func(s *Split) { s.Rules = []string{"orders"} }, "no rule"},
		{"full", append(full[:15], "{name: checkout}"), nil, "more than 16 backends"},
		{"listed 50", []string{"{name: checkout-canary, weight: 50}", "{name: checkout}"}, nil, "spec.rules[0] lists service checkout-canary with weight 50 before the rollout started: set it to 0"},
		{"listed without weight", []string{"{name: checkout-canary}", "{name: checkout}"}, nil, "without a weight, which means 1"},
		{"listed twice", []string{"{name: checkout-canary, weight: 0}", "{name: checkout-canary, weight: 0}", "{name: checkout}"}, nil, "2 times"},
		{"text weight", []string{"{name: checkout, weight: many}"}, nil, "not a whole number"},
		{"fraction", []string{"{name: checkout, weight: 1.5}"}, nil, "not a whole number"},
		{"negative", []string{"{name: checkout, weight: -1}"}, nil, "not a whole number"},
		{"huge", []string{"{name: checkout, weight: 1000001}"}, nil, "not a whole number"},
		{"reference is text", []string{"{name: checkout}", "nonsense"}, nil, "backendRefs[1] is not a reference"},
		{"nameless", []string{"{name: checkout}", "{port: 80}"}, nil, "backendRefs[1] is not a reference"},
		{"too little", []string{"{name: checkout, weight: 1}", "{name: x, weight: 999999}"}, nil, "too little"},
		{"total 0", []string{"{name: checkout}"}, func(s *Split) { s.Total = 0 }, "out of 0"},
		{"above total", []string{"{name: checkout}"}, func(s *Split) { s.Canary = 101 }, "101 out of 100"},
		{"same services", []string{"{name: checkout}"}, func(s *Split) { s.CanaryService = "checkout" }, "two services"},
		{"no service", []string{"{name: checkout}"}, func(s *Split) { s.CanaryService = "" }, "two services"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			route, s := simple(t, test.refs...), checkout(5)
			if test.split != nil {
				test.split(&s)
			}
			v := Inspect(route, s)
			if !strings.Contains(v.Problem, test.want) || v.Matches {
				t.Errorf("got %+v, want problem %q", v, test.want)
			}
			if patch, err := Patch(route, s); err == nil || patch != nil {
				t.Errorf("patch %s, %v: want an error", patch, err)
			}
			if patch, err := Patch(route, restored(s)); err != nil || patch != nil {
				t.Errorf("restoring an untouched route: %s, %v", patch, err)
			}
			s.Canary = 0
			if _, err := Patch(route, s); err != nil {
				t.Errorf("taking the weight away: %v", err)
			}
		})
	}
}

func TestPreListed(t *testing.T) {
	original := simple(t, "{name: checkout, weight: 7}", "{name: checkout-canary, weight: 0}", "{name: x, weight: 3}")
	if v := Inspect(original, checkout(0)); !v.PreListed || !v.Injected || v.Traces || v.Problem != "" {
		t.Errorf("before: %+v", v)
	}
	route := apply(t, original, checkout(0))
	wantWeights(t, route, "checkout=7 checkout-canary=0 x=3")
	route = apply(t, route, checkout(50))
	wantWeights(t, route, "checkout=7 checkout-canary=7 x=6")
	if v := Inspect(route, checkout(50)); !v.PreListed || v.MaxCanary != 50 || !v.Traces {
		t.Errorf("during: %+v", v)
	}
	route = apply(t, route, restored(checkout(0)))
	if diff := cmp.Diff(original.Object, route.Object); diff != "" {
		t.Error(diff)
	}
}

// A route that lists the canary with a weight is lowered on request (an abort
// must not depend on a record), never raised.
func TestAbortWithoutRecord(t *testing.T) {
	route := simple(t, "{name: checkout-canary, weight: 30}", "{name: checkout, weight: 60}", "{name: x, weight: 10}")
	patch, err := Patch(route, checkout(0))
	if err != nil {
		t.Fatal(err)
	}
	wantWeights(t, patched(t, route, patch), "checkout-canary=0 checkout=90 x=10")
	if patch, err := Patch(route, restored(checkout(0))); patch != nil || err != nil {
		t.Errorf("what may be the user's was changed: %s, %v", patch, err)
	}
	known := restored(checkout(0))
	known.Ours = true
	wantWeights(t, apply(t, route, known), "checkout=90 x=10")
	alone := simple(t, "{name: checkout-canary, weight: 100}", "{name: checkout, weight: 0}")
	wantWeights(t, apply(t, alone, known), "checkout=-")
	known.Present, known.Canary = true, 20
	wantWeights(t, apply(t, alone, known), "checkout-canary=20 checkout=80")
	wantWeights(t, apply(t, route, known), "checkout-canary=9 checkout=36 x=5")
}

func TestNamedRules(t *testing.T) {
	route := parse(t, `
metadata: {name: r, namespace: shop}
spec:
  rules:
  - {name: a, backendRefs: [{name: checkout}]}
  - {name: b, backendRefs: [{name: checkout}]}
  - {backendRefs: [{name: checkout}]}
`)
	s := checkout(10)
	s.Rules = []string{"b"}
	split := apply(t, route, s)
	wantWeights(t, split, "checkout=-", "checkout-canary=10 checkout=90", "checkout=-")
	if v := Inspect(split, s); v.Managed != 1 {
		t.Errorf("managed %d", v.Managed)
	}
	// The selection moves while the split is in progress: what was left is restored.
	s.Rules = []string{"a"}
	split = apply(t, split, s)
	wantWeights(t, split, "checkout-canary=10 checkout=90", "checkout=-", "checkout=-")
	if diff := cmp.Diff(route.Object, apply(t, split, restored(s)).Object); diff != "" {
		t.Error(diff)
	}
}

func TestTwoPortsInOneRule(t *testing.T) {
	original := simple(t, "{name: checkout, port: 80, weight: 3}", "{name: checkout, port: 81}")
	route := apply(t, original, checkout(50))
	wantWeights(t, route, "checkout-canary=3 checkout=3 checkout-canary=1 checkout=-")
	if v := Inspect(route, checkout(50)); v.MinCanary != 50 || !cmp.Equal(v.Ports, []int32{80, 81}) {
		t.Errorf("%+v", v)
	}
	if diff := cmp.Diff(original.Object, apply(t, route, restored(checkout(0))).Object); diff != "" {
		t.Error(diff)
	}
}

func TestTwoRollouts(t *testing.T) {
	original := parse(t, `
metadata: {name: r, namespace: shop}
spec:
  rules:
  - {matches: [{path: {value: /a}}], backendRefs: [{name: checkout}]}
  - {matches: [{path: {value: /b}}], backendRefs: [{name: cart}]}
`)
	cart := Split{Namespace: "shop", StableService: "cart", CanaryService: "cart-canary", Total: 1000, Canary: 1, Present: true, Owner: "shop/cart"}
	route := apply(t, apply(t, original, checkout(5)), cart)
	wantWeights(t, route, "checkout-canary=5 checkout=95", "cart-canary=1 cart=999")
	if v := Inspect(route, checkout(5)); !v.Matches {
		t.Errorf("disturbed by the other: %+v", v)
	}
	if merged := Merge(original, route); !cmp.Equal(merged.Object, route.Object) {
		t.Error(cmp.Diff(route.Object, merged.Object))
	}
	route = apply(t, route, restored(checkout(0)))
	wantWeights(t, route, "checkout=-", "cart-canary=1 cart=999")
	if diff := cmp.Diff(original.Object, apply(t, route, restored(cart)).Object); diff != "" {
		t.Error(diff)
	}
	shared := apply(t, simple(t, "{name: checkout}", "{name: cart}"), checkout(5))
	if v := Inspect(shared, cart); !strings.Contains(v.Problem, "already split by Rollout shop/checkout") {
		t.Errorf("%+v", v)
	}
	if _, err := Patch(shared, cart); err == nil {
		t.Error("two Rollouts split one rule")
	}
}

// The names of the Services change while a split is in progress.
func TestRestoreUnderOldNames(t *testing.T) {
	original := simple(t, "{name: checkout}")
	route := apply(t, original, checkout(5))
	s := checkout(5)
	s.CanaryService = "renamed"
	if v := Inspect(route, s); !strings.Contains(v.Problem, "restore it first") {
		t.Errorf("%+v", v)
	}
	if diff := cmp.Diff(original.Object, apply(t, route, restored(s)).Object); diff != "" {
		t.Error(diff)
	}
}

// A rule that can no longer be split is still brought down to 0, and what is
// ours in it is still taken out.
func TestAbortInSpiteOfProblems(t *testing.T) {
	tests := []struct{ name, old, new string }{
		{"another Rollout", `"belay.dev/split":"{`, `"belay.dev/split":"{\"a/b\":{\"namespace\":\"shop\",\"stable\":\"x\",\"canary\":\"y\",\"total\":1},`},
		{"unreadable weight", `"name":"x","weight":2`, `"name":"x","weight":"2"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			live := apply(t, simple(t, "{name: checkout, weight: 90}", "{name: x, weight: 10}"), checkout(50))
			wantWeights(t, live, "checkout-canary=9 checkout=9 x=2")
			live = mutate(t, live, test.old, test.new)
			if _, err := Patch(live, checkout(60)); err == nil {
				t.Error("a rule with a problem was split further")
			}
			patch, err := Patch(live, checkout(0))
			if err != nil || patch == nil {
				t.Fatalf("no abort: %v", err)
			}
			low := patched(t, live, patch)
			if got := Inspect(low, checkout(0)); got.MaxCanary != 0 || got.Problem == "" {
				t.Errorf("%+v", got)
			}
			if again, err := Patch(low, checkout(0)); again != nil || err != nil {
				t.Errorf("a second write follows: %s, %v", again, err)
			}
			if got := weights(t, low, 0); !strings.HasPrefix(got, "checkout-canary=0 checkout=18 ") {
				t.Errorf("lowered to %s", got)
			}
			if out := weights(t, heal(t, low, restored(checkout(0))), 0); strings.Contains(out, "canary") {
				t.Errorf("restored to %s", out)
			}
		})
	}
}

// A record that a user has edited into something else is as good as none.
func TestUnsoundRecords(t *testing.T) {
	rules := `"rules":[{"stable":[{"ref":"checkout","weight":4}]}]`
	for _, value := range []string{
		"", "null", "[]", "7", `{"shop/checkout":null}`, `{"shop/checkout":{}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","weight":5,"total":0,` + rules + `}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","weight":6,"total":5,` + rules + `}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","weight":-1,"total":5,` + rules + `}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout","weight":1,"total":5,` + rules + `}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","weight":1,"total":5,"rules":[{}]}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","weight":1,"total":5,"rules":[{"stable":[{"weight":-4}]}]}}`,
		`{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","weight":1,"total":5,"rules":[{"stable":[{"weight":1000001}]}]}}`,
	} {
		route := simple(t, "{name: checkout, weight: 3}", "{name: x, weight: 1}")
		route.SetAnnotations(map[string]string{Annotation: value})
		if v := Inspect(route, checkout(50)); v.Traces || v.Matches {
			t.Errorf("%s: %+v", value, v)
		}
		route = apply(t, route, checkout(50))
		wantWeights(t, route, "checkout-canary=3 checkout=3 x=2")
		wantWeights(t, apply(t, route, restored(checkout(0))), "checkout=3 x=1")
	}
}
