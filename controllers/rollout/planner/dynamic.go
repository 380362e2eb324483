package planner

import (
	"fmt"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic"
)

// dynamic says whether stable gives pods up to the canary while an attempt runs.
func (o *Observed) dynamic() bool {
	c := o.Rollout.Spec.Strategy.Canary
	return c != nil && c.StableScale == v1alpha1.StableScaleDynamic
}

// stableSize is how many pods the stable revision should have.
func (d *draft) stableSize(rs *ReplicaSet) (int32, string) {
	a := d.s.Attempt
	if n := d.restartSize(); n > d.replicas() {
		return n, "another pod serves while the only one is replaced"
	}
	if !d.dynamic() || a == nil || a.Verdict != nil {
		return d.replicas(), "stable carries all of the traffic whenever it must"
	}
	switch a.Stage {
	case v1alpha1.StageStepping:
		// A weight above the last confirmed one is not in force yet, and one that a route does not have any more, because somebody
		// has undone the split, is not in force either.
		carried := min(a.ConfirmedWeight, a.Weight, d.leastWeight())
		need := max(1, traffic.CanaryReplicas(d.replicas(), d.total()-carried, d.total()))
		return need, fmt.Sprintf("the canary carries %d of %d", carried, d.total())
	case v1alpha1.StageSwitching, v1alpha1.StageRetiring, v1alpha1.StageReturning:
		return rs.Wanted, "" // the new revision has all of the traffic
	}
	return d.replicas(), "stable carries all of the traffic whenever it must"
}

// leastWeight is the lowest weight of the canary that any route carries now; a route that does not exist carries none.
func (d *draft) leastWeight() int32 {
	least := d.total()
	for _, r := range d.Routes {
		if r.Object == nil {
			return 0
		}
		least = min(least, d.bareView(r, exposure{weight: d.total()}).MinCanary)
	}
	return least
}

// yielded is the weight that the canary keeps while stable pods come back; 0 where stable has always had them, where the canary is
// lost or has too few ready pods for that weight, and after progressDeadline. It never grows. A pod that does not come up says nothing
// of those that serve.
func (d *draft) yielded() int32 {
	a := d.s.Attempt
	if !d.dynamic() || a.Verdict == nil || d.replicas() == 0 || a.Verdict.Reason == ReasonCanaryLost || d.passed(a.StageSince, d.deadline()) {
		return 0
	}
	have := min(d.Stable.Endpoints[revisionOf(d.s.Stable)], d.replicas())
	carried := int32(int64(d.total()) * int64(have) / int64(d.replicas()))
	left := min(d.total()-carried, d.liveWeight())
	if d.Canary.Endpoints[a.Revision] < min(traffic.Enough(d.replicas(), left, d.total()), max(1, (3*a.Available+3)/4)) {
		return 0
	}
	return left
}
