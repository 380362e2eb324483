package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// adoptedPods are the pods of a Deployment that was taken over, and their world at rest.
func adoptedPods(t *testing.T, change ...func(*appsv1.Deployment)) (*world, []string) {
	t.Helper()
	w := deployed(t, change...)
	before := w.identities()
	w.refers().takenOver()
	return w, before
}

// again rests until only these pods are left: what the Deployment controller does comes in between.
func (w *world) again(when string, pods []string) *v1alpha1.Rollout {
	w.t.Helper()
	for range 10 {
		w.rest()
		if slices.Equal(w.identities(), pods) {
			break
		}
	}
	w.samePods(when, pods)
	return w.get()
}

// servedBy asks that the stable Service has these pods as endpoints, and no other.
func (w *world) servedBy(pods []string) {
	w.t.Helper()
	s := w.see()
	for i := range s.slices.Items {
		for _, e := range s.slices.Items[i].Endpoints {
			if s.slices.Items[i].Labels["kubernetes.io/service-name"] == app && !slices.ContainsFunc(pods, func(p string) bool { return strings.HasPrefix(p, e.TargetRef.Name+" ") }) {
				w.t.Errorf("pod %s is an endpoint of the stable Service", e.TargetRef.Name)
			}
		}
	}
}

// TestResumedDeployment: the pods that a resumed Deployment makes get no traffic, and go; it is paused again.
func TestResumedDeployment(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t)
	w.changeDeployment(func(d *appsv1.Deployment) { d.Spec.Paused = false })
	w.poll("the stray pods", func(ctx context.Context) string {
		s, err := w.scene(ctx)
		if err != nil {
			return err.Error()
		}
		if len(s.pods.Items) != 4 {
			return fmt.Sprintf("%d pods", len(s.pods.Items))
		}
		return ""
	})
	w.settle()
	w.servedBy(before)
	w.again("after the Deployment was resumed", before)
	w.ownedOnlyBy("Rollout " + app)
	if !w.deployment().Spec.Paused || w.told.count("DeploymentResumed") != 1 {
		t.Errorf("paused: %v, told: %v", w.deployment().Spec.Paused, w.told.list)
	}
	w.idle()
}

// TestDeletedDeployment: the pods stay, and go on when the Deployment is there again.
func TestDeletedDeployment(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t)
	d := w.deployment()
	w.must(w.user.Delete(t.Context(), d, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	ro := w.rest()
	w.samePods("after the Deployment was deleted", before)
	c := v1alpha1.FindCondition(ro.Status.Conditions, v1alpha1.ConditionStalled)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != "WorkloadNotUsable" {
		t.Errorf("condition Stalled: %+v", c)
	}
	contains(t, "blockedBy", ro.Status.BlockedBy, "its pods are kept as they are")
	w.idle()
	fresh := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: deployment},
		Spec: appsv1.DeploymentSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template}}
	w.must(w.user.Create(t.Context(), fresh))
	w.settle()
	if ro = w.again("after the Deployment was made again", before); ro.Status.Phase != "Healthy" {
		t.Errorf("status: %s", statusText(&ro.Status))
	}
	w.release()
	w.given(before)
}

// TestTwoRolloutsOneDeployment: the second one is refused, also when it goes.
func TestTwoRolloutsOneDeployment(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t)
	second := w.get()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: w.ns, Name: "second"}
	w.must(w.user.Create(t.Context(), second))
	look := func() {
		t.Helper()
		for range 5 {
			_, err := w.reconcile.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.ns, Name: "second"}})
			w.must(err)
		}
	}
	look()
	w.must(w.user.Get(t.Context(), client.ObjectKeyFromObject(second), second))
	contains(t, "blockedBy", second.Status.BlockedBy, "Deployment web is taken over by Rollout app")
	w.must(w.user.Delete(t.Context(), second))
	look()
	if err := w.user.Get(t.Context(), client.ObjectKeyFromObject(second), second); ignoreGone(err) != nil || err == nil {
		t.Errorf("the second Rollout is still there: %v", err)
	}
	w.again("after the second Rollout", before)
	w.ownedOnlyBy("Rollout " + app)
	if w.deployment().Annotations[v1alpha1.AnnotationRollout] != app {
		t.Errorf("annotations: %v", w.deployment().Annotations)
	}
}

// TestUnfinishedDeployment: a rollout of the Deployment's own is waited for, and its Deployment not paused meanwhile.
func TestUnfinishedDeployment(t *testing.T) {
	t.Parallel()
	w := deployed(t)
	w.kubelet.modes[""] = unready // pods that are not yet a Rollout's have no revision
	w.image("v2")
	w.settle()
	w.refers()
	ro := w.rest()
	contains(t, "blockedBy", ro.Status.BlockedBy, "in the middle of a rollout of its own")
	if w.deployment().Spec.Paused {
		t.Error("it was paused")
	}
	w.kubelet.modes[""] = healthy
	w.complete()
	before := w.identities()
	w.takenOver()
	w.samePods("after the adoption", before)
}

func TestRefusedDeployment(t *testing.T) {
	t.Parallel()
	w := deployed(t, func(d *appsv1.Deployment) {
		d.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: app, Operator: metav1.LabelSelectorOpIn, Values: []string{app}}}}
	})
	ro := w.refers().rest()
	contains(t, "blockedBy", ro.Status.BlockedBy, "matchExpressions")
	if w.deployment().Spec.Paused {
		t.Error("it was paused")
	}
	w.release()
	w.ownedOnlyBy("Deployment " + deployment)
}

// TestDeploymentsOwnWays: strategy Recreate and minReadySeconds restart nothing, on the way there or back.
func TestDeploymentsOwnWays(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t, func(d *appsv1.Deployment) {
		d.Spec.Strategy.Type, d.Spec.MinReadySeconds, d.Spec.ProgressDeadlineSeconds = appsv1.RecreateDeploymentStrategyType, 1, ptr.To[int32](30)
	})
	w.samePods("after the adoption", before)
	w.release()
	w.given(before)
}

// TestScaledDeployment: the Deployment's number counts until the Rollout has its own, which goes back with the pods.
func TestScaledDeployment(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t)
	w.changeDeployment(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](3) })
	w.rest()
	three := w.identities()
	if len(three) != 3 || !slices.ContainsFunc(three, func(p string) bool { return slices.Contains(before, p) }) {
		t.Fatalf("pods: %v", three)
	}
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](4) })
	w.rest()
	w.changeDeployment(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](1) })
	w.rest()
	four := w.identities()
	if len(four) != 4 {
		t.Fatalf("pods: %v", four)
	}
	w.release()
	w.given(four)
	if n := *w.deployment().Spec.Replicas; n != 4 {
		t.Errorf("the Deployment has %d replicas", n)
	}
}

// TestReleaseInForeground: a deletion that begins with the dependents (Argo CD's way) costs no pod.
func TestReleaseInForeground(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t)
	w.image("v2")
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	w.rest()
	if after := w.identities(); slices.Equal(before, after) {
		t.Fatal("nothing was brought out")
	}
	before = w.identities()
	w.release(client.PropagationPolicy(metav1.DeletePropagationForeground))
	w.given(before)
}

// TestLostRollout: without the finalizer there is nobody to give the pods back, and still they are the Deployment's.
func TestLostRollout(t *testing.T) {
	t.Parallel()
	w, before := adoptedPods(t)
	w.must(w.user.Patch(t.Context(), w.get(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
	w.must(w.user.Delete(t.Context(), w.get()))
	w.poll("the Deployment to have its pods", func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: deployment}, d); err != nil {
			return err.Error()
		}
		if d.Status.Replicas != 2 {
			return fmt.Sprintf("%+v", d.Status)
		}
		return ""
	})
	w.samePods("after the Rollout was lost", before)
	w.ownedOnlyBy("Deployment " + deployment)
}

// collected waits until the garbage collector, which learns of new kinds every 30 s, has removed the canary Service of a
// Rollout that is gone: the next Rollout of that name does not take it over.
func (w *world) collected() {
	w.t.Helper()
	why := ""
	err := wait.PollUntilContextTimeout(w.t.Context(), poll, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: app + "-canary"}, &corev1.Service{})
		why = fmt.Sprint(err)
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		w.t.Fatalf("waiting for the canary Service to be gone: %v: %s", err, why)
	}
}

// TestCrashInAdoptionAndRelease cuts the controller off at each of its writes, on the way there and back.
func TestCrashInAdoptionAndRelease(t *testing.T) {
	for _, v := range []variant{notSent, unacked, rebuilt} {
		for shard := range shards {
			t.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(string(v), " ", "-"), shard), func(t *testing.T) {
				t.Parallel()
				w := deployed(t)
				before := w.identities()
				cycle := func(when string) {
					t.Helper()
					w.refers().takenOver()
					w.samePods(when+", adopted", before)
					w.release()
					w.given(before)
					w.collected()
				}
				cycle("undisturbed")
				writes, crashes, tried := w.record.count(), 0, 0
				for i := shard; i < writes; i += shards {
					w.record.strike(v, i)
					cycle(fmt.Sprintf("cut off at write %d", i))
					tried++
					switch {
					case w.record.hit:
						crashes++
					case w.record.count() > i: // the API server may have had one write less to be asked for
						t.Errorf("not cut off at write %d", i)
					}
				}
				if crashes == 0 || crashes < tried-1 {
					t.Errorf("%d crashes at %d writes", crashes, tried)
				}
				t.Logf("%d crashes at %d writes, %d pods, 0 restarted", crashes, writes, len(before))
			})
		}
	}
}
