package gatewayapi

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// plan is everything that Inspect, Patch and Merge need to know of one route.
type plan struct {
	split Split
	name  string
	rules []rule // the managed ones
	edits map[int][]edit
	// sources are the managed rules to be copied for a Match; copies are the live
	// rules that the record says we inserted; recorded is the record.
	sources   []source
	copies    []rule
	ruleEdits []ruleEdit // from the last to the first
	recorded  record
	missing   bool // a copy that is wanted is not there
	problems  []string
	listed    bool // a canary reference of the user's
	traces    bool
	// annotation as it is and as it should be; empty means absent.
	was, want string
}

// settled says that nothing is left to be written.
func (p *plan) settled() bool { return len(p.edits) == 0 && len(p.ruleEdits) == 0 && p.was == p.want }

func (p *plan) problem(format string, args ...any) {
	if p.split.Present {
		p.problems = append(p.problems, fmt.Sprintf(format, args...))
	}
}

// planRoute compares the route with the split, rule by rule.
func planRoute(route *unstructured.Unstructured, s Split) *plan {
	records := readRecords(route)
	rec, recorded := records[s.Owner]
	p := &plan{split: s, name: route.GetNamespace() + "/" + route.GetName(), edits: map[int][]edit{},
		was: route.GetAnnotations()[Annotation], traces: recorded}
	if !p.valid() {
		p.want = p.was
		return p
	}
	s = p.follow(rec, recorded)
	p.recorded = rec
	rules := p.splitOff(readRules(route, s), rec)
	found, strong := assign(rules, rec.Rules)
	ours := s.Ours || rec.injects()
	next := record{Namespace: s.backends(route.GetNamespace()).namespace, Stable: s.StableService,
		Canary: s.CanaryService, Only: s.Rules, Weight: s.Canary, Total: s.Total}
	for _, r := range rules {
		e, known := found[r.index]
		c := context{rec: rec, ours: ours, strong: strong[r.index], others: records}
		if known {
			c.entry = &e
		}
		if kept, ok := p.planRule(r, c); ok {
			next.Rules = append(next.Rules, kept)
		}
	}
	p.checkRules()
	next.Copies = p.planCopies(rules, route)
	if !s.Match.empty() {
		next.Match = s.Match
	}
	next.Mirror, next.Probe = s.Mirror, s.Probe
	p.planProbe(route)
	p.planRecord(records, recorded, next)
	return p
}

// valid reports a split that cannot be computed with.
func (p *plan) valid() bool {
	s := p.split
	switch {
	case s.StableService == "" || s.CanaryService == "" || s.StableService == s.CanaryService:
		p.problem("the stable and the canary service must be two services, not %q and %q", s.StableService, s.CanaryService)
		return false
	case s.Present && (s.Total < 1 || s.Total > maxWeight || s.Canary < 0 || s.Canary > s.Total):
		p.problem("a weight of %d out of %d cannot be given to the canary", s.Canary, s.Total)
		return false
	case s.Present && s.Mirror != nil && (s.Canary > 0 || !s.Match.empty()):
		p.problem("requests are mirrored to the canary, or sent to it, not both")
		return false
	}
	return true
}

// follow makes a split speak of the Services that the record speaks of, so that
// what was added under other names can still be taken back.
func (p *plan) follow(rec record, recorded bool) Split {
	s := p.split
	if recorded && (rec.Stable != s.StableService || rec.Canary != s.CanaryService) {
		p.problem("route still holds the split of services %s and %s: restore it first", rec.Stable, rec.Canary)
		p.split.StableService, p.split.CanaryService, p.split.Namespace = rec.Stable, rec.Canary, rec.Namespace
	}
	return p.split
}

// checkRules reports what is wrong with the route as a whole.
func (p *plan) checkRules() {
	if len(p.rules) == 0 {
		p.problem("route has no rule that refers to service %s", p.split.StableService)
	}
	for _, name := range p.split.Rules {
		if !slices.ContainsFunc(p.rules, func(r rule) bool { return r.name == name }) {
			p.problem("route has no rule %q that refers to service %s", name, p.split.StableService)
		}
	}
}

// planRecord decides the annotation. While nothing else changes, a record that
// still says all that is needed is left alone.
func (p *plan) planRecord(records map[string]record, recorded bool, next record) {
	p.want = p.was
	last := records[p.split.Owner]
	switch {
	case p.split.Present && len(next.Rules) == 0:
		return
	case p.split.Present && recorded && len(p.edits) == 0 && last.covers(next):
		return
	case !p.split.Present && !recorded && len(records) > 0:
		return
	}
	all := map[string]record{}
	for owner, r := range records {
		all[owner] = r
	}
	delete(all, p.split.Owner)
	if p.split.Present {
		all[p.split.Owner] = next.rounded(last)
	}
	p.want = encode(all)
}

// covers says that r holds everything that next does.
func (r record) covers(next record) bool {
	if r.Namespace != next.Namespace || r.Stable != next.Stable || r.Canary != next.Canary ||
		r.Weight != next.Weight || r.Total != next.Total || !slices.Equal(r.Only, next.Only) ||
		!r.Match.equal(next.Match) || !r.Mirror.equal(next.Mirror) || r.Probe != next.Probe || !slices.Equal(r.Copies, next.Copies) {
		return false
	}
	for _, e := range next.Rules {
		if !slices.ContainsFunc(r.Rules, e.equal) {
			return false
		}
	}
	return true
}

// rounded takes over from last whether a weight of 1 was written or absent.
func (r record) rounded(last record) record {
	for i, e := range r.Rules {
		if j := slices.IndexFunc(last.Rules, e.equal); j >= 0 {
			r.Rules[i] = last.Rules[j]
		}
	}
	return r
}

// context is what is known about one rule besides the rule.
type context struct {
	rec    record
	entry  *entry
	strong bool
	ours   bool
	others map[string]record
}

// planRule decides the edits of one rule and returns the entry to be kept for it.
func (p *plan) planRule(r rule, c context) (entry, bool) {
	selected := p.selects(r)
	if len(r.stable) == 0 {
		p.planOrphan(r, c)
		return entry{}, false
	}
	if !selected && c.entry == nil {
		return entry{}, false
	}
	if selected {
		p.rules = append(p.rules, r)
	}
	if r.unreadable != "" {
		p.problem("%s", r.unreadable)
		return p.leave(r, c)
	}
	present := p.split.Present && selected
	if !present && c.entry == nil && !(c.ours && len(r.canary) > 0) {
		p.listed = p.listed || len(r.canary) > 0
		return entry{}, false
	}
	o := original(r, c.rec, c.entry, c.ours)
	p.listed = p.listed || o.Listed
	p.traces = p.traces || !o.Listed && len(r.canary) > 0
	if !present {
		p.edit(r, restoreRule(r, o))
		return entry{}, false
	}
	if !p.check(r, o, c) {
		return p.leave(r, c)
	}
	p.edit(r, splitRule(r, o, p.split))
	p.sources = append(p.sources, p.sourceOf(r, o))
	return o, true
}

// selects says whether the split is about a rule.
func (p *plan) selects(r rule) bool {
	return len(p.split.Rules) == 0 || slices.Contains(p.split.Rules, r.name)
}

// leave keeps the entry of a rule that cannot be split. It does no more than an
// abort needs (the canary's weight goes to stable) or than a restoration needs
// (our reference goes as well).
func (p *plan) leave(r rule, c context) (entry, bool) {
	listed := !c.ours
	if c.entry != nil {
		listed = c.entry.Listed
	}
	switch {
	case !p.split.Present && !listed:
		p.traces = p.traces || len(r.canary) > 0
		p.edit(r, lowerRule(r, reference.drop))
	case p.split.Present && p.split.Canary == 0:
		p.edit(r, lowerRule(r, nil))
	}
	if c.entry == nil {
		return entry{}, false
	}
	return *c.entry, true
}

// check reports why the rule cannot be split, and says whether it is to be left
// alone altogether.
func (p *plan) check(r rule, o entry, c context) (usable bool) {
	for owner, other := range c.others {
		if owner != p.split.Owner && r.refersTo(other) {
			p.problem("%s is already split by Rollout %s", r, owner)
			return false
		}
	}
	if o.Listed && len(r.canary) != len(r.stable) {
		p.problem("%s lists service %s %d times but service %s %d times: list both equally often",
			r, p.split.CanaryService, len(r.canary), p.split.StableService, len(r.stable))
		return false
	}
	if !o.Listed && len(r.foreign)+2*len(r.stable) > maxRefs {
		p.problem("%s would have more than %d backends with service %s", r, maxRefs, p.split.CanaryService)
		return false
	}
	p.checkWeights(r, o, c)
	return true
}

func (p *plan) checkWeights(r rule, o entry, c context) {
	if o.Listed && c.entry == nil {
		for _, ref := range r.canary {
			switch {
			case ref.weight == nil:
				p.problem("%s lists service %s without a weight, which means 1, before the rollout started: set it to 0", r, p.split.CanaryService)
			case *ref.weight != 0:
				p.problem("%s lists service %s with weight %d before the rollout started: set it to 0", r, p.split.CanaryService, *ref.weight)
			}
		}
	}
	target := divide(values(o.Stable), values(o.Foreign), int64(p.split.Canary), int64(p.split.Total))
	if p.split.Canary > 0 && sum(values(o.Stable)) > 0 && sum(target.Canary) == 0 {
		p.problem("%s gives service %s too little beside its other backends for a canary of %d out of %d",
			r, p.split.StableService, p.split.Canary, p.split.Total)
	}
}

// refersTo says that the rule holds a Service that another Rollout splits.
func (r rule) refersTo(other record) bool {
	for _, ref := range slices.Concat(r.stable, r.canary, r.foreign) {
		b := backends{route: other.Namespace, namespace: other.Namespace}
		if b.is(ref.raw, other.Stable) || b.is(ref.raw, other.Canary) {
			return true
		}
	}
	return false
}
