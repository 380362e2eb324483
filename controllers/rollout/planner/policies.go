package planner

import (
	"fmt"
	"slices"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// Policy is attached to one rule of a route, by the rule's name.
type Policy struct {
	// Name with kind and namespace, for people.
	Name string
	// Rule is the sectionName.
	Rule string
}

// Copies says whether a step has the rules of routes copied, so that Route.Policies must be known.
func Copies(spec *v1alpha1.RolloutSpec) bool {
	return slices.ContainsFunc(spec.Steps(), func(s v1alpha1.Step) bool { return s.Match != nil || s.Mirror != nil })
}

// uncovered names a policy that would not cover the copy that a step puts before a rule: requests that match, a login or a limit of
// the rate among them, would go around it.
func (d *draft) uncovered(r Route, step int32) string {
	if len(r.Policies) == 0 {
		return ""
	}
	copied := gatewayapi.Copied(r.Object, d.splitOf(r, d.asStep(step)))
	for _, p := range r.Policies {
		if slices.Contains(copied, p.Rule) {
			return fmt.Sprintf("step %s cannot be done on %s: %s covers rule %q alone, and requests that the step matches or mirrors would go around it: attach it to the whole %s",
				d.step(step).Name, r, p.Name, p.Rule, r.Kind)
		}
	}
	return ""
}
