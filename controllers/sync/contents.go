package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/bundle"
	"github.com/belay-delivery/belay/gitops/render"
)

// Reasons of the condition BundleKept, and of Events.
const (
	ReasonKept           = "Kept"
	ReasonBundleTooLarge = "BundleTooLarge"
	ReasonBundleRefused  = "BundleRefused"
	ReasonBundleMissing  = "BundleMissing"
)

// contents are the objects of the commit in force. What is applied already is taken as it is kept in the cluster when a process
// begins, and when Git cannot be read; what the Sync is held at, always.
func (r *Reconciler) contents(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, commit string) ([]render.Object, error) {
	if h := sync.Status.Held; h != nil {
		return r.heldContents(ctx, sync, repo, h)
	}
	applied := sync.Status.AppliedDigest != "" && commit == sync.Status.AppliedCommit
	if applied && r.lookAt(sync).at.IsZero() && !isAsked(sync) {
		if objects, err := r.kept(ctx, sync, repo, sync.Status.AppliedDigest); err == nil && objects != nil {
			return objects, nil
		}
	}
	objects, err := r.fromGit(ctx, sync, repo, commit)
	var known *failure
	if applied && errors.As(err, &known) && known.reason == ReasonFetchFailed {
		if objects, lost := r.kept(ctx, sync, repo, sync.Status.AppliedDigest); lost == nil && objects != nil {
			return objects, nil
		}
	}
	return objects, err
}

// isAsked says that somebody has asked for a reconciliation, which then begins with Git.
func isAsked(sync *v1alpha1.Sync) bool {
	return sync.Status.Reconciled != sync.Annotations[v1alpha1.AnnotationReconcile]
}

func (r *Reconciler) fromGit(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, commit string) ([]render.Object, error) {
	tree, err := r.Source.Checkout(ctx, repo, commit)
	if err != nil {
		return nil, fetchFailed(repo, err)
	}
	return renderBundle(tree, sync.Spec.Path)
}

// heldContents are the objects that a Sync is held at.
func (r *Reconciler) heldContents(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, h *v1alpha1.SyncHold) ([]render.Object, error) {
	if objects := r.bundles.get(bundleKey(sync, repo, h.Commit)); objects != nil && render.Digest(objects) == h.Bundle {
		return objects, nil
	}
	objects, lost := r.kept(ctx, sync, repo, h.Bundle)
	if objects != nil {
		return objects, nil
	}
	objects, err := r.fromGit(ctx, sync, repo, h.Commit)
	switch {
	case err == nil && render.Digest(objects) == h.Bundle:
		return objects, nil
	case err == nil:
		err = fmt.Errorf("commit %s of Git renders to something else (another path, URL, or version of Belay)", short(h.Commit))
	}
	if lost == nil {
		lost = errors.New("it is not kept in the cluster for this path and URL")
	}
	return nil, &failure{reason: ReasonBundleMissing, cause: err, message: fmt.Sprintf(
		"held at bundle %s, which cannot be read: %v; %v; kubectl belay resume sync/%s -n %s has the Sync follow Git again", short(h.Bundle), lost, err, sync.Name, sync.Namespace)}
}

// kept is a bundle of this very folder as the cluster keeps it; nil: it does not.
func (r *Reconciler) kept(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, digest string) ([]render.Object, error) {
	if r.Bundles == nil {
		return nil, nil
	}
	b, err := r.Bundles.get(ctx, sync, digest)
	switch {
	case err != nil:
		ctrl.LoggerFrom(ctx).Error(err, "A bundle that the cluster keeps cannot be used")
		return nil, err
	case b == nil || b.Source != bundle.SourceOf(repo.Spec.URL, sync.Spec.Path):
		return nil, nil
	}
	return b.Objects, nil
}

// shelve keeps a bundle before anything that depends on it is written. What will never fit, or is not allowed, holds nothing up.
func (r *Reconciler) shelve(ctx context.Context, sync *v1alpha1.Sync, b observedBundle, done *result) error {
	if r.Bundles == nil {
		return nil
	}
	kept := &metav1.Condition{Type: v1alpha1.ConditionBundleKept, Status: metav1.ConditionTrue, Reason: ReasonKept,
		Message: fmt.Sprintf("what is applied, and up to %d bundles before it, can be applied again without Git", maxKept-1)}
	done.kept = kept
	content := bundle.Bundle{Source: bundle.SourceOf(b.repo.Spec.URL, sync.Spec.Path), Commit: b.commit, Objects: b.objects}
	err := r.Bundles.put(ctx, sync, b.digest, content, keepers(sync))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bundle.ErrTooLarge):
		kept.Reason, kept.Message = ReasonBundleTooLarge, fmt.Sprintf("without Git it cannot be applied again: %v; make two Syncs of it", err)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsNotFound(err), apierrors.IsRequestEntityTooLargeError(err):
		kept.Reason, kept.Message = ReasonBundleRefused, fmt.Sprintf("without Git it cannot be applied again: %v", err)
	default:
		return err // the API server is not well: nothing is applied either
	}
	kept.Status = metav1.ConditionFalse
	return nil
}

// keepers are the bundles that are not let go: the one applied, the one held, and those applied before.
func keepers(sync *v1alpha1.Sync) []string {
	out := []string{sync.Status.AppliedDigest}
	if h := sync.Status.Held; h != nil {
		out = append(out, h.Bundle)
	}
	for _, record := range sync.Status.History {
		if len(out) < maxKept-1 && record.Reason == ReasonApplied && !slices.Contains(out, record.Digest) {
			out = append(out, record.Digest)
		}
	}
	return out
}

// setKept puts what came of keeping the bundle into the next status.
func (r *Reconciler) setKept(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, kept *metav1.Condition) {
	if kept == nil {
		return
	}
	before := v1alpha1.FindCondition(next.Conditions, kept.Type)
	if kept.Status == metav1.ConditionFalse && (before == nil || before.Reason != kept.Reason) {
		r.event(sync, corev1.EventTypeWarning, kept.Reason, kept.Message)
	}
	kept.ObservedGeneration, kept.LastTransitionTime, kept.Message = sync.Generation, metav1.NewTime(r.now()), cut(kept.Message, messageBytes)
	meta.SetStatusCondition(&next.Conditions, *kept)
}
