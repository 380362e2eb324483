package rollout

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// gatherBypasses finds routes, of the kinds that the spec names, through which requests reach the stable Service past the
// split. They are looked for before an attempt begins, and not in its course, which must not depend on a list of all routes.
func (r *Reconciler) gatherBypasses(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	if !mayBegin(ro, o) {
		return nil
	}
	var ours []*unstructured.Unstructured
	var kinds, listed []string
	for _, route := range o.Routes {
		if route.Object == nil {
			continue
		}
		ours = append(ours, route.Object)
		listed = append(listed, routeKey(route.Kind, route.Object.GetNamespace(), route.Name))
		if !slices.Contains(kinds, route.Kind) {
			kinds = append(kinds, route.Kind)
		}
	}
	for _, kind := range kinds {
		gvk, served, err := r.routeVersion(kind)
		if err != nil || !served {
			return err
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk)
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil { // read only
			return fmt.Errorf("listing %ss: %w", kind, err)
		}
		for i := range list.Items {
			u := &list.Items[i]
			if slices.Contains(listed, routeKey(kind, u.GetNamespace(), u.GetName())) {
				continue
			}
			if why, consumer := gatewayapi.Bypass(u, ours, ro.Namespace, ro.Spec.Traffic.StableService); why != "" {
				o.Bypasses = append(o.Bypasses, planner.Bypass{Route: fmt.Sprintf("%s %s/%s", kind, u.GetNamespace(), u.GetName()), Why: why, Consumer: consumer})
			}
		}
	}
	slices.SortFunc(o.Bypasses, planner.Bypass.Compare)
	return nil
}
