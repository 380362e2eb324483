package integration

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestRouteWrittenBetweenPlanAndPatch: the patch is refused by its own test, which is no trouble for anybody, and the
// foreign write survives.
func TestRouteWrittenBetweenPlanAndPatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	raced := 0
	w.record.refusing(func(effect string) error {
		if raced == 0 && strings.HasPrefix(effect, "patch HTTPRoute") {
			raced++
			return w.user.Patch(t.Context(), w.route(app, nil), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"theirs":"kept"}}}`)))
		}
		return nil
	})
	w.deploy("v2")
	w.until("at the first step", func(ro *v1alpha1.Rollout) bool {
		if strings.Contains(ro.Status.BlockedBy, "test") || strings.Contains(ro.Status.BlockedBy, "changed meanwhile") {
			t.Errorf("a person is told of a race: %s", ro.Status.BlockedBy)
		}
		return atStep(0)(ro)
	})
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	if raced != 1 || w.getRoute(app).GetAnnotations()["theirs"] != "kept" {
		t.Errorf("%d races, annotations %v", raced, w.getRoute(app).GetAnnotations())
	}
}

// TestRolloutChangedBeforeARaise: what was decided after the plan was made stops the raise (T7).
func TestRolloutChangedBeforeARaise(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](1) }).started()
	w.deploy("v2")
	w.until("at the first step", atStep(0))
	w.record.forget()
	reads, changed := 0, false
	w.record.onRollout = func() {
		if reads++; reads == 2 && !changed {
			changed = true
			w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Paused = true })
		}
	}
	for range 10 {
		reads = 0
		w.settle()
		result, err := w.reconcile.Reconcile(t.Context(), requestFor(w.ns, app))
		w.must(err)
		if changed {
			break
		}
		w.clock.Step(result.RequeueAfter)
	}
	if !changed {
		t.Fatal("the Rollout was not read again before a raise")
	}
	w.looks(6)
	if text := w.record.text(0); strings.Contains(text, "patch HTTPRoute") {
		t.Errorf("a weight was raised after somebody had paused:\n%s", text)
	}
	if canary, _, _ := w.managed(w.see()); canary != 50 {
		t.Errorf("the canary has weight %d", canary)
	}
}
