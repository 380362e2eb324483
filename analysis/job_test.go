package analysis

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func jobMetric(change func(*corev1.PodTemplateSpec)) v1alpha1.Metric {
	pod := corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "i", Args: []string{"--service={{args.service}}"}, Env: []corev1.EnvVar{{Name: "TO", Value: "{{canary.service}}"}}}}}}
	if change != nil {
		change(&pod)
	}
	raw, err := json.Marshal(pod)
	if err != nil {
		panic(err)
	}
	return v1alpha1.Metric{Name: "smoke", Job: &v1alpha1.JobCheck{Deadline: "10m", StartDeadline: "2m", Count: 1, Template: runtime.RawExtension{Raw: raw}}}
}

func jobRun() *v1alpha1.AnalysisRun {
	return &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "checkout-3-s0", UID: "u-1", Labels: map[string]string{v1alpha1.LabelRollout: "checkout"}}}
}

func TestNewJob(t *testing.T) {
	run, m := jobRun(), jobMetric(nil)
	s := v1alpha1.MetricStatus{Name: "smoke"}
	job, err := NewJob(run, m, s, Variables{Args: map[string]string{"service": "a b"}, Canary: &Arm{Service: "checkout-canary"}})
	if err != nil {
		t.Fatal(err)
	}
	c := job.Spec.Template.Spec.Containers[0]
	if c.Args[0] != "--service=a b" || c.Env[0].Value != "checkout-canary" {
		t.Errorf("container %+v", c)
	}
	if !metav1.IsControlledBy(job, run) || job.OwnerReferences[0].BlockOwnerDeletion != nil || job.Labels[v1alpha1.LabelAnalysisRun] != "u-1" || job.Spec.Template.Labels[v1alpha1.LabelAnalysisRun] != "u-1" {
		t.Errorf("metadata %+v", job.ObjectMeta)
	}
	if *job.Spec.ActiveDeadlineSeconds != 600 || *job.Spec.BackoffLimit != 0 || *job.Spec.TTLSecondsAfterFinished != 3600 || job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("spec %+v", job.Spec)
	}
	if p := job.Spec.PodFailurePolicy; p == nil || p.Rules[0].Action != batchv1.PodFailurePolicyActionIgnore || p.Rules[0].OnPodConditions[0].Type != corev1.DisruptionTarget {
		t.Errorf("a pod that is evicted counts as failed: %+v", p)
	}
	again := JobName(run, s)
	s.ProviderErrors++
	if job.Name != again || JobName(run, s) == again || !strings.HasPrefix(again, "checkout-3-s0-smoke-") {
		t.Errorf("names %s, %s, %s", job.Name, again, JobName(run, s))
	}
	run.Name, s.Name = strings.Repeat("a.", 120), strings.Repeat("m", 63)
	if n := JobName(run, s); len(n) > 63 || strings.Contains(n, ".") {
		t.Errorf("name %s of %d characters", n, len(n))
	}
}

func TestPodsOfJobsAreChecked(t *testing.T) {
	five := int64(5)
	for name, tc := range map[string]struct {
		change func(*corev1.PodTemplateSpec)
		want   string
	}{
		"no container": {func(t *corev1.PodTemplateSpec) { t.Spec.Containers = nil }, "job.template.spec.containers: a pod needs a container"},
		"no image":     {func(t *corev1.PodTemplateSpec) { t.Spec.Containers[0].Image = "" }, "job.template.spec.containers[0].image: a container needs an image"},
		"restarts":     {func(t *corev1.PodTemplateSpec) { t.Spec.RestartPolicy = "Always" }, "job.template.spec.restartPolicy: Always is not possible for a Job"},
		"deadline":     {func(t *corev1.PodTemplateSpec) { t.Spec.ActiveDeadlineSeconds = &five }, "job.template.spec.activeDeadlineSeconds: use job.deadline"},
		"role":         {func(t *corev1.PodTemplateSpec) { t.Labels = map[string]string{v1alpha1.LabelRole: "stable"} }, "job.template.metadata.labels[belay.dev/role]: Belay itself keeps this label"},
		"pods":         {func(t *corev1.PodTemplateSpec) { t.Spec.Containers[0].Args[0] = "{{canary.pods}}" }, "placeholder {{canary.pods}} is a regular expression"},
		"argument":     {func(t *corev1.PodTemplateSpec) { t.Spec.Containers[0].Args[0] = "{{args.no}}" }, "args.no"},
	} {
		m := jobMetric(tc.change)
		field, err := Check(m, webVariables)
		if err == nil || !strings.Contains(field+": "+err.Error(), tc.want) {
			t.Errorf("%s: checked: %s: %v, want %q", name, field, err, tc.want)
		}
		_, _, err = Resolve([]v1alpha1.AnalysisTemplate{template("t", []v1alpha1.Argument{arg("service", "x")}, m)}, reference(nil, "t"))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: resolved: %v, want %q", name, err, tc.want)
		}
	}
	for raw, want := range map[string]string{`{"spec":{"containers":[{"name":"c","image":"i","arguments":[]}]}}`: "job.template.spec.containers[0].arguments: this field is not known",
		`{"spec":5}`: "job.template: it is no template of a pod", `5`: "job.template: it is no object", ``: "job.template: it is no object"} {
		m := jobMetric(nil)
		m.Job.Template.Raw = []byte(raw)
		if field, err := Check(m, webVariables); err == nil || !strings.Contains(field+": "+err.Error(), want) {
			t.Errorf("%s: %s: %v, want %q", raw, field, err, want)
		}
	}
	m := jobMetric(nil)
	if field, err := Check(m, webVariables); err != nil {
		t.Errorf("a good one: %s: %v", field, err)
	}
}

func TestJudgeJob(t *testing.T) {
	now := time.Unix(10_000, 0)
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	started := ago(time.Minute)
	ended := func(kind batchv1.JobConditionType, reason string) batchv1.JobStatus {
		return batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: "it says so"}}}
	}
	waiting := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}}}}}
	running := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
	gone := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}}}}
	refused := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfcpu"}}
	deleting := metav1.NewTime(now)
	for name, tc := range map[string]struct {
		status   v1alpha1.JobStatus
		job      batchv1.JobStatus
		deleting *metav1.Time
		pods     []corev1.Pod
		result   string // of the measurement; empty: it is waited for
		says     string
		discard  bool
		started  bool
	}{
		"succeeded":              {status: v1alpha1.JobStatus{MadeAt: ago(time.Hour)}, job: ended(batchv1.JobComplete, ""), result: ResultPassed, says: "Job j succeeded"},
		"failed":                 {status: v1alpha1.JobStatus{MadeAt: ago(time.Minute)}, pods: []corev1.Pod{gone}, job: ended(batchv1.JobFailed, "BackoffLimitExceeded"), result: ResultFailed, says: "Job j failed: BackoffLimitExceeded: it says so"},
		"failed unseen":          {status: v1alpha1.JobStatus{MadeAt: ago(time.Minute), StartedAt: &started}, job: ended(batchv1.JobFailed, "BackoffLimitExceeded"), result: ResultFailed, says: "Job j failed: BackoffLimitExceeded: it says so"},
		"taken by no node":       {status: v1alpha1.JobStatus{MadeAt: ago(time.Minute)}, pods: []corev1.Pod{refused}, job: ended(batchv1.JobFailed, "BackoffLimitExceeded"), result: ResultError, says: "failed before a container of it was seen to have started: BackoffLimitExceeded: it says so"},
		"hung":                   {status: v1alpha1.JobStatus{MadeAt: ago(time.Hour), StartedAt: &started}, job: ended(batchv1.JobFailed, "DeadlineExceeded"), result: ResultFailed, says: "Job j failed: DeadlineExceeded"},
		"never started":          {status: v1alpha1.JobStatus{MadeAt: ago(time.Hour)}, job: ended(batchv1.JobFailed, "DeadlineExceeded"), result: ResultError, says: "was seen to have started before its deadline of 10m0s"},
		"about to fail":          {status: v1alpha1.JobStatus{MadeAt: ago(time.Minute), StartedAt: &started}, job: ended(batchv1.JobFailureTarget, "BackoffLimitExceeded"), says: "Job j is running", started: true},
		"running":                {status: v1alpha1.JobStatus{MadeAt: ago(5 * time.Minute)}, pods: []corev1.Pod{waiting, running}, says: "Job j is running", started: true},
		"just made":              {status: v1alpha1.JobStatus{MadeAt: ago(time.Second)}, says: "no container of it has started yet"},
		"no pod":                 {status: v1alpha1.JobStatus{MadeAt: ago(time.Minute)}, says: "no container of it has started yet: it has no pod, and its events say why"},
		"image cannot be pulled": {status: v1alpha1.JobStatus{MadeAt: ago(time.Minute)}, pods: []corev1.Pod{waiting}, says: "has started yet: pod p: ImagePullBackOff"},
		"image was never pulled": {status: v1alpha1.JobStatus{MadeAt: ago(121 * time.Second)}, pods: []corev1.Pod{waiting}, result: ResultError, says: "has started within 2m0s: pod p: ImagePullBackOff", discard: true},
		"deleted":                {status: v1alpha1.JobStatus{MadeAt: ago(time.Second)}, deleting: &deleting, result: ResultError, says: "Job j was deleted before it ended"},
		"nobody works on it":     {status: v1alpha1.JobStatus{MadeAt: ago(12 * time.Minute), StartedAt: &started}, result: ResultError, says: "has not ended although its deadline of 10m0s is over", discard: true},
	} {
		t.Run(name, func(t *testing.T) {
			tc.status.Name = "j"
			before := v1alpha1.MetricStatus{Name: "smoke", Job: &tc.status}
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", DeletionTimestamp: tc.deleting}, Status: tc.job}
			m := jobMetric(nil)
			o, discard := JudgeJob(m, before, job, tc.pods, now)
			s := Observe(before, m, o)
			result := ""
			if len(s.Recent) > 0 {
				result = s.Recent[0].Result
			}
			if result != tc.result || discard != tc.discard || !strings.Contains(s.Message, tc.says) {
				t.Errorf("got %q, %q, discard %v: want %q, %q, %v", result, s.Message, discard, tc.result, tc.says, tc.discard)
			}
			if (s.Job != nil) != (tc.result == "") || s.Job != nil && (s.Job.StartedAt != nil) != tc.started {
				t.Errorf("waits for %+v", s.Job)
			}
			if due, _ := Due(s, m, now); due {
				t.Error("another Job is due at once")
			}
		})
	}
}
