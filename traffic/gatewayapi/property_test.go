package gatewayapi

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
)

// world is one route: what its users want (git) and what the cluster holds.
type world struct {
	git, live *unstructured.Unstructured
	split     Split
	made      int // rules made so far: each gets a path of its own
}

func (w *world) rule(t *rapid.T) map[string]any {
	w.made++
	out := map[string]any{
		"matches":  []any{map[string]any{"path": map[string]any{"value": fmt.Sprintf("/%d", w.made)}}},
		"timeouts": map[string]any{"request": fmt.Sprintf("%ds", w.made)},
	}
	match := out["matches"].([]any)[0].(map[string]any)
	if name := rapid.SampledFrom([]string{"", "", "", "v", "v", "X-CANARY"}).Draw(t, "header"); name != "" {
		match["headers"] = []any{map[string]any{"name": name, "value": "2"}}
	}
	if method := rapid.SampledFrom([]string{"", "", "", "GET", "DELETE"}).Draw(t, "method"); method != "" {
		match["method"] = method
	}
	if rapid.Bool().Draw(t, "named") {
		out["name"] = fmt.Sprintf("rule-%d", w.made)
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"checkout", "legacy", "static", "beta"}), 0, 4, rapid.ID[string]).Draw(t, "backends")
	if rapid.IntRange(0, 9).Draw(t, "second port") == 0 {
		names = append(names, "checkout")
	}
	var refs []any
	for i, name := range names {
		ref := map[string]any{"name": name, "port": int64(80 + i), "unknown": map[string]any{"deep": []any{"x", nil}}}
		if weight := rapid.Int64Range(-1, 20).Draw(t, "weight"); weight >= 0 {
			ref["weight"] = weight
		}
		refs = append(refs, ref)
	}
	if refs != nil {
		out["backendRefs"] = refs
	}
	return out
}

func rulesOf(route *unstructured.Unstructured) []any {
	list, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	return list
}

func (w *world) setRules(list []any) {
	if err := unstructured.SetNestedSlice(w.git.Object, list, "spec", "rules"); err != nil {
		panic(err)
	}
}

// editGit changes what the users want.
func (w *world) editGit(t *rapid.T) {
	list := rulesOf(w.git)
	switch rapid.SampledFrom([]string{"add", "remove", "reorder", "reweigh", "timeout"}).Draw(t, "edit") {
	case "add":
		list = slices.Insert(list, rapid.IntRange(0, len(list)).Draw(t, "at"), any(w.rule(t)))
	case "remove":
		if len(list) > 1 {
			at := rapid.IntRange(0, len(list)-1).Draw(t, "at")
			list = slices.Delete(list, at, at+1)
		}
	case "reorder":
		list = rapid.Permutation(list).Draw(t, "order")
	case "reweigh":
		// Far from all weights that we write ourselves, so that no edit looks
		// like our own write.
		rule := list[rapid.IntRange(0, len(list)-1).Draw(t, "rule")].(map[string]any)
		refs, _ := rule["backendRefs"].([]any)
		for _, ref := range refs {
			ref.(map[string]any)["weight"] = rapid.Int64Range(200_003, maxWeight).Draw(t, "weight")
		}
	case "timeout":
		list[rapid.IntRange(0, len(list)-1).Draw(t, "rule")].(map[string]any)["timeouts"] = map[string]any{"request": "77s"}
	}
	w.setRules(list)
}

// sync brings Git to the cluster: by our agent, or by one that knows nothing of us.
func (w *world) sync(t *rapid.T) {
	how := rapid.SampledFrom([]string{"merge", "force", "replace"}).Draw(t, "sync")
	live := w.git.DeepCopy()
	switch how {
	case "merge":
		live = Merge(w.git, w.live)
	case "force": // annotations of others stay
		if value, ok := w.live.GetAnnotations()[Annotation]; ok {
			all := live.GetAnnotations()
			all[Annotation] = value
			live.SetAnnotations(all)
		}
	}
	w.live = live
}

// step gives the canary a part and heals at once.
func (w *world) step(t *rapid.T) {
	w.split.Present = true
	w.split.Canary = rapid.Int32Range(0, w.split.Total).Draw(t, "canary")
	w.split.Match = rapid.SampledFrom(someMatches).Draw(t, "match")
	w.write(t)
}

func (w *world) write(t *rapid.T) {
	if Inspect(w.live, w.split).Problem != "" {
		// Too little weight beside the others, no rule at all, or a match that does
		// not go together with a rule: nothing above 0.
		w.split.Canary, w.split.Match = 0, nil
		patch, err := Patch(w.live, w.split)
		if err != nil {
			t.Fatalf("lowering: %v", err)
		}
		w.live = patched(t, w.live, patch)
		return
	}
	w.live = apply(t, w.live, w.split)
}

// check compares the cluster with what the users want and what we may do.
func (w *world) check(t *rapid.T) {
	all := w.live
	w.live = withoutCopies(all)
	defer func() { w.live = all }()
	w.checkCopies(t, all)
	if diff := cmp.Diff(w.bare(w.git), w.bare(w.live)); diff != "" {
		t.Fatalf("something that is not ours changed: %s", diff)
	}
	git, live := readRules(w.git, w.split), readRules(w.live, w.split)
	for i, r := range live {
		if r.count > maxRefs {
			t.Fatalf("%s has %d references", r, r.count)
		}
		was, now := sum(liveWeights(git[i].stable)), sum(liveWeights(r.stable))+sum(liveWeights(r.canary))
		if (was+sum(liveWeights(git[i].foreign)) > 0) != (now+sum(liveWeights(r.foreign)) > 0) {
			t.Fatalf("T1: %s: weights sum to 0 in one of git and live", r)
		}
		for j, ref := range r.foreign {
			if git[i].foreign[j].value()*now != ref.value()*was {
				t.Fatalf("%s: ratio of %s to the pair is %d:%d, was %d:%d", r, ref.key, ref.value(), now, git[i].foreign[j].value(), was)
			}
		}
		if sum(liveWeights(r.canary))*int64(w.split.Total) > int64(w.split.Canary)*now {
			t.Fatalf("T7: %s: canary has %d of %d, more than %d of %d", r, sum(liveWeights(r.canary)), now, w.split.Canary, w.split.Total)
		}
		if len(r.canary) > 0 && len(r.canary) != len(r.stable) {
			t.Fatalf("%s: %d canaries for %d stables", r, len(r.canary), len(r.stable))
		}
		for j, ref := range r.canary {
			if ref.at+1 != r.stable[j].at {
				t.Fatalf("%s: the canary does not stand right before stable", r)
			}
		}
	}
}

var someMatches = []*Match{nil, {}, {Headers: []Condition{{Name: "x-canary", Value: "1"}}},
	{QueryParams: []Condition{{Type: "RegularExpression", Name: "q", Value: "a.*"}}, Methods: []string{"GET", "POST"}}}

// isCopy is about the names that we give: no user of these worlds gives such a name.
func isCopy(rule any) bool { return strings.HasPrefix(text(rule.(map[string]any), "name"), copyPrefix) }

func withoutCopies(route *unstructured.Unstructured) *unstructured.Unstructured {
	out := route.DeepCopy()
	list, ok, _ := unstructured.NestedSlice(out.Object, "spec", "rules")
	if ok {
		_ = unstructured.SetNestedSlice(out.Object, slices.DeleteFunc(list, isCopy), "spec", "rules")
	}
	return out
}

// checkCopies demands a copy right before every rule that gives stable weight, and nowhere else.
func (w *world) checkCopies(t *rapid.T, route *unstructured.Unstructured) {
	list, names := rulesOf(route), map[string]bool{}
	git := readRules(w.git, w.split)
	user := 0
	for i, item := range list {
		content := item.(map[string]any)
		if isCopy(item) {
			if w.split.Match.empty() || i+1 == len(list) || isCopy(list[i+1]) || names[text(content, "name")] {
				t.Fatalf("rule %d is a copy that should not be there: %v", i, content)
			}
			names[text(content, "name")] = true
			continue
		}
		had := sum(liveWeights(git[user].stable)) > 0
		user++
		if copied := i > 0 && isCopy(list[i-1]); copied != (had && !w.split.Match.empty()) {
			t.Fatalf("rule %d: copied is %t: %v", i, copied, list)
		} else if copied {
			w.checkCopy(t, list[i-1].(map[string]any), content)
		}
	}
}

func (w *world) checkCopy(t *rapid.T, copy, source map[string]any) {
	for _, ref := range copy["backendRefs"].([]any) {
		if text(ref.(map[string]any), "name") != w.split.CanaryService || ref.(map[string]any)["weight"] == int64(0) {
			t.Fatalf("copy leads elsewhere: %v", copy)
		}
	}
	for key, value := range source {
		if key != "name" && key != "matches" && key != "backendRefs" && !cmp.Equal(value, copy[key]) {
			t.Fatalf("%s of the copy is %v, not %v", key, copy[key], value)
		}
	}
	// No request that the source did not match, and none without our condition.
	was := source["matches"].([]any)[0].(map[string]any)
	for _, item := range copy["matches"].([]any) {
		now := item.(map[string]any)
		headers, _ := now["headers"].([]any)
		queries, _ := now["queryParams"].([]any)
		old, _ := was["headers"].([]any)
		if !cmp.Equal(now["path"], was["path"]) || len(headers) != len(old)+len(w.split.Match.Headers) || len(queries) != len(w.split.Match.QueryParams) ||
			len(old) > 0 && !cmp.Equal(old[0], headers[0]) || was["method"] != nil && was["method"] != now["method"] ||
			len(w.split.Match.Methods) > 0 && !slices.Contains(w.split.Match.Methods, text(now, "method")) {
			t.Fatalf("copy of %v matches %v", was, now)
		}
	}
}

// bare is a route without all that we may change, with references in order.
func (w *world) bare(route *unstructured.Unstructured) map[string]any {
	out := route.DeepCopy()
	unstructured.RemoveNestedField(out.Object, "metadata", "annotations", Annotation)
	for _, r := range objects(out, "spec", "rules") {
		refs, ok := r["backendRefs"].([]any)
		if !ok {
			continue
		}
		refs = slices.DeleteFunc(refs, func(ref any) bool { return text(ref.(map[string]any), "name") == w.split.CanaryService })
		for _, ref := range refs {
			delete(ref.(map[string]any), "weight")
		}
		r["backendRefs"] = refs
	}
	return out.Object
}

// defaulted writes the weight of 1 that the API server fills in.
func defaulted(route *unstructured.Unstructured) map[string]any {
	out := route.DeepCopy()
	for _, r := range objects(out, "spec", "rules") {
		refs, _ := r["backendRefs"].([]any)
		for _, ref := range refs {
			if object := ref.(map[string]any); object["weight"] == nil {
				object["weight"] = int64(1)
			}
		}
	}
	return out.Object
}

// sameMeaning is like equality, but one backend alone in its rule has all the
// traffic with any weight.
func sameMeaning(route *unstructured.Unstructured) map[string]any {
	out := route.DeepCopy()
	for _, r := range objects(out, "spec", "rules") {
		refs, _ := r["backendRefs"].([]any)
		if len(refs) == 1 {
			if ref := refs[0].(map[string]any); ref["weight"] != int64(0) {
				delete(ref, "weight")
			}
		}
	}
	return out.Object
}

func newWorld(t *rapid.T) *world {
	w := &world{split: checkout(0)}
	w.split.Total = rapid.SampledFrom([]int32{1, 7, 100, 1000, maxWeight}).Draw(t, "total")
	w.git = parse(t, "metadata: {name: r, namespace: shop, uid: u, resourceVersion: '1', annotations: {a: b}}\nspec: {novel: true}")
	list := []any{w.rule(t)}
	for range rapid.IntRange(0, 3).Draw(t, "more rules") {
		list = append(list, w.rule(t))
	}
	w.setRules(list)
	w.live = w.git.DeepCopy()
	return w
}

func TestSplitAndRestore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			w.step(t)
			w.check(t)
		}
		w.split = restored(w.split)
		w.live = apply(t, w.live, w.split)
		if diff := cmp.Diff(w.git.Object, w.live.Object); diff != "" {
			t.Fatalf("T9: %s", diff)
		}
	})
}

func TestSplitUnderEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "user") {
				w.editGit(t)
				w.sync(t)
				w.write(t)
			} else {
				w.step(t)
			}
			w.check(t)
		}
		w.split = restored(w.split)
		w.live = apply(t, w.live, w.split)
		if diff := cmp.Diff(sameMeaning(w.git), sameMeaning(w.live)); diff != "" {
			t.Fatalf("T9: %s", diff)
		}
	})
}

// Our own agent applies Git at any time without any effect on an unchanged route.
func TestMergeIsIdle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.step(t)
		w.step(t)
		if diff := cmp.Diff(defaulted(w.live), defaulted(Merge(w.git, w.live))); diff != "" {
			t.Fatalf("%s", diff)
		}
	})
}

func TestDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weight := rapid.Int64Range(0, maxWeight)
		stable := rapid.SliceOfN(weight, 1, 3).Draw(t, "stable")
		foreign := rapid.SliceOfN(weight, 0, 5).Draw(t, "foreign")
		total := rapid.Int64Range(1, maxWeight).Draw(t, "total")
		c := rapid.Int64Range(0, total).Draw(t, "canary")
		p := divide(stable, foreign, c, total)
		if p.largest() > maxWeight {
			t.Fatalf("%+v exceeds the limit", p)
		}
		was, now := sum(stable)+sum(foreign), sum(p.Stable)+sum(p.Canary)+sum(p.Foreign)
		if (was == 0) != (now == 0) {
			t.Fatalf("sum %d became %d", was, now)
		}
		for i := range stable {
			if !equalRatios(p.pair(i), now, stable[i], was) {
				t.Fatalf("pair %d: %+v", i, p)
			}
			if p.Canary[i] < 0 || p.Stable[i] < 0 || p.Canary[i]*total > c*p.pair(i) {
				t.Fatalf("canary %d: %+v for %d of %d", i, p, c, total)
			}
			// Rounded down by less than one unit.
			if p.pair(i) > 0 && (p.Canary[i]+1)*total <= c*p.pair(i) {
				t.Fatalf("canary %d could be larger: %+v for %d of %d", i, p, c, total)
			}
		}
		for i := range foreign {
			if !equalRatios(p.Foreign[i], now, foreign[i], was) {
				t.Fatalf("foreign %d: %+v", i, p)
			}
		}
	})
}

// equalRatios says a/b == c/d, where 0/0 equals 0/0.
func equalRatios(a, b, c, d int64) bool {
	left := new(big.Int).Mul(big.NewInt(a), big.NewInt(d))
	return left.Cmp(new(big.Int).Mul(big.NewInt(c), big.NewInt(b))) == 0
}

// mangle replaces random parts of a JSON value by nonsense.
func mangle(t *rapid.T, v any) any {
	if rapid.IntRange(0, 11).Draw(t, "hit") == 0 {
		return rapid.SampledFrom([]any{nil, true, "x", "checkout", "checkout-canary", int64(-1), int64(7), 1e300, 0.5,
			[]any{}, map[string]any{}, []any{nil, "x", []any{}}, `{"shop/checkout":{"stable":"checkout","canary":"checkout-canary","total":1,"rules":[{"stable":[]}]}}`}).Draw(t, "nonsense")
	}
	switch content := v.(type) {
	case map[string]any:
		out := map[string]any{}
		keys := make([]string, 0, len(content))
		for k := range content {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out[k] = mangle(t, content[k])
		}
		return out
	case []any:
		out := make([]any, len(content))
		for i := range content {
			out[i] = mangle(t, content[i])
		}
		return out
	}
	return v
}

// Whatever a route says, nothing panics, and a patch that is given can be applied.
func TestMalformedRoutes(t *testing.T) {
	dark := checkout(5)
	dark.Match = someMatches[2]
	whole := apply(t, fixture(t, "route.yaml"), dark)
	rapid.Check(t, func(t *rapid.T) {
		content, ok := mangle(t, whole.DeepCopy().Object).(map[string]any)
		if !ok {
			content = map[string]any{}
		}
		route := &unstructured.Unstructured{Object: content}
		s := checkout(rapid.Int32Range(-1, 101).Draw(t, "canary"))
		s.Present, s.Ours = rapid.Bool().Draw(t, "present"), rapid.Bool().Draw(t, "ours")
		s.Match = rapid.SampledFrom(someMatches).Draw(t, "match")
		v := Inspect(route, s)
		if v.MaxCanary < 0 || v.MinCanary < 0 || v.MaxCanary > 100 || v.MinCanary > v.MaxCanary {
			t.Fatalf("%+v", v)
		}
		Programmed(route, nil)
		Attribution(route)
		Merge(fixture(t, "route.yaml"), route)
		Merge(route, whole)
		MergeService(route, whole)
		patch, err := Patch(route, s)
		if err != nil || patch == nil {
			return
		}
		if _, ok := content["metadata"].(map[string]any); ok {
			if out, err := tryPatch(t, route, patch); err != nil || !json.Valid(out) {
				t.Fatalf("%s on %s: %v", patch, encodeObject(t, route), err)
			}
		}
	})
}
