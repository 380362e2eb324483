package integration

import (
	"context"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/analysisrun"
)

// TestJobInChecks: a step waits for its Job, made and judged by the controllers of a real control plane. One that succeeds opens
// it, one that fails takes the attempt back.
func TestJobInChecks(t *testing.T) {
	t.Parallel()
	for phase, outcome := range map[corev1.PodPhase]v1alpha1.Outcome{corev1.PodSucceeded: v1alpha1.OutcomePromoted, corev1.PodFailed: v1alpha1.OutcomeRolledBack} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(ro *v1alpha1.Rollout) {
				ro.Spec.Strategy.Canary.Steps[0].Checks = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "smoke"}}}
			})
			w.must(w.user.Create(t.Context(), &v1alpha1.AnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "smoke"},
				Spec: v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{Name: "smoke", Job: &v1alpha1.JobCheck{
					Template: runtime.RawExtension{Raw: []byte(`{"spec":{"containers":[{"name":"smoke","image":"i","args":["{{canary.service}}"]}]}}`)}}}}}}))
			w.started()
			w.deploy("v2")
			w.until("at its first step", atStep(0))
			judge := &analysisrun.Reconciler{Client: w.user, Reader: w.user, Clock: w.clock, Recorder: events.NewFakeRecorder(10)}
			look := func() *v1alpha1.AnalysisRun {
				key := client.ObjectKey{Namespace: w.ns, Name: app + "-2-s0"}
				if _, err := judge.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
					t.Fatal(err)
				}
				run := &v1alpha1.AnalysisRun{}
				w.must(w.user.Get(t.Context(), key, run))
				return run
			}
			for range 3 {
				w.step()
			}
			job := look().Status.Metrics[0].Job
			if job == nil {
				t.Fatal("no Job was made")
			}
			w.endJob(job.Name, phase)
			run := look()
			if args := w.jobPod(job.Name).Spec.Containers[0].Args; len(args) != 1 || args[0] != app+"-canary" {
				t.Errorf("arguments %q, want the canary's Service", args)
			}
			if run.Status.FinishedAt == nil {
				t.Fatalf("the run goes on: %s", run.Status.Message)
			}
			w.until(string(outcome), finished(outcome))
		})
	}
}

func (w *world) jobPod(job string) *corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.poll("the Job's pod", func(ctx context.Context) string {
		if err := w.user.List(ctx, &pods, client.InNamespace(w.ns), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
			return err.Error()
		}
		if len(pods.Items) == 0 {
			return "it has none"
		}
		return ""
	})
	return &pods.Items[0]
}

// endJob lets the Job's pod end, and waits until the Job controller says so of the Job.
func (w *world) endJob(job string, phase corev1.PodPhase) {
	w.t.Helper()
	code := map[corev1.PodPhase]int32{corev1.PodFailed: 1}[phase]
	w.must(w.patchStatus(w.t.Context(), w.jobPod(job), corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "smoke",
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}}}))
	w.poll("the end of the Job", func(ctx context.Context) string {
		j := &batchv1.Job{}
		if err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: job}, j); err != nil {
			return err.Error()
		}
		for _, c := range j.Status.Conditions {
			if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
				return ""
			}
		}
		return "it has no end"
	})
}
