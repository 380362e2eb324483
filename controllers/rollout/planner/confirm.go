package planner

import (
	"slices"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// confirmation is what the spec says of the gateways of a controller; nil where it says nothing.
func (o *Observed) confirmation(controller string) *v1alpha1.Confirmation {
	list := o.Rollout.Spec.Traffic.Confirm
	i := slices.IndexFunc(list, func(c v1alpha1.Confirmation) bool { return c.ControllerName == controller })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// settle is how long traffic takes to move at the slowest of the gateways.
func (o *Observed) settle() time.Duration {
	usual := o.Rollout.Spec.Traffic.Settle.Or(10 * time.Second)
	if len(o.Rollout.Spec.Traffic.Confirm) == 0 {
		return usual
	}
	longest, known := time.Duration(0), false
	for _, r := range o.Routes {
		for _, controller := range r.controllers() {
			wait := usual
			if c := o.confirmation(controller); c != nil {
				wait = c.Settle.Or(usual)
			}
			longest, known = max(longest, wait), true
		}
	}
	if !known {
		return usual
	}
	return longest
}

// controllers are those of the route's parents, as their classes say, or else the route's status; empty for one that neither
// knows.
func (r Route) controllers() []string {
	var out []string
	for _, g := range r.Gateways {
		out = append(out, g.Controller)
	}
	return out
}

// programmed says whether every gateway of a route has accepted it, except those whose status the spec does not trust.
func (d *draft) programmed(r Route) (bool, string) {
	return gatewayapi.Programmed(r.Object, func(name, controller string) bool {
		for _, g := range r.Gateways {
			if g.Name == name && g.Controller != "" {
				controller = g.Controller
			}
		}
		c := d.confirmation(controller)
		return c != nil && c.Level == v1alpha1.ConfirmFixed
	})
}
