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
	if by != v1alpha1.FieldManager { // else it was taken back by a verdict that could not be stored, and what it failed by counts
		if c.Since == nil || c.Until != nil && !d.Now.Before(c.Until.Time) {
			c.Since = d.nowPtr()
		}
		c.Until = nil
	}
	if c.Changes == contestedAfter+1 {
		d.tell("Warning", ReasonRouteContested, d.contested())
		return
	}
	d.tell("Warning", "RouteChanged", fmt.Sprintf("%s was changed by %q during attempt %d and is put right; evidence of that time does not count", r, by, a.Number))
}

// watchRoutes notes, before anything is judged, whether somebody else has changed a route, and when all are right again.
func (d *draft) watchRoutes() {
	a := d.s.Attempt
	if a.Stage != v1alpha1.StageStepping || a.Verdict != nil {
		return
	}
	d.disturbed()
	if a.CarriedAt == nil && d.carried(d.wanted()) {
		a.CarriedAt = d.nowPtr()
	}
	if c := a.Contest; c != nil && c.Until == nil && a.CarriedAt != nil {
		until := metav1.NewTime(a.CarriedAt.Add(d.settle()))
		c.Until = &until
	}
}

// disregarded says whether a run has failed by what was measured while somebody else had changed routes, and before traffic was
// back where it belongs: it is measured again. What compares was gathered over all of the time, and counts; and where a route is
// contested, nobody can say when it is ours, so that everything counts.
func (d *draft) disregarded(run *v1alpha1.AnalysisRun) bool {
	a := d.s.Attempt
	c := a.Contest
	if a.Stage != v1alpha1.StageStepping || c == nil || c.Since == nil || c.Changes > contestedAfter || run.Status.Verdict != v1alpha1.VerdictFail {
		return false
	}
	failed := false
	for _, m := range run.Status.Metrics {
		if m.Verdict != v1alpha1.VerdictFail || m.Mode == v1alpha1.MetricDryRun {
			continue
		}
		if m.Comparison != nil || len(m.Recent) == 0 || m.Recent[0].At.Before(c.Since) || c.Until != nil && !m.Recent[0].At.Before(c.Until) {
			return false
		}
		failed = true
	}
	return failed
}

// measureAgain has a run made anew that is disregarded.
func (d *draft) measureAgain(name string) bool {
	run := d.Runs[name]
	if run == nil || !d.disregarded(run) {
		return false
	}
	why := fmt.Sprintf("%s was changed by %q when it failed: it is measured again", d.s.Attempt.Contest.Route, d.s.Attempt.Contest.By)
	d.tell("Warning", "FailureDisregarded", fmt.Sprintf("AnalysisRun %s: %s (%s)", name, why, run.Status.Message))
	d.do(DeleteRun{Name: name, Why: why})
	return true
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
