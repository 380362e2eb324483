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
