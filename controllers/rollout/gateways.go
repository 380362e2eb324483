package rollout

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

func gatewayObject(kind string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: gatewayv1.GroupVersion.Version, Kind: kind})
	return u
}

// gatherGateways reads what the routes are attached to and what that can do, where a step needs to know.
func (r *Reconciler) gatherGateways(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	if !planner.NeedsFeatures(&ro.Spec) {
		return nil
	}
	for i := range o.Routes {
		if o.Routes[i].Object == nil {
			continue
		}
		for _, p := range gatewayapi.Parents(o.Routes[i].Object) {
			g, err := r.gateway(ctx, p)
			switch {
			case err != nil && ro.Status.Attempt == nil:
				return err
			case err != nil: // an attempt must be able to end without this
				o.Routes[i].Unknown = bounded(err.Error())
			}
			o.Routes[i].Gateways = append(o.Routes[i].Gateways, g)
		}
	}
	return nil
}

// gateway reads one parent of a route: a Gateway and its class, or, of another kind, no more than the route's status says.
// A Gateway or class that does not exist reports nothing.
func (r *Reconciler) gateway(ctx context.Context, p gatewayapi.Parent) (planner.Gateway, error) {
	g := planner.Gateway{Name: fmt.Sprintf("%s %s/%s", p.Kind, p.Namespace, p.Name), Controller: p.Controller}
	if p.Kind != "Gateway" {
		return g, nil
	}
	gateway := gatewayObject("Gateway")
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.Name}, gateway)
	if apierrors.IsNotFound(err) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("reading %s: %w", g.Name, err)
	}
	g.Addresses = gatewayapi.Addresses(gateway, p)
	class := gatewayObject("GatewayClass")
	if err := r.watches.begin(class.GroupVersionKind(), r.rolloutsWithFeatures); err != nil {
		return g, err
	}
	err = r.Client.Get(ctx, client.ObjectKey{Name: gatewayapi.ClassOf(gateway)}, class)
	if apierrors.IsNotFound(err) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("reading GatewayClass %s: %w", gatewayapi.ClassOf(gateway), err)
	}
	g.Controller, g.Features = gatewayapi.ReadClass(class)
	return g, nil
}

// rolloutsWithFeatures are the Rollouts for which it matters what a gateway can do.
func (r *Reconciler) rolloutsWithFeatures(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.RolloutList
	if err := r.Client.List(ctx, &list); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing Rollouts that need features of a gateway", "GatewayClass", o.GetName())
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if planner.NeedsFeatures(&list.Items[i].Spec) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}
