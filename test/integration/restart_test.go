package integration

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// A restart replaces every old pod, one at a time, and starts no attempt.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	before := w.pods()
	due := metav1.NewTime(time.Now().Add(2 * time.Second).Truncate(time.Second))
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.RestartAt = &due })
	w.poll("the time of the restart", func(context.Context) string {
		if time.Now().Before(due.Add(time.Second)) {
			return "too early"
		}
		return ""
	})
	if now := time.Now(); w.clock.Now().Before(now) {
		w.clock.SetTime(now)
	}
	least := len(before)
	ro := w.until("restarted", func(ro *v1alpha1.Rollout) bool {
		left := 0
		for name := range w.pods() {
			if before[name] {
				left++
			}
		}
		least = min(least, int(ro.Status.AvailableReplicas))
		return left == 0 && ro.Status.Phase == "Healthy"
	})
	if ro.Status.Attempts != 1 || ro.Status.BlockedBy != "" {
		t.Errorf("after the restart: %s", statusText(&ro.Status))
	}
	if least < len(before)-1 {
		t.Errorf("only %d of %d pods were available meanwhile, want one missing at most", least, len(before))
	}
	if n := w.record.count(); n < len(before) {
		t.Errorf("%d writes for %d pods", n, len(before))
	}
	w.rest()
}

// pods are the names of the pods that are not being deleted.
func (w *world) pods() map[string]bool {
	w.t.Helper()
	var list corev1.PodList
	w.must(w.user.List(w.t.Context(), &list, client.InNamespace(w.ns)))
	names := map[string]bool{}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			names[p.Name] = true
		}
	}
	return names
}
