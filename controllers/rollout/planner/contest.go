package planner

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

const (
	// contestedAfter is how many changes by others in one attempt make a contest of it.
	contestedAfter = 5
	// firstYield is how long the second change by others is left alone; each later one twice as long, up to longestYield.
	firstYield, longestYield = 2 * time.Second, 5 * time.Minute
	// ReasonRouteContested of the condition TrafficReady, and of the event.
	ReasonRouteContested = "RouteContested"
)

// foreign notes that somebody else has changed a route that carried what was wanted. Evidence of that time does not count.
func (d *draft) foreign(r Route) {
	a, by := d.s.Attempt, gatewayapi.Attribution(r.Object)
	if a.Contest == nil {
		a.Contest = &v1alpha1.Contest{}
	}
	c := a.Contest
	c.Changes, c.Route, c.By, c.At = c.Changes+1, r.String(), by, d.now()
	if c.Changes == contestedAfter+1 {
		d.tell("Warning", ReasonRouteContested, d.contested())
		return
	}
	d.tell("Warning", "RouteChanged", fmt.Sprintf("%s was changed by %q during attempt %d and is put right; evidence of that time does not count", r, by, a.Number))
}

// contested says who fights over a route; empty while nobody does.
func (d *draft) contested() string {
	a := d.s.Attempt
	if a == nil || a.Contest == nil || a.Contest.Changes <= contestedAfter {
		return ""
	}
	c := a.Contest
	return fmt.Sprintf("%s was changed %d times by others during attempt %d, last by %q: let it keep what Belay writes (docs/operations.md, \"Routes that two write\")",
		c.Route, c.Changes, a.Number, c.By)
}

// yields says until when a route that somebody else keeps changing is left as it is, where that is up to us: taking traffic
// from the canary never waits.
func (d *draft) yields() string {
	c := d.s.Attempt.Contest
	if c == nil || c.Changes < 2 {
		return ""
	}
	wait := longestYield
	if n := c.Changes - 2; n < 16 {
		wait = min(firstYield<<n, longestYield)
	}
	if d.passed(metav1.NewTime(c.At.Time), wait) {
		return ""
	}
	return fmt.Sprintf("%s was changed %d times by others, last by %q: it is put right at %s", c.Route, c.Changes, c.By, clock(c.At.Add(wait)))
}
