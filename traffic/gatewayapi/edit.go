package gatewayapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// edit is one change of one backendRef; at counts in the live list.
type edit struct {
	kind editKind
	at   int
	name string         // that the reference at that place has
	ref  map[string]any // insert: the reference to stand before that place
	to   any            // setWeight: int64; rename: string
}

type editKind int

const (
	setWeight editKind = iota
	dropWeight
	rename
	insert
	remove
)

// edit keeps the edits of a rule: changes in place first, then insertions and
// removals from the last to the first, so that every index means the live list.
func (p *plan) edit(r rule, edits []edit) {
	if len(edits) == 0 {
		return
	}
	slices.SortStableFunc(edits, func(a, b edit) int {
		if a.moves() != b.moves() {
			if a.moves() {
				return 1
			}
			return -1
		}
		if a.moves() {
			return b.at - a.at
		}
		return a.at - b.at
	})
	p.edits[r.index] = edits
}

func (e edit) moves() bool { return e.kind == insert || e.kind == remove }

// splitRule gives the canary its part of the original o.
func splitRule(r rule, o entry, s Split) []edit {
	target := divide(values(o.Stable), values(o.Foreign), int64(s.Canary), int64(s.Total))
	var edits []edit
	partner, extra := pairUp(r, o.Listed)
	for i, ref := range r.stable {
		edits = append(edits, ref.weigh(target.Stable[i])...)
		if partner[i] == nil {
			edits = append(edits, edit{kind: insert, at: ref.at, name: text(ref.raw, "name"), ref: ref.copyAs(s.CanaryService, target.Canary[i])})
			continue
		}
		edits = append(edits, partner[i].weigh(target.Canary[i])...)
	}
	for i, ref := range r.foreign {
		edits = append(edits, ref.weigh(target.Foreign[i])...)
	}
	for _, ref := range extra {
		edits = append(edits, ref.drop())
	}
	return edits
}

// pairUp finds the canary reference of every stable one: a user's by position,
// ours by content, as a reference that no longer is a copy has to be replaced.
func pairUp(r rule, listed bool) (partner []*reference, extra []reference) {
	partner = make([]*reference, len(r.stable))
	taken := make([]bool, len(r.canary))
	for i, stable := range r.stable {
		for j := range r.canary {
			if !taken[j] && (listed || stable.sameButName(r.canary[j])) {
				partner[i], taken[j] = &r.canary[j], true
				break
			}
		}
	}
	for j, ref := range r.canary {
		if !taken[j] {
			extra = append(extra, ref)
		}
	}
	return partner, extra
}

// restoreRule brings the original back.
func restoreRule(r rule, o entry) []edit {
	var edits []edit
	for _, ref := range r.canary {
		if o.Listed {
			edits = append(edits, ref.weigh(0)...)
		} else {
			edits = append(edits, ref.drop())
		}
	}
	for i, ref := range r.stable {
		edits = append(edits, ref.reset(o.Stable[i].Weight)...)
	}
	for i, ref := range r.foreign {
		edits = append(edits, ref.reset(o.Foreign[i].Weight)...)
	}
	return edits
}

// lowerRule moves the weight of every canary reference to stable, whatever else
// the rule says, and then drops the reference if drop is given.
func lowerRule(r rule, drop func(reference) edit) []edit {
	var edits []edit
	if moved := sum(liveWeights(r.canary)); moved > 0 {
		edits = r.stable[0].weigh(min(r.stable[0].value()+moved, maxWeight))
	}
	for _, ref := range r.canary {
		if drop != nil {
			edits = append(edits, drop(ref))
		} else {
			edits = append(edits, ref.weigh(0)...)
		}
	}
	return edits
}

// planOrphan deals with a canary reference of ours in a rule that no longer
// refers to the stable Service. If other backends can take the traffic it goes;
// else it becomes the stable reference again, which the next look splits.
// Only the record tells such a rule from one that the user wrote.
func (p *plan) planOrphan(r rule, c context) {
	if len(r.canary) == 0 || c.entry == nil || c.entry.Listed || !c.strong || r.unreadable != "" {
		return
	}
	p.traces = true
	keep := 0
	if sum(liveWeights(r.foreign)) == 0 {
		keep = 1
		p.rules = append(p.rules, r)
	}
	var edits []edit
	for _, ref := range r.canary[:keep] {
		edits = append(edits, edit{kind: rename, at: ref.at, name: p.split.CanaryService, to: p.split.StableService})
		edits = append(edits, ref.reset(c.entry.Stable[0].Weight)...)
	}
	for _, ref := range r.canary[keep:] {
		edits = append(edits, ref.drop())
	}
	p.edit(r, edits)
}

func (r reference) weigh(w int64) []edit {
	if r.value() == w {
		return nil
	}
	return []edit{{kind: setWeight, at: r.at, name: text(r.raw, "name"), to: w}}
}

// reset writes the original weight, or takes the weight away where there was none.
func (r reference) reset(w *int64) []edit {
	switch {
	case w != nil && r.weight == nil:
		return []edit{{kind: setWeight, at: r.at, name: text(r.raw, "name"), to: *w}}
	case w != nil:
		return r.weigh(*w)
	case r.weight != nil:
		return []edit{{kind: dropWeight, at: r.at, name: text(r.raw, "name")}}
	}
	return nil
}

func (r reference) drop() edit {
	return edit{kind: remove, at: r.at, name: text(r.raw, "name")}
}

// operation is one operation of RFC 6902.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// operations is the plan as a JSON patch: all tests first.
func (p *plan) operations(route *unstructured.Unstructured) []operation {
	ops := identityTests(route)
	var changes []operation
	for _, index := range slices.Sorted(maps.Keys(p.edits)) {
		tested := map[int]bool{}
		for _, e := range p.edits[index] {
			path := fmt.Sprintf("/spec/rules/%d/backendRefs/%d", index, e.at)
			if !tested[e.at] {
				tested[e.at] = true
				ops = append(ops, operation{"test", path + "/name", e.name})
			}
			changes = append(changes, e.operation(path))
		}
	}
	for _, e := range p.ruleEdits { // after all else: they move the rules behind them
		path := fmt.Sprintf("/spec/rules/%d", e.at)
		if e.test.Op != "" {
			ops = append(ops, e.test)
		}
		switch {
		case e.content == nil:
			changes = append(changes, operation{"remove", path, nil})
		case e.replace:
			changes = append(changes, operation{"replace", path, e.content})
		default:
			changes = append(changes, operation{"add", path, e.content})
		}
	}
	ops = append(ops, changes...)
	return append(ops, p.annotate(route)...)
}

func (e edit) operation(path string) operation {
	switch e.kind {
	case setWeight:
		return operation{"add", path + "/weight", e.to}
	case dropWeight:
		return operation{"remove", path + "/weight", nil}
	case rename:
		return operation{"replace", path + "/name", e.to}
	case insert:
		return operation{"add", path, e.ref}
	default:
		return operation{"remove", path, nil}
	}
}

// identityTests make the patch fail on any other object or version of it.
func identityTests(route *unstructured.Unstructured) []operation {
	var ops []operation
	if v := route.GetResourceVersion(); v != "" {
		ops = append(ops, operation{"test", "/metadata/resourceVersion", v})
	}
	if v := route.GetUID(); v != "" {
		ops = append(ops, operation{"test", "/metadata/uid", string(v)})
	}
	return ops
}

// annotate writes the record, or takes it away with the map if that was all.
func (p *plan) annotate(route *unstructured.Unstructured) []operation {
	const annotations = "/metadata/annotations"
	path := annotations + "/" + strings.ReplaceAll(strings.ReplaceAll(Annotation, "~", "~0"), "/", "~1")
	have := route.GetAnnotations()
	switch {
	case p.was == p.want:
		return nil
	case p.want == "" && len(have) == 1:
		return []operation{{"remove", annotations, nil}}
	case p.want == "":
		return []operation{{"remove", path, nil}}
	case len(have) == 0:
		return []operation{{"add", annotations, map[string]any{Annotation: p.want}}}
	}
	return []operation{{"add", path, p.want}}
}
