package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// probeAgain is how soon gateways are asked again that do not serve a version of a route yet.
const probeAgain = time.Second

// Probe is a question to the gateways of a route: whether they serve the version of the token.
type Probe struct {
	// Route is its index in Observed.Routes.
	Route int
	Token string
}

// Probes are the questions that are to be asked now: routes are accepted and have settled, and nobody wants to go back.
func Probes(o Observed) []Probe {
	d := &draft{Observed: &o, s: o.Rollout.Status.DeepCopy()}
	a := d.s.Attempt
	if a == nil || a.Verdict != nil || a.Stage != v1alpha1.StageStepping || a.AcceptedAt == nil || a.ConfirmedAt != nil || a.Full != nil ||
		len(o.Decisions) > 0 || o.Rollout.DeletionTimestamp != nil || !d.passed(*a.AcceptedAt, d.settle()) {
		return nil
	}
	var out []Probe
	for i, r := range o.Routes {
		if token := d.probe(r, d.wanted()); token != "" && r.Object != nil {
			out = append(out, Probe{Route: i, Token: token})
		}
	}
	return out
}

// probe is the token of the version of a route that is wanted; empty where its gateways are not probed.
func (d *draft) probe(r Route, e exposure) string {
	a := d.s.Attempt
	if e.none() || r.Kind != "HTTPRoute" || !slices.ContainsFunc(r.controllers(), func(controller string) bool {
		c := d.confirmation(controller)
		return c != nil && c.Level == v1alpha1.ConfirmProbe
	}) {
		return ""
	}
	if a == nil {
		return "a0" // whether there is room for the rule
	}
	return fmt.Sprintf("a%d-s%d-c%d", a.Number, a.Step, a.Contest.Count())
}

// unprobed says which gateway does not answer for the wanted version yet. A person who promotes fully has overruled it.
func (d *draft) unprobed(want exposure) string {
	a := d.s.Attempt
	if a.Verdict != nil || a.Full != nil || a.Stage != v1alpha1.StageStepping {
		return ""
	}
	for _, r := range d.Routes {
		if token := d.probe(r, want); token != "" && r.Probed != token {
			why := r.ProbeTrouble
			if why == "" {
				why = "its gateways are asked"
			}
			return fmt.Sprintf("%s is not confirmed: %s", r, why)
		}
	}
	return ""
}
