package lint

import (
	"cmp"
	"fmt"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/policy"
)

// checkPolicies compiles every expression, as the controller will.
func (b *bundle) checkDeliveryPolicies() []Finding {
	var out []Finding
	check := func(doc *document, expression string) {
		if err := policy.Compile(expression); err != nil {
			out = append(out, doc.errorf("spec.expression", "variables are object, oldObject, bundle, commit, environment; a Sync that names this policy would apply nothing", "%s", err))
		}
	}
	for _, p := range b.policies {
		check(p.document, p.v.Spec.Expression)
	}
	for _, p := range b.wide {
		check(p.document, p.v.Spec.Expression)
	}
	return out
}

// checkSyncPolicies looks for the policies that a Sync names, where these files hold any.
func (b *bundle) checkSyncPolicies(s typed[v1alpha1.Sync]) []Finding {
	var out []Finding
	for i, ref := range s.v.Spec.Policies {
		kind := cmp.Or(ref.Kind, "DeliveryPolicy")
		_, found := find(b.policies, s.document, ref.Name)
		any := len(b.policies) > 0
		if kind == "ClusterDeliveryPolicy" {
			_, found = find(b.wide, s.document, ref.Name)
			any = len(b.wide) > 0
		}
		if any && !found {
			out = append(out, s.warnf(fmt.Sprintf("spec.policies[%d].name", i), "add it, or make sure that it is in the cluster: without it nothing is applied",
				"%s %q is not in these files", kind, ref.Name))
		}
	}
	return out
}
