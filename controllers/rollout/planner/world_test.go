package planner

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestReplicasChanged(t *testing.T) {
	o := observed(stepping)
	o.Rollout.Spec.Replicas = ptr(int32(8))
	p := Make(o)
	wantActions(t, p, "scale a from 4 to 8: stable carries all of the traffic whenever it must", "scale b from 2 to 4: attempt 2, stage Stepping")
	if summary(p) != "Stepping 1 at 50" {
		t.Errorf("goes on without the pods: %s", summary(p))
	}
	for text, want := range map[string]int32{"50%": 4, "1%": 1, "100%": 8, "3": 3} {
		o.Rollout.Spec.Strategy.Canary.Steps[1].Replicas = ptr(intstr.Parse(text))
		d := &draft{Observed: &o, s: &o.Rollout.Status}
		if got := d.canaryTarget(); got != want {
			t.Errorf("replicas %s: %d pods, want %d", text, got, want)
		}
	}
}

// Regression: after a step to a lower weight, or while endpoints followed new pods, the canary counted as lost.
func TestOwnScalingIsNoLoss(t *testing.T) {
	o := observed(stepping)
	o.attempt().Available, o.attempt().Weight = 4, 25
	o.attempt().Step, o.attempt().StepName = 0, "step-1"
	o.Routes[0].Object, o.Canary.Endpoints["b"], o.replicaSet("b").Available = route(25), 1, 1
	p := Make(o)
	if summary(p) == "Withdrawing: RolledBack CanaryLost" || p.Status.Attempt.Available != 1 {
		t.Errorf("%s, %d", summary(p), p.Status.Attempt.Available)
	}
	o = observed(stepping)
	o.attempt().Available, o.Canary.Endpoints["b"] = 1, 1 // two pods are available, one is an endpoint
	if p := Make(o); p.Status.Attempt.Available != 1 || p.Status.Attempt.Verdict != nil {
		t.Errorf("%s, %d", summary(p), p.Status.Attempt.Available)
	}
}

func TestUrgentActions(t *testing.T) {
	o := observed(stepping)
	o.decision(v1alpha1.ActionAbort, 2, 1)
	wantActions(t, Make(o), "patch HTTPRoute r to canary weight 0: the attempt is taken back",
		"point canary Service to stable pods: whoever still reaches it gets stable pods")
	o = observed(retiring)
	o.decision(v1alpha1.ActionAbort, 2, 1)
	// The new pods stay in the stable Service until the old ones are seen in it.
	wantActions(t, Make(o), "make a stable (4 pods): its pods belong to the stable Service", "patch HTTPRoute r to canary weight 0: the attempt is taken back",
		"point canary Service to stable pods: whoever still reaches it gets stable pods")
	o = observed(withdrawing)
	o.role("b", v1alpha1.RoleStable)
	o.Stable.Endpoints["b"] = 2
	wantActions(t, Make(o), "make b canary (2 pods): its pods are on trial")
	// Regression: pods that lost their role are endpoints for a while yet.
	o.role("a", v1alpha1.RolePrevious)
	wantActions(t, Make(o), "make a stable (4 pods): its pods belong to the stable Service")
}

func TestRaiseNeedsEverything(t *testing.T) {
	for name, change := range map[string]func(*Observed){
		"endpoints":      func(o *Observed) { o.Canary.Endpoints["b"], o.attempt().Available = 1, 1 },
		"available pods": func(o *Observed) { o.replicaSet("b").Available = 1 },
		"canary Service": func(o *Observed) { o.Canary.Exists = false },
		"ports":          func(o *Observed) { o.Canary.PortsMatch = false },
		"revision":       func(o *Observed) { o.Canary.Revision = "z" },
		"stable role":    func(o *Observed) { o.Stable.Role = "" },
		"pause":          func(o *Observed) { o.Rollout.Spec.Paused = true },
		"nothing":        nil,
	} {
		o := observed(stepping)
		o.Routes[0].Object = route(25)
		if change != nil {
			change(&o)
		}
		if raised := strings.Contains(lines(Make(o)), "to canary weight 50"); raised != (change == nil) {
			t.Errorf("without %s: raised %t", name, raised)
		}
	}
}

// Regression: without the annotation, a canary reference with weight was taken for the user's and left on the route.
func TestStrippedAnnotation(t *testing.T) {
	o := observed(stepping)
	o.Routes[0].Object.SetAnnotations(nil)
	o.decision(v1alpha1.ActionAbort, 2, 1)
	if p := Make(o); !strings.Contains(lines(p), "to canary weight 0") {
		t.Errorf("the weight stays: %s", lines(p))
	}
}

// Regression: the role was never put back into the stable Service while old pods were retiring.
func TestStableRoleIsHealed(t *testing.T) {
	for _, stage := range []v1alpha1.Stage{"", stepping, switching, retiring, returning, baking} {
		o := observed(stage)
		o.Stable.Role = ""
		if stage == retiring {
			o.Stable.Endpoints["a"] = 4
		}
		if p := Make(o); stage != switching && !strings.Contains(lines(p), "add role to stable Service") {
			t.Errorf("%q: not healed: %s", stage, lines(p))
		}
	}
}

func TestDeletion(t *testing.T) {
	for _, stage := range stages {
		o := observed(stage)
		o.Rollout.DeletionTimestamp, o.Stable.RoleAdded = ptr(at(0)), true
		p := Make(o)
		gone := strings.Contains(lines(p), "remove finalizer")
		if !p.Urgent || gone != (stage == "" || stage == initial) {
			t.Errorf("%q: urgent %t, %s", stage, p.Urgent, lines(p))
		}
	}
	// Regression: the role was taken out of the selector while pods that failed were still there to join the Service.
	o := observed(withdrawing)
	o.Rollout.DeletionTimestamp, o.Stable.RoleAdded, o.attempt().AcceptedAt = ptr(at(0)), true, ptr(at(-time.Minute))
	wantActions(t, Make(o), "scale b from 2 to 0: the Rollout is being deleted")
	o.replicaSet("b").Wanted, o.replicaSet("b").Current = 0, 0
	wantActions(t, Make(o), "remove role from stable Service: the Rollout is being deleted", "remove finalizer: routes and Services are as they were before")
}

// The next look is at the moment from which the plan differs: at that time it does, and before it does not.
func TestNextLook(t *testing.T) {
	for _, stage := range []v1alpha1.Stage{stepping, retiring, baking, withdrawing} {
		o := observed(stage)
		o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = "1m"
		if stage == retiring {
			o.attempt().AcceptedAt = ptr(at(-5 * time.Second))
		}
		was := summary(Make(o))
		look := Make(o).NextLook
		o.Now = look.Add(-time.Millisecond)
		if got := summary(Make(o)); got != was {
			t.Errorf("%q: %s a moment before the next look", stage, got)
		}
		o.Now = look
		if got := summary(Make(o)); look.IsZero() || got == was {
			t.Errorf("%q: still %s at the next look %s", stage, got, look)
		}
	}
}

func TestTidy(t *testing.T) {
	o := observed("")
	o.Rollout.Spec.RevisionHistoryLimit = ptr(int32(1))
	for i, revision := range []string{"x", "y", "z"} {
		o.ReplicaSets = append(o.ReplicaSets, ReplicaSet{Name: revision, Revision: revision, Role: v1alpha1.RolePrevious, Created: noon.Add(time.Duration(i) * time.Hour)})
	}
	wantActions(t, Make(o), "delete ReplicaSet y: beyond revisionHistoryLimit", "delete ReplicaSet x: beyond revisionHistoryLimit")
}

// Under a verdict no weight is planned, whatever weight the attempt has.
func TestVerdictOutranksWeight(t *testing.T) {
	o := observed(withdrawing)
	o.attempt().Weight, o.Routes[0].Object = 50, route(50)
	if p := Make(o); !strings.Contains(lines(p), "to canary weight 0") {
		t.Errorf("not taken back: %s", lines(p))
	}
}

// The canary Service is pointed at another revision only while no route gives it weight.
func TestCanaryServiceStaysWhileWeighted(t *testing.T) {
	for weight, want := range map[int64]bool{50: false, 0: true} {
		o := observed(stepping)
		o.Canary.Revision, o.Routes[0].Object, o.attempt().ExposedAt = "z", route(weight), nil
		if got := strings.Contains(lines(Make(o)), "point canary Service to b"); got != want {
			t.Errorf("weight %d: pointed %t", weight, got)
		}
	}
}
