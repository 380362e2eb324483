package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/audit"
)

const belay = "belay"

// EventsOf are the events that an object's status shows.
func EventsOf(o client.Object) []audit.Event {
	switch o := o.(type) {
	case *v1alpha1.Sync:
		return slices.Concat(reconciliation(o), drift(o), health(o))
	case *v1alpha1.Rollout:
		return append(attempts(o), revert(o)...)
	case *v1alpha1.Decision:
		return decision(o)
	case *v1alpha1.Repository:
		return repository(o)
	}
	return nil
}

func subject(kind string, o client.Object) audit.Subject {
	return audit.Subject{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID())}
}

// reconciliation is the last round of a Sync that did or found anything new.
func reconciliation(s *v1alpha1.Sync) []audit.Event {
	ready := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return nil
	}
	e := audit.Event{Time: ready.LastTransitionTime.Time, Kind: audit.KindReconciliation, Subject: subject("Sync", s), Actor: belay, Trigger: "Commit",
		Commit: s.Status.AttemptedCommit, Outcome: outcomeOf(ready), Reason: ready.Reason, Message: ready.Message}
	if e.Outcome == "Succeeded" {
		e.Commit, e.Digest = s.Status.AppliedCommit, s.Status.AppliedDigest
	}
	var at metav1.Time
	if s.Status.AppliedAt != nil {
		if at = *s.Status.AppliedAt; at.After(e.Time) {
			e.Time = at.Time
		}
	}
	if s.Status.Reconciled != "" {
		e.Links = append(e.Links, audit.Link{Rel: "request", Target: s.Status.Reconciled})
	}
	e.Links = append(e.Links, planLinks(s, ready)...)
	out := []audit.Event{e.Seal(e.Commit, e.Digest, ready.Status, ready.Reason, ready.Message, at.Unix(), s.Status.Reconciled)}
	return append(out, held(s, ready)...)
}

// planLinks name the plan that waits or was carried out, and who approved it.
func planLinks(s *v1alpha1.Sync, ready *metav1.Condition) []audit.Link {
	p := s.Status.Plan
	carriedOut := ready.Status == metav1.ConditionTrue && p != nil && p.AdmittedAt != nil && p.Bundle == s.Status.AppliedDigest
	if p == nil || !carriedOut && (p.AdmittedAt != nil || p.Commit != s.Status.AttemptedCommit) {
		return nil
	}
	out := []audit.Link{{Rel: "plan", Target: p.Digest}}
	for _, who := range p.ApprovedBy {
		out = append(out, audit.Link{Rel: "approvedBy", Target: who})
	}
	return out
}

// held is why a Sync stays where it is although there is something newer.
func held(s *v1alpha1.Sync, ready *metav1.Condition) []audit.Event {
	if s.Status.BlockedBy == "" || s.Status.BlockedSince == nil || ready.Status != metav1.ConditionTrue {
		return nil // where it is not Ready, the condition says so
	}
	e := audit.Event{Time: s.Status.BlockedSince.Time, Kind: audit.KindReconciliation, Subject: subject("Sync", s), Actor: belay, Trigger: "Gate",
		Commit: s.Status.AppliedCommit, Digest: s.Status.AppliedDigest, Outcome: "Held", Reason: "Waiting", Message: s.Status.BlockedBy}
	return []audit.Event{e.Seal("held", s.Status.BlockedBy, s.Status.BlockedSince.Unix())}
}

// health is when the bundle in force became healthy, and when it broke or failed.
func health(s *v1alpha1.Sync) []audit.Event {
	c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionHealthy)
	i := slices.IndexFunc(s.Status.History, func(record v1alpha1.SyncRecord) bool {
		return record.Reason == "Applied" && record.Digest == s.Status.AppliedDigest
	})
	if c == nil || i < 0 {
		return nil
	}
	record := s.Status.History[i]
	e := audit.Event{Kind: audit.KindHealth, Subject: subject("Sync", s), Actor: belay, Trigger: "Watch", Commit: record.Commit, Digest: record.Digest}
	var out []audit.Event
	if record.HealthySince != nil {
		since := e
		since.Time, since.Outcome = record.HealthySince.Time, "Healthy"
		out = append(out, since.Seal("healthy", record.Digest, record.HealthySince.Unix()))
	}
	switch {
	case record.Broken != "" && record.HealthyUntil != nil:
		e.Time, e.Message = record.HealthyUntil.Time, record.Broken
	case record.HealthySince == nil && c.Status == metav1.ConditionFalse:
		e.Time, e.Message = c.LastTransitionTime.Time, c.Message
	default:
		return out
	}
	e.Outcome = "Unhealthy"
	return append(out, e.Seal("unhealthy", record.Digest, e.Time.Unix()))
}

func outcomeOf(c *metav1.Condition) string {
	switch c.Status {
	case metav1.ConditionTrue:
		return "Succeeded"
	case metav1.ConditionFalse:
		return "Failed"
	}
	return "Pending"
}

func drift(s *v1alpha1.Sync) []audit.Event {
	if s.Status.Drift == nil {
		return nil
	}
	var out []audit.Event
	for _, o := range s.Status.Drift.Objects {
		kind := o.Kind
		if o.Group != "" {
			kind += "." + o.Group
		}
		e := audit.Event{Time: o.LastSeen.Time, Kind: audit.KindDrift, Subject: subject("Sync", s), Object: kind + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"),
			Actor: "unknown", Trigger: "Watch", Commit: o.Commit, Digest: o.Digest, Outcome: string(o.State), Reason: string(o.Class)}
		if w := o.Writer; w != nil {
			e.Actor = cmp.Or(w.User, "manager "+w.Manager)
		}
		var fields []string
		for _, f := range o.Fields {
			fields = append(fields, fmt.Sprintf("%s is %s, Git declares %s", f.Path, f.Live, f.Declared))
		}
		e.Message = strings.Join(fields, "; ")
		for _, l := range []audit.Link{{Rel: "record", Target: o.Record}, {Rel: "file", Target: o.File}} {
			if l.Target != "" {
				e.Links = append(e.Links, l)
			}
		}
		out = append(out, e.Seal(o.State, o.Digest, o.LastSeen.Unix()))
	}
	return out
}

// attempts are the begin, the verdict and the decisions of the current attempt, and the ends of those that status still has.
func attempts(r *v1alpha1.Rollout) []audit.Event {
	var out []audit.Event
	base := func(number int64, revision, commit string) audit.Event {
		return audit.Event{Kind: audit.KindAttempt, Subject: subject("Rollout", r), Object: fmt.Sprintf("attempt %d", number), Actor: belay, Commit: commit, Digest: revision}
	}
	if a := r.Status.Attempt; a != nil {
		e := base(a.Number, a.Revision, a.Commit)
		e.Time, e.Trigger, e.Outcome, e.Message = a.StartedAt.Time, "Template", "Started", "revision "+a.Revision+" is tried"
		out = append(out, e.Seal("started"))
		if a.Stage != v1alpha1.StageStepping || a.StepSince != nil {
			e.Time, e.Outcome, e.Reason, e.Message = a.StageSince.Time, string(a.Stage), "", fmt.Sprintf("weight %d", a.Weight)
			if a.Stage == v1alpha1.StageStepping {
				e.Time, e.Reason = a.StepSince.Time, cmp.Or(a.StepName, fmt.Sprintf("step %d", a.Step))
			}
			e.Trigger = "Gate"
			out = append(out, e.Seal("stage", a.Stage, a.Step))
		}
		if v := a.Verdict; v != nil {
			e := base(a.Number, a.Revision, a.Commit)
			e.Time, e.Trigger, e.Actor, e.Outcome, e.Reason, e.Message = v.At.Time, "Verdict", cmp.Or(v.Actor, belay), "Verdict"+string(v.Outcome), v.Reason, v.Message
			e.Links = runLink(v.Run)
			out = append(out, e.Seal("verdict"))
		}
	}
	for _, h := range r.Status.History {
		e := base(h.Number, h.Revision, h.Commit)
		e.Time, e.Trigger, e.Actor, e.Outcome, e.Reason, e.Message = h.EndedAt.Time, "Verdict", cmp.Or(h.Actor, belay), string(h.Outcome), h.Reason, h.Message
		e.Links = runLink(h.Run)
		out = append(out, e.Seal("ended"))
	}
	return out
}

func runLink(run string) []audit.Link {
	if run == "" {
		return nil
	}
	return []audit.Link{{Rel: "analysisRun", Target: run}}
}

func revert(r *v1alpha1.Rollout) []audit.Event {
	v := r.Status.Revert
	if v == nil {
		return nil
	}
	e := audit.Event{Time: v.RequestedAt.Time, Kind: audit.KindRevert, Subject: subject("Rollout", r), Object: fmt.Sprintf("attempt %d", v.Attempt), Actor: belay,
		Trigger: "Verdict", Commit: v.Commit, Digest: v.Good, Outcome: string(v.State), Reason: v.Bad, Message: v.Message}
	if v.FinishedAt != nil {
		e.Time = v.FinishedAt.Time
	}
	if v.State == v1alpha1.RevertPending {
		e.Message = "revision " + v.Bad + " is to be taken back to " + v.Good // why it waits may change by the minute
	}
	for _, l := range []audit.Link{{Rel: "badCommit", Target: v.BadCommit}, {Rel: "goodCommit", Target: v.GoodCommit}} {
		if l.Target != "" {
			e.Links = append(e.Links, l)
		}
	}
	if v.State == v1alpha1.RevertRejected { // each refusal is told of once, however often it is tried again
		return []audit.Event{e.Seal(v.State, v.Attempt, v.Commit, v.Message)}
	}
	return []audit.Event{e.Seal(v.State, v.Attempt, v.Commit)}
}

func decision(d *v1alpha1.Decision) []audit.Event {
	e := audit.Event{Time: d.CreationTimestamp.Time, Kind: audit.KindDecision, Subject: subject("Decision", d), Actor: d.Spec.Actor, Trigger: "Request",
		Object: d.Spec.Subject.Kind + " " + d.Spec.Subject.Name, Outcome: "Asked", Reason: string(d.Spec.Action), Message: d.Spec.Reason, Digest: d.Spec.Plan}
	if d.Spec.Attempt != nil {
		e.Links = append(e.Links, audit.Link{Rel: "attempt", Target: fmt.Sprint(*d.Spec.Attempt)})
	}
	out := []audit.Event{e.Seal("asked")}
	if d.Status.Result != "" {
		e.Outcome, e.Message = string(d.Status.Result), d.Status.Message
		if d.Status.At != nil {
			e.Time = d.Status.At.Time
		}
		out = append(out, e.Seal("result"))
	}
	return out
}

func repository(r *v1alpha1.Repository) []audit.Event {
	ready := v1alpha1.FindCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return nil
	}
	e := audit.Event{Time: ready.LastTransitionTime.Time, Kind: audit.KindRepository, Subject: subject("Repository", r), Actor: belay, Trigger: "Fetch",
		Commit: r.Status.Commit, Outcome: outcomeOf(ready), Reason: ready.Reason}
	if r.Status.ChangedAt != nil && r.Status.ChangedAt.After(e.Time) {
		e.Time = r.Status.ChangedAt.Time
	}
	if e.Outcome == "Failed" {
		e.Message = ready.Message
	}
	return []audit.Event{e.Seal(e.Commit, ready.Status, ready.Reason)}
}
