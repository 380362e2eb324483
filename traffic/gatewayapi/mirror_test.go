package gatewayapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func mirrored(percent int32, unsafe v1alpha1.Consent) Split {
	s := checkout(0)
	s.Mirror = MirrorOf(&v1alpha1.Mirror{Percent: percent, UnsafeMethods: unsafe})
	return s
}

func TestMirrorCopiesWhatMayBeDoneTwice(t *testing.T) {
	git := parse(t, `
metadata: {name: r, namespace: shop, uid: u, resourceVersion: '7'}
spec:
  rules:
  - matches: [{path: {value: /a}}, {method: POST, path: {value: /b}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: y}]}}]
    timeouts: {request: 5s}
    backendRefs: [{name: legacy, port: 80, weight: 1}, {name: checkout, port: 8080, weight: 3}]
  - matches: [{method: DELETE}]
    backendRefs: [{name: checkout, port: 8080}]
`)
	live := apply(t, git, mirrored(10, v1alpha1.ConsentRefuse))
	want := `[{method:GET,path:{value:/a}},{method:HEAD,path:{value:/a}},{method:OPTIONS,path:{value:/a}}] -> legacy=1 checkout=3
[{path:{value:/a}},{method:POST,path:{value:/b}}] -> legacy=1 checkout-canary=0 checkout=3
[{method:DELETE}] -> checkout-canary=0 checkout=100`
	if diff := cmp.Diff(want, outline(t, live)); diff != "" {
		t.Error(diff)
	}
	first := objects(live, "spec", "rules")[0]
	data, err := json.Marshal(first["filters"])
	if err != nil {
		t.Fatal(err)
	}
	if got := string(data); !strings.HasSuffix(got, `,{"requestMirror":{"backendRef":{"group":"","kind":"Service","name":"checkout-canary","port":8080},"percent":10},"type":"RequestMirror"}]`) || first["timeouts"] == nil {
		t.Errorf("filters %s, timeouts %v", got, first["timeouts"])
	}
	if v := Inspect(live, mirrored(10, v1alpha1.ConsentRefuse)); !v.Matched || !v.Matches || v.MaxCanary != 0 {
		t.Errorf("%+v", v)
	}
	for what, next := range map[string]Split{"more": mirrored(50, v1alpha1.ConsentRefuse), "all methods": mirrored(10, v1alpha1.ConsentAllow), "weight": checkout(20), "match": dark(header("x-canary"))} {
		if v := Inspect(live, next); v.Matches || v.Problem != "" {
			t.Errorf("%s: %+v", what, v)
		}
		if v := Inspect(apply(t, live, next), next); !v.Matches {
			t.Errorf("%s is not reached: %+v", what, v)
		}
	}
	if diff := cmp.Diff(git.Object, apply(t, live, restored(checkout(0))).Object); diff != "" {
		t.Errorf("T9: %s", diff)
	}
	// Without its record a copy is known by its name and by where it mirrors to.
	live.SetAnnotations(nil)
	if rules := objects(apply(t, live, restored(checkout(0))), "spec", "rules"); len(rules) != 2 {
		t.Errorf("%d rules are left, the copy among them", len(rules))
	}
	// A new version from Git keeps the mirror.
	live = apply(t, git, mirrored(10, v1alpha1.ConsentRefuse))
	if diff := cmp.Diff(live.Object, Merge(git, live).Object); diff != "" {
		t.Errorf("merge: %s", diff)
	}
}

func TestMirrorOfAllMethods(t *testing.T) {
	live := apply(t, simple(t, "{name: checkout, port: 80}"), mirrored(100, v1alpha1.ConsentAllow))
	if diff := cmp.Diff("null -> checkout=1\nnull -> checkout-canary=0 checkout=100", strings.ReplaceAll(outline(t, live), "[{}]", "null")); diff != "" {
		t.Error(diff)
	}
	if text := fmt.Sprint(objects(live, "spec", "rules")[0]["filters"]); strings.Contains(text, "percent") {
		t.Errorf("all requests need no percentage: %s", text)
	}
	if diff := cmp.Diff([]string{FeatureMirror}, MirrorOf(&v1alpha1.Mirror{Percent: 100, UnsafeMethods: v1alpha1.ConsentAllow}).Features()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{FeatureMirror, FeaturePercentMirror, FeatureMethods}, MirrorOf(&v1alpha1.Mirror{Percent: 5}).Features()); diff != "" {
		t.Error(diff)
	}
}

func TestMirrorIsRefused(t *testing.T) {
	for name, test := range map[string]struct{ rule, want string }{
		"unsafe only":  {`{matches: [{method: POST}], backendRefs: [{name: checkout, port: 80}]}`, "match other methods than GET, HEAD, OPTIONS"},
		"second":       {`{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: x, port: 80}}}], backendRefs: [{name: checkout, port: 80}]}`, "spec.rules[0] mirrors requests already"},
		"two ports":    {`{backendRefs: [{name: checkout, port: 80}, {name: checkout, port: 81}]}`, "mirror needs one reference"},
		"regular path": {`{matches: [{path: {type: RegularExpression, value: "/a.*"}}], backendRefs: [{name: checkout, port: 80}]}`, "regular expression"},
		"prefix":       {`{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}], backendRefs: [{name: checkout, port: 80}]}`, "replaces the prefix of the path"},
	} {
		route := parse(t, "kind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec: {rules: ["+test.rule+"]}")
		s := mirrored(10, v1alpha1.ConsentRefuse)
		if v := Inspect(route, s); !strings.Contains(v.Problem, test.want) {
			t.Errorf("%s: problem %q", name, v.Problem)
		}
		if _, err := Patch(route, s); err == nil {
			t.Errorf("%s: patched", name)
		}
		if _, err := Patch(route, restored(s)); err != nil {
			t.Errorf("%s: restoring must not fail: %v", name, err)
		}
	}
	route := parse(t, "kind: GRPCRoute\nmetadata: {name: r, namespace: shop}\nspec: {rules: [{backendRefs: [{name: checkout, port: 80}]}]}")
	if v := Inspect(route, mirrored(10, "")); !strings.Contains(v.Problem, "a GRPCRoute cannot mirror requests") {
		t.Errorf("problem %q", v.Problem)
	}
	s := mirrored(10, "")
	s.Canary = 5
	if v := Inspect(simple(t, "{name: checkout, port: 80}"), s); !strings.Contains(v.Problem, "not both") {
		t.Errorf("problem %q", v.Problem)
	}
}
