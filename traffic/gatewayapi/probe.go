package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ProbePath is what a gateway is asked for to find out which version of a route it serves.
func ProbePath(owner string) string { return "/.well-known/belay/" + shortHash(owner) }

// ProbeHost is where a gateway that serves the version of a token redirects to. The name does not exist (RFC 2606).
func ProbeHost(token string) string { return token + ".belay.invalid" }

// ProbeHostname is a host that the route answers to: its first hostname, with a name in place of a wildcard.
func ProbeHostname(route *unstructured.Unstructured) string {
	names, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	if len(names) == 0 {
		return "belay.invalid"
	}
	return strings.Replace(names[0], "*", "belay-probe", 1)
}

func probeName(owner string) string { return copiesOf(owner) + "probe" }

// probeRule is answered by the gateway itself, with Core features alone: an exact path and a redirect.
func (s *Split) probeRule() map[string]any {
	return map[string]any{
		"name":    probeName(s.Owner),
		"matches": []any{map[string]any{"path": map[string]any{"type": "Exact", "value": ProbePath(s.Owner)}}},
		"filters": []any{map[string]any{"type": "RequestRedirect", "requestRedirect": map[string]any{"hostname": ProbeHost(s.Probe), "statusCode": int64(302)}}},
	}
}

// isProbe says whether a rule is the one that was inserted to probe for a Rollout.
func isProbe(content map[string]any, owner string) bool {
	if name := text(content, "name"); name != "" {
		return name == probeName(owner)
	}
	return slices.ContainsFunc(matchesOf(content["matches"]), func(m map[string]any) bool {
		path, _ := m["path"].(map[string]any)
		return text(path, "value") == ProbePath(owner)
	})
}

// planProbe decides whether the rule to probe is to be added at the end, brought up to date, or removed.
func (p *plan) planProbe(route *unstructured.Unstructured) {
	list := objects(route, "spec", "rules")
	i := slices.IndexFunc(list, func(r map[string]any) bool { return isProbe(r, p.split.Owner) })
	wanted := p.split.Present && p.split.Probe != "" && len(p.rules) > 0 && (route.GetKind() == "HTTPRoute" || route.GetKind() == "")
	switch {
	case i < 0 && !wanted:
		return
	case i < 0 && len(list) >= maxRules:
		p.problem("route has %d rules, and level Probe needs one more: it can have %d", len(list), maxRules)
		return
	case i < 0:
		p.ruleEdits = append(p.ruleEdits, ruleEdit{at: len(list), content: p.split.probeRule()})
	case !wanted:
		p.ruleEdits = append(p.ruleEdits, ruleEdit{at: i, test: probeTest(list[i], i)})
	case !sameRedirect(list[i], p.split.probeRule()):
		p.ruleEdits = append(p.ruleEdits, ruleEdit{at: i, content: p.split.probeRule(), replace: true, test: probeTest(list[i], i)})
	}
	p.traces = p.traces || i >= 0
	slices.SortFunc(p.ruleEdits, func(a, b ruleEdit) int { return b.at - a.at })
}

func probeTest(rule map[string]any, i int) operation {
	if name := text(rule, "name"); name != "" {
		return operation{"test", fmt.Sprintf("/spec/rules/%d/name", i), name}
	}
	path, _ := matchesOf(rule["matches"])[0]["path"].(map[string]any)
	return operation{"test", fmt.Sprintf("/spec/rules/%d/matches/0/path/value", i), text(path, "value")}
}

// sameRedirect says that the live rule redirects to where ours does, whatever the API server has filled in.
func sameRedirect(live, want map[string]any) bool {
	host := func(rule map[string]any) string {
		filters, _ := rule["filters"].([]any)
		if len(filters) != 1 {
			return ""
		}
		filter, _ := filters[0].(map[string]any)
		redirect, _ := filter["requestRedirect"].(map[string]any)
		return text(redirect, "hostname")
	}
	refs, _ := live["backendRefs"].([]any)
	return host(live) == host(want) && len(refs) == 0
}
