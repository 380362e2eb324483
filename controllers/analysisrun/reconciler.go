package analysisrun

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/analysis/web"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// defaultWorkers is how many runs are measured at once: each worker waits for one run's answers.
	defaultWorkers = 16
	// maxPerRound bounds how many queries of one run are under way at once; what is due beyond it is asked right after.
	maxPerRound = 16
	// soonest is the shortest wait between two rounds of a run, so that the cache has seen what the first one wrote.
	soonest = 100 * time.Millisecond
	// maxRaces bounds how often one round's answers are judged again after a lost optimistic lock.
	maxRaces = 3
)

// Reconciler measures AnalysisRuns.
type Reconciler struct {
	// Client reads runs and pods, which may come from a cache, and writes the status of runs.
	Client client.Client
	// Reader reads Secrets, and a run after a lost race; never from a cache. Default: the manager's API reader.
	Reader client.Reader
	// Recorder takes events. Default: the manager's.
	Recorder events.EventRecorder
	// Clock tells the time. Default: the real one.
	Clock clock.PassiveClock
	// NewQuerier gives the means to ask a server. Default: a prometheus.Pool.
	NewQuerier func(prometheus.Config) (prometheus.Querier, error)
	// Asker asks the servers of web metrics. Default: a web.Client that refuses local addresses.
	Asker       Asker
	comparisons comparisons
	// DefaultAddress is the server of metrics without an address; it is asked without credentials. Empty: there is none.
	DefaultAddress string
}

// SetupWithManager registers the controller, and sets what is unset to its default. MaxConcurrentReconciles is 16 by
// default; hung servers can hold up one worker per run that asks them.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, opts controller.Options) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Reader == nil {
		r.Reader = mgr.GetAPIReader()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder("belay-analysisrun")
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if r.NewQuerier == nil {
		r.NewQuerier = new(prometheus.Pool).Querier
	}
	if r.Asker == nil {
		r.Asker = web.Client{}
	}
	if opts.MaxConcurrentReconciles == 0 {
		opts.MaxConcurrentReconciles = defaultWorkers
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("analysisrun").
		For(&v1alpha1.AnalysisRun{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.Job{}).
		WithOptions(opts).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the analysisrun controller: %w", err)
	}
	return nil
}

// Reconcile measures what is due of one run.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	run := &v1alpha1.AnalysisRun{}
	if err := r.Client.Get(ctx, req.NamespacedName, run); err != nil {
		r.comparisons.sweep(req.NamespacedName)
		return ctrl.Result{}, wrap(client.IgnoreNotFound(err), "reading AnalysisRun")
	}
	if !run.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	due := analysis.PlanRun(run, r.Clock.Now()).Measure
	questions, err := r.gather(ctx, run, due[:min(len(due), maxPerRound)])
	if err != nil {
		return ctrl.Result{}, err
	}
	outcomes := r.ask(ctx, questions)
	pods, err := r.addComparisons(ctx, run, outcomes)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.addJobs(ctx, run, outcomes); err != nil {
		return ctrl.Result{}, err
	}
	if err := ctx.Err(); err != nil { // we are being stopped: what was cut short says nothing about the provider
		return ctrl.Result{}, wrap(err, "measuring AnalysisRun")
	}
	run, err = r.report(ctx, run, outcomes, pods)
	if err != nil {
		return ctrl.Result{}, wrap(client.IgnoreNotFound(err), "writing the status of AnalysisRun")
	}
	if err := r.stopJobs(ctx, run); err != nil {
		return ctrl.Result{}, err
	}
	return r.nextLook(run), nil
}

// nextLook asks for another reconciliation when the first metric is due again.
func (r *Reconciler) nextLook(run *v1alpha1.AnalysisRun) ctrl.Result {
	now := r.Clock.Now()
	next := analysis.PlanRun(run, now).Next
	for _, at := range []time.Time{r.nextComparison(run, now), nextJob(run, now)} {
		if next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(next.Sub(now), soonest)}
}

// report judges the outcomes, writes the status if it changed, and gives the run as it is then.
func (r *Reconciler) report(ctx context.Context, run *v1alpha1.AnalysisRun, outcomes map[string]analysis.Outcome, pods []v1alpha1.RunPod) (*v1alpha1.AnalysisRun, error) {
	for race := 0; ; race++ {
		next := run.DeepCopy()
		next.Status = analysis.Judge(run, outcomes, r.Clock.Now())
		if len(pods) > 0 {
			next.Status.Pods = pods
		}
		if equality.Semantic.DeepEqual(run.Status, next.Status) {
			return run, nil
		}
		err := r.Client.Status().Update(ctx, next)
		if err == nil {
			r.announce(ctx, run, next, outcomes)
			return next, nil
		}
		if !apierrors.IsConflict(err) || race == maxRaces {
			return nil, err
		}
		fresh := &v1alpha1.AnalysisRun{}
		if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(run), fresh); err != nil {
			return nil, err
		}
		if fresh.UID != run.UID || !equality.Semantic.DeepEqual(fresh.Status, run.Status) {
			log.FromContext(ctx).V(1).Info("measurements dropped: another status was written meanwhile")
			return fresh, nil
		}
		run = fresh
	}
}

// announce tells the world what was written: events, metrics, log.
func (r *Reconciler) announce(ctx context.Context, before, after *v1alpha1.AnalysisRun, outcomes map[string]analysis.Outcome) {
	if after.Spec.State != v1alpha1.RunStopped { // else the answers came too late to be judged
		countMeasurements(after.Status, outcomes)
	}
	if !verdictChanged(before.Status, after.Status) {
		return
	}
	log.FromContext(ctx).Info("verdict changed", "from", before.Status.Verdict, "to", after.Status.Verdict, "message", after.Status.Message)
	newVerdictEvent(after).record(r.Recorder, after)
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
