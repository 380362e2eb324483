package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const maxDecisions = 64

// decide applies the decisions that people made, each at most once. The decision's UID is stored together with its
// effect, and the answer planned only once it is, so that a crash or a failed write in between neither loses nor repeats
// it. No more are applied at once than are remembered.
func (d *draft) decide() {
	for _, dec := range d.Decisions[:min(len(d.Decisions), maxDecisions/2)] {
		if slices.Contains(d.s.Decisions, string(dec.UID)) {
			d.answer(dec, v1alpha1.DecisionApplied, "applied")
			continue
		}
		if why := d.apply(dec); why != "" {
			d.answer(dec, v1alpha1.DecisionRefused, why)
			continue
		}
		d.s.Decisions = slices.Insert(d.s.Decisions, 0, string(dec.UID))
		d.s.Decisions = d.s.Decisions[:min(len(d.s.Decisions), maxDecisions)]
		d.tell("Normal", "DecisionApplied", fmt.Sprintf("%s by %s: %s", dec.Spec.Action, dec.Spec.Actor, orNone(dec.Spec.Reason)))
	}
}

func orNone(reason string) string {
	if reason == "" {
		return "no reason given"
	}
	return reason
}

func (d *draft) answer(dec v1alpha1.Decision, result v1alpha1.DecisionResult, message string) {
	d.do(Answer{Decision: dec.Name, Result: result, Message: message})
}

// apply changes the status as a decision asks, or says why it is refused.
func (d *draft) apply(dec v1alpha1.Decision) string {
	if dec.Spec.Action == v1alpha1.ActionRetry {
		return d.retry(dec.Spec.Revision)
	}
	if dec.Spec.Action == v1alpha1.ActionUndo {
		return d.undo(dec)
	}
	a := d.s.Attempt
	if why := d.overdue(dec); why != "" {
		return why
	}
	actor := v1alpha1.Actor{Name: dec.Spec.Actor, Reason: dec.Spec.Reason, At: d.now()}
	switch dec.Spec.Action {
	case v1alpha1.ActionAbort, v1alpha1.ActionReject:
		if a.Stage == v1alpha1.StageInitial {
			return "this is the first revision: there is nothing to go back to"
		}
		d.verdict(v1alpha1.Verdict{Outcome: v1alpha1.OutcomeAborted, Reason: ReasonManual, Actor: actor.Name,
			Message: fmt.Sprintf("%s by %s: %s", dec.Spec.Action, actor.Name, orNone(actor.Reason))})
		return ""
	case v1alpha1.ActionPause:
		a.Pause = &actor
		return ""
	case v1alpha1.ActionResume:
		return d.resume()
	}
	return d.applyToStep(dec, actor)
}

// overdue says why a decision comes too late, or is about another attempt.
func (d *draft) overdue(dec v1alpha1.Decision) string {
	a := d.s.Attempt
	switch {
	case dec.Spec.Attempt == nil:
		return "attempt is not given"
	case a == nil || a.Number > *dec.Spec.Attempt:
		return fmt.Sprintf("attempt %d is over%s", *dec.Spec.Attempt, d.outcomeOf(*dec.Spec.Attempt))
	case a.Number < *dec.Spec.Attempt:
		return fmt.Sprintf("attempt %d has not begun: the current one is %d", *dec.Spec.Attempt, a.Number)
	case a.Verdict != nil:
		return fmt.Sprintf("attempt %d is already being taken back: %s", a.Number, a.Verdict.Message)
	}
	return ""
}

func (d *draft) outcomeOf(number int64) string {
	for _, h := range d.s.History {
		if h.Number == number {
			return ": " + string(h.Outcome)
		}
	}
	return ""
}

func (d *draft) retry(revision string) string {
	i := slices.IndexFunc(d.s.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == revision })
	if i < 0 {
		return fmt.Sprintf("revision %s is not in quarantine", revision)
	}
	d.s.Quarantine = slices.Delete(d.s.Quarantine, i, i+1)
	if r := d.s.Revert; r != nil && r.Bad == revision && r.State != v1alpha1.RevertPushed && r.State != v1alpha1.RevertNotNeeded {
		r.State, r.Message, r.FinishedAt = v1alpha1.RevertNotNeeded, "the revision is tried again", d.nowPtr()
	}
	return ""
}

func (d *draft) resume() string {
	a := d.s.Attempt
	if a.Pause == nil {
		return "the attempt is not paused"
	}
	if fail := d.failure(); fail != nil {
		return "the analysis has failed: promote against it, or abort (" + fail.Message + ")"
	}
	a.Pause, a.HeldSince, a.InconclusiveAt = nil, d.nowPtr(), nil // whoever paused it: it is not paused again at once
	return ""
}

// applyToStep applies decisions about one step.
func (d *draft) applyToStep(dec v1alpha1.Decision, actor v1alpha1.Actor) string {
	a := d.s.Attempt
	if why := d.wroteIt(actor.Name); why != "" {
		return why
	}
	if dec.Spec.Action == v1alpha1.ActionPromoteFull && a.Stage != v1alpha1.StageInitial && a.Stage != v1alpha1.StageStepping {
		a.Full, a.Pause = &actor, nil
		return ""
	}
	if a.Stage != v1alpha1.StageStepping {
		return fmt.Sprintf("the attempt is no longer in its steps (stage %s)", a.Stage)
	}
	if dec.Spec.Action == v1alpha1.ActionPromoteFull {
		a.Full, a.Pause = &actor, nil
		if full := int32(len(d.steps())); a.Step < full {
			d.enterStep(full)
		}
		return ""
	}
	if dec.Spec.Step == nil || *dec.Spec.Step != a.Step {
		return fmt.Sprintf("the attempt is at step %d", a.Step)
	}
	if d.becameBlueGreen() {
		return "the strategy has become blue-green: the preview comes first"
	}
	if dec.Spec.Action == v1alpha1.ActionApprove {
		return d.approve(actor)
	}
	a.Pause = nil
	d.nextStep()
	return ""
}

func (d *draft) approve(actor v1alpha1.Actor) string {
	a := d.s.Attempt
	if d.step(a.Step).Approval != v1alpha1.ApprovalRequired {
		return fmt.Sprintf("step %d needs no approval", a.Step)
	}
	i := slices.IndexFunc(a.Approvals, func(p v1alpha1.StepApproval) bool { return p.Step == a.Step })
	if i < 0 {
		a.Approvals = append(a.Approvals, v1alpha1.StepApproval{Step: a.Step, By: actor})
		return ""
	}
	have := &a.Approvals[i]
	same := func(other v1alpha1.Actor) bool { return other.Name == actor.Name }
	switch _, missing := d.approvals(); {
	case missing == 0:
	case same(have.By) || slices.ContainsFunc(have.Others, same):
		return fmt.Sprintf("%s has approved step %d already: approvals.required asks for %d more", actor.Name, a.Step, missing)
	default:
		have.Others = append(have.Others, actor)
	}
	return ""
}

// wroteIt says why a person may not let the revision through: they wrote it, or nobody knows who did.
func (d *draft) wroteIt(name string) string {
	a := d.s.Attempt
	if d.Rollout.Spec.Approvals.NotTheAuthor != v1alpha1.Enabled || a.Stage == v1alpha1.StageInitial {
		return ""
	}
	authors := strings.Split(a.Authors, ",")
	if a.Authors == "" || slices.Contains(authors, v1alpha1.AuthorsUnknown) {
		return fmt.Sprintf("who wrote revision %s is not known, and approvals.notTheAuthor is Enabled: it must come through a Sync, at most 200 commits after the stable one; or set it to Disabled", a.Revision)
	}
	if slices.ContainsFunc(authors, func(author string) bool { return person(author) == person(name) }) {
		return fmt.Sprintf("%s wrote revision %s, and approvals.notTheAuthor is Enabled: somebody else must decide (authors: %s)", name, a.Revision, strings.Join(authors, ", "))
	}
	return ""
}

// SamePerson says whether a mail address and a user name may be of one person.
func SamePerson(a, b string) bool { return person(a) == person(b) }

// person is what a user name and a mail address have in common.
func person(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if i := strings.LastIndexAny(name, ":#/"); i >= 0 {
		name = name[i+1:]
	}
	name, _, _ = strings.Cut(name, "@")
	return name
}

// approvals are the names of those who have approved the current step, and how many more must.
func (d *draft) approvals() (names []string, missing int) {
	a := d.s.Attempt
	for _, p := range a.Approvals {
		if p.Step != a.Step {
			continue
		}
		names = append(names, p.By.Name)
		for _, other := range p.Others {
			names = append(names, other.Name)
		}
	}
	return names, max(0, max(1, int(d.Rollout.Spec.Approvals.Required))-len(names))
}
