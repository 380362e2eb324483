package planner

import (
	"cmp"
	"fmt"
	"strings"
)

// Reasons of the condition TrafficReady, which stays True, and of the event at the start of an attempt.
const (
	// ReasonConsumerRouteBypass: callers of a mesh's namespace follow a route of their own.
	ReasonConsumerRouteBypass = "ConsumerRouteBypass"
	// ReasonUnlistedRoute: another route leads to the stable Service.
	ReasonUnlistedRoute = "UnlistedRoute"
)

// maxBypasses is how many routes are named.
const maxBypasses = 5

// Bypass is a route through which requests reach the stable Service past the split: they are on the stable revision until the
// promotion, and no part of the evidence.
type Bypass struct {
	Route, Why string
	Consumer   bool
}

// Compare puts consumer routes first, then sorts by name.
func (b Bypass) Compare(other Bypass) int {
	return cmp.Or(boolean(other.Consumer)-boolean(b.Consumer), cmp.Compare(b.Route, other.Route))
}

// bypassed says which requests are not stepped; empty where all are.
func (d *draft) bypassed() (reason, message string) {
	if len(d.Bypasses) == 0 {
		return "", ""
	}
	var routes []string
	for _, b := range d.Bypasses[:min(len(d.Bypasses), maxBypasses)] {
		routes = append(routes, fmt.Sprintf("%s (%s)", b.Route, b.Why))
	}
	if more := len(d.Bypasses) - maxBypasses; more > 0 {
		routes = append(routes, fmt.Sprintf("%d more", more))
	}
	reason = ReasonUnlistedRoute
	if d.Bypasses[0].Consumer {
		reason = ReasonConsumerRouteBypass
	}
	return reason, "requests go past the split, to the stable revision: " + strings.Join(routes, ", ") + "; name the route in traffic.routes to step it"
}
