package planner

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// question is all of a Split that differs within one plan, and the route that it is about.
type question struct {
	route *unstructured.Unstructured
	rules string
	// exposure goes by the identity of its match and mirror: equal ones at two addresses only cost a second look.
	exposure
	probe string
	ours  bool
}

// viewOf is what a route says, held against an exposure.
func (d *draft) viewOf(r Route, e exposure) gatewayapi.View { return d.view(r, e, d.splitOf(r, e)) }

// bareView is viewOf without regard to whose a canary reference is.
func (d *draft) bareView(r Route, e exposure) gatewayapi.View { return d.view(r, e, d.split(r, e)) }

// view answers each question once: a plan asks the same of a route in many places, and routes don't change meanwhile.
func (d *draft) view(r Route, e exposure, s gatewayapi.Split) gatewayapi.View {
	q := question{r.Object, strings.Join(r.Rules, "\x00"), e, s.Probe, s.Ours}
	v, known := d.views[q]
	if !known {
		inspect := gatewayapi.Inspect
		if d.Inspect != nil {
			inspect = d.Inspect
		}
		v = inspect(r.Object, s)
		if d.views == nil {
			d.views = map[question]gatewayapi.View{}
		}
		d.views[q] = v
	}
	return v
}
