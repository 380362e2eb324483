package planner

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// beside is a Rollout at rest with a Deployment that is held.
func beside() Observed {
	o := observed("")
	o.Workload = &Workload{Name: "web", Exists: true, Paused: true, Claimed: true, Seen: true, Replicas: 4}
	o.ReplicaSets[0].Linked = true
	o.Stable.RoleAdded = true
	return o
}

// untouched is the Deployment as it was before: it runs revision a, and has z in its history.
func untouched() Observed {
	o := beside()
	o.Rollout.Status.Stable, o.Rollout.Status.Attempts, o.ReplicaSets, o.Pods = nil, 0, nil, nil
	o.Stable.Role, o.Stable.RoleAdded, o.Stable.Endpoints = "", false, map[string]int32{"": 4}
	*o.Workload = Workload{Name: "web", Exists: true, Seen: true, Replicas: 4, Counted: 4, Owned: []Owned{
		{Name: "web-1", Revision: "a", Wanted: 4, Current: 4, Created: noon}, {Name: "web-0", Revision: "z", Created: noon.Add(-time.Hour)}}}
	return o
}

// held is untouched, with the pause seen.
func held() Observed {
	o := untouched()
	o.Workload.Paused, o.Workload.Claimed = true, true
	return o
}

func TestAdoption(t *testing.T) {
	for name, c := range map[string]struct {
		o       Observed
		change  func(*Observed)
		actions string
		blocked string
		stable  string
	}{
		"paused first":              {o: untouched(), actions: "pause the Deployment: " + whyAdopt},
		"finalizer before anything": {o: untouched(), change: func(o *Observed) { o.Rollout.Finalizers = nil }, actions: "add finalizer: routes must be restored before the Rollout goes"},
		"no Service":                {o: untouched(), change: func(o *Observed) { o.Stable.Exists = false }, blocked: "Service shop does not exist"},
		"no template of analysis":   {o: untouched(), change: func(o *Observed) { o.AnalysisProblem = "spec.analysis: x" }, blocked: "spec.analysis: x"},
		"spec.paused":               {o: untouched(), change: func(o *Observed) { o.Rollout.Spec.Paused = true }, blocked: "spec.paused is true"},
		"mid-rollout":               {o: untouched(), change: func(o *Observed) { o.Workload.Unfinished = "5 pods" }, blocked: "in the middle of a rollout of its own (5 pods)"},
		"refused":                   {o: untouched(), change: func(o *Observed) { o.Workload.Problem = "matchExpressions" }, blocked: "matchExpressions"},
		"no Deployment":             {o: untouched(), change: func(o *Observed) { *o.Workload = Workload{Name: "web"} }, blocked: "Deployment web does not exist"},
		"pause not seen":            {o: held(), change: func(o *Observed) { o.Workload.Seen = false }, blocked: "has not yet seen"},
		"with pods last":            {o: held(), actions: "take over ReplicaSet web-0 as previous z: " + whyAdopt + "\ntake over ReplicaSet web-1 as stable a: " + whyAdopt},
		"two with pods":             {o: held(), change: func(o *Observed) { o.Workload.Owned[1].Wanted = 1 }, blocked: "resume it"},
		"one template twice": {o: held(), change: func(o *Observed) { o.Workload.Owned[1].Revision = "a" },
			actions: "delete stray ReplicaSet web-0: another ReplicaSet has the same template\ntake over ReplicaSet web-1 as stable a: " + whyAdopt},
		"went on after a crash": {o: held(), change: func(o *Observed) {
			o.Workload.Owned = o.Workload.Owned[:1]
			o.ReplicaSets = []ReplicaSet{{Name: "web-0", Revision: "z", Linked: true}}
		}, actions: "take over ReplicaSet web-1 as stable a: " + whyAdopt},
		"all are there": {o: held(), change: func(o *Observed) {
			o.Workload.Owned, o.Workload.Counted = nil, 0
			o.ReplicaSets = []ReplicaSet{{Name: "web-0", Revision: "z", Linked: true}, {Name: "web-1", Revision: "a", Role: "stable", Wanted: 4, Current: 4, Available: 4, Linked: true}}
			o.addPods("a", "", 4)
		}, stable: "a", actions: "make a stable (4 pods): its pods belong to the stable Service"},
		"another template meanwhile": {o: held(), change: func(o *Observed) {
			o.Workload.Owned, o.Revision = nil, "b"
			o.ReplicaSets = []ReplicaSet{{Name: "web-1", Revision: "a", Role: "stable", Wanted: 4, Current: 4, Available: 4, Linked: true}}
		}, stable: "a", actions: "point canary Service to stable pods: its endpoints show that the role of stable pods is known"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change != nil {
				c.change(&c.o)
			}
			p := Make(c.o)
			wantActions(t, p, strings.Split(c.actions, "\n")...)
			if !strings.Contains(p.Status.BlockedBy, c.blocked) || c.blocked == "" && c.stable == "" && p.Status.BlockedBy != "" {
				t.Errorf("blocked by %q, want %q", p.Status.BlockedBy, c.blocked)
			}
			if revisionOf(p.Status.Stable) != c.stable || p.Store != (c.stable != "") {
				t.Errorf("stable %q, stored first: %v", revisionOf(p.Status.Stable), p.Store)
			}
		})
	}
}

// TestRoleIsWitnessed: the selector of the stable Service changes only when EndpointSlices show that the labels are known.
func TestRoleIsWitnessed(t *testing.T) {
	o := beside()
	o.Stable.Role, o.Stable.RoleAdded = "", false
	o.Canary = Service{Name: "shop-canary", Exists: true, Ours: true, PortsMatch: true, Role: "stable", Endpoints: map[string]int32{"a": 3}}
	wantActions(t, Make(o), "")
	o.Canary.Endpoints["a"] = 4
	wantActions(t, Make(o), "add role to stable Service: canary pods must not join it")
}

func TestHold(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*Observed)
		actions string
		blocked string
	}{
		"at rest": {change: func(*Observed) {}},
		"resumed": {change: func(o *Observed) { o.Workload.Paused = false }, actions: "pause the Deployment: its pods belong to the Rollout", blocked: "was resumed and is paused again"},
		"a stray before the pause is seen": {change: func(o *Observed) {
			o.Workload.Seen, o.Workload.Owned = false, []Owned{{Name: "web-9", Revision: "a", Wanted: 4}}
		}},
		"a stray":               {change: func(o *Observed) { o.Workload.Owned = []Owned{{Name: "web-9", Revision: "a", Wanted: 4}} }, actions: "delete stray ReplicaSet web-9: the Deployment was resumed, and its pods get no traffic"},
		"one of ours":           {change: func(o *Observed) { o.Workload.Owned = []Owned{{Name: "web-1", Revision: "c", Ours: true}} }, actions: "take over ReplicaSet web-1 as previous c: it belongs to the Rollout"},
		"the Deployment is new": {change: func(o *Observed) { o.ReplicaSets[0].Linked = false }, actions: "take over ReplicaSet shop-a as stable a: the Deployment is its second owner"},
		"deleted":               {change: func(o *Observed) { *o.Workload = Workload{Name: "web"} }, blocked: "its pods are kept as they are"},
		"another selector":      {change: func(o *Observed) { o.Workload.Problem = "selects" }, blocked: "selects"},
	} {
		t.Run(name, func(t *testing.T) {
			o := beside()
			c.change(&o)
			p := Make(o)
			wantActions(t, p, strings.Split(c.actions, "\n")...)
			if !strings.Contains(p.Status.BlockedBy, c.blocked) || c.blocked == "" && p.Status.BlockedBy != "" {
				t.Errorf("blocked by %q, want %q", p.Status.BlockedBy, c.blocked)
			}
			stalled := v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionStalled)
			if (c.blocked != "" && name != "resumed") != (stalled.Reason == "WorkloadNotUsable") {
				t.Errorf("condition Stalled: %+v", stalled)
			}
		})
	}
}

// TestDeletedDeploymentHoldsTheAttempt: no step is left and no pod is taken away; going back still works.
func TestDeletedDeploymentHoldsTheAttempt(t *testing.T) {
	o := observed(v1alpha1.StageStepping)
	o.Workload = &Workload{Name: "web"}
	for i := range o.ReplicaSets {
		o.ReplicaSets[i].Linked = true
	}
	p := Make(o)
	if summary(p) != "Stepping 1 at 50" || len(p.Actions) != 0 {
		t.Errorf("%s\n%s", summary(p), lines(p))
	}
	o.decision(v1alpha1.ActionAbort, 2, 1)
	if p = Make(o); summary(p) != "Withdrawing: Aborted Manual" {
		t.Errorf("abort: %s", summary(p))
	}
}

func TestGiveBack(t *testing.T) {
	const why = "the Rollout is being deleted"
	for name, c := range map[string]struct {
		change  func(*Observed)
		actions string
		blocked string
	}{
		"the Service first": {change: func(o *Observed) { o.Stable.RoleAdded = true }, actions: "remove role from stable Service: " + why},
		"resumed":           {change: func(o *Observed) { o.Workload.Paused = false }, actions: "pause the Deployment: its pods are given back"},
		"not seen":          {change: func(o *Observed) { o.Workload.Seen = false }, blocked: "has not yet seen"},
		"still counted":     {change: func(o *Observed) { o.Workload.Counted = 4 }, blocked: "still counts 4 pods"},
		"size":              {change: func(o *Observed) { o.Workload.Replicas = 9 }, actions: "set replicas of the Deployment from 9 to 4: as many pods as run"},
		"a stray": {change: func(o *Observed) { o.Workload.Owned = []Owned{{Name: "web-9", Wanted: 4}} },
			actions: "delete stray ReplicaSet web-9: the pods that serve are given back instead"},
		"stable first": {change: func(o *Observed) { o.ReplicaSets = append(o.ReplicaSets, ReplicaSet{Name: "shop-z", Revision: "z"}) }, actions: "give ReplicaSet shop-a back: " + why},
		"then the history": {change: func(o *Observed) {
			o.ReplicaSets = []ReplicaSet{{Name: "shop-z", Revision: "z"}}
			o.Workload.Owned = []Owned{{Name: "shop-a", Revision: "a", Wanted: 4, Current: 4}}
		}, actions: "give ReplicaSet shop-z back: " + why},
		"taken by the garbage collector's doing": {change: func(o *Observed) {
			o.ReplicaSets = nil
			o.Workload.Owned = []Owned{{Name: "shop-a", Revision: "a", Wanted: 4, Current: 4, Ours: true}}
		}, actions: "give ReplicaSet shop-a back: " + why},
		"not counted yet": {change: func(o *Observed) {
			o.ReplicaSets, o.Workload.Counted = nil, 3
			o.Workload.Owned = []Owned{{Name: "shop-a", Revision: "a", Wanted: 4, Current: 4}}
		}, blocked: "counts 3 of 4 pods"},
		"resume": {change: func(o *Observed) {
			o.ReplicaSets, o.Workload.Counted = nil, 4
			o.Workload.Owned = []Owned{{Name: "shop-a", Revision: "a", Wanted: 4, Current: 4}}
		}, actions: "resume the Deployment: it owns its pods again"},
		"another template": {change: func(o *Observed) {
			o.ReplicaSets, o.Workload.Counted, o.Revision = nil, 4, "b"
			o.Workload.Owned = []Owned{{Name: "shop-a", Revision: "a", Wanted: 4, Current: 4}}
		}, actions: "let the Deployment go, paused: its template was not proven", blocked: "stays paused"},
		"done": {change: func(o *Observed) {
			o.ReplicaSets, o.Workload.Claimed, o.Workload.Paused = nil, false, false
			o.Workload.Owned = []Owned{{Name: "shop-a", Revision: "a", Wanted: 4, Current: 4}}
		}, actions: "remove finalizer: routes and Services are as they were before"},
		"no Deployment": {change: func(o *Observed) { *o.Workload = Workload{Name: "web"} }, actions: "remove finalizer: routes and Services are as they were before"},
		"not ours":      {change: func(o *Observed) { o.Workload.Problem, o.ReplicaSets = "of another Rollout", nil }, actions: "remove finalizer: routes and Services are as they were before"},
	} {
		t.Run(name, func(t *testing.T) {
			o := beside()
			o.Rollout.DeletionTimestamp = ptr(at(0))
			o.Stable.Role, o.Stable.RoleAdded = "", false
			c.change(&o)
			p := Make(o)
			wantActions(t, p, strings.Split(c.actions, "\n")...)
			if !strings.Contains(p.Status.BlockedBy, c.blocked) || c.blocked == "" && p.Status.BlockedBy != "" {
				t.Errorf("blocked by %q, want %q", p.Status.BlockedBy, c.blocked)
			}
		})
	}
}
