package simulation

import (
	"maps"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// afresh is a view with pods and endpoints as they are, as the shell reads them where a plan is doubtful.
func (w *World) afresh(view planner.Observed) planner.Observed {
	now := w.snapshot()
	view.Rollout = w.rollout.DeepCopy()
	view.Pods = now[kindPods].([]planner.Pod)
	view.Stable.Endpoints, view.Canary.Endpoints = maps.Clone(w.ends[0]), maps.Clone(w.ends[1])
	return view
}

// share is how many of n pods stable must have now: all of them, or, where it gives pods up, those for the traffic that may reach
// it, one at least. While pods are switched the new revision has all of the traffic.
func (w *World) share(n int32) int32 {
	at := w.rollout.Status.Attempt
	if c := w.rollout.Spec.Strategy.Canary; c == nil || c.StableScale != v1alpha1.StableScaleDynamic || at == nil || at.Verdict != nil || n == 0 {
		return n
	}
	switch at.Stage {
	case v1alpha1.StageStepping:
		if w.truth.foreign {
			return 1 // somebody may have undone the split behind our back
		}
		least, _ := w.plane()
		return max(1, (n*(100-least)+99)/100)
	case v1alpha1.StageSwitching, v1alpha1.StageRetiring, v1alpha1.StageReturning:
		return 0
	}
	return n
}

// keeps is the weight that a canary under a verdict may have for a while yet: what stable has no endpoints for, where it has given
// pods up and the canary has three quarters of the pods for it.
func (w *World) keeps(view planner.Observed, at *v1alpha1.Attempt) int32 {
	c := view.Rollout.Spec.Strategy.Canary
	if c == nil || c.StableScale != v1alpha1.StableScaleDynamic || view.Rollout.DeletionTimestamp != nil || view.Rollout.Status.Stable == nil {
		return 0
	}
	n := max(*view.Rollout.Spec.Replicas, at.Replicas)
	if at.Verdict.Reason == planner.ReasonCanaryLost || n == 0 || *view.Rollout.Spec.Replicas == 0 {
		return 0
	}
	left := 100 - 100*min(n, view.Stable.Endpoints[view.Rollout.Status.Stable.Revision])/n
	live := int32(0)
	for _, r := range view.Routes {
		most := int32(100)
		if r.Unread == "" {
			_, most = w.weights(r.Object)
		}
		live = max(live, most)
	}
	need := min((3*n*min(left, live)+399)/400, (3*at.Available+3)/4)
	if view.Canary.Endpoints[at.Revision] < max(1, need) {
		return 0
	}
	return left
}

// checkGivenBack (T5): a stable revision that has given pods up gets weight back no faster than it has endpoints for it, unless the
// canary cannot serve, or the way back takes too long.
func (x *executor) checkGivenBack(a planner.PatchRoute, had, most int32) {
	at := x.rollout.Status.Attempt
	if at == nil || at.Verdict == nil || most >= had || x.truth.foreign || x.rollout.DeletionTimestamp != nil ||
		x.ends[1][at.Revision] == 0 || !x.now.Before(at.StageSince.Add(x.rollout.Spec.ProgressDeadline.Or(0))) {
		return
	}
	view := x.view
	if x.cfg.Stale {
		view = x.afresh(view)
	}
	if most < min(had, x.keeps(view, at)) {
		x.violate("T5", "route %s gives stable %d of the traffic, which has endpoints for %d", a.Name, 100-most, 100-x.keeps(view, at))
	}
}
