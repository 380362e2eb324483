package planner

import (
	"fmt"
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

// share is what must be measured before the weight of the current step counts as in force; nil where nothing must.
func (d *draft) share() *v1alpha1.AnalysisReference {
	a := d.s.Attempt
	if a == nil || a.Verdict != nil || a.Stage != v1alpha1.StageStepping || a.Weight == 0 {
		return nil
	}
	for _, r := range d.Routes {
		for _, controller := range r.controllers() {
			if c := d.confirmation(controller); c != nil && c.Level == v1alpha1.ConfirmShare {
				return c.Share
			}
		}
	}
	return nil
}

func (d *draft) shareName() string {
	return fmt.Sprintf("%s-%d-c%d", d.Rollout.Name, d.s.Attempt.Number, d.s.Attempt.Step)
}

// unmeasured says what the measured share still owes; empty where nothing is to be measured, and after an overruling.
func (d *draft) unmeasured() string {
	a := d.s.Attempt
	if d.share() == nil || a.Full != nil {
		return ""
	}
	return d.evidence(d.shareName(), *a.AcceptedAt)
}

// wantShare measures the share from when the routes have settled until it is confirmed.
func (d *draft) wantShare(wanted map[string]bool) {
	a := d.s.Attempt
	if d.share() == nil || a.Full != nil || a.AcceptedAt == nil || a.ConfirmedAt != nil || !d.passed(*a.AcceptedAt, d.settle()) {
		return
	}
	name := d.shareName()
	wanted[name] = true
	switch run := d.Runs[name]; {
	case run != nil && (run.Spec.State == v1alpha1.RunStopped || run.Status.Verdict == v1alpha1.VerdictFail):
		d.do(DeleteRun{Name: name, Why: "it is of an earlier measurement of step " + a.StepName})
	case run == nil && d.AnalysisProblem == "":
		d.do(StartRun{Name: name, Step: StepShare, Why: "the share of step " + a.StepName})
	}
}
