package planner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	initial     = v1alpha1.StageInitial
	stepping    = v1alpha1.StageStepping
	switching   = v1alpha1.StageSwitching
	retiring    = v1alpha1.StageRetiring
	returning   = v1alpha1.StageReturning
	baking      = v1alpha1.StageBaking
	withdrawing = v1alpha1.StageWithdrawing
)

var stages = []v1alpha1.Stage{"", initial, stepping, switching, retiring, returning, baking, withdrawing}

// Plan never changes what it is given, and gives the same plan again.
func TestMakeIsPure(t *testing.T) {
	for _, stage := range stages {
		o := observed(stage)
		before := o.Rollout.DeepCopy()
		first, second := Make(o), Make(o)
		if diff := cmp.Diff(before, o.Rollout); diff != "" {
			t.Errorf("%q: the Rollout was changed: %s", stage, diff)
		}
		if diff := cmp.Diff(first.Status, second.Status); diff != "" || lines(first) != lines(second) {
			t.Errorf("%q: two plans differ: %s", stage, diff)
		}
	}
}

func TestStagesGoOn(t *testing.T) {
	for _, test := range []struct {
		name   string
		stage  v1alpha1.Stage
		change func(*Observed)
		want   string
	}{
		{"rest", "", nil, "rest"},
		{"first revision waits for its pods", initial, nil, "Initial"},
		{"first revision is available", initial, func(o *Observed) { o.ReplicaSets[0].Available = 4 }, "over: Promoted FirstRevision"},
		{"a gate without conditions is open", stepping, nil, "Stepping 2 at 100"},
		{"pods are missing", stepping, func(o *Observed) { o.replicaSet("b").Available = 1 }, "Stepping 1 at 50"},
		{"hold is not over", stepping, func(o *Observed) { o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = "1m" }, "Stepping 1 at 50"},
		{"hold is over", stepping, func(o *Observed) { o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = "19s" }, "Stepping 2 at 100"},
		{"approval is missing", stepping, needApproval, "Stepping 1 at 50"},
		{"approved", stepping, func(o *Observed) { needApproval(o); o.attempt().Approvals = []v1alpha1.StepApproval{{Step: 1}} }, "Stepping 2 at 100"},
		{"another step was approved", stepping, func(o *Observed) { needApproval(o); o.attempt().Approvals = []v1alpha1.StepApproval{{Step: 0}} }, "Stepping 1 at 50"},
		{"full needs no approval", stepping, func(o *Observed) { needApproval(o); o.attempt().Full = &v1alpha1.Actor{Name: "kim"} }, "Stepping 2 at 100"},
		{"spec.paused", stepping, func(o *Observed) { o.Rollout.Spec.Paused = true }, "Stepping 1 at 50"},
		{"paused attempt", stepping, func(o *Observed) { o.attempt().Pause = &v1alpha1.Actor{Name: "kim"} }, "Stepping 1 at 50"},
		{"last step switches", stepping, atFull, "Switching"},
		{"last step unconfirmed", stepping, func(o *Observed) { atFull(o); o.attempt().ConfirmedAt, o.attempt().AcceptedAt = nil, nil }, "Stepping 2 at 100"},
		{"steps that end below full get a step more", stepping, func(o *Observed) {
			o.Rollout.Spec.Strategy.Canary.Steps = o.Rollout.Spec.Strategy.Canary.Steps[:2]
		}, "Stepping 2 at 100"},
		{"new pods joined", switching, nil, "Retiring"},
		{"new pods not yet joined", switching, func(o *Observed) { o.Stable.Endpoints["b"] = 3 }, "Switching"},
		{"paused while switching", switching, func(o *Observed) { o.Rollout.Spec.Paused = true }, "Switching"},
		{"old pods left and settled", retiring, nil, "Returning"},
		{"old pods have not left", retiring, func(o *Observed) { o.Stable.Endpoints["a"] = 1 }, "Retiring"},
		{"old pods have only just left", retiring, func(o *Observed) { o.attempt().AcceptedAt = ptr(at(-5 * time.Second)) }, "Retiring"},
		{"new pods left the stable Service", retiring, func(o *Observed) { o.Stable.Endpoints["b"] = 2 }, "Retiring"},
		{"returned", returning, nil, "Baking"},
		{"returned, no bake", returning, func(o *Observed) { o.Rollout.Spec.Strategy.Canary.Bake = "0s" }, "over: Promoted StepsPassed"},
		{"not yet returned", returning, func(o *Observed) { o.Routes[0].Object = route(100) }, "Returning"},
		{"bake is not over", baking, nil, "Baking"},
		{"bake is over", baking, func(o *Observed) { o.attempt().StageSince = at(-6 * time.Minute) }, "over: Promoted StepsPassed"},
		{"paused bake", baking, func(o *Observed) {
			o.attempt().StageSince = at(-6 * time.Minute)
			o.attempt().Pause = &v1alpha1.Actor{Name: "kim"}
		}, "Baking"},
		{"withdrawal has not settled", withdrawing, nil, "Withdrawing: RolledBack AnalysisFailed"},
		{"withdrawal has settled", withdrawing, func(o *Observed) { o.attempt().AcceptedAt = ptr(at(-20 * time.Second)) }, "over: RolledBack AnalysisFailed"},
		{"withdrawal is not confirmed by deadline", withdrawing, func(o *Observed) {
			o.Routes[0].Object = route(50)
			o.attempt().StageSince = at(-11 * time.Minute)
		}, "over: RolledBack AnalysisFailed"},
		{"withdrawn pods are still endpoints", withdrawing, func(o *Observed) {
			o.attempt().AcceptedAt = ptr(at(-20 * time.Second))
			o.Canary.Endpoints["b"] = 1
		}, "Withdrawing: RolledBack AnalysisFailed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := observed(test.stage)
			if test.change != nil {
				test.change(&o)
			}
			p := Make(o)
			if got := summary(p); got != test.want {
				t.Errorf("got %s, want %s (blocked by %q)", got, test.want, p.Status.BlockedBy)
			}
		})
	}
}

func needApproval(o *Observed) {
	o.Rollout.Spec.Strategy.Canary.Steps[1].Approval = v1alpha1.ApprovalRequired
}

func atFull(o *Observed) {
	a := o.attempt()
	a.Step, a.StepName, a.Weight, a.Available = 2, "step-3", 100, 4
	o.replicaSet("b").Wanted, o.replicaSet("b").Available, o.Canary.Endpoints["b"] = 4, 4, 4
	o.Routes[0].Object = route(100)
}

// Every action of a person at every stage.
func TestDecisions(t *testing.T) {
	aborted, noSteps, over := "Withdrawing: Aborted Manual", "no longer in its steps", "already being taken back"
	want := map[v1alpha1.DecisionAction]map[v1alpha1.Stage]string{
		v1alpha1.ActionAbort:       {initial: "nothing to go back to", stepping: aborted, switching: aborted, retiring: aborted, returning: aborted, baking: aborted, withdrawing: over, "": "is over"},
		v1alpha1.ActionReject:      {initial: "nothing to go back to", stepping: aborted, switching: aborted, retiring: aborted, returning: aborted, baking: aborted, withdrawing: over, "": "is over"},
		v1alpha1.ActionPause:       {initial: "Initial", stepping: "Stepping 1 at 50", switching: "Switching", retiring: "Returning", returning: "Baking", baking: "Baking", withdrawing: over, "": "is over"},
		v1alpha1.ActionResume:      {initial: "not paused", stepping: "not paused", switching: "not paused", retiring: "not paused", returning: "not paused", baking: "not paused", withdrawing: over, "": "is over"},
		v1alpha1.ActionPromote:     {initial: noSteps, stepping: "Stepping 2 at 100", switching: noSteps, retiring: noSteps, returning: noSteps, baking: noSteps, withdrawing: over, "": "is over"},
		v1alpha1.ActionPromoteFull: {initial: noSteps, stepping: "Stepping 3 at 100", switching: "Retiring", retiring: "Returning", returning: "Baking", baking: "Baking", withdrawing: over, "": "is over"},
		v1alpha1.ActionApprove:     {initial: noSteps, stepping: "needs no approval", switching: noSteps, retiring: noSteps, returning: noSteps, baking: noSteps, withdrawing: over, "": "is over"},
		v1alpha1.ActionRetry:       {initial: "not in quarantine", stepping: "not in quarantine", switching: "not in quarantine", retiring: "not in quarantine", returning: "not in quarantine", baking: "not in quarantine", withdrawing: "Withdrawing: RolledBack AnalysisFailed", "": "not in quarantine"},
	}
	for action, byStage := range want {
		for _, stage := range stages {
			t.Run(fmt.Sprintf("%s/%s", action, stage), func(t *testing.T) {
				o := observed(stage)
				o.decision(action, 2, 1)
				p := Make(o)
				refused := ""
				for _, a := range p.Actions {
					if answer, ok := a.(Answer); ok {
						refused = answer.Message
					}
				}
				got := summary(p)
				if refused != "" {
					got = refused
				} else if !p.Store || len(p.Status.Decisions) != 1 {
					t.Errorf("an applied decision is not stored: %v", p.Status.Decisions)
				}
				if !strings.Contains(got, byStage[stage]) || byStage[stage] == "" {
					t.Errorf("got %q, want %q", got, byStage[stage])
				}
			})
		}
	}
}

// Regression: an answer was sent in the plan that applied the decision; where storing failed in an urgent plan, an abort
// counted as applied and was forgotten.
func TestDecisionIsAnsweredOnlyOnceStored(t *testing.T) {
	o := observed(stepping)
	o.decision(v1alpha1.ActionAbort, 2, 1)
	p := Make(o)
	if strings.Contains(lines(p), "answer") {
		t.Errorf("answered before it is stored: %s", lines(p))
	}
	o.Rollout.Status = p.Status
	if p = Make(o); !strings.Contains(lines(p), "answer Decision d: Applied") {
		t.Errorf("not answered: %s", lines(p))
	}
	if len(p.Status.Decisions) != 1 {
		t.Errorf("applied twice: %v", p.Status.Decisions)
	}
}

func TestDecisionsOfOtherAttempts(t *testing.T) {
	for number, want := range map[int64]string{1: "attempt 1 is over", 3: "attempt 3 has not begun"} {
		o := observed(stepping)
		o.decision(v1alpha1.ActionAbort, number, 1)
		if p := Make(o); !strings.Contains(lines(p), want) || summary(p) != "Stepping 2 at 100" {
			t.Errorf("attempt %d: %s: %s", number, summary(p), lines(p))
		}
	}
	o := observed(stepping)
	o.decision(v1alpha1.ActionPromote, 2, 0)
	if p := Make(o); !strings.Contains(lines(p), "the attempt is at step 1") {
		t.Errorf("a decision about another step is not refused: %s", lines(p))
	}
}

// No more decisions are applied at once than are remembered.
func TestManyDecisions(t *testing.T) {
	o := observed(stepping)
	for range 100 {
		o.decision(v1alpha1.ActionPause, 2, 1)
	}
	if p := Make(o); len(p.Status.Decisions) != maxDecisions/2 {
		t.Errorf("%d decisions are applied", len(p.Status.Decisions))
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name, want string
		stage      v1alpha1.Stage
		change     func(*Observed)
	}{
		{"analysis", "Withdrawing: RolledBack AnalysisFailed", stepping, func(o *Observed) { o.analysed(v1alpha1.VerdictFail, nil) }},
		{"analysis in bake", "Withdrawing: RolledBack AnalysisFailed", baking, func(o *Observed) { o.analysed(v1alpha1.VerdictFail, nil) }},
		{"checks", "Withdrawing: RolledBack AnalysisFailed", stepping, func(o *Observed) {
			o.Runs["shop-2-s1"] = o.analysed(v1alpha1.VerdictFail, nil)
			delete(o.Runs, "shop-2")
		}},
		{"crash loop", "Withdrawing: RolledBack PodsFailed", stepping, func(o *Observed) { o.Pods[4].Waiting, o.Pods[4].Restarts = "CrashLoopBackOff", 2 }},
		{"one restart is borne", "Stepping 2 at 100", stepping, func(o *Observed) { o.Pods[4].Waiting, o.Pods[4].Restarts = "CrashLoopBackOff", 1 }},
		{"stable pods do not count", "Stepping 2 at 100", stepping, func(o *Observed) { o.Pods[0].Waiting, o.Pods[0].Restarts = "CrashLoopBackOff", 9 }},
		{"image", "Withdrawing: RolledBack PodsFailed", stepping, func(o *Observed) { o.Pods[4].Waiting = "ImagePullBackOff" }},
		{"image, at once", "Stepping 2 at 100", stepping, func(o *Observed) { o.Pods[4].Waiting, o.Pods[4].Created = "ImagePullBackOff", noon }},
		{"deadline", "Withdrawing: RolledBack ProgressDeadline", stepping, func(o *Observed) {
			o.replicaSet("b").Available, o.attempt().ProgressAt = 1, ptr(at(-11*time.Minute))
		}},
		{"deadline of the switch", "Withdrawing: RolledBack ProgressDeadline", switching, func(o *Observed) {
			o.Stable.Endpoints["b"], o.attempt().ProgressAt = 1, ptr(at(-11*time.Minute))
		}},
		{"canary lost", "Withdrawing: RolledBack CanaryLost", stepping, func(o *Observed) { o.Canary.Endpoints["b"] = 1 }},
		{"canary lost in the switch", "Withdrawing: RolledBack CanaryLost", switching, func(o *Observed) { o.Canary.Endpoints["b"] = 2 }},
		{"lost on the way to the stable Service", "Withdrawing: RolledBack CanaryLost", returning, func(o *Observed) { o.ready("b", 1) }},
		{"lost in the bake", "Withdrawing: RolledBack CanaryLost", baking, func(o *Observed) { o.ready("b", 0) }},
		{"lost in the bake, and one old pod is left", "Withdrawing: RolledBack CanaryLost", baking, func(o *Observed) { o.ready("b", 0); o.ready("a", 1) }},
		{"lost in the bake, and Full", "Withdrawing: RolledBack CanaryLost", baking, func(o *Observed) { o.ready("b", 0); o.attempt().Full = &v1alpha1.Actor{Name: "kim"} }},
		{"lost in the bake, behind a third template", "Withdrawing: RolledBack CanaryLost", baking, func(o *Observed) { o.ready("b", 0); o.Revision = "c" }},
		{"lost in the bake, and the old ones too", "Baking", baking, func(o *Observed) { o.ready("b", 0); o.ready("a", 0) }},
		{"half are enough in the bake", "Baking", baking, func(o *Observed) { o.ready("b", 2) }},
		{"fewer are lost in the bake", "Withdrawing: RolledBack CanaryLost", baking, func(o *Observed) { o.ready("b", 1) }},
		{"the bake does not end with one too few", "Baking", baking, func(o *Observed) { o.ready("b", 3); o.attempt().StageSince = at(-time.Hour) }},
		{"the bake does not wait for pods that never were", "over: Promoted StepsPassed", baking, func(o *Observed) {
			o.Rollout.Spec.Replicas, o.attempt().StageSince = ptr(int32(6)), at(-time.Hour)
		}},
		{"the bake of nothing", "over: Promoted StepsPassed", baking, func(o *Observed) {
			o.Rollout.Spec.Replicas, o.attempt().StageSince = ptr(int32(0)), at(-time.Hour)
			o.ready("b", 0)
		}},
		{"three quarters are enough", "Stepping 1 at 50", stepping, func(o *Observed) {
			o.Rollout.Spec.Replicas, o.attempt().Available, o.Canary.Endpoints["b"] = ptr(int32(8)), 4, 3
		}},
		{"scaled to zero", "Withdrawing: Superseded ScaledToZero", stepping, func(o *Observed) { o.Rollout.Spec.Replicas = ptr(int32(0)) }},
		{"scaled to zero in the switch", "Withdrawing: Superseded ScaledToZero", switching, func(o *Observed) { o.Rollout.Spec.Replicas = ptr(int32(0)) }},
		{"scaled to zero while retiring", "Returning", retiring, func(o *Observed) {
			o.Rollout.Spec.Replicas, o.Canary.Endpoints, o.Stable.Endpoints = ptr(int32(0)), nil, nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := observed(test.stage)
			test.change(&o)
			p := Make(o)
			if got := summary(p); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			if a := p.Status.Attempt; a == nil || a.Verdict == nil {
				return
			}
			if !p.Store || !p.Urgent || p.Status.Attempt.Weight != 0 {
				t.Errorf("store %t, urgent %t, weight %d", p.Store, p.Urgent, p.Status.Attempt.Weight)
			}
			blamed := len(p.Status.Quarantine) == 1
			if blamed != (p.Status.Attempt.Verdict.Outcome == v1alpha1.OutcomeRolledBack) {
				t.Errorf("quarantine: %v", p.Status.Quarantine)
			}
			if p.Status.Revert != nil {
				t.Error("Git is asked before the cluster is safe")
			}
		})
	}
}

// Whoever promotes fully has overruled the analysis, and nothing else.
func TestFullOverrulesTheAnalysisAlone(t *testing.T) {
	for _, test := range []struct {
		name, want string
		stage      v1alpha1.Stage
		change     func(*Observed)
	}{
		{"in the steps", "Stepping 2 at 100", stepping, func(*Observed) {}},
		{"in the switch", "Retiring", switching, func(*Observed) {}},
		{"in the bake", "Baking", baking, func(*Observed) {}},
		{"at the end of the bake", "over: Promoted StepsPassed", baking, func(o *Observed) { o.attempt().StageSince = at(-time.Hour) }},
		{"a new template cuts the bake short", "over: Promoted StepsPassed", baking, func(o *Observed) { o.Revision = "c" }},
		{"a lost canary", "Withdrawing: RolledBack CanaryLost", stepping, func(o *Observed) { o.Canary.Endpoints["b"] = 0 }},
		{"pods that crash", "Withdrawing: RolledBack PodsFailed", stepping, func(o *Observed) {
			o.Pods[4].Waiting, o.Pods[4].Restarts = "CrashLoopBackOff", 2
		}},
	} {
		o := observed(test.stage)
		o.analysed(v1alpha1.VerdictFail, nil)
		o.attempt().Full = &v1alpha1.Actor{Name: "kim", Reason: "stable is down"}
		test.change(&o)
		if got := summary(Make(o)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		o.attempt().Full = nil
		if got := summary(Make(o)); !strings.HasPrefix(got, "Withdrawing: RolledBack") {
			t.Errorf("%s, and nobody promoted: got %s", test.name, got)
		}
	}
}

func TestOnFailurePause(t *testing.T) {
	pods := func(o *Observed) { o.Pods[4].Waiting, o.Pods[4].Restarts = "CrashLoopBackOff", 2 }
	for _, test := range []struct {
		name, want string
		stage      v1alpha1.Stage
		change     func(*Observed)
		paused     bool
	}{
		{"analysis", "Stepping 1 at 50", stepping, func(o *Observed) { o.analysed(v1alpha1.VerdictFail, nil) }, true},
		{"pods", "Stepping 1 at 50", stepping, pods, true},
		{"analysis in the switch", "Switching", switching, func(o *Observed) { o.analysed(v1alpha1.VerdictFail, nil) }, true},
		{"pods in bake", "Baking", baking, func(o *Observed) { pods(o); o.attempt().StageSince = at(-time.Hour) }, true},
		{"a person overruled the analysis", "Stepping 2 at 100", stepping, func(o *Observed) {
			o.analysed(v1alpha1.VerdictFail, nil)
			o.attempt().Full = &v1alpha1.Actor{Name: "kim"}
		}, false},
		{"nobody overrules pods", "Stepping 1 at 50", stepping, func(o *Observed) { pods(o); o.attempt().Full = &v1alpha1.Actor{Name: "kim"} }, true},
		{"a lost canary behind a failed analysis", "Withdrawing: RolledBack CanaryLost", stepping, func(o *Observed) {
			o.analysed(v1alpha1.VerdictFail, nil)
			o.attempt().Pause = &v1alpha1.Actor{Name: ActorBelay}
			o.Canary.Endpoints["b"] = 0
		}, true},
		{"a lost canary behind pods that crash", "Withdrawing: RolledBack CanaryLost", stepping, func(o *Observed) { pods(o); o.Canary.Endpoints["b"] = 0 }, true},
		{"a lost canary behind a person's pause", "Withdrawing: RolledBack CanaryLost", switching, func(o *Observed) {
			o.attempt().Pause = &v1alpha1.Actor{Name: "kim"}
			o.Canary.Endpoints["b"] = 1
		}, true},
		{"lost in the bake", "Withdrawing: RolledBack CanaryLost", baking, func(o *Observed) { o.ready("b", 0) }, false},
		{"a lost canary is taken back all the same", "Withdrawing: RolledBack CanaryLost", stepping, func(o *Observed) { o.Canary.Endpoints["b"] = 0 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := observed(test.stage)
			o.Rollout.Spec.OnFailure.Action = v1alpha1.FailurePause
			test.change(&o)
			p := Make(o)
			if got := summary(p); got != test.want || (p.Status.Attempt.Pause != nil) != test.paused {
				t.Errorf("got %s, paused %v, want %s", got, p.Status.Attempt.Pause, test.want)
			}
			stalled := v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionStalled)
			if test.paused && p.Status.Attempt.Verdict == nil && stalled.Reason != "Paused" {
				t.Errorf("nothing says that the attempt is stalled: %+v", stalled)
			}
		})
	}
	o := observed(stepping)
	o.Rollout.Spec.OnFailure.Action = v1alpha1.FailurePause
	o.analysed(v1alpha1.VerdictFail, nil)
	o.attempt().Pause = &v1alpha1.Actor{Name: ActorBelay}
	o.decision(v1alpha1.ActionResume, 2, 1)
	if p := Make(o); !strings.Contains(lines(p), "the analysis has failed") {
		t.Errorf("resume against a failed analysis: %s", lines(p))
	}
}

// The template of a third revision, and of the stable one again, at every stage.
func TestTemplateChanges(t *testing.T) {
	back, third := "Withdrawing: Superseded TemplateReverted", "Withdrawing: Superseded NewTemplate"
	want := map[v1alpha1.Stage][2]string{
		"": {"Stepping 0 at 25", "rest"}, initial: {"over: Superseded NewTemplate", "over: Superseded NewTemplate"},
		stepping: {third, back}, switching: {"Retiring", back}, retiring: {"Returning", back}, returning: {"Baking", back},
		baking: {"over: Promoted StepsPassed", back}, withdrawing: {"Withdrawing: RolledBack AnalysisFailed", "Withdrawing: RolledBack AnalysisFailed"},
	}
	for _, stage := range stages {
		for i, revision := range []string{"c", "a"} {
			o := observed(stage)
			o.Revision = revision
			if got := summary(Make(o)); got != want[stage][i] {
				t.Errorf("%q, template %s: got %s, want %s", stage, revision, got, want[stage][i])
			}
		}
	}
}

// Regression: a third template in the bake made a revision stable that had just failed its analysis.
func TestThirdTemplateInBakeDoesNotHideFailure(t *testing.T) {
	o := observed(baking)
	o.Revision = "c"
	o.analysed(v1alpha1.VerdictFail, nil)
	if got := summary(Make(o)); got != "Withdrawing: RolledBack AnalysisFailed" {
		t.Error(got)
	}
}

func TestQuarantine(t *testing.T) {
	o := observed("")
	o.Revision = "b"
	o.Rollout.Status.Quarantine = []v1alpha1.Quarantined{{Revision: "b", Attempt: 1, Message: "errors"}}
	p := Make(o)
	if summary(p) != "rest" || v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionStalled).Reason != "RevisionQuarantined" {
		t.Errorf("%s: %s", summary(p), p.Status.BlockedBy)
	}
	o.Rollout.Status.Revert = &v1alpha1.RevertStatus{Bad: "b", State: v1alpha1.RevertPending}
	o.decision(v1alpha1.ActionRetry, 0, 0)
	p = Make(o)
	if summary(p) != "Stepping 0 at 25" || len(p.Status.Quarantine) != 0 || p.Status.Revert.State != v1alpha1.RevertNotNeeded {
		t.Errorf("%s: %v %v", summary(p), p.Status.Quarantine, p.Status.Revert)
	}
}

// Regression: Git was asked to go back although a person had said to try the revision again during the withdrawal.
func TestRevertIsNotIntendedAfterRetry(t *testing.T) {
	for _, retried := range []bool{false, true} {
		o := observed(withdrawing)
		o.attempt().AcceptedAt = ptr(at(-20 * time.Second))
		if retried {
			o.decision(v1alpha1.ActionRetry, 0, 0)
		}
		p := Make(o)
		if (p.Status.Revert == nil) != retried {
			t.Errorf("retried %t: %+v", retried, p.Status.Revert)
		}
		if !retried && (p.Status.Revert.Bad != "b" || p.Status.Revert.Good != "a" || p.Status.Revert.Attempt != 2 || !p.Store) {
			t.Errorf("%+v", p.Status.Revert)
		}
	}
}

func TestCannotBegin(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(*Observed)
	}{
		{"", nil},
		{"spec.paused is true", func(o *Observed) { o.Rollout.Spec.Paused = true }},
		{"spec.replicas is 0", func(o *Observed) { o.Rollout.Spec.Replicas = ptr(int32(0)) }},
		{"Service shop does not exist", func(o *Observed) { o.Stable.Exists = false }},
		{"was not made by this Rollout", func(o *Observed) { o.Canary.Exists = true }},
		{"does not yet select", func(o *Observed) { o.Stable.Role = "" }},
		{"HTTPRoute r does not exist", func(o *Observed) { o.Routes[0].Object = nil }},
		{"no rule that refers to service", func(o *Observed) { o.Stable.Name = "other" }},
		{"still refer to the canary Service", func(o *Observed) { o.Routes[0].Object = route(50) }},
		{"has not reported on the route", func(o *Observed) { delete(o.Routes[0].Object.Object, "status") }},
		{"template t is missing", func(o *Observed) { o.AnalysisProblem = "template t is missing" }},
	} {
		o := observed("")
		o.Revision = "b"
		if test.change != nil {
			test.change(&o)
		}
		p := Make(o)
		if (p.Status.Attempt != nil) != (test.want == "") || !strings.Contains(p.Status.BlockedBy, test.want) {
			t.Errorf("got %s, %q, want %q", summary(p), p.Status.BlockedBy, test.want)
		}
	}
}

func TestEvidence(t *testing.T) {
	fresh, old := ptr(at(-time.Second)), ptr(at(-20*time.Second))
	for _, test := range []struct {
		name, blocked string
		change        func(*Observed)
	}{
		{"fresh", "", func(o *Observed) { o.analysed(v1alpha1.VerdictPass, fresh) }},
		{"taken as the traffic was confirmed", "no good measurement", func(o *Observed) { o.analysed(v1alpha1.VerdictPass, old) }},
		{"no data", "no good measurement", func(o *Observed) { o.analysed(v1alpha1.VerdictPending, nil) }},
		{"no data after good data", "no good measurement", func(o *Observed) { o.analysed(v1alpha1.VerdictPending, fresh) }},
		{"provider down without a message", "the provider does not answer", func(o *Observed) { o.analysed(v1alpha1.VerdictHold, fresh) }},
		{"provider down, pause", "paused by belay", func(o *Observed) { o.analysed(v1alpha1.VerdictPause, fresh).Status.Message = "down" }},
		{"not started", "has not started", func(o *Observed) { o.analysed(v1alpha1.VerdictPass, fresh); delete(o.Runs, "shop-2") }},
		{"another metric is missing", "metric latency", func(o *Observed) {
			run := o.analysed(v1alpha1.VerdictPass, fresh)
			run.Spec.Metrics = append(run.Spec.Metrics, v1alpha1.Metric{Name: "latency"})
		}},
		{"count reached", "", func(o *Observed) {
			run := o.analysed(v1alpha1.VerdictPass, old)
			run.Spec.Metrics[0].Threshold.Count, run.Status.Metrics[0].Passed = 3, 3
		}},
		{"count not reached", "2 of 3 good", func(o *Observed) {
			run := o.analysed(v1alpha1.VerdictPass, fresh)
			run.Spec.Metrics[0].Threshold.Count, run.Status.Metrics[0].Passed = 3, 2
		}},
		{"checks have not started", "shop-2-s1 has not started", func(o *Observed) {
			o.analysed(v1alpha1.VerdictPass, fresh)
			o.Rollout.Spec.Strategy.Canary.Steps[1].Checks = o.Rollout.Spec.Analysis
		}},
		{"checks passed", "", func(o *Observed) {
			o.Runs["shop-2-s1"] = o.analysed(v1alpha1.VerdictPass, fresh)
			o.Rollout.Spec.Strategy.Canary.Steps[1].Checks = o.Rollout.Spec.Analysis
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := observed(stepping)
			test.change(&o)
			p := Make(o)
			if got := p.Status.Attempt.Step; (got == 2) != (test.blocked == "") || !strings.Contains(p.Status.BlockedBy, test.blocked) {
				t.Errorf("step %d, blocked by %q, want %q", got, p.Status.BlockedBy, test.blocked)
			}
		})
	}
}

func TestStepsEdited(t *testing.T) {
	for _, test := range []struct {
		name, want string
		steps      []v1alpha1.Step
	}{
		{"the weight of this step", "Stepping 1 at 30", []v1alpha1.Step{step(25, nil), step(30, nil), step(100, nil)}},
		{"a step was put in front", "Stepping 1 at 25", []v1alpha1.Step{step(10, nil), step(25, nil), step(50, nil)}},
		{"this step was taken out: not to more than it has", "Stepping 0 at 25", []v1alpha1.Step{step(25, nil)}},
		{"all steps ask for more", "Stepping 0 at 60", []v1alpha1.Step{step(60, nil)}},
	} {
		o := observed(stepping)
		o.Rollout.Spec.Strategy.Canary.Steps = test.steps
		if got := summary(Make(o)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	o := observed(stepping)
	atFull(&o)
	o.Rollout.Spec.Strategy.Canary.Steps = []v1alpha1.Step{step(25, nil), step(60, nil)}
	if got := summary(Make(o)); got != "Stepping 1 at 60" {
		t.Errorf("a step beyond the last: %s", got)
	}
	o.attempt().Approvals = []v1alpha1.StepApproval{{Step: 1}}
	if p := Make(o); len(p.Status.Attempt.Approvals) != 0 {
		t.Error("the approval of another step at this place still counts")
	}
}

// While an attempt runs, an HPA that asks for fewer pods is not followed; one that asks for more is.
func TestStableKeepsWhatTheAttemptHasSeen(t *testing.T) {
	for _, test := range []struct {
		name               string
		stage              v1alpha1.Stage
		seen, asked, want  int32
		needed, remembered int32
	}{
		{"fewer while stepping", stepping, 4, 2, 4, 4, 4},
		{"more while stepping", stepping, 4, 6, 6, 6, 6},
		{"fewer while withdrawing", withdrawing, 4, 1, 4, 4, 4},
		{"fewer while baking", baking, 4, 1, 4, 4, 4},
		{"none is none", stepping, 4, 0, 0, 0, 0},
		{"at rest the new number counts", "", 0, 2, 2, 2, 0},
	} {
		o := observed(test.stage)
		o.Rollout.Spec.Replicas = &test.asked
		if a := o.attempt(); a != nil {
			a.Replicas = test.seen
		}
		p := Make(o)
		for _, action := range p.Actions {
			if scale, ok := action.(Scale); ok && scale.Revision == p.Status.Stable.Revision && scale.To != test.want {
				t.Errorf("%s: stable is scaled to %d, want %d", test.name, scale.To, test.want)
			}
		}
		d := draft{Observed: &o, s: &p.Status}
		if got := d.replicas(); got != test.needed {
			t.Errorf("%s: %d pods are needed, want %d", test.name, got, test.needed)
		}
		if a := p.Status.Attempt; a != nil && a.Replicas != test.remembered {
			t.Errorf("%s: the attempt remembers %d pods, want %d", test.name, a.Replicas, test.remembered)
		}
	}
}

// A gateway may learn of a route before it learns of the endpoints behind it: the first request waits for both.
func TestFirstExposureWaitsForEndpointsToSettle(t *testing.T) {
	for _, test := range []struct {
		name    string
		since   *metav1.Time
		weight  int64 // on the route
		exposed bool
	}{
		{"endpoints just seen", nil, 0, false},
		{"endpoints settle", ptr(at(-9 * time.Second)), 0, false},
		{"endpoints have settled", ptr(at(-11 * time.Second)), 0, true},
		{"the canary has traffic already", ptr(at(0)), 25, true},
	} {
		o := observed(stepping)
		o.attempt().EndpointsAt, o.attempt().AcceptedAt, o.attempt().ConfirmedAt = test.since, nil, nil
		o.Routes[0].Object = route(test.weight)
		p := Make(o)
		if got := strings.Contains(lines(p), "patch HTTPRoute r"); got != test.exposed {
			t.Errorf("%s: route is patched: %t, want %t; actions:\n%s", test.name, got, test.exposed, lines(p))
		}
		if want := noon.Add(2 * time.Second); test.since != nil && !test.exposed && !p.NextLook.Equal(want) {
			t.Errorf("%s: next look at %s, want %s", test.name, p.NextLook, want)
		}
	}
	o := observed(stepping)
	o.attempt().EndpointsAt, o.Canary.Endpoints = ptr(at(-time.Minute)), nil
	if p := Make(o); p.Status.Attempt.EndpointsAt != nil {
		t.Errorf("without endpoints they are known since %s", p.Status.Attempt.EndpointsAt)
	}
}

// A plan that goes back because endpoints are missing says that it is to be made again from what the API server has.
func TestLostCanaryIsDoubtful(t *testing.T) {
	o := observed(stepping)
	if Make(o).Doubtful {
		t.Error("nothing is lost")
	}
	o.Canary.Endpoints["b"] = 0
	p := Make(o)
	if p.Status.Attempt.Verdict == nil || p.Status.Attempt.Verdict.Reason != ReasonCanaryLost || !p.Doubtful {
		t.Fatalf("doubtful %t, verdict %+v", p.Doubtful, p.Status.Attempt.Verdict)
	}
	o.Rollout.Status = p.Status
	if Make(o).Doubtful {
		t.Error("it was decided before")
	}
	o = observed(baking)
	o.ready("b", 0)
	if !Make(o).Doubtful {
		t.Error("in the bake it is not doubted")
	}
}

// The number of pods is taken out of what is declared, as it is before an HPA comes: what runs stays, and is written down.
func TestReplicasTakenOut(t *testing.T) {
	finalizer := func(p Plan) SetFinalizer {
		for _, a := range p.Actions {
			if f, ok := a.(SetFinalizer); ok {
				return f
			}
		}
		return SetFinalizer{}
	}
	o := observed("")
	o.Rollout.Spec.Replicas = nil
	if p := Make(o); finalizer(p).Replicas != 4 || strings.Contains(lines(p), "scale") {
		t.Errorf("at rest: %+v, %s", finalizer(p), lines(p))
	}
	o = observed(stepping)
	o.Rollout.Spec.Replicas, o.attempt().Replicas = nil, 6
	if p := Make(o); finalizer(p).Replicas != 6 || strings.Contains(lines(p), "scale a from 4 to 1") {
		t.Errorf("in an attempt: %+v, %s", finalizer(p), lines(p))
	}
	o = observed("")
	o.Rollout.Spec.Replicas, o.replicaSet("a").Wanted = nil, 0
	if p := Make(o); finalizer(p).Replicas != 1 {
		t.Errorf("scaled to 0 before: %+v, want 1", finalizer(p))
	}
	o = observed("")
	o.Rollout.Spec.Replicas, o.Rollout.Status.Stable, o.ReplicaSets = nil, nil, nil
	if p := Make(o); finalizer(p).Replicas != 1 {
		t.Errorf("new: %+v, want 1", finalizer(p))
	}
}
