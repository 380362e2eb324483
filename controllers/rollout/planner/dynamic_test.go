package planner

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// saving is an attempt at half, confirmed, of four pods whose stable ones follow the share.
func saving() Observed {
	o := observed(stepping)
	o.Rollout.Spec.Strategy.Canary.StableScale = v1alpha1.StableScaleDynamic
	o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = "10m"
	return o
}

func TestDynamicStableFollowsWhatIsConfirmed(t *testing.T) {
	o := saving()
	if got := lines(Make(o)); !strings.Contains(got, "scale a from 4 to 2: the canary carries 50 of 100") {
		t.Error(got)
	}
	o.attempt().ConfirmedWeight = 25 // the half is wanted, and not in force
	if got := lines(Make(o)); !strings.Contains(got, "scale a from 4 to 3") {
		t.Error(got)
	}
	o.attempt().ConfirmedWeight, o.attempt().Weight = 100, 100
	o.attempt().Step, o.attempt().StepName = 2, "step-3"
	if got := lines(Make(o)); strings.Contains(got, "scale a from 4 to 0") {
		t.Errorf("stable keeps a pod: %s", got)
	}
	o = saving()
	o.replicaSet("a").Wanted = 2
	o.Routes[0].Object = route(0) // somebody has undone the split
	if got := lines(Make(o)); !strings.Contains(got, "scale a from 2 to 4: the canary carries 0 of 100") {
		t.Error(got)
	}
	o = observed(stepping)
	if got := lines(Make(o)); strings.Contains(got, "scale a") {
		t.Errorf("Full: %s", got)
	}
}

func TestDynamicAbortGoesAsFastAsStableComes(t *testing.T) {
	o := saving()
	o.replicaSet("a").Wanted, o.replicaSet("a").Available = 2, 2
	o.Stable.Endpoints["a"] = 2
	o.decision(v1alpha1.ActionAbort, 2, 1)
	p := Make(o)
	got := lines(p)
	if strings.Contains(got, "patch HTTPRoute") || strings.Contains(got, "point canary") || !strings.Contains(got, "scale a from 2 to 4") || !strings.Contains(p.Status.BlockedBy, "the canary keeps weight 50 meanwhile") {
		t.Errorf("%s; %q", got, p.Status.BlockedBy)
	}
	o.Rollout.Status, o.Decisions = p.Status, nil
	o.Stable.Endpoints["a"] = 3
	if got := lines(Make(o)); !strings.Contains(got, "patch HTTPRoute r to canary weight 25: the attempt is taken back") {
		t.Error(got)
	}
	o.Stable.Endpoints["a"] = 1 // fewer again: nothing goes back to the canary
	if got := lines(Make(o)); strings.Contains(got, "patch HTTPRoute") {
		t.Error(got)
	}
	o.Stable.Endpoints["a"] = 4
	if got := lines(Make(o)); !strings.Contains(got, "canary weight 0: the attempt is taken back") || !strings.Contains(got, "point canary Service to stable pods") {
		t.Error(got)
	}
	// A canary that cannot serve is left at once, and so is one after progressDeadline.
	o.Stable.Endpoints["a"] = 2
	for name, change := range map[string]func(){
		"lost":     func() { o.Rollout.Status.Attempt.Verdict.Reason = ReasonCanaryLost },
		"deadline": func() { o.Rollout.Status.Attempt.StageSince.Time = noon.Add(-o.deadline() - 10*time.Second) },
		"gone":     func() { o.Canary.Endpoints["b"] = 0 },
		"too few":  func() { o.Canary.Endpoints["b"] = 1 },
	} {
		was, reason, have := o.Rollout.Status.Attempt.StageSince, o.Rollout.Status.Attempt.Verdict.Reason, o.Canary.Endpoints["b"]
		change()
		if got := lines(Make(o)); !strings.Contains(got, "canary weight 0: the attempt is taken back") {
			t.Errorf("%s: %s", name, got)
		}
		o.Rollout.Status.Attempt.StageSince, o.Rollout.Status.Attempt.Verdict.Reason, o.Canary.Endpoints["b"] = was, reason, have
	}
}

// One pod that does not come up sends no flood to the stable pods that are left: those of the canary that are ready serve meanwhile.
func TestDynamicAbortForAFailedPod(t *testing.T) {
	for ready, want := range map[int32]string{9: "", 8: "", 7: "", 6: "canary weight 0"} {
		o := saving()
		o.Rollout.Spec.Replicas = ptr(int32(10))
		o.Rollout.Spec.Strategy.Canary.Steps[1] = step(90, nil)
		a := o.attempt()
		a.Weight, a.ConfirmedWeight, a.Available, a.Replicas = 90, 90, 9, 10
		o.Routes[0].Object = route(90)
		o.replicaSet("a").Wanted, o.Stable.Endpoints["a"] = 1, 1
		o.Canary.Endpoints["b"] = ready
		o.Pods[4].Waiting, o.Pods[4].Created = "ImagePullBackOff", noon.Add(-time.Hour)
		p := Make(o)
		got := lines(p)
		if summary(p) != "Withdrawing: RolledBack PodsFailed" || !strings.Contains(got, "scale a from 1 to 10") || !strings.Contains(got, want) || want == "" && strings.Contains(got, "patch") {
			t.Errorf("%d of 9 pods are ready: %s, actions:\n%s", ready, summary(p), got)
		}
	}
}
