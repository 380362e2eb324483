package sync

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podOf has the pod of an app, which no scheduler takes, say what a kubelet would.
func (w *world) podOf(app string, phase corev1.PodPhase, ready corev1.ConditionStatus) {
	w.Helper()
	var pods corev1.PodList
	w.until(func() bool {
		if err := w.env.Client.List(w.Context(), &pods, client.InNamespace(w.env.Namespace), client.MatchingLabels{"app": app}); err != nil {
			w.Fatal(err)
		}
		return len(pods.Items) == 1
	})
	pod := &pods.Items[0]
	base := pod.DeepCopy()
	pod.Status.Phase = phase
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
	if err := w.env.Client.Status().Patch(w.Context(), pod, client.MergeFrom(base)); err != nil {
		w.Fatal(err)
	}
}

const podsText = `apiVersion: apps/v1
kind: Deployment
metadata: {name: late}
spec:
  selector: {matchLabels: {app: late}}
  template: {metadata: {labels: {app: late}}, spec: {schedulerName: nobody, containers: [{name: c, image: late}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template: {metadata: {labels: {app: once}}, spec: {schedulerName: nobody, restartPolicy: Never, containers: [{name: c, image: once}]}}
`

// TestG23_PodsThatCrashLater and a Job that fails, as the controllers of Kubernetes tell of them.
func TestG23_PodsThatCrashLater(t *testing.T) {
	w := soakWorld(t, nil)
	w.grant("deployer", []string{"get", "create", "patch", "delete"}, "deployments.apps", "jobs.batch")
	w.webIs(well)
	w.commit(map[string]string{"apps/pods.yaml": podsText})
	start := w.now
	w.healthy("shop", metav1.ConditionUnknown)
	w.podOf("late", corev1.PodRunning, corev1.ConditionTrue)
	w.podOf("once", corev1.PodRunning, corev1.ConditionTrue)
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "0s to -")
	w.pass(3 * time.Minute)
	w.podOf("late", corev1.PodRunning, corev1.ConditionFalse)
	s := w.healthy("shop", metav1.ConditionUnknown)
	if c := healthOf(&s.Status); !strings.Contains(c.Message, "Deployment.apps "+w.env.Namespace+"/late: Available: 0/1") {
		t.Errorf("Healthy: %s", c.Message)
	}
	w.pass(grace + time.Second)
	w.expectSoak(w.healthy("shop", metav1.ConditionUnknown), start, "0s to 3m0s, 0s Deployment.apps")
	w.podOf("late", corev1.PodRunning, corev1.ConditionTrue)
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "13m1s to -")
	w.pass(3 * time.Minute)
	w.podOf("once", corev1.PodFailed, corev1.ConditionFalse)
	w.until(func() bool { // its status moves more than once, and the clock stands still
		var job batchv1.Job
		w.get("once", &job)
		return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == batchv1.JobFailed })
	})
	w.expectSoak(w.healthy("shop", metav1.ConditionFalse), start, "13m1s to 16m1s, 0s Job.batch")
	w.seen.take()
	w.reconcile()
	if got := strings.Join(w.seen.take(), ", "); got != "GET once" {
		t.Errorf("while the Job stays failed: %s", got)
	}
}
