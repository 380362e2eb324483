package analysisrun

import (
	"context"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// jobWorld has the Job controller of a real control plane, and no kubelet: what becomes of a pod is written by the test.
type jobWorld struct{ *world }

func newJobWorld(t *testing.T, change func(*v1alpha1.JobCheck)) jobWorld {
	w := jobWorld{newWorld(t)}
	w.until("the namespace's ServiceAccount", func(ctx context.Context) bool {
		return w.Client.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "default"}, &corev1.ServiceAccount{}) == nil
	})
	check := &v1alpha1.JobCheck{Template: runtime.RawExtension{Raw: []byte(`{"spec":{"containers":[{"name":"smoke","image":"example.com/smoke:1","args":["{{args.service}}"]}]}}`)}}
	if change != nil {
		change(check)
	}
	w.createRun(func(run *v1alpha1.AnalysisRun) {
		value := "shop"
		run.Spec.Args = []v1alpha1.Argument{{Name: "service", Value: &value}}
		run.Spec.Metrics = []v1alpha1.Metric{{Name: "smoke", Job: check}}
	})
	return w
}

func (w jobWorld) until(what string, ready func(context.Context) bool) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) { return ready(ctx), nil })
	if err != nil {
		w.t.Fatalf("waiting for %s: %v", what, err)
	}
}

func (w jobWorld) jobs() []batchv1.Job {
	w.t.Helper()
	var list batchv1.JobList
	if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.Namespace)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// pod waits for the pod that the Job controller makes.
func (w jobWorld) pod(job string) *corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.until("a pod of Job "+job, func(ctx context.Context) bool {
		return w.Client.List(ctx, &pods, client.InNamespace(w.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job}) == nil && len(pods.Items) > 0
	})
	return &pods.Items[0]
}

func (w jobWorld) setPod(job string, phase corev1.PodPhase, state corev1.ContainerState) {
	w.t.Helper()
	p := w.pod(job)
	before := client.MergeFrom(p.DeepCopy()) // others write its status, too
	p.Status.Phase = phase
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "smoke", State: state}}
	if err := w.Client.Status().Patch(w.t.Context(), p, before); err != nil {
		w.t.Fatal(err)
	}
}

// end lets the pod of a Job end, and waits until the Job controller says so of the Job.
func (w jobWorld) end(job string, phase corev1.PodPhase) {
	w.t.Helper()
	code := map[corev1.PodPhase]int32{corev1.PodFailed: 1}[phase]
	w.setPod(job, phase, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}})
	w.until("the end of Job "+job, func(ctx context.Context) bool {
		j := &batchv1.Job{}
		return w.Client.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: job}, j) == nil && finished(j)
	})
}

func (w jobWorld) look(when string, after time.Duration, writes ...string) {
	w.t.Helper()
	w.writes = nil
	result, err := w.r.Reconcile(w.t.Context(), w.request())
	if err != nil {
		w.t.Fatalf("%s: %v", when, err)
	}
	if result.RequeueAfter != after {
		w.t.Errorf("%s: looks again after %s, want %s", when, result.RequeueAfter, after)
	}
	if got := strings.Join(w.writes, "; "); got != strings.Join(writes, "; ") {
		w.t.Errorf("%s: wrote %s, want %s", when, got, strings.Join(writes, "; "))
	}
}

const (
	makeJob     = "create *v1.Job"
	writeStatus = "update status *v1alpha1.AnalysisRun"
)

func TestAJobThatSucceeds(t *testing.T) {
	w := newJobWorld(t, nil)
	w.look("first", 10*time.Second, makeJob, writeStatus)
	jobs := w.jobs()
	if len(jobs) != 1 || jobs[0].Spec.Template.Spec.Containers[0].Args[0] != "shop" || !metav1.IsControlledBy(&jobs[0], w.run()) {
		t.Fatalf("Jobs: %+v", jobs)
	}
	name := jobs[0].Name
	w.look("nothing new", 10*time.Second)
	w.setPod(name, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	w.stepClock(5 * time.Second)
	w.look("its pod runs", 10*time.Second, writeStatus)
	if s := w.run().Status.Metrics[0]; s.Job == nil || s.Job.Name != name || s.Job.StartedAt == nil || s.Verdict != v1alpha1.VerdictPending {
		t.Errorf("status %+v", s)
	}
	w.restart()
	w.look("a new process finds it", 10*time.Second)
	w.end(name, corev1.PodSucceeded)
	w.look("it has succeeded", 0, writeStatus)
	run := w.run()
	if s := run.Status.Metrics[0]; run.Status.Verdict != v1alpha1.VerdictPass || run.Status.FinishedAt == nil || s.Passed != 1 || s.Job != nil {
		t.Errorf("status %+v", run.Status)
	}
	w.wantEvents("Normal AnalysisPassed metric smoke: Job " + name + " succeeded (1 of 1 good measurement)")
	w.look("the run has ended", 0)
	if len(w.jobs()) != 1 {
		t.Error("a Job that ended is kept for people to see")
	}
}

// TestAJobThatFails: with a failure borne, and another Job after it.
func TestAJobThatFails(t *testing.T) {
	w := newJobWorld(t, func(j *v1alpha1.JobCheck) { j.FailureLimit, j.Interval = 1, "20s" })
	w.look("first", 10*time.Second, makeJob, writeStatus)
	first := w.jobs()[0].Name
	w.end(first, corev1.PodFailed)
	w.look("it has failed", 20*time.Second, writeStatus)
	if s := w.run().Status.Metrics[0]; s.Failed != 1 || s.Verdict != v1alpha1.VerdictPending || !strings.Contains(s.Message, "BackoffLimitExceeded") {
		t.Errorf("status %+v", s)
	}
	w.stepClock(20 * time.Second)
	w.look("the next one", 10*time.Second, makeJob, writeStatus)
	second := w.run().Status.Metrics[0].Job.Name
	if second == first {
		t.Fatal("the same Job again")
	}
	w.end(second, corev1.PodFailed)
	w.look("it has failed, too", 0, writeStatus)
	if run := w.run(); run.Status.Verdict != v1alpha1.VerdictFail || run.Status.Metrics[0].Failed != 2 {
		t.Errorf("status %+v", run.Status)
	}
}

// TestAJobWhoseImageCannotBePulled is an error of the provider: it is removed, and made anew.
func TestAJobWhoseImageCannotBePulled(t *testing.T) {
	w := newJobWorld(t, nil)
	w.look("first", 10*time.Second, makeJob, writeStatus)
	name := w.jobs()[0].Name
	w.setPod(name, corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}})
	w.stepClock(2*time.Minute + time.Second)
	w.look("it has not started", 10*time.Second, writeStatus)
	s := w.run().Status.Metrics[0]
	if s.ProviderErrors != 1 || s.Failed != 0 || !strings.Contains(s.Message, "has started within 2m0s: pod "+name) || !strings.Contains(s.Message, "ImagePullBackOff") {
		t.Errorf("status %+v", s)
	}
	w.wantCondition("Ready", "False", analysis.ReasonJobNotStarted, "has started within")
	w.until("its removal", func(context.Context) bool { return len(w.jobs()) == 0 })
	w.stepClock(10 * time.Second)
	w.look("the next one", 10*time.Second, makeJob, writeStatus)
	if got := w.jobs(); len(got) != 1 || got[0].Name == name {
		t.Errorf("Jobs %+v", got)
	}
}

func TestAJobThatSomebodyDeletes(t *testing.T) {
	w := newJobWorld(t, nil)
	w.look("first", 10*time.Second, makeJob, writeStatus)
	job := w.jobs()[0]
	if err := w.r.removeJob(t.Context(), &job); err != nil {
		t.Fatal(err)
	}
	w.until("its removal", func(context.Context) bool { return len(w.jobs()) == 0 })
	w.look("it is gone", 10*time.Second, writeStatus)
	w.wantCondition("Ready", "False", analysis.ReasonJobLost, "was deleted before its end was seen")
}

// TestAJobThatTheAPIServerRefuses is an error of the provider that names what is wrong.
func TestAJobThatTheAPIServerRefuses(t *testing.T) {
	w := newJobWorld(t, func(j *v1alpha1.JobCheck) {
		j.Template.Raw = []byte(`{"spec":{"containers":[{"name":"No Name","image":"i"}]}}`)
	})
	w.look("first", 10*time.Second, makeJob, writeStatus)
	w.wantCondition("Ready", "False", analysis.ReasonJobNotMade, "spec.template.spec.containers[0].name")
}

// TestStatusLostAfterTheJobWasMade: the next look finds the Job by its name, and makes no second one.
func TestStatusLostAfterTheJobWasMade(t *testing.T) {
	w := newJobWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	w.onWrite = cancel // the process dies before the status is written
	if _, err := w.r.Reconcile(ctx, w.request()); err == nil {
		t.Fatal("no error")
	}
	w.onWrite = nil
	if w.run().Status.StartedAt != nil || len(w.jobs()) != 1 {
		t.Fatalf("status %+v, %d Jobs", w.run().Status, len(w.jobs()))
	}
	w.restart()
	w.look("again", 10*time.Second, writeStatus)
	if got := w.jobs(); len(got) != 1 || w.run().Status.Metrics[0].Job.Name != got[0].Name {
		t.Errorf("Jobs %+v", got)
	}
}

// TestJobsGoWithTheirRun: one that runs when the run is stopped goes at once, and all of them with the run itself.
func TestJobsGoWithTheirRun(t *testing.T) {
	t.Run("stopped", func(t *testing.T) {
		w := newJobWorld(t, nil)
		w.look("first", 10*time.Second, makeJob, writeStatus)
		run := w.run()
		run.Spec.State = v1alpha1.RunStopped
		if err := w.Client.Update(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		w.look("stopped", 0, writeStatus)
		w.until("its removal", func(context.Context) bool { return len(w.jobs()) == 0 })
		if v := w.run().Status.Verdict; v != v1alpha1.VerdictPending {
			t.Errorf("verdict %s: a Job that was stopped says nothing", v)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		w := newJobWorld(t, nil)
		w.look("first", 10*time.Second, makeJob, writeStatus)
		pod := w.pod(w.jobs()[0].Name)
		if err := w.Client.Delete(t.Context(), w.run()); err != nil {
			t.Fatal(err)
		}
		w.until("the removal of its Job and pod", func(ctx context.Context) bool {
			return len(w.jobs()) == 0 && apierrors.IsNotFound(w.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod))
		})
	})
}

// TestAWrongPodKeepsNobodyFromReading: what the schema lets through must not break the caches of the kind for all namespaces.
func TestAWrongPodKeepsNobodyFromReading(t *testing.T) {
	w := newJobWorld(t, func(j *v1alpha1.JobCheck) { j.Template.Raw = []byte(`{"spec":{"containers":"none"}}`) })
	var runs v1alpha1.AnalysisRunList
	if err := w.Client.List(t.Context(), &runs, client.InNamespace(w.Namespace)); err != nil || len(runs.Items) != 1 {
		t.Fatalf("%d runs, %v", len(runs.Items), err)
	}
	w.look("first", 10*time.Second, writeStatus)
	w.wantCondition("Ready", "False", analysis.ReasonBadQuery, "job.template: it is no template of a pod")
}
