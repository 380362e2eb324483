package view

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Render writes a View for people, as it is at the time now.
func Render(v View, s Style, now time.Time) string {
	r := renderer{View: v, style: s, now: now}
	return r.header() + r.tree() + r.trouble()
}

type renderer struct {
	View
	style Style
	now   time.Time
}

// Age is how long ago t was, in the form that kubectl uses.
func Age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return duration.HumanDuration(max(0, now.Sub(t.Time)))
}

// ToneOf is the tone of a health.
func ToneOf(h Health) Tone {
	switch h {
	case Healthy:
		return Good
	case Degraded:
		return Bad
	}
	return Warn
}

// ShortCommit is a commit in ten characters.
func ShortCommit(commit string) string {
	if len(commit) > 10 {
		return commit[:10]
	}
	return commit
}

func (r *renderer) header() string {
	var rows [][]Cell
	row := func(label, text string, tone Tone) {
		if text != "" {
			rows = append(rows, []Cell{{label, Faint}, {Clean(text), tone}})
		}
	}
	row("Rollout", r.Namespace+"/"+r.Name, Strong)
	row("Health", r.healthLine(), ToneOf(r.Health))
	if r.Stable != nil {
		row("Stable", revisionLine(r.Stable.Revision, r.Stable.Commit)+", since "+Age(r.Stable.Since, r.now), Plain)
	}
	if a := r.Attempt; a != nil {
		row("Attempt", r.attemptLine(a), Plain)
		row("Step", r.stepLine(a), Plain)
		row("Weight", weightLine(a), Plain)
		row("Match", matchLine(a.Match), Plain)
		row("Mirror", mirrorLine(a.Mirror), Plain)
		row("Bypass", a.Bypass, Warn)
		row("Forecast", forecastLine(r.Conditions), Warn)
		row("Authors", a.Authors, Plain)
		row("Paused", actorLine(a.Pause), Warn)
		row("Full", actorLine(a.Full), Plain)
		row("Approved", actorLine(a.Approved), Good)
		for i := range a.ApprovedToo {
			row("Approved", actorLine(&a.ApprovedToo[i]), Good)
		}
		if c := a.Contest; c != nil {
			row("Contest", fmt.Sprintf("%s changed %d times by others, last by %q", c.Route, c.Changes, c.By), Warn)
		}
		if a.Verdict != nil {
			row("Verdict", verdictLine(a.Verdict), Bad)
		}
	} else if r.Last != nil {
		row("Last", lastLine(r.Last, r.now), outcomeTone(r.Last.Outcome))
	}
	row("BLOCKED BY", r.BlockedBy, Warn)
	row("Revert", r.revertLine(), revertTone(r.Revert))
	for _, q := range r.Quarantine {
		row("Quarantine", fmt.Sprintf("%s since attempt %d: %s: %s", q.Revision, q.Attempt, q.Reason, q.Message), Bad)
	}
	row("Replicas", fmt.Sprintf("%d wanted, %d ready, %d available, %d of the current template", r.Replicas.Desired, r.Replicas.Ready, r.Replicas.Available, r.Replicas.Updated), Plain)
	return r.style.Table(rows)
}

func (r *renderer) healthLine() string {
	out := string(r.Health)
	if r.Phase != "" && r.Phase != out {
		out += " (" + r.Phase + ")"
	}
	if r.Paused {
		out += ", spec.paused is set"
	}
	if !r.Observed {
		out += ", the controller has not seen the latest change yet"
	}
	return out
}

func revisionLine(revision, commit string) string {
	if commit == "" {
		return revision
	}
	return revision + " (commit " + ShortCommit(commit) + ")"
}

func (r *renderer) attemptLine(a *Attempt) string {
	return fmt.Sprintf("%d: %s, %s, started %s ago", a.Number, revisionLine(a.Revision, a.Commit), a.Stage, Age(a.StartedAt, r.now))
}

func (r *renderer) stepLine(a *Attempt) string {
	name := ""
	if a.StepName != "" {
		name = " " + a.StepName
	}
	return fmt.Sprintf("%d/%d%s, since %s", a.Step, a.Steps, name, Age(a.Since, r.now))
}

func weightLine(a *Attempt) string {
	return fmt.Sprintf("%d wanted, %d confirmed, of %d", a.Weight, a.ConfirmedWeight, a.TotalWeight)
}

func matchLine(m *v1alpha1.Match) string {
	if m == nil {
		return ""
	}
	return "requests with " + m.String() + " go to the canary"
}

func mirrorLine(m *v1alpha1.Mirror) string {
	if m == nil {
		return ""
	}
	return m.String() + " go to the canary"
}

func actorLine(a *v1alpha1.Actor) string {
	switch {
	case a == nil:
		return ""
	case a.Reason == "":
		return "by " + a.Name
	}
	return "by " + a.Name + ": " + a.Reason
}

func verdictLine(v *v1alpha1.Verdict) string {
	out := fmt.Sprintf("%s, %s, by %s", v.Outcome, v.Reason, v.Actor)
	if v.Message != "" {
		out += ": " + v.Message
	}
	return out
}

func lastLine(l *v1alpha1.AttemptRecord, now time.Time) string {
	out := fmt.Sprintf("attempt %d: %s %s %s ago", l.Number, revisionLine(l.Revision, l.Commit), l.Outcome, Age(l.EndedAt, now))
	if l.Reason != "" {
		out += ", " + l.Reason
	}
	if l.Message != "" {
		out += ": " + l.Message
	}
	return out
}

func outcomeTone(o v1alpha1.Outcome) Tone {
	switch o {
	case v1alpha1.OutcomePromoted:
		return Good
	case v1alpha1.OutcomeSuperseded:
		return Plain
	}
	return Bad
}

func (r *renderer) revertLine() string {
	v := r.Revert
	if v == nil {
		return ""
	}
	out := fmt.Sprintf("%s: %s back to %s", v.State, v.Bad, v.Good)
	if v.Commit != "" {
		out += ", commit " + ShortCommit(v.Commit)
	}
	if v.Message != "" {
		out += ": " + v.Message
	}
	return out
}

func revertTone(v *v1alpha1.RevertStatus) Tone {
	switch {
	case v == nil || v.State == v1alpha1.RevertNotNeeded:
		return Plain
	case v.State == v1alpha1.RevertPushed:
		return Good
	case v.State == v1alpha1.RevertPending || v.State == v1alpha1.RevertProposed:
		return Warn
	}
	return Bad
}

// trouble lists the conditions that are not as they should be, and what could not be read.
func (r *renderer) trouble() string {
	var rows [][]Cell
	for _, c := range r.Conditions {
		if conditionOK(c) {
			continue
		}
		rows = append(rows, []Cell{{c.Type + "=" + string(c.Status), Warn}, {Clean(c.Reason), Plain}, {Clean(c.Message), Plain}})
	}
	for _, u := range r.Unread {
		rows = append(rows, []Cell{{"not read", Warn}, {}, {Clean(u), Plain}})
	}
	if len(rows) == 0 {
		return ""
	}
	return "\n" + r.style.Paint("Conditions that are not as they should be", Strong) + "\n" + indent(r.style.Table(rows))
}

func conditionOK(c metav1.Condition) bool {
	switch c.Type {
	case v1alpha1.ConditionStalled:
		return c.Status == metav1.ConditionFalse
	case v1alpha1.ConditionProgressing:
		return c.Status != metav1.ConditionUnknown
	}
	return c.Status == metav1.ConditionTrue
}

func indent(text string) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	return "  " + strings.Join(lines, "  ") + "\n"
}
