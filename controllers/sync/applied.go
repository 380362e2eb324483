package sync

import (
	"context"
	"errors"
	"net/url"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/render"
)

// markApplied notes which objects the bundle that was applied last declares just so. After a bundle that was begun and given up
// that is not known of any.
func (r *Reconciler) markApplied(ctx context.Context, sync *v1alpha1.Sync, bundle observedBundle, items []*Item) error {
	if begun(&sync.Status) && sync.Status.Plan.Bundle != bundle.digest {
		return nil
	}
	if bundle.digest == sync.Status.AppliedDigest {
		for _, item := range items {
			item.Applied = true
		}
		return nil
	}
	last, err := r.lastApplied(ctx, sync, bundle.repo)
	if err != nil {
		return err // what is to be left would be overwritten
	}
	before := make(map[render.Key]string, len(last))
	for _, o := range last {
		before[o.Key()] = render.Digest([]render.Object{o})
	}
	for _, item := range items {
		o := render.Object{Unstructured: item.Rendered}
		item.Applied = before[o.Key()] == render.Digest([]render.Object{o})
	}
	return nil
}

// lastApplied are the objects of the bundle that was applied last, whatever folder it is of; none where nothing has them any more.
// Git is asked only where drift is to be left as it is.
func (r *Reconciler) lastApplied(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository) ([]render.Object, error) {
	commit, digest := sync.Status.AppliedCommit, sync.Status.AppliedDigest
	if digest == "" {
		return nil, nil
	}
	if objects := r.bundles.get(bundleKey(sync, repo, commit)); objects != nil && render.Digest(objects) == digest {
		return objects, nil
	}
	var lost error
	if r.Bundles != nil {
		b, err := r.Bundles.get(ctx, sync, digest)
		if b != nil {
			return b.Objects, nil
		}
		var transport *url.Error
		if ctx.Err() != nil || errors.As(err, &transport) || err != nil && passing(err) {
			lost = err
		}
	}
	if corrects(sync) {
		return nil, nil // what differs is overwritten either way, and kept
	}
	objects, err := r.fromGit(ctx, sync, repo, commit)
	if err == nil && render.Digest(objects) == digest {
		return objects, nil
	}
	var known *failure
	if errors.As(err, &known) && known.reason == ReasonFetchFailed && !gone(known.cause) {
		return nil, err
	}
	return nil, lost
}

// gone says that Git no longer has a commit, rather than that it could not be asked.
func gone(err error) bool {
	switch repository.Explain(err).Reason {
	case repository.ReasonCommitGone, repository.ReasonRefNotFound, repository.ReasonTooLarge:
		return true
	}
	return false
}
