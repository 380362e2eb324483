package analysisrun

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// maxPods is how many pods of a Job are looked at.
const maxPods = 20

// addJobs makes the Jobs that are due, and looks at those that are waited for. Its error means that the state of the cluster
// could not be read.
func (r *Reconciler) addJobs(ctx context.Context, run *v1alpha1.AnalysisRun, outcomes map[string]analysis.Outcome) error {
	if over(run) {
		return nil
	}
	now := r.Clock.Now()
	var vars *analysis.Variables
	for _, m := range run.Spec.Metrics {
		s := statusOf(run, m)
		if due, _ := analysis.Due(s, m, now); m.Job == nil || s.Job == nil && !due {
			continue
		}
		if vars == nil {
			v, err := r.variables(ctx, run)
			if err != nil {
				return err
			}
			vars = &v
		}
		o, err := r.jobOutcome(ctx, run, m, s, *vars)
		if err != nil {
			return err
		}
		outcomes[m.Name] = o
	}
	return nil
}

func statusOf(run *v1alpha1.AnalysisRun, m v1alpha1.Metric) v1alpha1.MetricStatus {
	for _, s := range run.Status.Metrics {
		if s.Name == m.Name {
			return s
		}
	}
	return v1alpha1.MetricStatus{Name: m.Name}
}

// jobOutcome finds the Job of a metric, or makes it, and says how it stands.
func (r *Reconciler) jobOutcome(ctx context.Context, run *v1alpha1.AnalysisRun, m v1alpha1.Metric, s v1alpha1.MetricStatus, vars analysis.Variables) (analysis.Outcome, error) {
	now := r.Clock.Now()
	o := analysis.Outcome{At: now, Done: now, Valueless: true}
	name := analysis.JobName(run, s)
	job, err := r.job(ctx, run.Namespace, name)
	if err != nil {
		return o, err
	}
	if job == nil && s.Job != nil {
		o.Err, o.Reason = fmt.Errorf("Job %s was deleted before its end was seen", s.Job.Name), analysis.ReasonJobLost
		return o, nil
	}
	if job == nil {
		if job, err = analysis.NewJob(run, m, s, vars); err != nil {
			o.Err, o.Reason = err, analysis.ReasonBadQuery
			return o, nil
		}
		err := r.Client.Create(ctx, job, client.FieldOwner(v1alpha1.FieldManager))
		if ctx.Err() != nil {
			return o, ctx.Err()
		}
		if apierrors.IsAlreadyExists(err) { // an answer that was lost: it is looked at the next time
			return o, fmt.Errorf("making Job %s: %w", name, err)
		}
		if err != nil {
			o.Err, o.Reason = fmt.Errorf("making Job %s: %w", name, err), analysis.ReasonJobNotMade
			return o, nil
		}
		log.FromContext(ctx).Info("made Job", "metric", m.Name, "job", name)
	}
	if !metav1.IsControlledBy(job, run) {
		o.Err, o.Reason = fmt.Errorf("Job %s is there already, and does not belong to this run", name), analysis.ReasonJobNotMade
		return o, nil
	}
	return r.judgeJob(ctx, m, s, job)
}

// judgeJob judges a Job, and removes it where it is of no more use.
func (r *Reconciler) judgeJob(ctx context.Context, m v1alpha1.Metric, s v1alpha1.MetricStatus, job *batchv1.Job) (analysis.Outcome, error) {
	var pods corev1.PodList
	if s.Job == nil || s.Job.StartedAt == nil { // they are in no cache, and are asked for until one has started
		err := r.Reader.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}, client.Limit(maxPods))
		if err != nil {
			return analysis.Outcome{}, fmt.Errorf("listing the pods of Job %s: %w", job.Name, err)
		}
	}
	o, discard := analysis.JudgeJob(m, s, job, pods.Items, r.Clock.Now())
	if discard {
		if err := r.removeJob(ctx, job); err != nil {
			return o, err
		}
	}
	return o, nil
}

// job reads a Job: from the cache, and from the API server where the cache does not have it. Nil: there is none.
func (r *Reconciler) job(ctx context.Context, namespace, name string) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	for _, reader := range []client.Reader{r.Client, r.Reader} {
		err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, job)
		if err == nil {
			return job, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("reading Job %s: %w", name, err)
		}
	}
	return nil, nil
}

func (r *Reconciler) removeJob(ctx context.Context, job *batchv1.Job) error {
	err := r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &job.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Job %s: %w", job.Name, err)
	}
	return nil
}

// stopJobs removes the Jobs of a run that ended while they ran.
func (r *Reconciler) stopJobs(ctx context.Context, run *v1alpha1.AnalysisRun) error {
	if !over(run) || !hasJobs(run) {
		return nil
	}
	var jobs batchv1.JobList
	if err := r.Client.List(ctx, &jobs, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelAnalysisRun: string(run.UID)}); err != nil {
		return fmt.Errorf("listing the Jobs of the run: %w", err)
	}
	var failed []error
	for i := range jobs.Items {
		if job := &jobs.Items[i]; metav1.IsControlledBy(job, run) && job.DeletionTimestamp == nil && !finished(job) {
			failed = append(failed, r.removeJob(ctx, job))
		}
	}
	return errors.Join(failed...)
}

func hasJobs(run *v1alpha1.AnalysisRun) bool {
	for i := range run.Spec.Metrics {
		if run.Spec.Metrics[i].Job != nil {
			return true
		}
	}
	return false
}

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// nextJob is when a Job that is waited for is looked at again; zero where there is none.
func nextJob(run *v1alpha1.AnalysisRun, now time.Time) time.Time {
	var next time.Time
	if over(run) {
		return next
	}
	for _, m := range run.Spec.Metrics {
		if s := statusOf(run, m); m.Job != nil && s.Job != nil {
			if at := analysis.NextJobLook(now); next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	return next
}
