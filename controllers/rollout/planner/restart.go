package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// restart replaces the stable pods that are older than spec.restartAt, the oldest first and one at a time. It takes the
// next one only when every pod is ready again, and nothing else is to be done. What is left to do follows from the pods
// themselves, so nothing is stored.
func (d *draft) restart() {
	old := d.outdated()
	if old == 0 || len(d.plan.Actions) > 0 {
		return
	}
	since, pods := d.Rollout.Spec.RestartAt, d.podsOf(d.s.Stable.Revision)
	if trouble := d.notReady(pods); trouble != "" {
		d.restarting = fmt.Sprintf("restart: %d pods are older than %s; the next is replaced once %s", old, since.UTC().Format(time.RFC3339), trouble)
		return
	}
	d.restarting = fmt.Sprintf("restart: %d pods are older than %s; %s is replaced as soon as PodDisruptionBudgets allow", old,
		since.UTC().Format(time.RFC3339), pods[0].Name)
	d.do(EvictPod{Name: pods[0].Name, UID: pods[0].UID, Why: "it is older than spec.restartAt"})
}

// outdated counts the stable pods that a restart has still to replace; none while an attempt runs.
func (d *draft) outdated() int {
	since := d.Rollout.Spec.RestartAt
	if since == nil || d.s.Attempt != nil || d.s.Stable == nil || d.replicas() == 0 || !d.passed(*since, 0) {
		return 0
	}
	old := 0
	for _, p := range d.podsOf(d.s.Stable.Revision) {
		if p.Created.Before(since.Time) {
			old++
		}
	}
	return old
}

// restartSize is how many stable pods there are while a restart goes on: a Service with a single pod would be empty without it.
func (d *draft) restartSize() int32 {
	if n := d.replicas(); n != 1 || d.outdated() == 0 {
		return n
	}
	return 2
}

// podsOf a revision, the oldest first.
func (d *draft) podsOf(revision string) []Pod {
	var pods []Pod
	for _, p := range d.Pods {
		if p.Revision == revision {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, func(a, b Pod) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) })
	return pods
}

// notReady says what is missing for one stable pod to be spared; empty when nothing is. The counts of the ReplicaSet may
// be of before the last eviction, and so may the pods: both must agree.
func (d *draft) notReady(pods []Pod) string {
	want := d.restartSize()
	if n := int32(len(pods)); n < want {
		return fmt.Sprintf("%d of %d pods are there", n, want)
	}
	for _, p := range pods {
		if !p.Ready {
			return fmt.Sprintf("pod %s is ready", p.Name)
		}
	}
	if have := d.available(d.s.Stable.Revision); have < want {
		return fmt.Sprintf("%d pods are available (now %d)", want, have)
	}
	if have := d.Stable.Endpoints[d.s.Stable.Revision]; d.Stable.Exists && have < want {
		return fmt.Sprintf("%d pods are endpoints of Service %s (now %d)", want, d.Stable.Name, have)
	}
	return ""
}
