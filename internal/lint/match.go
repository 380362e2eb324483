package lint

import (
	"fmt"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// checkMatches finds steps whose match or mirror the route cannot carry, as the controller would before the rollout starts, and
// policies that would not cover the rules that such a step adds.
func (b *bundle) checkMatches(r typed[v1alpha1.Rollout], rt typed[route], ref v1alpha1.RouteReference) []Finding {
	var out []Finding
	matches := false
	for i, s := range r.v.Spec.Steps() {
		if s.Match == nil && s.Mirror == nil {
			continue
		}
		path := fmt.Sprintf("spec.strategy.canary.steps[%d].match", i)
		if s.Mirror != nil {
			path = fmt.Sprintf("spec.strategy.canary.steps[%d].mirror", i)
		}
		if r.v.Spec.Strategy.BlueGreen != nil {
			path = "spec.strategy.blueGreen.previewMatch"
		}
		matches = true
		split := gatewayapi.Split{Namespace: r.object.GetNamespace(), StableService: r.v.Spec.Traffic.StableService,
			CanaryService: canaryService(r), Total: r.v.Spec.Traffic.Total(), Canary: weightOf(&s), Match: gatewayapi.MatchOf(s.Match), Mirror: gatewayapi.MirrorOf(s.Mirror),
			Present: true, Rules: ref.Rules, Owner: r.object.GetNamespace() + "/" + r.object.GetName()}
		if rt.object.GetNamespace() == "" && ref.Namespace == "" {
			split.Namespace = ""
		}
		if v := gatewayapi.Inspect(rt.object, split); v.Problem != "" {
			out = append(out, r.errorf(path, "use another kind of step, or change the route",
				"this step cannot be done on %s %s: %s", rt.object.GetKind(), rt.object.GetName(), v.Problem))
		}
	}
	if matches {
		out = append(out, b.checkPolicies(r, rt)...)
	}
	return out
}

// checkPolicies finds policies that are attached to one rule of a route by its name: the copies of that rule, which send
// matching requests to the canary, have names of their own, and the policy would not cover them.
func (b *bundle) checkPolicies(r typed[v1alpha1.Rollout], rt typed[route]) []Finding {
	var out []Finding
	stable := r.v.Spec.Traffic.StableService
	for _, doc := range b.others {
		for path, target := range gatewayapi.Targets(doc.object) {
			name, _ := target["sectionName"].(string)
			if name == "" || target["kind"] != rt.object.GetKind() || target["name"] != rt.object.GetName() || !sameNamespace(doc, rt.document) {
				continue
			}
			for _, rule := range rt.v.Spec.Rules {
				if rule.Name == name && rule.refersTo(stable) {
					out = append(out, doc.errorf(path+".sectionName", fmt.Sprintf("attach it to the whole %s, or take match and mirror out of the steps of Rollout %s", rt.object.GetKind(), r.object.GetName()),
						"this policy covers rule %q alone: requests that a step matches or mirrors would go around it", name))
				}
			}
		}
	}
	return out
}
