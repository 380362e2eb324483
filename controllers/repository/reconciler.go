package repository

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Reconciler keeps status.commit of Repositories at the head of their branches.
type Reconciler struct {
	Client   client.Client
	Source   *Source
	Recorder events.EventRecorder
	// Now is the clock; nil is the wall clock.
	Now func() time.Time
	// Jitter spreads an interval; nil is up to a tenth earlier or later.
	Jitter func(time.Duration) time.Duration
}

// Options are the settings of the controller.
type Options struct {
	// MaxConcurrent is how many Repositories are looked at at once. Default 4.
	MaxConcurrent int
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, options Options) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("repository").
		For(&v1alpha1.Repository{}, builder.WithPredicates(Asked())).
		WithOptions(controller.Options{MaxConcurrentReconciles: cmp.Or(options.MaxConcurrent, 4)}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the repository controller: %w", err)
	}
	return nil
}

// Asked lets pass what asks for a reconciliation: a new object, a new generation, a deletion, or another value of the
// belay.dev/reconcile annotation. What a controller writes into status is none of them.
func Asked() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			const key = v1alpha1.AnnotationReconcile
			return e.ObjectOld.GetAnnotations()[key] != e.ObjectNew.GetAnnotations()[key] ||
				e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
		},
		CreateFunc:  func(event.CreateEvent) bool { return true },
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		GenericFunc: func(event.GenericEvent) bool { return true },
	})
}

// Reconcile looks at one ref once.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var repo v1alpha1.Repository
	if err := r.Client.Get(ctx, request.NamespacedName, &repo); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !repo.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	plan := MakePlan(r.gather(ctx, &repo))
	if ctx.Err() != nil {
		return ctrl.Result{}, fmt.Errorf("looking at %s: %w", refOf(&repo), ctx.Err())
	}
	if err := r.report(ctx, &repo, plan); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: r.jitter(plan.After)}, nil
}

func (r *Reconciler) gather(ctx context.Context, repo *v1alpha1.Repository) Observed {
	asked := repo.Annotations[v1alpha1.AnnotationReconcile] != repo.Status.Reconciled || repo.Generation != repo.Status.ObservedGeneration
	head, err := r.Source.Head(ctx, repo, asked)
	o := Observed{Repository: repo, Head: head, Now: r.now()}
	if err == nil {
		o.Verified, err = r.verify(ctx, repo, head.Commit)
	}
	if err != nil {
		o.Problem = Explain(err)
		log.FromContext(ctx).V(1).Info("ref could not be looked at", "reason", o.Problem.Reason, "error", err.Error())
	}
	return o
}

// report writes what is new, and tells of it once it is written.
func (r *Reconciler) report(ctx context.Context, repo *v1alpha1.Repository, plan Plan) error {
	if !equality.Semantic.DeepEqual(repo.Status, plan.Status) {
		base := repo.DeepCopy()
		repo.Status = plan.Status
		if err := r.Client.Status().Patch(ctx, repo, client.MergeFrom(base)); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	for _, e := range plan.Events {
		r.Recorder.Eventf(repo, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
	}
	return nil
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Reconciler) jitter(d time.Duration) time.Duration {
	if r.Jitter != nil {
		return r.Jitter(d)
	}
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // spreads load, guards nothing
}
