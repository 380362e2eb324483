package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// declared is a Rollout's text taken apart: the Deployment that a team had before, and a Rollout that takes it over.
func declared(rollout string) (deployment, adopting string) {
	head, rest, _ := strings.Cut(rollout, "spec:\n")
	body, traffic, _ := strings.Cut(rest, "  traffic:\n")
	deployment = strings.NewReplacer("belay.dev/v1alpha1", "apps/v1", "kind: Rollout", "kind: Deployment").Replace(head) + "spec:\n" + body
	return deployment, head + "spec:\n  workloadRef: {name: " + name + "}\n  traffic:\n" + traffic
}

// lives are the pods that are not ending, with what of theirs restarted.
func (s *scene) lives() []string {
	s.t.Helper()
	pods := &corev1.PodList{}
	s.must(bed.Client.List(s.t.Context(), pods, client.InNamespace(s.app.Namespace), client.MatchingLabels{"app": name}))
	var out []string
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp != nil {
			continue
		}
		var restarts int32
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
		}
		out = append(out, fmt.Sprintf("%s %s restarted %d times", p.Name, p.UID, restarts))
	}
	slices.Sort(out)
	return out
}

func (s *scene) sameLives(when string, before []string) {
	s.t.Helper()
	if after := s.lives(); !slices.Equal(before, after) {
		s.t.Errorf("%s: the pods are %v, want those of before: %v", when, after, before)
		return
	}
	s.t.Logf("%s: %d pods, 0 restarted", when, len(before))
}

func (s *scene) deployment() *appsv1.Deployment {
	s.t.Helper()
	d := &appsv1.Deployment{}
	s.must(bed.Client.Get(s.t.Context(), client.ObjectKey{Namespace: s.app.Namespace, Name: name}, d))
	return d
}

// awaitDeployment waits until the Deployment says that it has so many pods of its template, and none else.
func (s *scene) awaitDeployment(pods int32) {
	s.t.Helper()
	s.must(stage.Poll(s.t.Context(), "the Deployment's rollout", limit, func(ctx context.Context) error {
		d := &appsv1.Deployment{}
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: name}, d); err != nil {
			return err
		}
		if st := d.Status; st.ObservedGeneration < d.Generation || st.Replicas != pods || st.UpdatedReplicas != pods || st.AvailableReplicas != pods {
			return fmt.Errorf("%+v", st)
		}
		return nil
	}))
}

// bareScene is a namespace with nothing running in it.
func bareScene(t *testing.T) *scene {
	t.Helper()
	requireBed(t)
	namespace := fmt.Sprintf("e2e-%x", time.Now().UnixNano())
	s := &scene{t: t, bed: bed, app: bed.App(namespace, name), least: least}
	s.must(bed.Tenant(t.Context(), namespace))
	t.Cleanup(func() {
		if s.load != nil {
			_ = s.load.Stop()
		}
		_ = bed.Client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: objectMeta(namespace)})
	})
	return s
}

// newDeployment is a scene with a Deployment instead of a Rollout, and traffic on it.
func newDeployment(t *testing.T) (s *scene, deployment, adopting string) {
	t.Helper()
	s = bareScene(t)
	files, err := s.app.Files("")
	s.must(err)
	deployment, adopting = declared(files["rollout.yaml"])
	files["rollout.yaml"] = deployment
	s.must(bed.Apply(t.Context(), s.app.Namespace, files))
	s.awaitDeployment(3)
	s.must(bed.Serves(t.Context(), s.app.Host, "", "v1"))
	s.timeline, err = bed.Watch(t.Context(), s.app.Namespace, name)
	s.must(err)
	s.cpu, err = stage.ReadCPUTime()
	s.must(err)
	s.load = s.send(s.app.Namespace, plan{})
	s.must(s.load.Await(t.Context(), "v1", rate))
	s.route = s.readRoute()
	return s, deployment, adopting
}

const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: checkout}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  minReplicas: 4
  maxReplicas: 5
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
`

// TestAdoptionAndReleaseLoseNothing: under load, a Deployment is taken over, scaled by an HPA that targets it, brings out a
// version, and gets back the pods that Belay has made.
func TestAdoptionAndReleaseLoseNothing(t *testing.T) {
	t.Parallel()
	s, deployment, adopting := newDeployment(t)
	before := s.lives()
	s.must(bed.Apply(t.Context(), s.app.Namespace, map[string]string{"rollout.yaml": adopting}))
	s.await("the adoption", stage.AtRest)
	s.sameLives("after the adoption", before)
	if d := s.deployment(); !d.Spec.Paused {
		t.Error("the Deployment is not paused")
	}

	s.must(bed.Apply(t.Context(), s.app.Namespace, map[string]string{"hpa.yaml": autoscaler}))
	s.await("the HPA's number", func(ro *v1alpha1.Rollout) bool { return ro.Status.AvailableReplicas == 4 })
	if now := s.lives(); len(now) != 4 || slices.ContainsFunc(before, func(p string) bool { return !slices.Contains(now, p) }) {
		t.Errorf("scaled by the HPA: %v, want those of before and one more: %v", now, before)
	}

	next := strings.Replace(stage.Release("v1", "v2", "")(deployment), "  replicas: 3 ", "  # the HPA says how many\n  #", 1)
	s.must(bed.Apply(t.Context(), s.app.Namespace, map[string]string{"deployment.yaml": next}))
	s.awaitOutcome(1, v1alpha1.OutcomePromoted)
	s.must(stage.Poll(t.Context(), "the old pods to end", limit, func(context.Context) error {
		if before = s.lives(); len(before) != 4 {
			return fmt.Errorf("%v", before)
		}
		return nil
	}))
	t.Log(s.plugin("release"))
	s.awaitDeployment(4)
	s.sameLives("after the release", before)
	if d := s.deployment(); d.Spec.Paused || d.Annotations[v1alpha1.AnnotationRollout] != "" {
		t.Errorf("the Deployment after the release: paused=%v, %v", d.Spec.Paused, d.Annotations)
	}
	s.restored()
	s.answeredBy(s.finish(""), "v2")
}
