package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// policyPage is how many policies are read at once.
const policyPage = 250

// mayBegin says whether an attempt may begin, so that what forbids one is looked for. Nothing of it is read in the course of an
// attempt, which must be able to end without.
func mayBegin(ro *v1alpha1.Rollout, o *planner.Observed) bool {
	held := slices.ContainsFunc(ro.Status.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == o.Revision })
	return !held && ro.Status.Attempt == nil && ro.Status.Stable != nil && ro.Status.Stable.Revision != o.Revision && ro.DeletionTimestamp == nil
}

// gatherPolicies finds policies, of the kinds that the manager was told of, that are attached to single rules of a route, where a
// step would put copies before those rules. What cannot be read refuses the route, and with it the attempt.
func (r *Reconciler) gatherPolicies(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	if len(r.Policies) == 0 || !planner.Copies(&ro.Spec) || !mayBegin(ro, o) {
		return nil
	}
	for i := range o.Routes {
		route := &o.Routes[i]
		if route.Object == nil || route.Refused != "" {
			continue
		}
		for _, kind := range r.Policies {
			if err := r.policiesOf(ctx, kind, route); err != nil {
				route.Refused = bounded(fmt.Sprintf("policies of its rules are not known, as --route-policies asks for: %v", err))
				break
			}
		}
	}
	return nil
}

// policiesOf adds the policies of one kind that are attached to rules of a route. A kind that the cluster does not serve has none.
func (r *Reconciler) policiesOf(ctx context.Context, kind schema.GroupResource, route *planner.Route) error {
	gvk, err := r.Client.RESTMapper().KindFor(kind.WithVersion(""))
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the version of %s: %w", kind, err)
	}
	list := &unstructured.UnstructuredList{}
	for first := true; first || list.GetContinue() != ""; first = false {
		next := list.GetContinue()
		list = &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		err := r.Reader.List(ctx, list, client.InNamespace(route.Object.GetNamespace()), client.Limit(policyPage), client.Continue(next))
		if err != nil {
			return fmt.Errorf("listing %s: %w", kind, err)
		}
		for i := range list.Items {
			for _, rule := range gatewayapi.AttachedTo(&list.Items[i], route.Object) {
				route.Policies = append(route.Policies, planner.Policy{Rule: rule,
					Name: fmt.Sprintf("%s %s/%s", gvk.Kind, list.Items[i].GetNamespace(), list.Items[i].GetName())})
			}
		}
	}
	return nil
}

// ParsePolicies reads a list of kinds of policies, each as RESOURCE.GROUP.
func ParsePolicies(text string) ([]schema.GroupResource, error) {
	var out []schema.GroupResource
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		gr := schema.ParseGroupResource(part)
		if gr.Group == "" || gr.Resource == "" || gr.Resource != strings.ToLower(gr.Resource) {
			return nil, fmt.Errorf("%q is no kind of policy: want RESOURCE.GROUP, e.g. securitypolicies.gateway.envoyproxy.io", part)
		}
		out = append(out, gr)
	}
	return out, nil
}
