package gatewayapi

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// checkMatch reports why the requests of the match cannot be sent to the canary.
// One rule that cannot be copied forbids all copies.
func (p *plan) checkMatch(wanted []source, route *unstructured.Unstructured) bool {
	before := len(p.problems)
	m := p.split.Match
	switch kind := route.GetKind(); kind {
	case "HTTPRoute", "":
	case "GRPCRoute":
		if len(m.QueryParams)+len(m.Methods) > 0 {
			p.problem("a GRPCRoute can match headers only, not queryParams or methods")
		}
	default:
		p.problem("a %s cannot match requests: a step with match needs an HTTPRoute or a GRPCRoute", kind)
	}
	if len(p.problems) == before {
		for _, s := range wanted {
			p.checkSource(s, m, route.GetKind() == "GRPCRoute")
		}
		for i, c := range m.Headers {
			if slices.ContainsFunc(m.Headers[:i], func(o Condition) bool { return strings.EqualFold(o.Name, c.Name) }) {
				p.problem("match names header %q twice", c.Name)
			}
		}
	}
	if len(p.problems) == before {
		p.checkLimits(wanted, route)
	}
	return len(p.problems) == before
}

// checkSource reports what in a rule does not go together with our conditions.
func (p *plan) checkSource(s source, m *Match, grpc bool) {
	for _, match := range matchesOf(s.raw["matches"]) {
		if match == nil {
			p.problem("%s has a match that cannot be read", s)
			return
		}
		path, _ := match["path"].(map[string]any)
		if text(path, "type") == "RegularExpression" {
			p.problem("%s matches its path by a regular expression, whose precedence differs from gateway to gateway: match cannot be used with it", s)
		}
		p.checkConditions(s, "header", match["headers"], m.Headers, strings.EqualFold)
		p.checkConditions(s, "query parameter", match["queryParams"], m.QueryParams, func(a, b string) bool { return a == b })
		method, has := match["method"]
		if name, _ := method.(string); has && !grpc && len(m.Methods) > 0 && !slices.Contains(m.Methods, name) {
			p.problem("%s matches method %v, which is none of the match's methods (%s)", s, method, strings.Join(m.Methods, ", "))
		}
	}
	if n := len(m.and(s.raw["matches"])); n > 1 && replacesPrefix(s.raw) {
		p.problem("%s replaces the prefix of the path, which allows one match only, not %d: name one method at most", s, n)
	} else if n > maxRuleMatches {
		p.problem("%s would need a copy with %d matches: a rule can have %d", s, n, maxRuleMatches)
	}
}

// checkConditions reports a name that the rule already uses: of two equal names
// a gateway ignores the second, which would send the whole rule to the canary.
func (p *plan) checkConditions(s source, what string, live any, ours []Condition, same func(a, b string) bool) {
	list, _ := live.([]any)
	for _, item := range list {
		content, _ := item.(map[string]any)
		for _, c := range ours {
			if same(text(content, "name"), c.Name) {
				p.problem("%s already matches %s %q: a gateway would ignore the second condition on it", s, what, c.Name)
			}
		}
	}
	if len(ours) > 0 && len(list)+len(ours) > maxConditions {
		p.problem("%s would match %d %ss: a match can have %d", s, len(list)+len(ours), what, maxConditions)
	}
}

// checkLimits reports a route that would have too many rules or matches.
func (p *plan) checkLimits(wanted []source, route *unstructured.Unstructured) {
	list, _, _ := unstructured.NestedFieldNoCopy(route.Object, "spec", "rules")
	items, _ := list.([]any)
	rules, matches := len(items)-len(p.copies)+len(wanted), 0
	for i, item := range items {
		content, _ := item.(map[string]any)
		if !slices.ContainsFunc(p.copies, func(r rule) bool { return r.index == i }) {
			matches += len(matchesOf(content["matches"]))
		}
	}
	for _, s := range wanted {
		matches += len(p.split.matchesFor(s))
	}
	if rules > maxRules {
		p.problem("route would have %d rules with a copy of every rule that refers to service %s: it can have %d", rules, p.split.StableService, maxRules)
	}
	if matches > maxMatches {
		p.problem("route would have %d matches with a copy of every rule that refers to service %s: it can have %d", matches, p.split.StableService, maxMatches)
	}
}

// replacesPrefix says that a filter of the rule replaces the prefix of the path.
func replacesPrefix(raw map[string]any) bool {
	filters, _ := raw["filters"].([]any)
	for _, item := range filters {
		filter, _ := item.(map[string]any)
		for _, field := range []string{"urlRewrite", "requestRedirect"} {
			content, _ := filter[field].(map[string]any)
			path, _ := content["path"].(map[string]any)
			if text(path, "type") == "ReplacePrefixMatch" {
				return true
			}
		}
	}
	return false
}
