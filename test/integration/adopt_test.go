package integration

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const deployment = "web"

// deployed has a Deployment that runs, on the real Deployment controller, and a Rollout that refers to it.
func deployed(t *testing.T, change ...func(*appsv1.Deployment)) *world {
	t.Helper()
	w := bareWorld(t)
	w.deploys = true
	w.must(w.user.Create(t.Context(), w.stableService()))
	w.must(w.user.Create(t.Context(), w.route(app, nil)))
	w.must(w.user.Create(t.Context(), w.template()))
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: deployment},
		Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](2), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{app: app}}, Template: podTemplate("v1")}}
	for _, c := range change {
		c(d)
	}
	w.must(w.user.Create(t.Context(), d))
	w.complete()
	return w
}

// refers makes the Rollout.
func (w *world) refers(change ...func(*v1alpha1.Rollout)) *world {
	w.t.Helper()
	ro := w.rollout(append([]func(*v1alpha1.Rollout){func(ro *v1alpha1.Rollout) {
		ro.Spec.Replicas, ro.Spec.Selector, ro.Spec.OnFailure = nil, v1alpha1.Selector{}, v1alpha1.OnFailure{}
		ro.Spec.Template = corev1.PodTemplateSpec{}
		ro.Spec.WorkloadRef = &v1alpha1.WorkloadReference{Name: deployment}
	}}, change...)...)
	w.must(w.user.Create(w.t.Context(), ro))
	return w
}

func (w *world) deployment() *appsv1.Deployment {
	w.t.Helper()
	d := &appsv1.Deployment{}
	w.must(w.user.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: deployment}, d))
	return d
}

func (w *world) changeDeployment(change func(*appsv1.Deployment)) {
	w.t.Helper()
	d := w.deployment()
	before := d.DeepCopy()
	change(d)
	w.must(w.user.Patch(w.t.Context(), d, client.MergeFrom(before)))
}

// seen waits until the Deployment controller has acted on the current generation.
func (w *world) seen() {
	w.t.Helper()
	w.poll("the Deployment controller", func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: deployment}, d); err != nil {
			return err.Error()
		}
		if d.Status.ObservedGeneration < d.Generation {
			return "it has not seen the last change"
		}
		return ""
	})
	w.settle()
}

// complete plays until the Deployment's own rollout is over.
func (w *world) complete() {
	w.t.Helper()
	w.poll("the Deployment's rollout", func(ctx context.Context) string {
		s, err := w.scene(ctx)
		if err != nil {
			return err.Error()
		}
		w.playPods(ctx, s)
		d := &appsv1.Deployment{}
		if err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: deployment}, d); err != nil {
			return err.Error()
		}
		st, want := d.Status, *d.Spec.Replicas
		if st.ObservedGeneration < d.Generation || st.Replicas != want || st.UpdatedReplicas != want || st.AvailableReplicas != want {
			return fmt.Sprintf("%+v", st)
		}
		return ""
	})
	w.settle()
}

// identities are the pods that run: name, UID and restarts.
func (w *world) identities() []string {
	w.t.Helper()
	var out []string
	s := w.see()
	for i := range s.pods.Items {
		p := &s.pods.Items[i]
		if p.DeletionTimestamp != nil {
			continue
		}
		var restarts int32
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
		}
		out = append(out, fmt.Sprintf("%s %s %d", p.Name, p.UID, restarts))
	}
	slices.Sort(out)
	return out
}

func (w *world) samePods(when string, before []string) {
	w.t.Helper()
	if after := w.identities(); !slices.Equal(before, after) {
		w.t.Errorf("%s: the pods are others: before %v, after %v", when, before, after)
	}
}

// owner is "Kind name" of the controller of every ReplicaSet that has pods or history, by name.
func (w *world) owners() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for i := range w.see().sets.Items {
		rs := &w.see().sets.Items[i]
		if o := metav1.GetControllerOf(rs); o != nil {
			out[rs.Name] = o.Kind + " " + o.Name
		} else {
			out[rs.Name] = "nobody"
		}
	}
	return out
}

func (w *world) ownedOnlyBy(owner string) {
	w.t.Helper()
	for name, o := range w.owners() {
		if o != owner {
			w.t.Errorf("ReplicaSet %s belongs to %s, not to %s", name, o, owner)
		}
	}
}

// image brings a version into the Deployment, as Git would.
func (w *world) image(version string) {
	w.t.Helper()
	w.changeDeployment(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "example.com/app:" + version })
}

func isStable(ro *v1alpha1.Rollout) bool { return ro.Status.Stable != nil && ro.Status.Attempt == nil }

// takenOver has the pods in the Rollout's hands and everything at rest.
func (w *world) takenOver() *world {
	w.t.Helper()
	w.until("adopted", isStable)
	w.rest()
	return w
}

// release deletes the Rollout and plays until it is gone and the Deployment rests.
func (w *world) release(opts ...client.DeleteOption) {
	w.t.Helper()
	w.must(w.user.Delete(w.t.Context(), w.get(), opts...))
	for range 40 {
		ro := &v1alpha1.Rollout{}
		err := w.user.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: app}, ro)
		if apierrors.IsNotFound(err) {
			w.seen()
			return
		}
		w.must(err)
		if w.stepGone() {
			continue
		}
		w.seen()
	}
	w.t.Fatalf("the Rollout stays: %s\n%s", w.get().Status.BlockedBy, w.record.text(0))
}

// stepGone is step for a Rollout that may be gone after it.
func (w *world) stepGone() bool {
	w.t.Helper()
	result, _, err := w.look()
	if err != nil && !w.record.expected() {
		w.t.Fatalf("reconciling: %v\n%s", err, w.record.text(0))
	}
	if w.record.crashed() {
		w.rebuild()
	}
	w.clock.Step(max(result.RequeueAfter, 1))
	return result.RequeueAfter > 0 || err != nil
}

// given asks that the Deployment runs exactly these pods by itself, and nothing of Belay's is left.
func (w *world) given(before []string) {
	w.t.Helper()
	w.complete()
	w.samePods("after the release", before)
	w.ownedOnlyBy("Deployment " + deployment)
	d := w.deployment()
	if d.Spec.Paused || d.Annotations[v1alpha1.AnnotationRollout] != "" || int(d.Status.AvailableReplicas) != len(before) {
		w.t.Errorf("the Deployment after the release: paused=%v %v %+v", d.Spec.Paused, d.Annotations, d.Status)
	}
	for i := range w.see().sets.Items {
		rs := &w.see().sets.Items[i]
		for _, labels := range []map[string]string{rs.Labels, rs.Spec.Template.Labels} {
			for key := range labels {
				if strings.HasPrefix(key, "belay.dev/") {
					w.t.Errorf("ReplicaSet %s still has label %s", rs.Name, key)
				}
			}
		}
	}
	if role := w.service(app).Spec.Selector[v1alpha1.LabelRole]; role != "" {
		w.t.Errorf("the stable Service still selects role %s", role)
	}
}

// TestAdoptAndRelease: pods come from the Deployment and go back to it, the real Deployment controller watching.
func TestAdoptAndRelease(t *testing.T) {
	t.Parallel()
	w := deployed(t)
	w.image("v0")
	w.complete()
	w.image("v1")
	w.complete()
	before := w.identities()
	w.refers()
	w.takenOver()
	golden(t, "adoption", w.plainly())
	w.samePods("after the adoption", before)
	w.ownedOnlyBy("Rollout " + app)
	d := w.deployment()
	if ro := w.get(); !d.Spec.Paused || d.Annotations[v1alpha1.AnnotationRollout] != app || ro.Status.AvailableReplicas != 2 || ro.Status.Phase != "Healthy" {
		t.Errorf("paused=%v %v, Rollout %s", d.Spec.Paused, d.Annotations, statusText(&ro.Status))
	}
	if n := len(w.owners()); n != 2 {
		t.Errorf("%d ReplicaSets were taken over, not the two with their history", n)
	}
	w.idle()
	w.record.forget()
	w.release()
	golden(t, "release", w.plainly())
	w.given(before)
	t.Logf("%d pods, adopted and given back, 0 restarted", len(before))
}

// TestAdoptedTemplate: a change of the Deployment starts an attempt, and the pods that it brings, made by Belay, are those
// that the Deployment goes on with after the release.
func TestAdoptedTemplate(t *testing.T) {
	t.Parallel()
	w := deployed(t).refers().takenOver()
	first := w.get().Status.Stable.Revision
	w.image("v2")
	ro := w.until("promoted", finished(v1alpha1.OutcomePromoted))
	w.rest()
	if ro.Status.Stable.Revision == first {
		t.Fatal("the same revision is stable")
	}
	before := w.identities()
	w.release()
	w.given(before)
	w.image("v3")
	w.complete()
	if after := w.identities(); slices.ContainsFunc(after, func(p string) bool { return slices.Contains(before, p) }) {
		t.Errorf("the Deployment does not roll any more: %v", after)
	}
}

// TestReleaseWithBadTemplate: what failed is not brought out by the release.
func TestReleaseWithBadTemplate(t *testing.T) {
	t.Parallel()
	w := deployed(t).refers().takenOver()
	before := w.identities()
	w.image("bad")
	ro := w.until("in an attempt", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil })
	w.analyst.verdicts[ro.Status.Attempt.Revision] = v1alpha1.VerdictFail
	w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
	w.rest()
	w.release()
	d := w.deployment()
	w.samePods("after the release", before)
	if !d.Spec.Paused || w.told.count("DeploymentLeftPaused") != 1 || d.Status.Replicas != 2 {
		t.Errorf("paused=%v, status %+v, told %v", d.Spec.Paused, d.Status, w.told.list)
	}
	w.ownedOnlyBy("Deployment " + deployment)
}

// made are names and UIDs that differ from run to run.
var made = regexp.MustCompile(`\b(web-)[a-z0-9]+(-[a-z0-9]{5})?\b|("uid":")[^"]*`)

func (w *world) plainly() string { return made.ReplaceAllString(w.record.text(0), "$1$3*") }
