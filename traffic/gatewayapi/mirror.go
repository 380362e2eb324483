package gatewayapi

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Mirror says which share of the requests is sent to the canary a second time. Its answers are thrown away by the gateway.
type Mirror struct {
	// Percent of the requests: 1 to 100.
	Percent int32 `json:"percent"`
	// Methods are the HTTP methods in capitals of the requests that are mirrored; empty means any.
	Methods []string `json:"methods,omitempty"`
}

func (m *Mirror) equal(other *Mirror) bool {
	if m == nil || other == nil {
		return m == other
	}
	return m.Percent == other.Percent && slices.Equal(m.Methods, other.Methods)
}

// MirrorOf is the mirror of a step as routes are told; nil for nil.
func MirrorOf(m *v1alpha1.Mirror) *Mirror {
	if m == nil {
		return nil
	}
	out := &Mirror{Percent: m.Percent}
	if m.UnsafeMethods != v1alpha1.ConsentAllow {
		for _, method := range v1alpha1.SafeMethods {
			out.Methods = append(out.Methods, string(method))
		}
	}
	return out
}

// Features are those that a gateway must have for the mirror; none for nil.
func (m *Mirror) Features() []string {
	if m == nil {
		return nil
	}
	out := []string{FeatureMirror}
	if m.Percent < 100 {
		out = append(out, FeaturePercentMirror)
	}
	if len(m.Methods) > 0 {
		out = append(out, FeatureMethods)
	}
	return out
}

// and is every match of the list that the methods allow, one per method where it names none.
func (m *Mirror) and(matches any) []any {
	var out []any
	for _, match := range matchesOf(matches) {
		method, has := match["method"].(string)
		switch {
		case match == nil: // cannot be read
		case len(m.Methods) == 0 || has && slices.Contains(m.Methods, method):
			out = append(out, any(runtime.DeepCopyJSON(match)))
		case !has:
			for _, method := range m.Methods {
				next := runtime.DeepCopyJSON(match)
				next["method"] = method
				out = append(out, any(next))
			}
		}
	}
	return out
}

// copyOf is the source for the requests that are mirrored, with the user's backends and the canary beside them.
func (m *Mirror) copyOf(s source, canary, name string) map[string]any {
	out := runtime.DeepCopyJSON(s.raw)
	out["name"], out["matches"] = name, any(m.and(s.raw["matches"]))
	out["backendRefs"] = runtime.DeepCopyJSONValue(s.users)
	to := map[string]any{"group": "", "kind": "Service", "name": canary}
	for _, field := range []string{"namespace", "port"} {
		if v, ok := s.stable[0].raw[field]; ok {
			to[field] = v
		}
	}
	mirror := map[string]any{"backendRef": to}
	if m.Percent < 100 {
		mirror["percent"] = int64(m.Percent)
	}
	filters, _ := out["filters"].([]any)
	out["filters"] = append(filters, map[string]any{"type": "RequestMirror", "requestMirror": mirror})
	return out
}

// checkMirror reports why requests cannot be mirrored to the canary. One rule that cannot be copied forbids all copies.
func (p *plan) checkMirror(wanted []source, route *unstructured.Unstructured) bool {
	before := len(p.problems)
	m := p.split.Mirror
	if kind := route.GetKind(); kind != "HTTPRoute" && kind != "" {
		p.problem("a %s cannot mirror requests: a step with mirror needs an HTTPRoute", kind)
		return false
	}
	if len(wanted) == 0 {
		p.problem("no request of the rules that refer to service %s may be mirrored: they match other methods than %s", p.split.StableService, strings.Join(m.Methods, ", "))
	}
	for _, s := range wanted {
		p.checkMirrorOf(s, m)
	}
	if len(p.problems) == before {
		p.checkLimits(wanted, route)
	}
	return len(p.problems) == before
}

func (p *plan) checkMirrorOf(s source, m *Mirror) {
	matches := m.and(s.raw["matches"])
	for _, match := range matches {
		content, _ := match.(map[string]any)
		path, _ := content["path"].(map[string]any)
		if text(path, "type") == "RegularExpression" {
			p.problem("%s matches its path by a regular expression, whose precedence differs from gateway to gateway: mirror cannot be used with it", s)
		}
	}
	filters, _ := s.raw["filters"].([]any)
	switch n := len(matches); {
	case slices.ContainsFunc(filters, func(f any) bool { content, _ := f.(map[string]any); return text(content, "type") == "RequestMirror" }):
		p.problem("%s mirrors requests already: a second mirror on one rule is not portable", s)
	case len(filters) >= maxFilters:
		p.problem("%s has %d filters: a rule can have %d", s, len(filters), maxFilters)
	case len(s.stable) > 1:
		p.problem("%s refers to service %s %d times: mirror needs one reference", s, p.split.StableService, len(s.stable))
	case n > 1 && replacesPrefix(s.raw):
		p.problem("%s replaces the prefix of the path, which allows one match only, not %d: mirror with unsafeMethods Allow, or leave the rule out", s, n)
	case n > maxRuleMatches:
		p.problem("%s would need a copy with %d matches: a rule can have %d", s, n, maxRuleMatches)
	}
}

// mirrorsTo says whether a rule mirrors requests to a Service.
func (r rule) mirrorsTo(service string) bool {
	filters, _ := r.raw["filters"].([]any)
	return slices.ContainsFunc(filters, func(f any) bool {
		content, _ := f.(map[string]any)
		mirror, _ := content["requestMirror"].(map[string]any)
		to, _ := mirror["backendRef"].(map[string]any)
		return text(to, "name") == service
	})
}

// isCopy says whether the rule is of the form that copies have: the canary alone behind it, or mirrored to.
func (r rule) isCopy(canary string) bool {
	return len(r.canary) == r.count && r.count > 0 || r.mirrorsTo(canary)
}

// inserts says whether the split wants copies of rules.
func (s *Split) inserts() bool { return s.Present && (!s.Match.empty() || s.Mirror != nil) }

// matchesFor are the matches of the copy of a source.
func (s *Split) matchesFor(src source) []any {
	if s.Mirror != nil {
		return s.Mirror.and(src.raw["matches"])
	}
	return s.Match.and(src.raw["matches"])
}

// copyFor is the copy of a source.
func (s *Split) copyFor(src source, name string) map[string]any {
	if s.Mirror != nil {
		return s.Mirror.copyOf(src, s.CanaryService, name)
	}
	return s.Match.copyOf(src, name)
}
