package gatewayapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMergeChangesNothingOfOurs(t *testing.T) {
	for _, canary := range []int32{0, 5, 33, 100} {
		git := fixture(t, "route.yaml")
		live := apply(t, git, checkout(canary))
		before := git.DeepCopy()
		merged := Merge(git, live)
		if diff := cmp.Diff(live.Object, merged.Object); diff != "" {
			t.Errorf("canary %d: %s", canary, diff)
		}
		if diff := cmp.Diff(before.Object, git.Object); diff != "" {
			t.Errorf("desired was modified: %s", diff)
		}
		if v := Inspect(merged, checkout(canary)); !v.Matches {
			t.Errorf("canary %d: %+v", canary, v)
		}
	}
}

// The API server fills in defaults that Git's text does not have.
func TestMergeKeepsTheRecordDespiteDefaults(t *testing.T) {
	git := parse(t, "metadata: {name: r}\nspec: {rules: [{backendRefs: [{name: checkout, port: 80}]}]}")
	live := parse(t, `
metadata: {name: r, namespace: shop}
spec: {rules: [{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{group: "", kind: Service, name: checkout, port: 80, weight: 1}]}]}`)
	live = apply(t, live, checkout(5))
	merged := Merge(git, live)
	if merged.GetNamespace() != "" {
		t.Errorf("namespace %q appeared", merged.GetNamespace())
	}
	if merged.GetAnnotations()[Annotation] != live.GetAnnotations()[Annotation] {
		t.Errorf("record changed:\n%s\n%s", live.GetAnnotations()[Annotation], merged.GetAnnotations()[Annotation])
	}
	wantWeights(t, merged, "checkout-canary=5 checkout=95")
}

func TestMergeNewShape(t *testing.T) {
	live := apply(t, parse(t, two), checkout(5))
	git := parse(t, `
metadata: {name: r, namespace: shop, annotations: {a: b}}
spec:
  rules:
  - {matches: [{path: {value: /new}}], timeouts: {request: 1s}, backendRefs: [{name: x, weight: 1}, {name: checkout, weight: 1}]}
  - {matches: [{path: {value: /b}}], backendRefs: [{name: checkout}]}
`)
	merged := Merge(git, live)
	wantWeights(t, merged, "x=20 checkout-canary=1 checkout=19", "checkout-canary=5 checkout=95")
	if v := Inspect(merged, checkout(5)); !v.Matches {
		t.Errorf("%+v", v)
	}
	if diff := cmp.Diff(git.Object, apply(t, merged, restored(checkout(5))).Object); diff != "" {
		t.Error(diff)
	}
}

func TestMergeAtRest(t *testing.T) {
	git := fixture(t, "route.yaml")
	for _, live := range []string{"metadata: {name: r}", "metadata: {annotations: {belay.dev/split: '{oops'}}"} {
		if diff := cmp.Diff(git.Object, Merge(git, parse(t, live)).Object); diff != "" {
			t.Error(diff)
		}
	}
	// Git no longer refers to the stable Service at all.
	gone := parse(t, "metadata: {name: r, namespace: shop}\nspec: {rules: [{backendRefs: [{name: x}]}]}")
	if diff := cmp.Diff(gone.Object, Merge(gone, apply(t, git, checkout(5))).Object); diff != "" {
		t.Error(diff)
	}
}

func TestMergeService(t *testing.T) {
	pinned := "metadata: {name: checkout, annotations: {belay.dev/selector: shop/checkout}}\nspec: {selector: {app: checkout, belay.dev/role: stable}}"
	tests := []struct{ name, desired, live, want string }{
		{"carried over", "spec: {selector: {app: new}, x: 1}", pinned,
			"metadata: {annotations: {belay.dev/selector: shop/checkout}}\nspec: {selector: {app: new, belay.dev/role: stable}, x: 1}"},
		{"other annotations stay", "metadata: {annotations: {a: b}}\nspec: {selector: {app: new}}", pinned,
			"metadata: {annotations: {a: b, belay.dev/selector: shop/checkout}}\nspec: {selector: {app: new, belay.dev/role: stable}}"},
		{"git declares it", "spec: {selector: {app: a, belay.dev/role: preview}}", pinned, "spec: {selector: {app: a, belay.dev/role: preview}}"},
		{"no selector in git", "spec: {x: 1}", pinned, "spec: {x: 1}"},
		{"not added by us", "spec: {selector: {app: a}}", "spec: {selector: {app: a, belay.dev/role: stable}}", "spec: {selector: {app: a}}"},
		{"label already gone", "spec: {selector: {app: a}}", "metadata: {annotations: {belay.dev/selector: x}}\nspec: {selector: {app: a}}", "spec: {selector: {app: a}}"},
		{"malformed", "spec: {selector: [1]}", pinned, "spec: {selector: [1]}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			desired := parse(t, test.desired)
			if diff := cmp.Diff(parse(t, test.want).Object, MergeService(desired, parse(t, test.live)).Object); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(parse(t, test.desired).Object, desired.Object); diff != "" {
				t.Errorf("desired was modified: %s", diff)
			}
		})
	}
}
