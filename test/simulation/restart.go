package simulation

import (
	"slices"

	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// evict takes a pod away; its ReplicaSet makes another one.
func (x *executor) evict(a planner.EvictPod) {
	i := slices.IndexFunc(x.pods, func(p pod) bool { return p.Name == a.Name })
	if i < 0 {
		return // it is gone already
	}
	revision := x.pods[i].Revision
	x.pods = slices.Delete(slices.Clone(x.pods), i, i+1)
	if s := x.sets[revision]; s != nil {
		x.count(s)
	}
}

// checkEvicted (R1): a restart takes old pods of the stable revision only, at rest, and one at a time.
func (x *executor) checkEvicted(a planner.EvictPod, before marked) {
	st, since := &x.rollout.Status, x.rollout.Spec.RestartAt
	if since == nil || st.Attempt != nil || st.Stable == nil {
		x.violate("R1", "pod %s is evicted, and no restart is asked for or an attempt runs", a.Name)
		return
	}
	for _, p := range x.view.Pods {
		if p.Name == a.Name && (p.Revision != st.Stable.Revision || !p.Created.Before(since.Time)) {
			x.violate("R1", "pod %s of %s, made at %s, is evicted in a restart since %s", p.Name, p.Revision, p.Created, since)
		}
	}
	if x.cfg.Stale || x.truth.lost || x.truth.broke || before.stable == 0 {
		return
	}
	if s := x.sets[st.Stable.Revision]; s != nil && s.ready < x.replicas()-1 {
		x.violate("R1", "an eviction leaves %d of %d pods", s.ready, x.replicas())
	}
}

// spare says whether a ReplicaSet has a second pod for a restart, and it does not start, as is said.
func (w *World) spare(s *replicaSet) bool {
	return w.broken[s.revision] && w.replicas() == 1 && s.wanted == 2 && w.rollout.Status.BlockedBy != ""
}

// checkRestarted (L1): at rest no pod is left that was to be replaced, or what is waited for is said.
func (w *World) checkRestarted() {
	st, since := &w.rollout.Status, w.rollout.Spec.RestartAt
	if since == nil || since.After(w.now) || w.replicas() == 0 || w.broken[st.Stable.Revision] || st.BlockedBy != "" {
		return
	}
	for _, p := range w.pods {
		if p.Revision == st.Stable.Revision && p.Created.Before(since.Time) {
			w.violate("L1", "pod %s of %s is as old as ever at rest, after a restart at %s", p.Name, p.Revision, since)
		}
	}
}
