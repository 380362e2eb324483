package gatewayapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func dark(m Match) Split {
	s := checkout(0)
	s.Match = &m
	return s
}

func header(name string) Match { return Match{Headers: []Condition{{Name: name, Value: "1"}}} }

// outline is one line per rule: matches and where they lead.
func outline(t tester, route *unstructured.Unstructured) string {
	t.Helper()
	var lines []string
	for i, r := range objects(route, "spec", "rules") {
		data, err := json.Marshal(r["matches"])
		if err != nil {
			t.Fatalf("%v", err)
		}
		lines = append(lines, fmt.Sprintf("%s -> %s", strings.ReplaceAll(string(data), `"`, ""), weights(t, route, i)))
	}
	return strings.Join(lines, "\n")
}

func TestMatchCopiesEveryManagedRule(t *testing.T) {
	git := fixture(t, "route.yaml")
	live := apply(t, git, dark(header("x-canary")))
	want := strings.TrimSpace(`
[{headers:[{name:x-canary,type:Exact,value:1}],path:{type:PathPrefix,value:/}}] -> checkout-canary=1
[{path:{type:PathPrefix,value:/}}] -> checkout-canary=0 checkout=100
[{headers:[{name:v,value:2},{name:x-canary,type:Exact,value:1}],path:{type:Exact,value:/pay}}] -> checkout-canary=1
[{headers:[{name:v,value:2}],path:{type:Exact,value:/pay}}] -> legacy=10 checkout-canary=0 checkout=90
[{path:{value:/static}}] -> static=-
null -> checkout=- checkout=-
[{path:{value:/off}}] -> spare=1 checkout-canary=0 checkout=0`)
	if diff := cmp.Diff(want, outline(t, live)); diff != "" {
		t.Error(diff)
	}
	first, second := objects(live, "spec", "rules")[0], objects(live, "spec", "rules")[2]
	if diff := cmp.Diff(map[string]any{"request": "5s"}, first["timeouts"]); diff != "" {
		t.Error(diff)
	}
	if second["retry"] == nil || !strings.HasPrefix(text(first, "name"), copyPrefix) || text(first, "name") == text(second, "name") {
		t.Errorf("copies %v and %v", first, second)
	}
	if v := Inspect(live, dark(header("x-canary"))); !v.Matched || !v.Matches || v.MaxCanary != 0 || v.Managed != 3 || !v.StablePresent {
		t.Errorf("%+v", v)
	}
	if v := Inspect(live, checkout(0)); v.Matches || !v.Matched {
		t.Errorf("a step without match is not reached: %+v", v)
	}
	if diff := cmp.Diff(git.Object, apply(t, live, restored(checkout(0))).Object); diff != "" {
		t.Errorf("T9: %s", diff)
	}
}

func TestMatchOfMethodsAndParameters(t *testing.T) {
	route := simple(t, "{name: checkout, port: 80}")
	m := Match{QueryParams: []Condition{{Type: "RegularExpression", Name: "beta", Value: ".+"}}, Methods: []string{"GET", "HEAD"}}
	live := apply(t, route, dark(m))
	want := "[{method:GET,queryParams:[{name:beta,type:RegularExpression,value:.+}]},{method:HEAD,queryParams:[{name:beta,type:RegularExpression,value:.+}]}] -> checkout-canary=1\n" +
		"null -> checkout-canary=0 checkout=100"
	if diff := cmp.Diff(want, outline(t, live)); diff != "" {
		t.Error(diff)
	}
	// Another match at the next step replaces the copy, and weight goes beside it.
	s := dark(header("x-canary"))
	s.Canary = 5
	live = apply(t, live, s)
	want = "[{headers:[{name:x-canary,type:Exact,value:1}]}] -> checkout-canary=1\nnull -> checkout-canary=5 checkout=95"
	if diff := cmp.Diff(want, outline(t, live)); diff != "" {
		t.Error(diff)
	}
	// A step without match takes it out and keeps the weight.
	if got := outline(t, apply(t, live, checkout(5))); got != "null -> checkout-canary=5 checkout=95" {
		t.Error(got)
	}
}

// An abort takes copies and weight out in one patch, whatever else is wrong with the route.
func TestMatchGoesInOnePatch(t *testing.T) {
	s := dark(header("x-canary"))
	s.Canary = 10
	live := apply(t, simple(t, "{name: checkout, port: 80}"), s)
	live = mutate(t, live, `"name":"checkout","port":80,"weight":90`, `"name":"checkout","port":80,"weight":-5`)
	for _, back := range []Split{restored(s), checkout(0)} {
		patch, err := Patch(live, back)
		if err != nil {
			t.Fatal(err)
		}
		out := patched(t, live, patch)
		if v := Inspect(out, back); v.Matched || v.MaxCanary > 0 {
			t.Errorf("%s left %+v", patch, v)
		}
	}
}

// Patches of rules test what they touch.
func TestMatchPatchTestsItsRules(t *testing.T) {
	route := simple(t, "{name: checkout, port: 80}")
	s := dark(header("x-canary"))
	patch, err := Patch(route, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"op":"test","path":"/metadata/resourceVersion","value":"7"}`,
		`{"op":"test","path":"/spec/rules/0/backendRefs/0/name","value":"checkout"}`} {
		if !strings.Contains(string(patch), want) {
			t.Errorf("%s lacks %s", patch, want)
		}
	}
	live := patched(t, route, patch)
	patch, err = Patch(live, restored(s))
	if err != nil {
		t.Fatal(err)
	}
	name := text(objects(live, "spec", "rules")[0], "name")
	if want := fmt.Sprintf(`{"op":"test","path":"/spec/rules/0/name","value":%q}`, name); !strings.Contains(string(patch), want) {
		t.Errorf("%s lacks %s", patch, want)
	}
}

func TestMatchProblems(t *testing.T) {
	params := Match{QueryParams: []Condition{{Name: "q", Value: "1"}}}
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("{path: {value: /}}, ", n), ", ") }
	ref := "backendRefs: [{name: checkout, port: 80}]"
	for name, row := range map[string]struct {
		kind, rules string
		match       Match
		want        string
	}{
		"header, other case":  {"HTTPRoute", "[{matches: [{headers: [{name: X-Canary, value: prod}]}], " + ref + "}]", header("x-canary"), `already matches header "x-canary"`},
		"query parameter":     {"HTTPRoute", "[{matches: [{queryParams: [{name: q, value: b}]}], " + ref + "}]", params, `already matches query parameter "q"`},
		"parameter, case":     {"HTTPRoute", "[{matches: [{queryParams: [{name: Q, value: b}]}], " + ref + "}]", params, ""},
		"our own header":      {"HTTPRoute", "[{" + ref + "}]", Match{Headers: []Condition{{Name: "a", Value: "1"}, {Name: "A", Value: "2"}}}, `header "A" twice`},
		"regex path":          {"HTTPRoute", "[{matches: [{path: {type: RegularExpression, value: /a.*}}], " + ref + "}]", header("h"), "regular expression"},
		"regex path, foreign": {"HTTPRoute", "[{matches: [{path: {type: RegularExpression, value: /a.*}}]}, {" + ref + "}]", header("h"), ""},
		"other method":        {"HTTPRoute", "[{matches: [{method: DELETE}], " + ref + "}]", Match{Methods: []string{"GET"}}, "matches method DELETE"},
		"same method":         {"HTTPRoute", "[{matches: [{method: GET}], " + ref + "}]", Match{Methods: []string{"GET", "POST"}}, ""},
		"tcp":                 {"TCPRoute", "[{" + ref + "}]", header("h"), "a TCPRoute cannot match requests"},
		"tls":                 {"TLSRoute", "[{" + ref + "}]", header("h"), "a TLSRoute cannot match requests"},
		"grpc parameters":     {"GRPCRoute", "[{" + ref + "}]", params, "headers only"},
		"grpc methods":        {"GRPCRoute", "[{" + ref + "}]", Match{Methods: []string{"POST"}}, "headers only"},
		"grpc header":         {"GRPCRoute", "[{matches: [{method: {service: a.B}}], " + ref + "}]", header("h"), ""},
		"17 rules":            {"HTTPRoute", "[{" + ref + "}, {" + ref + "}" + strings.Repeat(", {name: x}", 13) + "]", header("h"), "17 rules"},
		"16 rules":            {"HTTPRoute", "[{" + ref + "}, {" + ref + "}" + strings.Repeat(", {name: x}", 12) + "]", header("h"), ""},
		"129 matches":         {"HTTPRoute", "[{matches: [" + many(43) + "], " + ref + "}, {matches: [" + many(43) + "]}]", header("h"), "129 matches"},
		"copy of 65 matches":  {"HTTPRoute", "[{matches: [" + many(13) + "], " + ref + "}]", Match{Methods: []string{"GET", "PUT", "POST", "HEAD", "PATCH"}}, "65 matches"},
		"prefix and methods": {"HTTPRoute", "[{filters: [{urlRewrite: {path: {type: ReplacePrefixMatch}}}], " + ref + "}]",
			Match{Methods: []string{"GET", "PUT"}}, "replaces the prefix"},
		"not a match": {"HTTPRoute", "[{matches: [7], " + ref + "}]", header("h"), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			route := parse(t, "kind: "+row.kind+"\nmetadata: {name: r, namespace: shop}\nspec: {rules: "+row.rules+"}\n")
			v := Inspect(route, dark(row.match))
			if (v.Problem == "") != (row.want == "") || !strings.Contains(v.Problem, row.want) {
				t.Errorf("problem %q, want %q", v.Problem, row.want)
			}
			if _, err := Patch(route, dark(row.match)); (err != nil) != (row.want != "") {
				t.Errorf("patch: %v", err)
			}
			if v := Inspect(route, checkout(5)); v.Problem != "" {
				t.Errorf("weight alone: %s", v.Problem)
			}
		})
	}
}

// What is ours says the record, or the whole name: a user's rule that looks like a copy stays.
func TestMatchLeavesRulesThatLookLikeCopies(t *testing.T) {
	git := parse(t, `
metadata: {name: r, namespace: shop, resourceVersion: '1'}
spec:
  rules:
  - {name: belay-mine, matches: [{headers: [{name: x-canary, value: "1"}]}], backendRefs: [{name: checkout-canary, port: 80, weight: 1}]}
  - {backendRefs: [{name: checkout, port: 80}]}
`)
	s := dark(header("y"))
	live := apply(t, git, s)
	if n := len(rulesOf(live)); n != 3 {
		t.Errorf("%d rules", n)
	}
	if diff := cmp.Diff(git.Object, apply(t, live, restored(s)).Object); diff != "" {
		t.Errorf("T9: %s", diff)
	}
	// The exact name of a copy, taken by a user, is refused.
	taken := text(objects(live, "spec", "rules")[1], "name")
	if v := Inspect(mutate(t, mutate(t, git, "belay-mine", taken), "checkout-canary", "legacy"), s); !strings.Contains(v.Problem, taken) {
		t.Errorf("problem %q", v.Problem)
	}
}

// A copy that outlives the record would send requests to the canary after an abort: its name says whose it is.
func TestMatchWithoutRecord(t *testing.T) {
	git, s := fixture(t, "route.yaml"), dark(header("x-canary"))
	live := apply(t, git, s)
	live.SetAnnotations(git.GetAnnotations())
	if v := Inspect(live, s); !v.Matched || v.CopyMissing || v.CopyExtra {
		t.Errorf("%+v", v)
	}
	back := restored(s)
	back.Ours = true
	if v := Inspect(live, back); !v.Traces || !v.CopyExtra {
		t.Errorf("%+v", v)
	}
	if diff := cmp.Diff(defaulted(git), defaulted(apply(t, live, back))); diff != "" {
		t.Errorf("T9: %s", diff)
	}
	other := back
	other.Owner = "shop/other"
	if n := len(rulesOf(apply(t, live, other))); n != len(rulesOf(live)) {
		t.Errorf("the copies of another Rollout: %d rules left", n)
	}
}

// Older API servers do not keep names of rules.
func TestMatchWithoutRuleNames(t *testing.T) {
	git, s := fixture(t, "route.yaml"), dark(header("x-canary"))
	unnamed := func(route *unstructured.Unstructured) *unstructured.Unstructured {
		list := rulesOf(route)
		for _, r := range list {
			delete(r.(map[string]any), "name")
		}
		out := route.DeepCopy()
		if err := unstructured.SetNestedSlice(out.Object, list, "spec", "rules"); err != nil {
			t.Fatal(err)
		}
		return out
	}
	live := unnamed(apply(t, unnamed(git), s))
	if patch, err := Patch(live, s); patch != nil || err != nil {
		t.Errorf("a second write follows: %s, %v", patch, err)
	}
	if diff := cmp.Diff(unnamed(git).Object, apply(t, live, restored(s)).Object); diff != "" {
		t.Errorf("T9: %s", diff)
	}
}

// The defaults that an API server fills in, and a changed copy.
func TestMatchHeals(t *testing.T) {
	s := dark(header("x-canary"))
	live := apply(t, simple(t, "{name: checkout, port: 80}"), s)
	list := rulesOf(live)
	for _, r := range list {
		matches, _ := r.(map[string]any)["matches"].([]any)
		if matches == nil {
			matches = []any{map[string]any{}}
		}
		matches[0].(map[string]any)["path"] = map[string]any{"type": "PathPrefix", "value": "/"}
		r.(map[string]any)["matches"] = matches
	}
	if err := unstructured.SetNestedSlice(live.Object, list, "spec", "rules"); err != nil {
		t.Fatal(err)
	}
	if v := Inspect(live, s); !v.Matches {
		t.Errorf("defaults count as a change: %+v", v)
	}
	for _, change := range [][2]string{{`"name":"x-canary"`, `"name":"everyone"`}, {`"name":"checkout-canary","port":80,"weight":1`, `"name":"legacy","port":80,"weight":1`}} {
		changed := mutate(t, live, change[0], change[1])
		if v := Inspect(changed, s); v.Matches || !v.Matched {
			t.Errorf("%s: %+v", change[1], v)
		}
		if got := len(rulesOf(apply(t, changed, s))); got != 2 {
			t.Errorf("%d rules", got)
		}
	}
}

// Git's version of the route gets the copies of the split in progress.
func TestMergeKeepsCopies(t *testing.T) {
	git, s := fixture(t, "route.yaml"), dark(header("x-canary"))
	live := apply(t, git, s)
	if diff := cmp.Diff(defaulted(live), defaulted(Merge(git, live))); diff != "" {
		t.Error(diff)
	}
	edited := mutate(t, git, `"request":"5s"`, `"request":"9s"`)
	merged := Merge(edited, live)
	if got := objects(merged, "spec", "rules")[0]["timeouts"]; !cmp.Equal(got, map[string]any{"request": "9s"}) {
		t.Errorf("timeouts %v", got)
	}
	if v := Inspect(merged, s); !v.Matches {
		t.Errorf("%+v", v)
	}
	if diff := cmp.Diff(edited.Object, apply(t, merged, restored(s)).Object); diff != "" {
		t.Errorf("T9: %s", diff)
	}
}
