package sync

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// finalize prunes everything and lets the Sync go. It needs neither the Repository nor the ServiceAccount object, only
// the rights bound to the account's name. Where these are gone too it waits, and says how to go on without pruning;
// unless the namespace itself is ending, which nothing may hold up.
func (r *Reconciler) finalize(ctx context.Context, sync *v1alpha1.Sync) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(sync, v1alpha1.FinalizerPrune) {
		r.forget(sync.UID)
		return ctrl.Result{}, nil
	}
	switch {
	case sync.Spec.Suspend:
		r.event(sync, corev1.EventTypeWarning, ReasonLeft, "suspended: deleted without pruning")
	case sync.Spec.Prune == v1alpha1.PruneEnabled:
		done, err := r.pruneAll(ctx, sync)
		if err != nil {
			return r.report(ctx, sync, done, err)
		}
	}
	r.forget(sync.UID)
	base := sync.DeepCopy()
	controllerutil.RemoveFinalizer(sync, v1alpha1.FinalizerPrune)
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, sync, patch); err != nil && !apierrors.IsNotFound(err) {
		return ctrl.Result{}, fmt.Errorf("removing finalizer: %w", err)
	}
	return ctrl.Result{}, nil
}

// pruneAll deletes what it can; one object that cannot be deleted does not keep the others.
func (r *Reconciler) pruneAll(ctx context.Context, sync *v1alpha1.Sync) (result, error) {
	cluster, err := r.tenantOf(sync)
	if err != nil {
		return result{}, err
	}
	var done result
	var failed []error
	for _, entry := range pruneOrder(sync.Status.Inventory) {
		gone, err := cluster.prune(ctx, entry)
		if err != nil {
			failed = append(failed, err)
		}
		if gone {
			done.pruned = append(done.pruned, name(entry))
		}
	}
	if len(failed) == 0 {
		if len(done.pruned) > 0 {
			r.event(sync, corev1.EventTypeNormal, ReasonPruned, "removed "+list(done.pruned))
		}
		return done, nil
	}
	cause := errors.Join(failed[:min(len(failed), maxNamed)]...)
	ending, err := r.namespaceEnds(ctx, sync.Namespace)
	if err != nil {
		return done, err
	}
	if ending {
		r.event(sync, corev1.EventTypeWarning, ReasonLeft, "the namespace is ending: "+cause.Error())
		return done, nil
	}
	return done, &failure{reason: ReasonPruneFailed, cause: cause, stalled: true,
		message: fmt.Sprintf("%v; to delete this Sync without pruning set spec.prune to Disabled", cause)}
}

func (r *Reconciler) namespaceEnds(ctx context.Context, name string) (bool, error) {
	var namespace corev1.Namespace
	if err := r.Reader.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	return namespace.DeletionTimestamp != nil, nil
}
