package planner

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// restartable is a Rollout at rest whose four pods are an hour old and are to be replaced.
func restartable() Observed {
	o := observed("")
	for i := range o.Pods {
		o.Pods[i].Ready, o.Pods[i].Created = true, noon.Add(-time.Hour+time.Duration(i)*time.Second)
	}
	o.Rollout.Spec.RestartAt = ptr(at(-time.Minute))
	return o
}

func TestRestart(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*Observed)
		evicted string
		waits   string
	}{
		{"the oldest goes first", func(*Observed) {}, "a0", "4 pods are older"},
		{"not asked", func(o *Observed) { o.Rollout.Spec.RestartAt = nil }, "", ""},
		{"pods are younger", func(o *Observed) { o.Rollout.Spec.RestartAt = ptr(at(-2 * time.Hour)) }, "", ""},
		{"only what is older", func(o *Observed) { o.Pods[0].Created = noon }, "a1", "3 pods are older"},
		{"all were replaced", func(o *Observed) {
			for i := range o.Pods {
				o.Pods[i].Created = noon
			}
		}, "", ""},
		{"a pod is missing", func(o *Observed) { o.Pods = o.Pods[:3] }, "", "3 of 4 pods are there"},
		{"a pod is not ready", func(o *Observed) { o.Pods[3].Ready = false }, "", "once pod a3 is ready"},
		{"the ReplicaSet counts fewer", func(o *Observed) { o.replicaSet("a").Available = 3 }, "", "3 of 4 stable pods are available"},
		{"an endpoint is missing", func(o *Observed) { o.Stable.Endpoints["a"] = 3 }, "", "endpoints of Service shop"},
		{"scaled to zero", func(o *Observed) { o.Rollout.Spec.Replicas = ptr(int32(0)) }, "", ""},
		{"a new template comes first", func(o *Observed) { o.Revision = "b" }, "", ""},
		{"something else is to be done", func(o *Observed) { o.Stable.Role = "" }, "", ""},
	} {
		o := restartable()
		test.change(&o)
		p := Make(o)
		evicted := ""
		for _, action := range p.Actions {
			if e, ok := action.(EvictPod); ok {
				evicted += e.Name
			}
		}
		if evicted != test.evicted {
			t.Errorf("%s: pods %q are evicted, want %q; actions:\n%s", test.name, evicted, test.evicted, lines(p))
		}
		if test.waits != "" && (!strings.Contains(p.Status.BlockedBy, test.waits) || p.Status.Phase != "Restarting") {
			t.Errorf("%s: phase %s, blocked by %q, want %q", test.name, p.Status.Phase, p.Status.BlockedBy, test.waits)
		}
		if test.waits == "" && p.Status.Phase == "Restarting" {
			t.Errorf("%s: phase Restarting: %s", test.name, p.Status.BlockedBy)
		}
	}
}

func TestRestartInTheFutureIsAwaited(t *testing.T) {
	o := restartable()
	o.Rollout.Spec.RestartAt = ptr(metav1.NewTime(noon.Add(time.Hour)))
	p := Make(o)
	if len(p.Actions) > 0 || !p.NextLook.Equal(noon.Add(time.Hour)) {
		t.Errorf("next look at %s; actions:\n%s", p.NextLook, lines(p))
	}
}

func TestNoRestartDuringAnAttempt(t *testing.T) {
	for _, stage := range stages[1:] {
		o := observed(stage)
		o.Rollout.Spec.RestartAt = ptr(at(-time.Second))
		if p := Make(o); p.Status.Attempt != nil && strings.Contains(lines(p), "evict") {
			t.Errorf("%s: %s", stage, lines(p))
		}
	}
}

// A Service with a single pod is never empty: another one serves before the only one is replaced, and goes again after it.
func TestRestartOfASinglePod(t *testing.T) {
	o := restartable()
	o.Rollout.Spec.Replicas, o.Pods = ptr(int32(1)), o.Pods[:1]
	rs := o.replicaSet("a")
	rs.Wanted, rs.Current, rs.Ready, rs.Available = 1, 1, 1, 1
	o.Stable.Endpoints["a"] = 1
	if got := lines(Make(o)); got != "scale a from 1 to 2: another pod serves while the only one is replaced" {
		t.Errorf("first: %s", got)
	}
	rs.Wanted = 2
	if p := Make(o); len(p.Actions) > 0 || !strings.Contains(p.Status.BlockedBy, "once 1 of 2 pods are there") {
		t.Errorf("before the second is there: %s; %q", lines(p), p.Status.BlockedBy)
	}
	second := o.Pods[0]
	second.Name, second.Created = "new", noon
	o.Pods = append(o.Pods, second)
	rs.Current, rs.Ready, rs.Available = 2, 2, 2
	if p := Make(o); len(p.Actions) > 0 {
		t.Errorf("before the second is an endpoint: %s", lines(p))
	}
	o.Stable.Endpoints["a"] = 2
	if got := lines(Make(o)); !strings.HasPrefix(got, "evict pod a0") {
		t.Errorf("both serve: %s", got)
	}
	o.Pods = o.Pods[1:]
	if got := lines(Make(o)); got != "scale a from 2 to 1: stable carries all of the traffic whenever it must" {
		t.Errorf("at the end: %s", got)
	}
}
