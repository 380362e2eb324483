package planner

import (
	"fmt"
	"slices"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// undo has Git go back from the stable revision to the one that was promoted before it. The cluster follows Git: the
// revert is an attempt as any other, with the steps that the strategy has for it. The undone revision is held back from
// now on, whatever brings it again.
func (d *draft) undo(dec v1alpha1.Decision) string {
	revision := dec.Spec.Revision
	switch r := d.s.Revert; {
	case d.s.Attempt != nil:
		return fmt.Sprintf("attempt %d of revision %s is under way: abort it instead", d.s.Attempt.Number, d.s.Attempt.Revision)
	case d.s.Stable == nil || d.s.Stable.Revision != revision:
		return fmt.Sprintf("revision %s is not the stable one", revision)
	case d.Rollout.Spec.OnFailure.Revert == nil:
		return "onFailure.revert is not set: Belay does not know where Git declares this Rollout (kubectl belay undo then goes back in the cluster)"
	case r != nil && (r.State == v1alpha1.RevertPending || r.State == v1alpha1.RevertProposed || r.State == v1alpha1.RevertSuspended):
		return fmt.Sprintf("the revert of attempt %d is not finished: %s", r.Attempt, r.State)
	}
	good, commit := d.before(revision)
	if good == "" {
		return fmt.Sprintf("no revision that was promoted before %s is known", revision)
	}
	actor := v1alpha1.Actor{Name: dec.Spec.Actor, Reason: dec.Spec.Reason, At: d.now()}
	why := bounded(fmt.Sprintf("undone by %s: %s", actor.Name, orNone(actor.Reason)))
	d.s.Revert = &v1alpha1.RevertStatus{Attempt: max(1, d.s.Attempts), State: v1alpha1.RevertPending, Bad: revision, Good: good, GoodCommit: commit,
		BadCommit: d.s.Stable.Commit, RequestedAt: d.now(), RequestedBy: &actor}
	d.s.Quarantine = slices.DeleteFunc(d.s.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == revision })
	d.s.Quarantine = slices.Insert(d.s.Quarantine, 0, v1alpha1.Quarantined{Revision: revision, Attempt: max(1, d.s.Attempts), Reason: ReasonManual, Message: why, At: d.now()})
	d.s.Quarantine = d.s.Quarantine[:min(len(d.s.Quarantine), maxQuarantine)]
	return ""
}

// before is the last revision that was promoted before another one, and not found bad since.
func (d *draft) before(revision string) (good, commit string) {
	known := func(candidate string) bool {
		return candidate != "" && candidate != revision &&
			!slices.ContainsFunc(d.s.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == candidate })
	}
	for _, record := range d.s.History { // newest first
		if record.Outcome == v1alpha1.OutcomePromoted && known(record.Revision) {
			return record.Revision, record.Commit
		}
	}
	if p := d.s.Previous; p != nil && known(p.Revision) {
		return p.Revision, p.Commit
	}
	return "", ""
}
