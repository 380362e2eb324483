package revert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// A refused revert is tried again after a minute, then after twice as long each time, up to an hour.
const (
	shortestWait = time.Minute
	longestWait  = time.Hour
)

// writtenWith stands for what a Repository is written with: its generation, and the versions of the Secrets in its spec.write. A Secret
// that is not there is a version, too.
func (r *Reconciler) writtenWith(ctx context.Context, repo *v1alpha1.Repository) (string, error) {
	text := fmt.Sprintf("%s %d", repo.UID, repo.Generation)
	if w := repo.Spec.Write; w != nil {
		refs := []*v1alpha1.LocalReference{w.SecretRef, w.SigningKeyRef}
		if w.Forge != nil {
			refs = append(refs, w.Forge.SecretRef)
		}
		for _, ref := range refs {
			if ref == nil {
				continue
			}
			secret := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
			err := r.Reader.Get(ctx, client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}, &secret)
			if client.IgnoreNotFound(err) != nil {
				return "", fmt.Errorf("reading Secret %q: %w", ref.Name, err)
			}
			text += fmt.Sprintf("\n%s %s %s", ref.Name, secret.UID, secret.ResourceVersion)
		}
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8]), nil
}

// changed says that what was in the way of a revert may have been put right: the Rollout's spec, the Repository's, or a Secret of it is
// another one than when it was tried.
func (r *Reconciler) changed(ctx context.Context, rollout *v1alpha1.Rollout) bool {
	if c := v1alpha1.FindCondition(rollout.Status.Conditions, v1alpha1.ConditionReverted); c != nil && c.ObservedGeneration < rollout.Generation {
		return true
	}
	tried := rollout.Status.Revert.TriedWith
	if tried == "" {
		return false // a version of Belay that did not note it: the next try does
	}
	var repo v1alpha1.Repository
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: rollout.Namespace, Name: rollout.Spec.OnFailure.Revert.Repository}, &repo)
	if err != nil {
		return false
	}
	now, err := r.writtenWith(ctx, &repo)
	if err != nil {
		log.FromContext(ctx).V(1).Info("whether a refused revert is to be tried again cannot be told", "error", err.Error())
		return false
	}
	return now != tried
}

// dueAgain says that a refused revert is to be tried again though nothing is known to have changed: a branch is no longer protected, a
// hook works again, the server's disk is not full any more.
func (r *Reconciler) dueAgain(due *v1alpha1.RevertStatus) bool {
	return due.State == v1alpha1.RevertRejected && (due.NextTryAt == nil || !r.now().Before(due.NextTryAt.Time))
}

// refused notes what a try was made with, and when the next one is due, so that neither a restart nor another manager tries sooner.
func (r *Reconciler) refused(due *v1alpha1.RevertStatus, found finding) {
	before := due.Refusals
	if found.triedWith != due.TriedWith {
		before = 0
	}
	due.Refusals, due.NextTryAt, due.TriedWith = 0, nil, ""
	switch found.state {
	case v1alpha1.RevertConflict:
		due.TriedWith = found.triedWith
	case v1alpha1.RevertRejected:
		due.Refusals, due.TriedWith = before+1, found.triedWith
		due.NextTryAt = r.nextTry(due.Refusals)
	}
}

func (r *Reconciler) nextTry(refusals int32) *metav1.Time {
	at := metav1.NewTime(r.now().Add(min(longestWait, shortestWait<<min(max(refusals-1, 0), 10))))
	return &at
}

// untilNext is when a revert that waits for people is looked at, or tried again.
func (r *Reconciler) untilNext(rollout *v1alpha1.Rollout) time.Duration {
	due := rollout.Status.Revert
	if due == nil || due.State != v1alpha1.RevertRejected || due.NextTryAt == nil {
		return watchEvery
	}
	return max(time.Second, min(watchEvery, due.NextTryAt.Sub(r.now())))
}

// stillRefused leaves a refused revert that was tried again as it was: the refusal is what people must know, not that the server could
// not be reached when nobody had changed anything.
func (r *Reconciler) stillRefused(ctx context.Context, rollout *v1alpha1.Rollout, cause error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, fmt.Errorf("reverting: %w", ctx.Err())
	}
	log.FromContext(ctx).V(1).Info("a refused revert could not be tried again", "error", cause.Error())
	attempt := rollout.Status.Revert.Attempt
	_, err := r.update(ctx, rollout, func(fresh *v1alpha1.Rollout) bool {
		due := fresh.Status.Revert
		if due == nil || due.Attempt != attempt || due.State != v1alpha1.RevertRejected {
			return false
		}
		due.NextTryAt = r.nextTry(due.Refusals)
		return true
	})
	return ctrl.Result{RequeueAfter: r.untilNext(rollout)}, err
}
