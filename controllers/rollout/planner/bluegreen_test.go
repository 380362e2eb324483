package planner

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// previewed is an attempt whose preview is up with all pods and confirmed for 20 seconds; change may make it otherwise.
func previewed(change func(*v1alpha1.BlueGreenStrategy)) Observed {
	o := observed(stepping)
	b := &v1alpha1.BlueGreenStrategy{Bake: "5m", ScaleDownDelay: "30s"}
	if change != nil {
		change(b)
	}
	o.Rollout.Spec.Strategy = v1alpha1.Strategy{BlueGreen: b}
	a := o.attempt()
	a.Step, a.StepName, a.Weight, a.MaxWeight, a.ConfirmedWeight, a.ExposedAt, a.Available = 0, v1alpha1.StepPreview, 0, 0, 0, nil, 4
	a.EndpointsAt = ptr(at(-time.Minute))
	o.addPods("b", v1alpha1.RoleCanary, 2)
	rs := o.replicaSet("b")
	rs.Wanted, rs.Current, rs.Ready, rs.Available = 4, 4, 4, 4
	o.Canary.Endpoints["b"] = 4
	o.Routes[0].Object = route(0)
	return o
}

func TestPreviewGates(t *testing.T) {
	const preview, moves = "Stepping 0 at 0", "Stepping 1 at 100"
	checks := func(b *v1alpha1.BlueGreenStrategy) {
		b.PrePromotion = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "t"}}}
	}
	approval := func(b *v1alpha1.BlueGreenStrategy) { b.Approval = v1alpha1.ApprovalRequired }
	ran := func(verdict v1alpha1.RunVerdict, passed *metav1.Time) func(*Observed) {
		return func(o *Observed) {
			o.Runs["shop-2-s0"] = o.analysed(verdict, passed)
			o.Rollout.Spec.Analysis = nil
			delete(o.Runs, "shop-2")
		}
	}
	for _, test := range []struct {
		name       string
		spec       func(*v1alpha1.BlueGreenStrategy)
		change     func(*Observed)
		want, says string
	}{
		{"nothing is waited for", nil, nil, moves, ""},
		{"hold", func(b *v1alpha1.BlueGreenStrategy) { b.Hold = "21s" }, nil, preview, "step preview holds until"},
		{"hold is over", func(b *v1alpha1.BlueGreenStrategy) { b.Hold = "19s" }, nil, moves, ""},
		{"approval", approval, nil, preview, "step preview needs approval"},
		{"approved", approval, func(o *Observed) { o.attempt().Approvals = []v1alpha1.StepApproval{{Step: 0}} }, moves, ""},
		{"promoted without approval", approval, func(o *Observed) { o.decision(v1alpha1.ActionPromote, 2, 0) }, moves, ""},
		{"checks have not started", checks, nil, preview, "AnalysisRun shop-2-s0 has not started"},
		{"checks passed", checks, ran(v1alpha1.VerdictPass, ptr(at(-time.Second))), moves, ""},
		{"checks passed before", checks, ran(v1alpha1.VerdictPass, ptr(at(-time.Minute))), preview, "no good measurement"},
		{"checks failed", checks, ran(v1alpha1.VerdictFail, nil), "Withdrawing: RolledBack AnalysisFailed", ""},
		{"background analysis is not asked before the switch", nil, func(o *Observed) {
			o.analysed(v1alpha1.VerdictPass, nil)
			o.Runs = map[string]*v1alpha1.AnalysisRun{}
		}, moves, ""},
		{"pods are missing", nil, func(o *Observed) { o.replicaSet("b").Available = 3 }, preview, "3 of 4 canary pods are available"},
		{"endpoints are missing", nil, func(o *Observed) { o.Canary.Endpoints["b"] = 3 }, preview, "3 of 4 canary pods are ready endpoints of Service shop-canary"},
		{"fewer pods are asked for", func(b *v1alpha1.BlueGreenStrategy) { b.PreviewReplicas = ptr(intstr.FromString("25%")) },
			func(o *Observed) { o.replicaSet("b").Available, o.Canary.Endpoints["b"] = 1, 1 }, moves, ""},
		{"no user is lost with the preview", nil, func(o *Observed) { o.Canary.Endpoints["b"] = 0 }, preview, "0 of 4"},
		{"paused", nil, func(o *Observed) { o.Rollout.Spec.Paused = true }, preview, "spec.paused"},
		{"superseded", nil, func(o *Observed) { o.Revision = "c" }, "Withdrawing: Superseded NewTemplate", ""},
		{"aborted", nil, func(o *Observed) { o.decision(v1alpha1.ActionAbort, 2, 0) }, "Withdrawing: Aborted Manual", ""},
		{"crash loop", nil, func(o *Observed) { o.Pods[4].Waiting, o.Pods[4].Restarts = "CrashLoopBackOff", 2 }, "Withdrawing: RolledBack PodsFailed", ""},
		{"deadline", nil, func(o *Observed) { o.replicaSet("b").Available, o.attempt().ProgressAt = 3, ptr(at(-11*time.Minute)) },
			"Withdrawing: RolledBack ProgressDeadline", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := previewed(test.spec)
			if test.change != nil {
				test.change(&o)
			}
			p := Make(o)
			if got := summary(p); got != test.want || !strings.Contains(p.Status.BlockedBy, test.says) {
				t.Errorf("got %s (blocked by %q), want %s (%q)", got, p.Status.BlockedBy, test.want, test.says)
			}
			if weighs := strings.Contains(lines(p), "to canary weight"); weighs != (test.want == moves && test.name != "fewer pods are asked for") {
				t.Errorf("exposed %t: %s", weighs, lines(p))
			}
			if strings.Contains(lines(p), "scale a") {
				t.Errorf("stable is scaled: %s", lines(p))
			}
		})
	}
}

// Checks are started on the preview once it is confirmed, not before.
func TestPreviewIsChecked(t *testing.T) {
	for confirmed, want := range map[bool]bool{true: true, false: false} {
		o := previewed(func(b *v1alpha1.BlueGreenStrategy) {
			b.PrePromotion = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "t"}}}
		})
		if !confirmed {
			o.attempt().AcceptedAt, o.attempt().ConfirmedAt = nil, nil
		}
		if got := strings.Contains(lines(Make(o)), "start AnalysisRun shop-2-s0: checks of step preview"); got != want {
			t.Errorf("confirmed %t: started %t", confirmed, got)
		}
	}
}

// A run that was stopped when its step was left measures nothing any more: where the step is entered again, it is made anew.
// Regression: the step waited for it without end.
func TestChecksOfAnEarlierVisit(t *testing.T) {
	o := previewed(func(b *v1alpha1.BlueGreenStrategy) {
		b.PrePromotion = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "t"}}}
	})
	run := o.analysed(v1alpha1.VerdictPass, ptr(at(-time.Hour)))
	o.Rollout.Spec.Analysis, o.Runs = nil, map[string]*v1alpha1.AnalysisRun{"shop-2-s0": run}
	wantActions(t, Make(o))
	run.Spec.State = v1alpha1.RunStopped
	wantActions(t, Make(o), "delete AnalysisRun shop-2-s0: it is of an earlier visit to step preview")
	o.Runs = nil
	wantActions(t, Make(o), "start AnalysisRun shop-2-s0: checks of step preview")
}

// The switch waits until gateways have had the time to learn of the pods that the preview did not have.
func TestSwitchWaitsForNewEndpoints(t *testing.T) {
	o := previewed(func(b *v1alpha1.BlueGreenStrategy) { b.PreviewReplicas = ptr(intstr.FromInt32(1)) })
	o.replicaSet("b").Wanted, o.replicaSet("b").Available, o.Canary.Endpoints["b"], o.attempt().Available = 1, 1, 1, 1
	p := Make(o)
	wantActions(t, p, "scale b from 1 to 4: attempt 2, stage Stepping")
	for _, test := range []struct {
		after     time.Duration
		endpoints int32
		switched  bool
	}{{time.Second, 2, false}, {20 * time.Second, 3, false}, {30 * time.Second, 4, false}, {39 * time.Second, 4, false}, {41 * time.Second, 4, true}} {
		o.Rollout.Status, o.Now = p.Status, noon.Add(test.after)
		o.replicaSet("b").Wanted, o.replicaSet("b").Available, o.Canary.Endpoints["b"] = 4, test.endpoints, test.endpoints
		p = Make(o)
		if got := strings.Contains(lines(p), "patch HTTPRoute r to canary weight 100: step switch"); got != test.switched {
			t.Errorf("after %s: switched %t (blocked by %q)", test.after, got, p.Status.BlockedBy)
		}
	}
}

// A strategy that becomes blue-green in the middle of a canary's steps begins with the preview.
func TestBecomesBlueGreen(t *testing.T) {
	for name, test := range map[string]struct {
		step   int32
		weight int32
		called string
		want   string
	}{
		"at a share":     {1, 50, "step-2", "Stepping 0 at 0"},
		"first step":     {0, 25, "step-1", "Stepping 0 at 0"},
		"dark step":      {0, 0, "step-1", "Stepping 0 at 0"},
		"at full weight": {2, 100, "step-3", "Stepping 0 at 0"},
		"past the steps": {2, 100, fullStep, "Switching"},
		"the switch":     {1, 100, v1alpha1.StepSwitch, "Switching"},
	} {
		o := previewed(nil)
		a := o.attempt()
		a.Step, a.Weight, a.StepName, a.ExposedAt = test.step, test.weight, test.called, ptr(at(-time.Minute))
		o.Routes[0].Object = route(int64(test.weight))
		if p := Make(o); summary(p) != test.want {
			t.Errorf("%s: %s, want %s", name, summary(p), test.want)
		}
	}
	// Regression: who promoted a step of the canary past a strategy that had become blue-green got the switch at once.
	o := previewed(nil)
	o.attempt().Step, o.attempt().Weight, o.attempt().StepName = 0, 25, "step-1"
	o.Routes[0].Object = route(25)
	o.decision(v1alpha1.ActionPromote, 2, 0)
	if p := Make(o); summary(p) != "Stepping 0 at 0" || !strings.Contains(lines(p), "the preview comes first") {
		t.Errorf("promoted: %s, %s", summary(p), lines(p))
	}
}

// The bake and the delay before old pods go are those of the strategy that is set.
func TestBlueGreenBake(t *testing.T) {
	for bake, want := range map[v1alpha1.Duration]string{"30s": "over: Promoted StepsPassed", "2m": "Baking"} {
		o := observed(baking)
		o.Rollout.Spec.Strategy = v1alpha1.Strategy{BlueGreen: &v1alpha1.BlueGreenStrategy{Bake: bake, ScaleDownDelay: "1h"}}
		p := Make(o)
		if got := summary(p); got != want || strings.Contains(lines(p), "scale a") {
			t.Errorf("bake %s: %s, %s", bake, got, lines(p))
		}
	}
	for delay, kept := range map[v1alpha1.Duration]bool{"59s": false, "61s": true} {
		o := observed(baking)
		o.Rollout.Status.Attempt = nil
		o.Rollout.Spec.Strategy = v1alpha1.Strategy{BlueGreen: &v1alpha1.BlueGreenStrategy{ScaleDownDelay: delay}}
		if got := !strings.Contains(lines(Make(o)), "scale a from 4 to 0"); got != kept {
			t.Errorf("scaleDownDelay %s: kept %t", delay, got)
		}
	}
}

// The switch is left only when postPromotion has passed on measurements taken since all traffic was on the new revision.
func TestPostPromotion(t *testing.T) {
	for _, test := range []struct {
		name, maxHold string
		action        v1alpha1.InconclusiveAction
		run           func(*Observed) *v1alpha1.AnalysisRun
		want, says    string
	}{
		{"has not started", "", "", nil, "Stepping 1 at 100", "AnalysisRun shop-2-s1 has not started"},
		{"passed before", "", "", func(o *Observed) *v1alpha1.AnalysisRun { return o.analysed(v1alpha1.VerdictPass, ptr(at(-time.Hour))) },
			"Stepping 1 at 100", "no good measurement"},
		{"passed", "", "", func(o *Observed) *v1alpha1.AnalysisRun {
			return o.analysed(v1alpha1.VerdictPass, ptr(at(-time.Second)))
		}, "Switching", ""},
		{"failed", "", "", func(o *Observed) *v1alpha1.AnalysisRun { return o.analysed(v1alpha1.VerdictFail, nil) }, "Withdrawing: RolledBack AnalysisFailed", ""},
		{"inconclusive", "10s", v1alpha1.InconclusiveRollback, nil, "Withdrawing: RolledBack Inconclusive", ""},
		{"goes on without", "10s", v1alpha1.InconclusiveProceed, nil, "Switching", ""},
	} {
		o := previewed(func(b *v1alpha1.BlueGreenStrategy) {
			b.PostPromotion = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "t"}}}
			b.MaxHold, b.OnInconclusive = v1alpha1.Duration(test.maxHold), test.action
		})
		a := o.attempt()
		a.Step, a.StepName, a.Weight, a.MaxWeight, a.ConfirmedWeight, a.ExposedAt = 1, v1alpha1.StepSwitch, 100, 100, 100, ptr(at(-time.Minute))
		o.Routes[0].Object = route(100)
		runs := map[string]*v1alpha1.AnalysisRun{}
		if test.run != nil {
			runs["shop-2-s1"] = test.run(&o)
		}
		o.Runs, o.Rollout.Spec.Analysis = runs, nil
		p := Make(o)
		if got := summary(p); got != test.want || !strings.Contains(p.Status.BlockedBy, test.says) {
			t.Errorf("%s: got %s (blocked by %q), want %s (%q)", test.name, got, p.Status.BlockedBy, test.want, test.says)
		}
		if strings.Contains(lines(p), "scale a") {
			t.Errorf("%s: old pods go: %s", test.name, lines(p))
		}
	}
}
