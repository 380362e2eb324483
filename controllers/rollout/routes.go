package rollout

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// indexRoutes is the index of Rollouts by the routes that they name.
const indexRoutes = "spec.traffic.routes"

// routeKeys are the routes of a Rollout, as in indexRoutes.
func routeKeys(o client.Object) []string {
	ro, ok := o.(*v1alpha1.Rollout)
	if !ok {
		return nil
	}
	var out []string
	for _, ref := range ro.Spec.Traffic.Routes {
		out = append(out, routeKey(ref.Kind, namespaceOf(ref, ro), ref.Name))
	}
	return out
}

func routeKey(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// namespaceOf is the namespace of a route that a Rollout names.
func namespaceOf(ref v1alpha1.RouteReference, ro *v1alpha1.Rollout) string {
	if ref.Namespace != "" {
		return ref.Namespace
	}
	return ro.Namespace
}

// rolloutsOfRoute are the Rollouts that name a route, in whichever namespace they are.
func (r *Reconciler) rolloutsOfRoute(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.RolloutList
	key := routeKey(o.GetObjectKind().GroupVersionKind().Kind, o.GetNamespace(), o.GetName())
	if err := r.Client.List(ctx, &list, client.MatchingFields{indexRoutes: key}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing Rollouts of a route", "route", key)
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// routeVersion is the version in which the cluster serves a kind of route; ok is false where it does not.
func (r *Reconciler) routeVersion(kind string) (gvk schema.GroupVersionKind, ok bool, err error) {
	mapping, err := r.Client.RESTMapper().RESTMapping(schema.GroupKind{Group: gatewayv1.GroupName, Kind: kind})
	switch {
	case meta.IsNoMatchError(err):
		return gvk, false, nil
	case err != nil:
		return gvk, false, fmt.Errorf("finding the version of %s: %w", kind, err)
	}
	return mapping.GroupVersionKind, true, nil
}

// gatherRoutes reads routes from the API server while an attempt runs: read-your-own-writes does not cover objects
// without a type, and a route from before the last patch would be taken for one that carries the wanted weight. One that cannot
// be read then is said to be so, for the others to go back all the same.
func (r *Reconciler) gatherRoutes(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	reader := client.Reader(r.Client)
	if ro.Status.Attempt != nil {
		reader = r.Reader
	}
	for _, ref := range ro.Spec.Traffic.Routes {
		view := planner.Route{Kind: ref.Kind, Name: ref.Name, Rules: ref.Rules}
		if ref.Namespace != ro.Namespace {
			view.Namespace = ref.Namespace
		}
		err := r.gatherRoute(ctx, reader, ro, &view)
		switch {
		case err != nil && ro.Status.Attempt == nil:
			return err
		case err != nil: // what can be read must be able to go back without this
			ctrl.LoggerFrom(ctx).Error(err, "Reading a route in the course of an attempt")
			view.Object, view.Unread = nil, bounded(err.Error())
		}
		o.Routes = append(o.Routes, view)
	}
	return nil
}

// gatherRoute reads one route, and whether it may be used.
func (r *Reconciler) gatherRoute(ctx context.Context, reader client.Reader, ro *v1alpha1.Rollout, view *planner.Route) error {
	gvk, served, err := r.routeVersion(view.Kind)
	if err != nil {
		return err
	}
	if !served {
		view.Refused = fmt.Sprintf("the cluster does not serve %s: install the CRD of the Gateway API", view.Kind)
		return nil
	}
	if err := r.watches.begin(gvk, r.rolloutsOfRoute); err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: ro.Namespace, Name: view.Name}
	if view.Namespace != "" {
		key.Namespace = view.Namespace
		view.Refused, err = r.ungranted(ctx, ro, *view)
		switch {
		case err != nil && ro.Status.Attempt == nil:
			return err
		case err != nil: // an attempt must be able to end without this
			view.Refused = bounded(err.Error())
		}
		if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, view.Namespace) {
			reader, view.Refused = r.Reader, fmt.Sprintf("namespace %s is not among those that Belay was told to watch (--namespaces)", view.Namespace)
		}
	}
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(gvk)
	err = reader.Get(ctx, key, route)
	switch {
	case err == nil:
		view.Object = route
	case apierrors.IsForbidden(err) && view.Refused != "" && ro.Status.Attempt == nil:
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading %s: %w", view, err)
	}
	return nil
}

// usesGrants says whether a Rollout names a route of another namespace.
func usesGrants(ro *v1alpha1.Rollout, _ client.Object) bool {
	return slices.ContainsFunc(ro.Spec.Traffic.Routes, func(ref v1alpha1.RouteReference) bool { return namespaceOf(ref, ro) != ro.Namespace })
}

// ungranted says which Service of the Rollout a route of another namespace may not refer to: no ReferenceGrant allows it.
func (r *Reconciler) ungranted(ctx context.Context, ro *v1alpha1.Rollout, route planner.Route) (string, error) {
	mapping, err := r.Client.RESTMapper().RESTMapping(schema.GroupKind{Group: gatewayv1.GroupName, Kind: "ReferenceGrant"})
	grants := &unstructured.UnstructuredList{}
	switch {
	case meta.IsNoMatchError(err):
	case err != nil:
		return "", fmt.Errorf("finding the version of ReferenceGrant: %w", err)
	default:
		grants.SetGroupVersionKind(mapping.GroupVersionKind)
		if err := r.watches.begin(mapping.GroupVersionKind, r.rolloutsThat(usesGrants)); err != nil {
			return "", err
		}
		if err := r.Reader.List(ctx, grants, client.InNamespace(ro.Namespace)); err != nil {
			return "", fmt.Errorf("listing ReferenceGrants: %w", err)
		}
	}
	for _, service := range []string{ro.Spec.Traffic.StableService, canaryService(ro)} {
		if !gatewayapi.Granted(grants.Items, route.Kind, route.Namespace, service) {
			return fmt.Sprintf("no ReferenceGrant in namespace %s allows a %s of namespace %s to refer to Service %s", ro.Namespace, route.Kind, route.Namespace, service), nil
		}
	}
	return "", nil
}
