package planner

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// undecided is an attempt whose second step was confirmed 20 s ago, and whose metric has said nothing yet.
func undecided(maxHold v1alpha1.Duration, action v1alpha1.InconclusiveAction) Observed {
	o := observed(stepping)
	o.analysed(v1alpha1.VerdictPending, nil)
	step := &o.Rollout.Spec.Strategy.Canary.Steps[1]
	step.MaxHold, step.OnInconclusive = maxHold, action
	return o
}

func TestMaxHold(t *testing.T) {
	for _, test := range []struct {
		name    string
		maxHold v1alpha1.Duration
		action  v1alpha1.InconclusiveAction
		change  func(*Observed)
		want    string
		says    string
	}{
		{"not over", "30s", v1alpha1.InconclusiveRollback, nil, "Stepping 1 at 50", "no good measurement"},
		{"without end", "", v1alpha1.InconclusiveRollback, nil, "Stepping 1 at 50", "no good measurement"},
		{"0s is without end", "0s", v1alpha1.InconclusiveRollback, nil, "Stepping 1 at 50", "no good measurement"},
		{"paused", "10s", v1alpha1.InconclusivePause, nil, "Stepping 1 at 50", "inconclusive after 10s: metric errors"},
		{"pause is the default", "10s", "", nil, "Stepping 1 at 50", "inconclusive after 10s"},
		{"extended", "10s", v1alpha1.InconclusiveExtend, nil, "Stepping 1 at 50", "inconclusive after 10s"},
		{"left without evidence", "10s", v1alpha1.InconclusiveProceed, nil, "Stepping 2 at 100", ""},
		{"taken back", "10s", v1alpha1.InconclusiveRollback, nil, "Withdrawing: RolledBack Inconclusive", ""},
		{"taken back where failures pause", "10s", v1alpha1.InconclusiveRollback, func(o *Observed) { o.Rollout.Spec.OnFailure.Action = v1alpha1.FailurePause }, "Withdrawing: RolledBack Inconclusive", ""},
		{"the provider is down", "10s", v1alpha1.InconclusiveProceed, func(o *Observed) { o.Runs["shop-2"].Status.Verdict = v1alpha1.VerdictHold }, "Stepping 2 at 100", ""},
		{"the evidence is there", "10s", v1alpha1.InconclusiveRollback, func(o *Observed) { o.analysed(v1alpha1.VerdictPass, ptr(at(-5*time.Second))) }, "Stepping 2 at 100", ""},
		{"it has failed", "10s", v1alpha1.InconclusiveProceed, func(o *Observed) { o.analysed(v1alpha1.VerdictFail, nil) }, "Withdrawing: RolledBack AnalysisFailed", ""},
		{"only the approval is missing", "10s", v1alpha1.InconclusiveRollback, func(o *Observed) {
			o.analysed(v1alpha1.VerdictPass, ptr(at(-5*time.Second)))
			needApproval(o)
		}, "Stepping 1 at 50", "needs approval"},
		{"unproven, and still to be approved", "10s", v1alpha1.InconclusiveProceed, needApproval, "Stepping 1 at 50", "needs approval"},
		{"hold comes first", "10s", v1alpha1.InconclusiveRollback, func(o *Observed) { o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = "1m" }, "Stepping 1 at 50", "holds until"},
		{"resumed a moment ago", "10s", v1alpha1.InconclusiveRollback, func(o *Observed) { o.attempt().HeldSince = ptr(at(-5 * time.Second)) }, "Stepping 1 at 50", "no good measurement"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := undecided(test.maxHold, test.action)
			if test.change != nil {
				test.change(&o)
			}
			p := Make(o)
			if got := summary(p); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if test.says != "" && !strings.Contains(p.Status.BlockedBy, test.says) {
				t.Errorf("blocked by %q, want %q", p.Status.BlockedBy, test.says)
			}
		})
	}
}

// Resume gives the step another maxHold; what it then says is not said again at every look.
func TestResumeAfterInconclusive(t *testing.T) {
	o := undecided("10s", v1alpha1.InconclusivePause)
	p := Make(o)
	if a := p.Status.Attempt; a.Pause == nil || a.InconclusiveAt == nil {
		t.Fatalf("not paused: %s", summary(p))
	}
	o.Rollout.Status = p.Status
	if again := Make(o); len(again.Events) > 0 {
		t.Errorf("told again: %v", again.Events)
	}
	o.decision(v1alpha1.ActionResume, 2, 1)
	p = Make(o)
	a := p.Status.Attempt
	if a.Pause != nil || a.InconclusiveAt != nil || a.HeldSince == nil {
		t.Fatalf("not resumed: %s", summary(p))
	}
	if due := noon.Add(11 * time.Second); !p.NextLook.Equal(due) {
		t.Errorf("next look at %s, want %s", p.NextLook, due)
	}
	o.Rollout.Status, o.Decisions, o.Now = p.Status, nil, noon.Add(11*time.Second)
	if p = Make(o); p.Status.Attempt.Pause == nil {
		t.Error("the second maxHold has no end")
	}
}

func TestUnprovenStepsAreRecorded(t *testing.T) {
	o := undecided("10s", v1alpha1.InconclusiveProceed)
	p := Make(o)
	if got := p.Status.Attempt.Unproven; len(got) != 1 || got[0] != "step-2" {
		t.Fatalf("unproven steps: %v", got)
	}
	o = observed(baking)
	o.attempt().Unproven, o.attempt().StageSince = []string{"step-2"}, at(-time.Hour)
	p = Make(o)
	if h := p.Status.History[0]; !strings.Contains(h.Message, "without evidence: step-2") {
		t.Errorf("the history says %q", h.Message)
	}
}

// maxHold counts in whole seconds from the confirmation, and never fires early.
func TestMaxHoldBounds(t *testing.T) {
	const stays, back = "Stepping 1 at 50", "Withdrawing: RolledBack Inconclusive"
	for _, test := range []struct {
		name   string
		change func(*Observed)
		want   string
	}{
		{"one second before", func(o *Observed) { o.Now = noon.Add(-10 * time.Second) }, stays},
		{"exactly", func(o *Observed) { o.Now = noon.Add(-9 * time.Second) }, back},
		{"spec.paused", func(o *Observed) { o.Rollout.Spec.Paused = true }, stays},
		{"paused by a person", func(o *Observed) { o.attempt().Pause = &v1alpha1.Actor{Name: "kim"} }, stays},
		{"traffic is not confirmed", func(o *Observed) { o.attempt().ConfirmedAt, o.attempt().AcceptedAt = nil, nil }, stays},
		{"the evidence is from before", func(o *Observed) { o.analysed(v1alpha1.VerdictPass, ptr(at(-time.Minute))) }, back},
		{"checks alone are missing", func(o *Observed) {
			o.analysed(v1alpha1.VerdictPass, ptr(at(-5*time.Second)))
			o.Rollout.Spec.Strategy.Canary.Steps[1].Checks = &v1alpha1.AnalysisReference{}
		}, back},
		{"templates cannot be used", func(o *Observed) { o.Runs, o.AnalysisProblem = nil, "AnalysisTemplate t does not exist" }, back},
		{"no evidence is asked", func(o *Observed) { o.Rollout.Spec.Analysis, o.Runs = nil, nil }, "Stepping 2 at 100"},
		{"promoted fully", func(o *Observed) { o.attempt().Full = &v1alpha1.Actor{Name: "kim"} }, "Stepping 2 at 100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := undecided("10s", v1alpha1.InconclusiveRollback)
			test.change(&o)
			p := Make(o)
			if got := summary(p); got != test.want {
				t.Errorf("got %s, want %s (blocked by %q)", got, test.want, p.Status.BlockedBy)
			}
			if v := p.Status.Attempt.Verdict; v != nil && (!p.Urgent || !p.Store || v.Actor != ActorBelay || len(p.Status.Quarantine) != 1) {
				t.Errorf("verdict %v, urgent %t, stored %t, quarantine %v", v, p.Urgent, p.Store, p.Status.Quarantine)
			}
		})
	}
}

// A plan that was cut short is made again, the same.
func TestInconclusiveIsRepeatable(t *testing.T) {
	for _, action := range []v1alpha1.InconclusiveAction{"", v1alpha1.InconclusivePause, v1alpha1.InconclusiveExtend, v1alpha1.InconclusiveProceed, v1alpha1.InconclusiveRollback} {
		o := undecided("10s", action)
		first, second := Make(o), Make(o)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%q: %s", action, diff)
		}
		if len(first.Events) == 0 || first.Events[0].Reason != ReasonInconclusive {
			t.Errorf("%q: not told: %v", action, first.Events)
		}
	}
}

func TestDecisionsAfterInconclusive(t *testing.T) {
	for action, want := range map[v1alpha1.DecisionAction]string{
		v1alpha1.ActionPromote: "Stepping 2 at 100", v1alpha1.ActionAbort: "Withdrawing: Aborted Manual", v1alpha1.ActionResume: "Stepping 1 at 50"} {
		o := undecided("10s", v1alpha1.InconclusivePause)
		o.Rollout.Status = Make(o).Status
		o.decision(action, 2, 1)
		if p := Make(o); summary(p) != want {
			t.Errorf("%s: got %s, want %s", action, summary(p), want)
		}
	}
}

// maxHold went by while a person had paused: what they resume is not paused again at once.
func TestResumeAfterPersonsPause(t *testing.T) {
	o := undecided("10s", v1alpha1.InconclusivePause)
	o.attempt().Pause = &v1alpha1.Actor{Name: "kim"}
	o.decision(v1alpha1.ActionResume, 2, 1)
	if a := Make(o).Status.Attempt; a.Pause != nil {
		t.Errorf("paused again: %v", a.Pause)
	}
}

// Traffic that is confirmed anew gives the step another maxHold, and its end is told again.
func TestInconclusiveIsToldAgain(t *testing.T) {
	o := undecided("10s", v1alpha1.InconclusiveExtend)
	o.attempt().InconclusiveAt = ptr(at(-5 * time.Second))
	if p := Make(o); len(p.Events) != 0 {
		t.Errorf("told twice: %v", p.Events)
	}
	o.attempt().InconclusiveAt = ptr(at(-time.Minute))
	if p := Make(o); len(p.Events) != 1 {
		t.Errorf("not told again: %v", p.Events)
	}
}

// A step on record is taken off where its evidence comes while it waits for an approval.
func TestEvidenceAfterProceed(t *testing.T) {
	o := undecided("10s", v1alpha1.InconclusiveProceed)
	needApproval(&o)
	o.Rollout.Status = Make(o).Status
	if len(o.attempt().Unproven) != 1 {
		t.Fatalf("not on record: %v", o.attempt().Unproven)
	}
	o.analysed(v1alpha1.VerdictPass, ptr(at(0)))
	if a := Make(o).Status.Attempt; len(a.Unproven) != 0 || a.InconclusiveAt != nil {
		t.Errorf("still on record: %v since %v", a.Unproven, a.InconclusiveAt)
	}
}

// The record survives where a new template cuts the bake short.
func TestUnprovenBakeCutShort(t *testing.T) {
	o := observed(baking)
	o.attempt().Unproven = []string{"step-2"}
	o.Revision = "c"
	if h := Make(o).Status.History[0]; h.Outcome != v1alpha1.OutcomePromoted || !strings.Contains(h.Message, "without evidence: step-2") {
		t.Errorf("the history says %s %q", h.Outcome, h.Message)
	}
}
