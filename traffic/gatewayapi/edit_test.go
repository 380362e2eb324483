package gatewayapi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const two = `
metadata: {name: r, namespace: shop}
spec:
  rules:
  - {matches: [{path: {value: /a}}], backendRefs: [{name: checkout, weight: 90}, {name: legacy, weight: 10}]}
  - {matches: [{path: {value: /b}}], backendRefs: [{name: checkout}]}
`

// What users do to a route while it is split, what follows from it, and what
// is left at the end.
func TestUserEdits(t *testing.T) {
	tests := []struct {
		name     string
		at       int32
		edit     func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured
		want     []string // after healing
		restored []string
	}{
		{
			"git applied again", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				out := parse(t, two)
				out.SetAnnotations(live.GetAnnotations())
				return out
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"git applied again without the record", 5, func(t *testing.T, _ *unstructured.Unstructured) *unstructured.Unstructured {
				return parse(t, two)
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"record damaged, references gone", 5, func(t *testing.T, _ *unstructured.Unstructured) *unstructured.Unstructured {
				out := parse(t, two)
				out.SetAnnotations(map[string]string{Annotation: "{oops"})
				return out
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"other weights in git", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				out := parse(t, strings.Replace(two, "weight: 90", "weight: 40", 1))
				out.SetAnnotations(live.GetAnnotations())
				return out
			},
			[]string{"checkout-canary=1 checkout=19 legacy=5", "checkout-canary=5 checkout=95"},
			[]string{"checkout=40 legacy=10", "checkout=-"},
		}, {
			"foreign weight edited beside the canary", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				return mutate(t, live, `"name":"legacy","weight":20`, `"name":"legacy","weight":60`)
			},
			[]string{"checkout-canary=3 checkout=57 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=180 legacy=60", "checkout=-"},
		}, {
			"our weights edited", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				live = mutate(t, live, `"weight":171`, `"weight":0`)
				return mutate(t, live, `"weight":5}`, `"weight":95}`)
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"our weights removed", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				live = mutate(t, live, `,"weight":95`, ``)
				return mutate(t, live, `,"weight":5}`, `}`)
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"canary reference deleted at full exposure", 100, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				live = mutate(t, live, `{"name":"checkout-canary","weight":100},`, ``)
				return mutate(t, live, `{"name":"checkout-canary","weight":9},`, ``)
			},
			[]string{"checkout-canary=9 checkout=0 legacy=1", "checkout-canary=100 checkout=0"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"canary deleted at full exposure and another weight edited", 100, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				return mutate(t, live, `{"name":"checkout-canary","weight":9},{"name":"checkout","weight":0},{"name":"legacy","weight":1}`,
					`{"name":"checkout","weight":0},{"name":"legacy","weight":2}`)
			},
			[]string{"checkout-canary=9 checkout=0 legacy=2", "checkout-canary=100 checkout=0"},
			[]string{"checkout=9 legacy=2", "checkout=-"},
		}, {
			"stable replaced by our canary alone", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				return mutate(t, live, `{"name":"checkout-canary","weight":5},{"name":"checkout","weight":95}`, `{"name":"checkout-canary","weight":5}`)
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"stable taken out beside others", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				return mutate(t, live, `{"name":"checkout","weight":171},`, ``)
			},
			[]string{"legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"legacy=20", "checkout=-"},
		}, {
			"stable gets a port and a filter", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				return mutate(t, live, `"name":"checkout","weight":95`, `"name":"checkout","port":81,"filters":[{"type":"x"}],"weight":95`)
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		}, {
			"second canary reference", 5, func(t *testing.T, live *unstructured.Unstructured) *unstructured.Unstructured {
				return mutate(t, live, `{"name":"checkout","weight":95}`, `{"name":"checkout","weight":95},{"name":"checkout-canary","weight":50}`)
			},
			[]string{"checkout-canary=9 checkout=171 legacy=20", "checkout-canary=5 checkout=95"},
			[]string{"checkout=90 legacy=10", "checkout=-"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := checkout(test.at)
			live := test.edit(t, apply(t, parse(t, two), s))
			if v := Inspect(live, s); v.Matches || v.Problem != "" {
				t.Errorf("the edit was not seen, or cannot be healed: %+v", v)
			}
			healed := heal(t, live, s)
			wantWeights(t, healed, test.want...)
			wantWeights(t, apply(t, healed, restored(s)), test.restored...)
			// Restoring without healing first must do as well.
			direct := heal(t, live, restored(s))
			for i := range test.restored {
				if strings.Contains(weights(t, direct, i), "canary") {
					t.Errorf("a canary reference stays: %s", weights(t, direct, i))
				}
			}
		})
	}
}

// heal writes until nothing is left to be written, twice at most.
func heal(t tester, route *unstructured.Unstructured, s Split) *unstructured.Unstructured {
	t.Helper()
	patch, err := Patch(route, s)
	if err != nil {
		t.Fatalf("patch: %v", err)
	}
	return apply(t, patched(t, route, patch), s)
}

// Rules are told apart by what they are, not by where they stand.
func TestRulesMove(t *testing.T) {
	live := apply(t, parse(t, two), checkout(5))
	rules := objects(live, "spec", "rules")
	// Someone puts a new rule in front and swaps the others.
	added := parse(t, "metadata: {namespace: shop}\nspec: {rules: [{matches: [{path: {value: /c}}], backendRefs: [{name: legacy, weight: 3}, {name: checkout, weight: 1}]}]}")
	list := []any{objects(added, "spec", "rules")[0], rules[1], rules[0]}
	if err := unstructured.SetNestedSlice(live.Object, list, "spec", "rules"); err != nil {
		t.Fatal(err)
	}
	live = apply(t, live, checkout(5))
	wantWeights(t, live, "legacy=60 checkout-canary=1 checkout=19", "checkout-canary=5 checkout=95", "checkout-canary=9 checkout=171 legacy=20")
	live = apply(t, live, restored(checkout(5)))
	wantWeights(t, live, "legacy=3 checkout=1", "checkout=-", "checkout=90 legacy=10")
}

// A user's own rule to the canary Service is never taken for ours.
func TestUsersHeaderRuleSurvives(t *testing.T) {
	original := parse(t, `
metadata: {name: r, namespace: shop}
spec:
  rules:
  - {matches: [{headers: [{name: x-canary, value: "1"}]}], backendRefs: [{name: checkout-canary, port: 80}]}
  - {backendRefs: [{name: checkout, port: 80}]}
`)
	live := apply(t, original, checkout(5))
	wantWeights(t, live, "checkout-canary=-", "checkout-canary=5 checkout=95")
	if diff := cmp.Diff(original.Object, apply(t, live, restored(checkout(5))).Object); diff != "" {
		t.Error(diff)
	}
}

func TestFingerprintIgnoresDefaults(t *testing.T) {
	same := [][]string{
		{"{}", "{matches: []}", "{matches: [{}]}", "{matches: [{path: {value: /}}]}", "{matches: [{path: {type: PathPrefix, value: /}}]}"},
		{"{matches: [{path: {value: /a}, headers: [{name: x, value: y}]}]}", "{matches: [{path: {type: PathPrefix, value: /a}, headers: [{name: x, type: Exact, value: y}]}]}"},
		{"{matches: [{method: {service: s}}]}", "{matches: [{method: {type: Exact, service: s}}]}"},
		{"{matches: [{method: GET}]}"}, {"{matches: [{path: {type: Exact, value: /}}]}"},
		{"{matches: [{path: {value: /a}}, {}]}"}, {"{matches: [{path: {type: RegularExpression, value: /a}}]}"},
	}
	seen := map[string]int{}
	for group, variants := range same {
		prints := map[string]bool{}
		for _, v := range variants {
			prints[fingerprint(parse(t, v).Object["matches"])] = true
		}
		if len(prints) != 1 {
			t.Errorf("group %d has %d fingerprints", group, len(prints))
		}
		for p := range prints {
			if other, ok := seen[p]; ok {
				t.Errorf("groups %d and %d have the same fingerprint", group, other)
			}
			seen[p] = group
		}
	}
}
