package gatewayapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Limits of the Gateway API for one route, one rule and one match.
const (
	maxRules       = 16
	maxMatches     = 128
	maxRuleMatches = 64
	maxConditions  = 16
	maxFilters     = 16
)

// copyPrefix begins the names of the rules that we insert. What follows is a
// hash of the owner, and one of the source.
const copyPrefix = "belay-"

// Match says which requests go to the canary whatever its weight: those that
// meet all headers and all query parameters, with one of the methods.
type Match struct {
	Headers     []Condition `json:"headers,omitempty"`
	QueryParams []Condition `json:"queryParams,omitempty"`
	// Methods are HTTP methods in capitals; empty means any.
	Methods []string `json:"methods,omitempty"`
}

// Condition is about one header or query parameter.
type Condition struct {
	// Type is Exact or RegularExpression; empty means Exact.
	Type  string `json:"type,omitempty"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (m *Match) empty() bool {
	return m == nil || len(m.Headers)+len(m.QueryParams)+len(m.Methods) == 0
}

func (m *Match) equal(other *Match) bool {
	if m.empty() || other.empty() {
		return m.empty() && other.empty()
	}
	return slices.Equal(m.Headers, other.Headers) && slices.Equal(m.QueryParams, other.QueryParams) &&
		slices.Equal(m.Methods, other.Methods)
}

// copied is the record of one rule that we inserted.
type copied struct {
	Name string `json:"name"`
	// Print of its matches: where the API server does not keep names of rules,
	// a rule without a name is ours by its matches, our own condition included.
	Print string `json:"matches"`
}

// ruleEdit inserts a rule before the place at, or removes the one that is there.
type ruleEdit struct {
	at      int
	content map[string]any // nil: remove
	replace bool           // the content takes the place of the rule that is there
	test    operation      // holds of the rule at that place; none for the end
}

// inserted says that a rule is ours although the record is gone: nobody else
// gives a rule a name with the owner's hash and the canary alone behind it, or
// mirrored to. A copy that stayed would send requests to the canary after an abort.
func (p *plan) inserted(r rule) bool {
	return strings.HasPrefix(r.name, copiesOf(p.split.Owner)) && r.isCopy(p.split.CanaryService)
}

// copiesOf begins the names of the rules that were inserted for one Rollout.
func copiesOf(owner string) string { return copyPrefix + shortHash(owner) + "-" }

func shortHash(s string) string {
	hash := sha256.Sum256([]byte(s))
	return hex.EncodeToString(hash[:4])
}

// owns says that the record says that we inserted the rule.
func (rec record) owns(r rule) bool {
	return slices.ContainsFunc(rec.Copies, func(c copied) bool {
		if r.name != "" {
			return r.name == c.Name
		}
		return r.print == c.Print && r.isCopy(rec.Canary)
	})
}

// splitOff takes the rules that we inserted out of those that users wrote.
func (p *plan) splitOff(rules []rule, rec record) []rule {
	var users []rule
	for _, r := range rules {
		if rec.owns(r) || p.inserted(r) {
			p.copies = append(p.copies, r)
		} else {
			users = append(users, r)
		}
	}
	p.traces = p.traces || len(p.copies) > 0
	return users
}

// source is a managed rule that is to be copied, with the references to the
// canary alone, and with all those of the user's as they were before the split.
type source struct {
	rule
	refs, users []any
}

// sourceOf is the rule with the canary in place of stable; without references
// where the user gives stable no weight, as there is nothing to take over.
func (p *plan) sourceOf(r rule, o entry) source {
	out := source{rule: r}
	for i, ref := range r.stable {
		weight := weightOr1(o.Stable[i].Weight)
		if weight > 0 && len(r.stable) == 1 {
			weight = 1
		}
		if weight > 0 {
			out.refs = append(out.refs, any(ref.copyAs(p.split.CanaryService, weight)))
		}
	}
	out.users = usersOf(r, o)
	return out
}

// usersOf are the references of a rule without the canary, with their original weights, in the order of the rule.
func usersOf(r rule, o entry) []any {
	weights := map[int]int64{}
	for i, ref := range r.stable {
		weights[ref.at] = weightOr1(o.Stable[i].Weight)
	}
	for i, ref := range r.foreign {
		weights[ref.at] = weightOr1(o.Foreign[i].Weight)
	}
	all := slices.Concat(r.stable, r.foreign)
	slices.SortFunc(all, func(a, b reference) int { return a.at - b.at })
	var out []any
	for _, ref := range all {
		out = append(out, any(ref.copyAs(text(ref.raw, "name"), weights[ref.at])))
	}
	return out
}

// planCopies decides the rules to insert and to remove, and returns the record
// of them. Every copy stands right before its source, so that a source cannot
// win by its method, by the number of its headers or by standing first.
func (p *plan) planCopies(users []rule, route *unstructured.Unstructured) []copied {
	var wanted []source
	if p.split.inserts() {
		for _, s := range p.sources {
			if len(s.refs) > 0 && (p.split.Mirror == nil || len(p.split.Mirror.and(s.raw["matches"])) > 0) {
				wanted = append(wanted, s)
			}
		}
		if p.split.Mirror != nil && !p.checkMirror(wanted, route) || p.split.Mirror == nil && !p.checkMatch(wanted, route) {
			return p.leaveCopies()
		}
	}
	kept, names := map[int]bool{}, map[string]bool{}
	var out []copied
	for _, s := range wanted {
		name := p.copyName(s.rule, names)
		if slices.ContainsFunc(users, func(r rule) bool { return r.name == name }) {
			p.problem("rule %q has a name that Belay gives to a rule of its own: rename it", name)
			return p.leaveCopies()
		}
		content := p.split.copyFor(s, name)
		out = append(out, copied{Name: name, Print: fingerprint(content["matches"])})
		i := slices.IndexFunc(p.copies, func(r rule) bool { return r.index == s.index-1 && sameRule(r.raw, content) })
		if i >= 0 {
			kept[s.index-1] = true
			continue
		}
		p.missing = true
		at := s.stable[0].at
		p.ruleEdits = append(p.ruleEdits, ruleEdit{at: s.index, content: content, test: operation{
			"test", fmt.Sprintf("/spec/rules/%d/backendRefs/%d/name", s.index, at), text(s.stable[0].raw, "name")}})
	}
	for _, r := range p.copies {
		if !kept[r.index] {
			p.ruleEdits = append(p.ruleEdits, ruleEdit{at: r.index, test: r.nameTest()})
		}
	}
	slices.SortFunc(p.ruleEdits, func(a, b ruleEdit) int { return b.at - a.at })
	return out
}

// leaveCopies keeps what is there, and the record of it.
func (p *plan) leaveCopies() []copied {
	p.ruleEdits, p.missing = nil, true
	return p.recorded.Copies
}

// nameTest is a test operation that holds of the rule.
func (r rule) nameTest() operation {
	if r.name == "" {
		first := slices.MinFunc(slices.Concat(r.stable, r.canary, r.foreign), func(a, b reference) int { return a.at - b.at })
		return operation{"test", fmt.Sprintf("/spec/rules/%d/backendRefs/%d/name", r.index, first.at), text(first.raw, "name")}
	}
	return operation{"test", fmt.Sprintf("/spec/rules/%d/name", r.index), r.name}
}

// copyName comes from the owner and from what identifies the source, so that it
// stays the same over all steps.
func (p *plan) copyName(r rule, taken map[string]bool) string {
	identity := append([]string{"matches " + r.print}, r.backends()...)
	if r.name != "" {
		identity = []string{"name " + r.name}
	}
	base := copiesOf(p.split.Owner) + shortHash(strings.Join(identity, "\n"))
	name := base
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	taken[name] = true
	return name
}

// copyOf is the source with our conditions added to each of its matches, and
// nothing but the canary behind it.
func (m *Match) copyOf(s source, name string) map[string]any {
	out := runtime.DeepCopyJSON(s.raw)
	out["name"], out["matches"] = name, any(m.and(s.raw["matches"]))
	out["backendRefs"] = runtime.DeepCopyJSONValue(s.refs)
	return out
}

// and is every match of the list with our conditions, one per method.
func (m *Match) and(matches any) []any {
	var out []any
	for _, match := range matchesOf(matches) {
		methods := m.Methods
		if _, has := match["method"]; has || len(methods) == 0 {
			methods = []string{""}
		}
		for _, method := range methods {
			next := runtime.DeepCopyJSON(match)
			appendConditions(next, "headers", m.Headers)
			appendConditions(next, "queryParams", m.QueryParams)
			if method != "" {
				next["method"] = method
			}
			out = append(out, any(next))
		}
	}
	return out
}

// matchesOf reads a list of matches; none means one on everything.
func matchesOf(matches any) []map[string]any {
	list, _ := matches.([]any)
	if len(list) == 0 {
		return []map[string]any{{}}
	}
	out := make([]map[string]any, len(list))
	for i, item := range list {
		out[i], _ = item.(map[string]any)
	}
	return out
}

func appendConditions(match map[string]any, field string, conditions []Condition) {
	if len(conditions) == 0 {
		return
	}
	list, _ := match[field].([]any)
	for _, c := range conditions {
		kind := c.Type
		if kind == "" {
			kind = "Exact"
		}
		list = append(list, any(map[string]any{"type": kind, "name": c.Name, "value": c.Value}))
	}
	match[field] = list
}

// sameRule says that the live rule is the copy that we want, whether or not the
// API server has filled in the defaults of matches or kept the name.
func sameRule(live, want map[string]any) bool {
	if name := text(live, "name"); name != "" && name != text(want, "name") {
		return false
	}
	return fingerprint(live["matches"]) == fingerprint(want["matches"]) && bytes.Equal(bareRule(live), bareRule(want))
}

func bareRule(content map[string]any) []byte {
	out := maps.Clone(content)
	delete(out, "name")
	delete(out, "matches")
	data, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return data
}
