package planner

import (
	"fmt"
	"slices"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// Gateway is what a route is attached to.
type Gateway struct {
	// Name with kind and namespace, for people.
	Name string
	// Controller of its class, as in the GatewayClass or else the route's status; empty where neither says.
	Controller string
	// Addresses are host and port of its HTTP listeners, as its status says.
	Addresses []string
	// Features that its class reports; none where it reports nothing.
	Features []string
}

// NeedsFeatures says whether a step needs more of a gateway than every gateway has, or traffic.confirm tells gateways apart, so that Route.Gateways must be known.
func NeedsFeatures(spec *v1alpha1.RolloutSpec) bool {
	if len(spec.Traffic.Confirm) > 0 {
		return true
	}
	if slices.ContainsFunc(spec.Traffic.Routes, func(r v1alpha1.RouteReference) bool { return r.Kind != "HTTPRoute" }) {
		return true
	}
	return slices.ContainsFunc(spec.Steps(), func(s v1alpha1.Step) bool { return len(features(s)) > 0 })
}

func features(s v1alpha1.Step) []string {
	return append(gatewayapi.MatchOf(s.Match).Features(), gatewayapi.MirrorOf(s.Mirror).Features()...)
}

// unsupportedKind says which gateway does not know routes of the kind: its class reports features, and not this one. Where a
// class reports nothing, the conditions of the route tell.
func unsupportedKind(r Route) string {
	for _, g := range r.Gateways {
		if len(g.Features) > 0 && r.Kind != "HTTPRoute" && !slices.Contains(g.Features, r.Kind) {
			return fmt.Sprintf("%s of %s has no support for %s: controller %s does not report it among its %d supportedFeatures", g.Name, r, r.Kind, g.Controller, len(g.Features))
		}
	}
	return ""
}

// unsupported names a feature that a step needs and a gateway of the route does not have: status conditions of a route do
// not say so on every gateway, and requests would tell.
func unsupported(step v1alpha1.Step, r Route) string {
	for _, feature := range features(step) {
		for _, g := range r.Gateways {
			if ok, why := gatewayapi.Supports(g.Controller, g.Features, feature); !ok {
				return fmt.Sprintf("step %s needs %s, which %s of %s cannot do: %s", step.Name, feature, g.Name, r, why)
			}
		}
	}
	return ""
}
