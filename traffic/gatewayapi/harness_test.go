package gatewayapi

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func parse(t tester, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("reading yaml: %v", err)
	}
	return decode(t, data)
}

func decode(t tester, data []byte) *unstructured.Unstructured {
	t.Helper()
	out := &unstructured.Unstructured{}
	// As clients do: whole numbers become int64.
	if err := utiljson.Unmarshal(data, &out.Object); err != nil {
		t.Fatalf("decoding: %v", err)
	}
	return out
}

func encodeObject(t tester, o *unstructured.Unstructured) []byte {
	t.Helper()
	data, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	return data
}

func fixture(t tester, name string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return parse(t, string(data))
}

// patched applies the patch as an API server would.
func patched(t tester, route *unstructured.Unstructured, patch []byte) *unstructured.Unstructured {
	t.Helper()
	if patch == nil {
		return route
	}
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("decoding patch %s: %v", patch, err)
	}
	options := jsonpatch.NewApplyOptions()
	options.AllowMissingPathOnRemove = false
	data, err := ops.ApplyWithOptions(encodeObject(t, route), options)
	if err != nil {
		t.Fatalf("applying %s: %v", patch, err)
	}
	return decode(t, data)
}

// apply writes s and demands that one write reaches the fixed point.
func apply(t tester, route *unstructured.Unstructured, s Split) *unstructured.Unstructured {
	t.Helper()
	before := string(encodeObject(t, route))
	patch, err := Patch(route, s)
	if err != nil {
		t.Fatalf("patch: %v", err)
	}
	if after := string(encodeObject(t, route)); before != after {
		t.Fatalf("Patch modified its argument")
	}
	out := patched(t, route, patch)
	if v := Inspect(out, s); !v.Matches {
		t.Fatalf("does not match after %s: %+v", patch, v)
	}
	if again, err := Patch(out, s); again != nil || err != nil {
		t.Fatalf("a second write follows: %s, %v", again, err)
	}
	return out
}

func checkout(canary int32) Split {
	return Split{Namespace: "shop", StableService: "checkout", CanaryService: "checkout-canary",
		Total: 100, Canary: canary, Present: true, Owner: "shop/checkout"}
}

func restored(s Split) Split {
	s.Present, s.Canary, s.Match = false, 0, nil
	return s
}

// weights is a rule's references as name=weight, "-" for an absent weight.
func weights(t tester, route *unstructured.Unstructured, index int) string {
	t.Helper()
	rules := objects(route, "spec", "rules")
	if index >= len(rules) {
		t.Fatalf("no rule %d", index)
	}
	var out []string
	refs, _ := rules[index]["backendRefs"].([]any)
	for _, ref := range refs {
		raw := ref.(map[string]any)
		weight := "-"
		if w, ok := raw["weight"]; ok {
			data, _ := json.Marshal(w)
			weight = string(data)
		}
		out = append(out, text(raw, "name")+"="+weight)
	}
	return strings.Join(out, " ")
}

// simple is a route of one rule with the given backendRefs, in flow style.
func simple(t tester, refs ...string) *unstructured.Unstructured {
	t.Helper()
	return parse(t, "metadata: {name: r, namespace: shop, uid: u, resourceVersion: '7'}\nspec:\n  rules:\n  - backendRefs: ["+strings.Join(refs, ", ")+"]\n")
}

func mutate(t tester, route *unstructured.Unstructured, old, new string) *unstructured.Unstructured {
	t.Helper()
	data := string(encodeObject(t, route))
	if !strings.Contains(data, old) {
		t.Fatalf("%q is not in %s", old, data)
	}
	return decode(t, []byte(strings.Replace(data, old, new, 1)))
}

func wantWeights(t *testing.T, route *unstructured.Unstructured, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := weights(t, route, i); got != w {
			t.Errorf("rule %d: got %s, want %s", i, got, w)
		}
	}
}

// tryPatch applies a patch that may have to fail.
func tryPatch(t tester, route *unstructured.Unstructured, patch []byte) ([]byte, error) {
	t.Helper()
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("decoding patch %s: %v", patch, err)
	}
	return ops.Apply(encodeObject(t, route))
}
