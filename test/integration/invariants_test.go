package integration

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// watcher remembers what the invariants compare with.
type watcher struct {
	off      bool
	checks   int
	weight   int64
	seen     map[string]int32 // replicas of the stable ReplicaSet, by name
	switched int64            // the attempt that came to the switch
	intents  []int64          // attempts whose revert was asked for
	// confirmed is when the exposure was last said to be confirmed.
	confirmed metav1.Time
	lenient   bool // pods die or traffic is edited in this test: capacity is not the controller's doing
}

// check asks for the invariants after a write of the controller. It is called with the record's lock held.
func (w *world) check(effect string) {
	if w.watch.off {
		return
	}
	ctx := context.WithoutCancel(w.t.Context())
	ro := &v1alpha1.Rollout{}
	if err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: app}, ro); err != nil {
		if ignoreGone(err) != nil {
			w.t.Errorf("checking: %v", err)
		}
		return
	}
	s, err := w.scene(ctx)
	if err != nil {
		w.t.Errorf("checking: %v", err)
		return
	}
	w.watch.checks++
	for _, look := range []func(*v1alpha1.Rollout, *scene) string{w.routeKept, w.noRaise, w.stableUnmixed, w.stableWhole, w.weightedServed, w.canaryKept} {
		if why := look(ro, s); why != "" {
			w.t.Errorf("after %q: %s", effect, why)
		}
	}
	if why := w.confirmedCarried(ro, s); why != "" {
		w.t.Errorf("after %q: %s", effect, why)
	}
	w.noteIntent(ro)
}

func (w *world) noteIntent(ro *v1alpha1.Rollout) {
	if r := ro.Status.Revert; r != nil && !slices.Contains(w.watch.intents, r.Attempt) {
		w.watch.intents = append(w.watch.intents, r.Attempt)
	}
	if a := ro.Status.Attempt; a != nil && a.Stage == v1alpha1.StageSwitching {
		w.watch.switched = a.Number
	}
}

func (w *world) managed(s *scene) (canary, total int64, refers bool) {
	for i := range s.routes.Items {
		if s.routes.Items[i].GetName() != app {
			continue
		}
		for _, b := range backends(&s.routes.Items[i]) {
			switch b.name {
			case app + "-canary":
				canary, refers = max(canary, b.weight), true
				total += b.weight
			case app:
				total += b.weight
			}
		}
	}
	return canary, total, refers
}

// routeKept: T1 and T2.
func (w *world) routeKept(_ *v1alpha1.Rollout, s *scene) string {
	_, total, refers := w.managed(s)
	for i := range s.routes.Items {
		if s.routes.Items[i].GetName() == app && total == 0 && !w.watch.lenient {
			return "T1: the weights of the route sum to 0"
		}
	}
	exists := slices.ContainsFunc(s.services.Items, func(x corev1.Service) bool { return x.Name == app+"-canary" && x.Spec.Ports[0].Port == 80 })
	if refers && !exists {
		return "T2: the route refers to a canary Service that does not exist"
	}
	return ""
}

// noRaise: T7. A weight goes up only to what is stored, and never after a verdict.
func (w *world) noRaise(ro *v1alpha1.Rollout, s *scene) string {
	canary, _, _ := w.managed(s)
	before := w.watch.weight
	w.watch.weight = canary
	allowed := int64(0)
	if a := ro.Status.Attempt; a != nil && a.Verdict == nil {
		switch a.Stage {
		case v1alpha1.StageStepping:
			allowed = int64(a.Weight)
			if a.Match != nil {
				allowed = max(1, allowed) // the copies of rules have the canary alone, with weight 1
			}
		case v1alpha1.StageSwitching, v1alpha1.StageRetiring:
			allowed = 100
		}
	}
	if canary > before && canary > allowed && !w.watch.lenient {
		return "T7: the weight was raised above what is stored"
	}
	return ""
}

// stableUnmixed: T6.
func (w *world) stableUnmixed(ro *v1alpha1.Rollout, s *scene) string {
	a := ro.Status.Attempt
	if a == nil || a.Stage != v1alpha1.StageStepping && a.Stage != v1alpha1.StageWithdrawing || w.watch.switched == a.Number {
		return ""
	}
	for i := range s.services.Items {
		if s.services.Items[i].Name != app {
			continue
		}
		for _, p := range selected(&s.services.Items[i], s.pods.Items) {
			if p.Labels[v1alpha1.LabelRevision] == a.Revision {
				return "T6: the stable Service selects canary pod " + p.Name
			}
		}
	}
	return ""
}

// stableWhole: T5.
func (w *world) stableWhole(ro *v1alpha1.Rollout, s *scene) string {
	if ro.Status.Stable == nil || ro.DeletionTimestamp != nil {
		return ""
	}
	for _, rs := range s.sets.Items {
		if rs.Labels[v1alpha1.LabelRevision] != ro.Status.Stable.Revision || !metav1.IsControlledBy(&rs, ro) {
			continue
		}
		have, before := *rs.Spec.Replicas, w.watch.seen[rs.Name]
		w.watch.seen[rs.Name] = have
		if have < before && (ro.Spec.Replicas == nil || have < *ro.Spec.Replicas) {
			return "T5: the stable ReplicaSet was scaled down"
		}
		return ""
	}
	return "T5: the stable ReplicaSet is gone"
}

// weightedServed: T3 and T6: neither Service is empty while traffic is sent to it.
func (w *world) weightedServed(ro *v1alpha1.Rollout, s *scene) string {
	canary, total, _ := w.managed(s)
	if ro.Status.Stable == nil || w.watch.lenient {
		return ""
	}
	weight := map[string]int64{app: total - canary, app + "-canary": canary}
	for i := range s.services.Items {
		svc := &s.services.Items[i]
		if weight[svc.Name] > 0 && len(selected(svc, s.pods.Items)) == 0 {
			return "T6: Service " + svc.Name + " is weighted and selects no ready pod"
		}
	}
	return ""
}

// confirmedCarried: T11. When a weight is newly said to be confirmed, each rule that holds the canary beside stable carries it.
func (w *world) confirmedCarried(ro *v1alpha1.Rollout, s *scene) string {
	a := ro.Status.Attempt
	if a == nil || a.ConfirmedAt == nil || a.ConfirmedAt.Equal(&w.watch.confirmed) {
		return ""
	}
	w.watch.confirmed = *a.ConfirmedAt
	if a.Stage != v1alpha1.StageStepping || a.Verdict != nil || a.Weight == 0 || w.watch.lenient {
		return ""
	}
	held := 0
	for i := range s.routes.Items {
		if s.routes.Items[i].GetName() != app {
			continue
		}
		for rule, pair := range pairs(&s.routes.Items[i]) {
			if pair[0] < 0 || pair[1] < 0 {
				continue
			}
			held++
			if 100*pair[0] != (pair[0]+pair[1])*int64(a.Weight) {
				return fmt.Sprintf("T11: %d is confirmed while rule %d of %s has %d of %d", a.Weight, rule, s.routes.Items[i].GetKind(), pair[0], pair[0]+pair[1])
			}
		}
	}
	if held == 0 {
		return fmt.Sprintf("T11: %d is confirmed while no rule holds the canary", a.Weight)
	}
	return ""
}

// canaryKept: T4. While a route gives the canary traffic, its pods are not taken away.
func (w *world) canaryKept(ro *v1alpha1.Rollout, s *scene) string {
	weight, _, _ := w.managed(s)
	a := ro.Status.Attempt
	if a == nil || weight == 0 || w.watch.lenient || ro.Spec.Replicas == nil || *ro.Spec.Replicas == 0 {
		return ""
	}
	for _, rs := range s.sets.Items {
		if rs.Labels[v1alpha1.LabelRevision] == a.Revision && metav1.IsControlledBy(&rs, ro) && *rs.Spec.Replicas == 0 {
			return "T4: the canary has weight and no pods are asked of it"
		}
	}
	return ""
}
