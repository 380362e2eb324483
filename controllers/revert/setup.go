package revert

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Options are the settings of the controller.
type Options struct {
	// MaxConcurrent is how many Rollouts are worked on at once; those of one branch are pushed together. Default 16.
	MaxConcurrent int
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, options Options) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("revert").
		For(&v1alpha1.Rollout{}, builder.WithPredicates(concerned())).
		Watches(&v1alpha1.Repository{}, handler.EnqueueRequestsFromMapFunc(r.rolloutsOf), builder.WithPredicates(moved())).
		WithOptions(controller.Options{MaxConcurrentReconciles: cmp.Or(options.MaxConcurrent, 16)}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the revert controller: %w", err)
	}
	return nil
}

// concerned lets pass a Rollout whose revert, stable revision, or place in Git is another than before. What this
// controller itself writes down about a Pending revert is not news.
func concerned() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.Rollout)
		after, both := e.ObjectNew.(*v1alpha1.Rollout)
		return ok && both && (subject(before) != subject(after) ||
			!equality.Semantic.DeepEqual(before.Spec.OnFailure.Revert, after.Spec.OnFailure.Revert))
	}}
}

// matter is what of a Rollout's status asks for work.
type matter struct {
	attempt                 int64
	state                   v1alpha1.RevertState
	bad, good               string
	stable, stableCommit    string
	beingDeleted, hasRevert bool
}

func subject(rollout *v1alpha1.Rollout) matter {
	m := matter{beingDeleted: rollout.DeletionTimestamp != nil}
	if due := rollout.Status.Revert; due != nil {
		m.hasRevert, m.attempt, m.state, m.bad, m.good = true, due.Attempt, due.State, due.Bad, due.Good
	}
	if stable := rollout.Status.Stable; stable != nil {
		m.stable, m.stableCommit = stable.Revision, stable.Commit
	}
	return m
}

// moved lets pass a Repository that appears, whose branch moved, or that is read or written in another way.
func moved() predicate.Predicate {
	return predicate.Funcs{
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*v1alpha1.Repository)
			after, both := e.ObjectNew.(*v1alpha1.Repository)
			return ok && both && (before.Status.Commit != after.Status.Commit || before.Generation != after.Generation)
		},
	}
}

func (r *Reconciler) rolloutsOf(ctx context.Context, repo client.Object) []reconcile.Request {
	var rollouts v1alpha1.RolloutList
	if err := r.Client.List(ctx, &rollouts, client.InNamespace(repo.GetNamespace())); err != nil {
		return nil // a cache that cannot be read is a process that is ending
	}
	var requests []reconcile.Request
	for i := range rollouts.Items {
		if in := rollouts.Items[i].Spec.OnFailure.Revert; in != nil && in.Repository == repo.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&rollouts.Items[i])})
		}
	}
	return requests
}
