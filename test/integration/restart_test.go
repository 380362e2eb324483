package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
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

// The only pod is replaced while another one serves.
func TestRestartOfASinglePod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](1) }).started()
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
	least := int32(1)
	w.until("restarted", func(ro *v1alpha1.Rollout) bool {
		least = min(least, ro.Status.AvailableReplicas)
		for name := range w.pods() {
			if before[name] {
				return false
			}
		}
		return ro.Status.Phase == "Healthy" && ro.Status.Replicas == 1
	})
	if least < 1 {
		t.Error("no pod was available meanwhile")
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

// A PodDisruptionBudget that refuses holds the restart up, and its name is said.
func TestRestartHeldByABudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	none := intstr.FromInt32(0)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "never"},
		Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: w.get().Spec.Selector.MatchLabels}}}
	w.must(w.user.Create(w.t.Context(), budget))
	w.poll("the budget to be counted", func(ctx context.Context) string {
		if err := w.user.Get(ctx, client.ObjectKeyFromObject(budget), budget); err != nil {
			return err.Error()
		}
		if budget.Status.ObservedGeneration < budget.Generation || budget.Status.CurrentHealthy < 2 {
			return fmt.Sprintf("%+v", budget.Status)
		}
		return ""
	})
	before := w.pods()
	late := metav1.NewTime(time.Now().Add(time.Second).Truncate(time.Second))
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.RestartAt = &late })
	w.poll("pods to be older than the restart", func(context.Context) string {
		if time.Now().Before(late.Add(time.Second)) {
			return "too early"
		}
		return ""
	})
	if now := time.Now(); w.clock.Now().Before(now) {
		w.clock.SetTime(now)
	}
	_, _, err := w.look()
	if err == nil || !strings.Contains(err.Error(), "a PodDisruptionBudget refuses: The disruption budget never needs 2 healthy pods and has 2 currently") {
		t.Errorf("error: %v", err)
	}
	if by := w.get().Status.BlockedBy; !strings.Contains(by, "disruption budget never") {
		t.Errorf("blocked by %q", by)
	}
	if after := w.pods(); len(after) != len(before) {
		t.Errorf("%d of %d pods are left", len(after), len(before))
	}
}

// Pods carry what roleMetadata says of their role, from the trial to the promotion, and none is restarted for it.
func TestRoleMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		ro.Spec.RoleMetadata = &v1alpha1.RoleMetadata{
			Stable: v1alpha1.PodMetadata{Labels: map[string]v1alpha1.LabelValue{"track": "stable"}},
			Canary: v1alpha1.PodMetadata{Labels: map[string]v1alpha1.LabelValue{"track": "trial"}, Annotations: map[string]v1alpha1.AnnotationValue{"sampling": "1.0"}}}
		ro.Spec.Spread = v1alpha1.SpreadPreferred
		ro.Spec.Strategy.Canary.Steps[0].Approval = v1alpha1.ApprovalRequired
	}).started()
	tracks := func() map[string]string {
		var list corev1.PodList
		w.must(w.user.List(w.t.Context(), &list, client.InNamespace(w.ns)))
		out := map[string]string{}
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil {
				out[p.Name] = p.Labels[v1alpha1.LabelRole] + " " + p.Labels["track"] + " " + p.Annotations["sampling"]
				if wants := p.Labels[v1alpha1.LabelRole] == "canary"; wants != (p.Spec.Affinity != nil) {
					t.Errorf("pod %s is kept apart: %t", p.Name, !wants)
				}
			}
		}
		return out
	}
	w.rest()
	for name, track := range tracks() {
		if track != "stable stable " {
			t.Errorf("pod %s: %q", name, track)
		}
	}
	w.deploy("v2")
	w.until("the step waits", func(ro *v1alpha1.Rollout) bool { return strings.Contains(ro.Status.BlockedBy, "approval") })
	during := tracks()
	for name, track := range during {
		if track != "stable stable " && track != "canary trial 1.0" {
			t.Errorf("pod %s: %q", name, track)
		}
	}
	w.say(v1alpha1.ActionApprove, func(s *v1alpha1.DecisionSpec) { s.Step = ptr.To[int32](0) })
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	var list corev1.PodList
	w.must(w.user.List(w.t.Context(), &list, client.InNamespace(w.ns)))
	kept := 0
	for _, p := range list.Items {
		if p.Labels[v1alpha1.LabelRole] == "stable" && during[p.Name] == "canary trial 1.0" {
			kept++
			if p.Labels["track"] != "stable" || p.Annotations["sampling"] != "" {
				t.Errorf("pod %s after promotion: %v %v", p.Name, p.Labels, p.Annotations)
			}
		}
	}
	if kept == 0 {
		t.Error("no pod of the trial is stable now")
	}
	var sets appsv1.ReplicaSetList
	w.must(w.user.List(w.t.Context(), &sets, client.InNamespace(w.ns)))
	for _, rs := range sets.Items {
		if rs.Labels[v1alpha1.LabelRole] == "stable" && rs.Spec.Template.Spec.Affinity != nil {
			t.Errorf("new stable pods would be kept apart: %+v", rs.Spec.Template.Spec.Affinity)
		}
	}
}
