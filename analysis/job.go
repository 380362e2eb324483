package analysis

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// jobKept is how long a Job stays after its end, for people who want to see its pods.
	jobKept = time.Hour
	// jobGrace is how long after its deadline the end of a Job is waited for.
	jobGrace             = time.Minute
	defaultDeadline      = 10 * time.Minute
	defaultStartDeadline = 2 * time.Minute
	// jobLook is how often a Job is looked at, with its pods until one has started.
	jobLook = 10 * time.Second
)

// Reasons of errors about Jobs.
const (
	// ReasonJobNotMade: the API server refuses the Job.
	ReasonJobNotMade = "JobNotMade"
	// ReasonJobNotStarted: no container of the Job has started.
	ReasonJobNotStarted = "JobNotStarted"
	// ReasonJobLost: the Job was deleted, or nobody works on it.
	ReasonJobLost = "JobLost"
)

// JobName is the name of the Job that a metric waits for, or makes next. It follows from the run and from how many Jobs have
// ended: who asks again finds the same one.
func JobName(run *v1alpha1.AnalysisRun, s v1alpha1.MetricStatus) string {
	ordinal := s.Measured + s.ProviderErrors + 1
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", run.UID, s.Name, ordinal))
	readable := strings.ReplaceAll(run.Name+"-"+s.Name, ".", "-")
	return strings.TrimRight(readable[:min(len(readable), 45)], "-") + "-" + hex.EncodeToString(sum[:5])
}

// NewJob makes the Job that a metric waits for. An error is about its template.
func NewJob(run *v1alpha1.AnalysisRun, m v1alpha1.Metric, s v1alpha1.MetricStatus, vars Variables) (*batchv1.Job, error) {
	template, field, err := podOf(m.Job, vars)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	label := map[string]string{v1alpha1.LabelAnalysisRun: string(run.UID)}
	template.Labels = merged(template.Labels, label)
	if rollout := run.Labels[v1alpha1.LabelRollout]; rollout != "" {
		label[v1alpha1.LabelRollout] = rollout
	}
	var policy *batchv1.PodFailurePolicy
	if template.Spec.RestartPolicy == corev1.RestartPolicyNever { // the API server takes no other
		policy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{Action: batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}}}}
	}
	deadline, kept, isController := int64(deadlineOf(m.Job).Seconds()), int32(jobKept.Seconds()), true
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: JobName(run, s), Labels: label, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AnalysisRun", Name: run.Name, UID: run.UID, Controller: &isController}}},
		Spec: batchv1.JobSpec{Template: *template, ActiveDeadlineSeconds: &deadline, BackoffLimit: &m.Job.BackoffLimit, PodFailurePolicy: policy, TTLSecondsAfterFinished: &kept},
	}, nil
}

func merged(into, add map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{into, add} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func deadlineOf(j *v1alpha1.JobCheck) time.Duration {
	return min(max(j.Deadline.Or(defaultDeadline), 10*time.Second), 6*time.Hour)
}

func startDeadlineOf(j *v1alpha1.JobCheck) time.Duration {
	return min(j.StartDeadline.Or(defaultStartDeadline), deadlineOf(j))
}

// decodePod reads the pod template. The schema lets everything through, so that no wrong one keeps others from being read.
func decodePod(j *v1alpha1.JobCheck) (*corev1.PodTemplateSpec, string, error) {
	var fields map[string]any
	if err := json.Unmarshal(j.Template.Raw, &fields); err != nil {
		return nil, "job.template", errors.New("it is no object")
	}
	t := &corev1.PodTemplateSpec{}
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, t, true)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		unknown := strings.Trim(strings.TrimPrefix(strict.Errors()[0].Error(), "unknown field "), `"`)
		return nil, "job.template." + unknown, errors.New("this field is not known")
	}
	if err != nil {
		return nil, "job.template", fmt.Errorf("it is no template of a pod: %w", err)
	}
	return t, "", nil
}

const podAt = "job.template.spec"

// podAsGiven is the pod template of a Job with what it leaves out, and its placeholders. An error comes with its field.
func podAsGiven(j *v1alpha1.JobCheck) (*corev1.PodTemplateSpec, string, error) {
	t, field, err := decodePod(j)
	if err != nil {
		return nil, field, err
	}
	const at = podAt
	if len(t.Spec.Containers) == 0 {
		return nil, at + ".containers", errors.New("a pod needs a container")
	}
	switch t.Spec.RestartPolicy {
	case "":
		t.Spec.RestartPolicy = corev1.RestartPolicyNever
	case corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure:
	default:
		return nil, at + ".restartPolicy", fmt.Errorf("%s is not possible for a Job: use Never or OnFailure", t.Spec.RestartPolicy)
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		return nil, at + ".activeDeadlineSeconds", errors.New("use job.deadline")
	}
	for key := range t.Labels {
		if strings.HasPrefix(key, v1alpha1.Group+"/") {
			return nil, fmt.Sprintf("job.template.metadata.labels[%s]", key), errors.New("Belay itself keeps this label on pods")
		}
	}
	for i := range t.Spec.Containers {
		if t.Spec.Containers[i].Image == "" {
			return nil, fmt.Sprintf("%s.containers[%d].image", at, i), errors.New("a container needs an image")
		}
	}
	return t, "", nil
}

// podOf is the pod template of a Job, with its placeholders expanded. An error comes with its field.
func podOf(j *v1alpha1.JobCheck, vars Variables) (*corev1.PodTemplateSpec, string, error) {
	t, field, err := podAsGiven(j)
	if err != nil {
		return nil, field, err
	}
	for _, in := range []struct {
		name string
		all  []corev1.Container
	}{{"initContainers", t.Spec.InitContainers}, {"containers", t.Spec.Containers}} {
		for i := range in.all {
			if field, err := expandContainer(&in.all[i], vars); err != nil {
				return nil, fmt.Sprintf("%s.%s[%d].%s", podAt, in.name, i, field), err
			}
		}
	}
	return t, "", nil
}

func expandContainer(c *corev1.Container, vars Variables) (field string, err error) {
	for _, t := range containerTexts(c) {
		if *t.value, err = expandPlain(*t.value, vars, asIs); err != nil {
			return t.field, err
		}
	}
	return "", nil
}

type containerText struct {
	field string
	value *string
}

// containerTexts are the texts of a container that may have placeholders.
func containerTexts(c *corev1.Container) []containerText {
	var out []containerText
	for i := range c.Command {
		out = append(out, containerText{fmt.Sprintf("command[%d]", i), &c.Command[i]})
	}
	for i := range c.Args {
		out = append(out, containerText{fmt.Sprintf("args[%d]", i), &c.Args[i]})
	}
	for i := range c.Env {
		out = append(out, containerText{fmt.Sprintf("env[%d].value", i), &c.Env[i].Value})
	}
	return out
}

func jobTexts(j *v1alpha1.JobCheck) []text {
	t, _, err := decodePod(j)
	if err != nil {
		return nil // Compile says so
	}
	var out []text
	for _, containers := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		for i := range containers {
			for _, c := range containerTexts(&containers[i]) {
				out = append(out, text{field: "job.template.spec." + containers[i].Name + "." + c.field, value: *c.value, plain: true})
			}
		}
	}
	return out
}

// Started says whether a container of a pod has started.
func Started(p *corev1.Pod) bool {
	for _, s := range append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		if s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil {
			return true
		}
	}
	return false
}

// JudgeJob makes an outcome of a Job, and of its pods where none was seen to have started before. Where it is waited for, the
// outcome is pending. It says whether the Job is of no more use.
func JudgeJob(m v1alpha1.Metric, s v1alpha1.MetricStatus, job *batchv1.Job, pods []corev1.Pod, now time.Time) (o Outcome, discard bool) {
	o = Outcome{At: now, Done: now, Valueless: true, Job: &v1alpha1.JobStatus{Name: job.Name, MadeAt: metav1.NewTime(now.Truncate(time.Second))}}
	if s.Job != nil && s.Job.Name == job.Name {
		o.Job = s.Job.DeepCopy()
	}
	for i := range pods {
		if o.Job.StartedAt == nil && Started(&pods[i]) {
			at := metav1.NewTime(now.Truncate(time.Second))
			o.Job.StartedAt = &at
		}
	}
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			return decided(o, true, fmt.Sprintf("Job %s succeeded", job.Name)), false
		case batchv1.JobFailed:
			if c.Reason == batchv1.JobReasonDeadlineExceeded && o.Job.StartedAt == nil {
				return failing(o, ReasonJobNotStarted, "no container of Job %s was seen to have started before its deadline of %s", job.Name, deadlineOf(m.Job)), false
			}
			if o.Job.StartedAt == nil { // no node took it, say
				return failing(o, ReasonJobNotStarted, "Job %s failed before a container of it was seen to have started: %s: %s", job.Name, c.Reason, c.Message), false
			}
			return decided(o, false, fmt.Sprintf("Job %s failed: %s: %s", job.Name, c.Reason, c.Message)), false
		}
	}
	waited := now.Sub(o.Job.MadeAt.Time)
	switch {
	case job.DeletionTimestamp != nil:
		return failing(o, ReasonJobLost, "Job %s was deleted before it ended", job.Name), false
	case waited > deadlineOf(m.Job)+jobGrace:
		return failing(o, ReasonJobLost, "Job %s has not ended although its deadline of %s is over", job.Name, deadlineOf(m.Job)), true
	case o.Job.StartedAt != nil:
		o.Said = fmt.Sprintf("Job %s is running", job.Name)
	case waited > startDeadlineOf(m.Job):
		return failing(o, ReasonJobNotStarted, "no container of Job %s has started within %s%s", job.Name, startDeadlineOf(m.Job), podTrouble(pods)), true
	default:
		o.Said = fmt.Sprintf("Job %s was made, and no container of it has started yet", job.Name)
		if waited >= jobLook { // before that it is no trouble
			o.Said += podTrouble(pods)
		}
	}
	return o, false
}

func decided(o Outcome, good bool, said string) Outcome {
	o.Passed, o.Said, o.Job = &good, said, nil
	return o
}

func failing(o Outcome, reason, format string, args ...any) Outcome {
	o.Err, o.Reason, o.Job = fmt.Errorf(format, args...), reason, nil
	return o
}

// podTrouble says what keeps pods from starting. Reasons that take turns are told as one.
func podTrouble(pods []corev1.Pod) string {
	if len(pods) == 0 {
		return ": it has no pod, and its events say why"
	}
	p := &pods[0]
	for _, s := range append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			reason := w.Reason
			if reason == "ErrImagePull" {
				reason = "ImagePullBackOff"
			}
			return fmt.Sprintf(": pod %s: %s", p.Name, reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf(": pod %s is not scheduled", p.Name)
		}
	}
	return ""
}

// observeJob takes in that a Job is waited for.
func observeJob(s v1alpha1.MetricStatus, metric v1alpha1.Metric, o Outcome) v1alpha1.MetricStatus {
	s.Job, s.NextAt = o.Job, nil
	s.Message = clip(subject(metric)+": "+o.Said, 1024)
	if s.Verdict == "" {
		s.Verdict = v1alpha1.VerdictPending
	}
	return s
}

// NextJobLook is when a metric whose Job is waited for is looked at again. Changes of the Job are watched, but what was seen of
// them is dropped where another write of the run's status came between; a look at a Job that has started is at the cache alone.
func NextJobLook(now time.Time) time.Time { return now.Add(jobLook) }
