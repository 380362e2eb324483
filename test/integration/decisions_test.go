package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// say makes a Decision about the current attempt.
func (w *world) say(action v1alpha1.DecisionAction, change ...func(*v1alpha1.DecisionSpec)) *v1alpha1.Decision {
	w.t.Helper()
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, GenerateName: strings.ToLower(string(action)) + "-"},
		Spec: v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Rollout", Name: app}, Action: action, Actor: "ada", Reason: "because"}}
	if a := w.get().Status.Attempt; a != nil {
		d.Spec.Attempt = ptr.To(a.Number)
	}
	for _, c := range change {
		c(&d.Spec)
	}
	w.must(w.user.Create(w.t.Context(), d))
	return d
}

// result looks until a Decision has one.
func (w *world) result(d *v1alpha1.Decision, want v1alpha1.DecisionResult, parts ...string) {
	w.t.Helper()
	w.looks(6)
	w.must(w.user.Get(w.t.Context(), client.ObjectKeyFromObject(d), d))
	if d.Status.Result != want || d.Status.At == nil {
		w.t.Errorf("%s: %+v, want %s", d.Spec.Action, d.Status, want)
	}
	contains(w.t, "the answer", d.Status.Message, parts...)
}

func held(ro *v1alpha1.Rollout) {
	ro.Spec.Strategy.Canary.Steps[0].Approval = v1alpha1.ApprovalRequired
}

func TestQuarantineUntilRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	v2 := hash(t, "v2")
	w.analyst.verdicts[v2] = v1alpha1.VerdictFail
	w.deploy("v2")
	w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
	w.rest()
	w.deploy("v1")
	w.rest()
	w.deploy("v2")
	ro := w.rest()
	if ro.Status.Attempts != 2 || ro.Status.Attempt != nil {
		t.Fatalf("a revision in quarantine was started again: %s", statusText(&ro.Status))
	}
	contains(t, "blockedBy", ro.Status.BlockedBy, v2, "held back", "kubectl belay retry")
	if c := v1alpha1.FindCondition(ro.Status.Conditions, v1alpha1.ConditionStalled); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("condition Stalled: %+v", c)
	}
	w.result(w.say(v1alpha1.ActionRetry, func(s *v1alpha1.DecisionSpec) { s.Revision = "unknown" }), v1alpha1.DecisionRefused, "not in quarantine")
	w.analyst.verdicts[v2] = v1alpha1.VerdictPass
	w.result(w.say(v1alpha1.ActionRetry, func(s *v1alpha1.DecisionSpec) { s.Revision = v2 }), v1alpha1.DecisionApplied)
	ro = w.until("promoted", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempts == 3 && ro.Status.Attempt == nil })
	if ro.Status.Stable.Revision != v2 || len(ro.Status.Quarantine) != 0 {
		t.Errorf("status: %s", w.alias.in(statusText(&ro.Status)))
	}
}

func TestApprovalPauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, held).started()
	w.deploy("v2")
	w.until("waiting for approval", func(ro *v1alpha1.Rollout) bool { return strings.Contains(ro.Status.BlockedBy, "needs approval") })
	w.result(w.say(v1alpha1.ActionPause), v1alpha1.DecisionApplied)
	w.result(w.say(v1alpha1.ActionApprove, func(s *v1alpha1.DecisionSpec) { s.Step = ptr.To[int32](0) }), v1alpha1.DecisionApplied)
	for range 3 {
		w.step()
	}
	ro := w.get()
	if a := ro.Status.Attempt; a == nil || a.Step != 0 || ro.Status.Phase != "Paused" {
		t.Errorf("paused, and yet: %s", statusText(&ro.Status))
	}
	contains(t, "blockedBy", ro.Status.BlockedBy, "paused by ada: because")
	w.result(w.say(v1alpha1.ActionApprove, func(s *v1alpha1.DecisionSpec) { s.Step = ptr.To[int32](1) }), v1alpha1.DecisionRefused, "at step 0")
	w.result(w.say(v1alpha1.ActionResume), v1alpha1.DecisionApplied)
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}

func TestSpecPaused(t *testing.T) {
	t.Parallel()
	w, _ := midCanary(t)
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Paused = true })
	for range 4 {
		w.step()
	}
	if a := w.get().Status.Attempt; a == nil || a.Step != 0 {
		t.Errorf("paused, and yet: %+v", a)
	}
	contains(t, "blockedBy", w.get().Status.BlockedBy, "spec.paused is true")
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Paused = false })
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}

func TestAbortAndDecisionsThatComeTooLate(t *testing.T) {
	t.Parallel()
	w, v2 := midCanary(t)
	late := []*v1alpha1.Decision{w.say(v1alpha1.ActionAbort)}
	w.result(late[0], v1alpha1.DecisionApplied)
	ro := w.until("aborted", finished(v1alpha1.OutcomeAborted))
	if h := ro.Status.History[0]; h.Actor != "ada" || h.Revision != v2 {
		t.Errorf("history: %+v", h)
	}
	contains(t, "the message", ro.Status.History[0].Message, "Abort by ada: because")
	over := func(s *v1alpha1.DecisionSpec) { s.Attempt, s.Step = ptr.To[int64](2), ptr.To[int32](0) }
	for _, action := range []v1alpha1.DecisionAction{v1alpha1.ActionPromote, v1alpha1.ActionPromoteFull, v1alpha1.ActionPause, v1alpha1.ActionAbort} {
		w.result(w.say(action, over), v1alpha1.DecisionRefused, "attempt 2 is over: Aborted")
	}
	w.deploy("v3")
	w.until("at the first step", atStep(0))
	w.result(w.say(v1alpha1.ActionAbort, over), v1alpha1.DecisionRefused, "attempt 2 is over")
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}

func TestPromoteFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, held, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Steps[1].Hold = "1h" }).started()
	v2 := hash(t, "v2")
	w.analyst.verdicts[v2] = v1alpha1.VerdictPending
	w.deploy("v2")
	w.until("at the first step", atStep(0))
	start := w.clock.Now()
	w.result(w.say(v1alpha1.ActionPromoteFull), v1alpha1.DecisionApplied)
	ro := w.until("promoted", finished(v1alpha1.OutcomePromoted))
	if h := ro.Status.History[0]; h.Actor != "ada" || w.clock.Since(start).Minutes() > 10 {
		t.Errorf("history: %+v after %s", h, w.clock.Since(start))
	}
}

// TestDecisionIsAppliedOnce: the controller is killed between storing the effect of a Decision and answering it.
func TestDecisionIsAppliedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, held, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Steps[1].Approval = v1alpha1.ApprovalRequired }).started()
	w.deploy("v2")
	w.until("waiting for approval", func(ro *v1alpha1.Rollout) bool { return strings.Contains(ro.Status.BlockedBy, "needs approval") })
	w.record.refusing(func(effect string) error {
		if strings.HasPrefix(effect, "patch status of Decision") {
			return apierrors.NewInternalError(errors.New("etcd is away"))
		}
		return nil
	})
	d := w.say(v1alpha1.ActionPromote, func(s *v1alpha1.DecisionSpec) { s.Step = ptr.To[int32](0) })
	w.looks(4)
	w.rebuild()
	w.looks(4)
	if a := w.get().Status.Attempt; a == nil || a.Step != 1 {
		t.Fatalf("the decision was not applied exactly once: %+v", a)
	}
	w.record.refusing(nil)
	w.result(d, v1alpha1.DecisionApplied)
	for range 4 {
		w.step()
	}
	if a := w.get().Status.Attempt; a == nil || a.Step != 1 {
		t.Errorf("the decision was applied again: %+v", a)
	}
	if n := w.told.count("DecisionApplied"); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.result(w.say(v1alpha1.ActionReject), v1alpha1.DecisionApplied)
	w.until("aborted", finished(v1alpha1.OutcomeAborted))
	if n := fmt.Sprint(w.get().Status.Quarantine); !strings.Contains(n, "Reject by ada") {
		t.Errorf("quarantine: %s", n)
	}
}

// TestOnFailurePause: the attempt is held where it is, for a person.
func TestOnFailurePause(t *testing.T) {
	t.Parallel()
	w, v2 := midCanary(t, func(ro *v1alpha1.Rollout) { ro.Spec.OnFailure.Action = v1alpha1.FailurePause })
	w.analyst.verdicts[v2] = v1alpha1.VerdictFail
	w.until("paused", func(ro *v1alpha1.Rollout) bool { return ro.Status.Phase == "Paused" })
	contains(t, "blockedBy", w.get().Status.BlockedBy, "paused by belay")
	w.result(w.say(v1alpha1.ActionResume), v1alpha1.DecisionRefused, "analysis has failed")
	w.result(w.say(v1alpha1.ActionAbort), v1alpha1.DecisionApplied)
	w.until("aborted", finished(v1alpha1.OutcomeAborted))
}
