package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// withdrawing waits until no traffic can reach the revision any more, at most for progressDeadline.
func (d *draft) withdrawing() {
	a := d.s.Attempt
	if !d.withdrawn() && !d.passed(a.StageSince, d.withdrawLimit()) {
		return
	}
	if a.ConfirmedAt == nil {
		d.tell("Warning", "WithdrawUnconfirmed", fmt.Sprintf("attempt %d: gateways have not confirmed that traffic is back: %s", a.Number, d.blocked))
		d.blocked = ""
	}
	d.finish(*a.Verdict)
}

// withdrawLimit is how long gateways, and before them stable pods that have to come back, are waited for.
func (d *draft) withdrawLimit() time.Duration {
	limit := max(d.deadline(), d.settle())
	if d.dynamic() {
		limit += d.deadline()
	}
	return limit
}

func (d *draft) withdrawn() bool {
	a := d.s.Attempt
	if left := d.yielded(); left > 0 {
		d.block(fmt.Sprintf("stable pods come back: %d of %d are endpoints of Service %s; the canary keeps weight %d meanwhile",
			d.Stable.Endpoints[revisionOf(d.s.Stable)], d.replicas(), d.Stable.Name, left))
		return false
	}
	if !d.confirmed() {
		return false
	}
	if d.Canary.Ours && d.Canary.Revision == a.Revision {
		d.block(fmt.Sprintf("Service %s still selects revision %s", d.Canary.Name, a.Revision))
		return false
	}
	if left := d.Stable.Endpoints[a.Revision] + d.Canary.Endpoints[a.Revision]; left > 0 {
		d.block(fmt.Sprintf("%d endpoints of the withdrawn revision are still in Services", left))
		return false
	}
	return true
}

// verdict ends the attempt otherwise than promoted. It is stored first, and never taken back.
func (d *draft) verdict(v v1alpha1.Verdict) {
	a := d.s.Attempt
	v.At, v.Weight = d.now(), a.Weight
	v.Message = bounded(v.Message)
	if a.Stage == v1alpha1.StageBaking && d.s.Previous != nil {
		d.s.Stable, d.s.Previous = d.s.Previous, nil
		d.s.Stable.IdleAt = nil
	}
	d.enterStage(v1alpha1.StageWithdrawing)
	a.Verdict, a.Weight = &v, 0
	kind := "Normal"
	if v.Outcome != v1alpha1.OutcomeSuperseded {
		kind = "Warning"
		d.quarantine(v)
	}
	d.tell(kind, "Withdrawing", fmt.Sprintf("attempt %d: %s", a.Number, v.Message))
}

func (d *draft) quarantine(v v1alpha1.Verdict) {
	a := d.s.Attempt
	d.s.Quarantine = slices.DeleteFunc(d.s.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == a.Revision })
	d.s.Quarantine = slices.Insert(d.s.Quarantine, 0, v1alpha1.Quarantined{Revision: a.Revision, Attempt: a.Number,
		Reason: v.Reason, Message: v.Message, At: d.now()})
	d.s.Quarantine = d.s.Quarantine[:min(len(d.s.Quarantine), maxQuarantine)]
}
