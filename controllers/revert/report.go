package revert

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
)

// Reasons of the condition Reverted are the states of a revert; these are of Events only.
const (
	ReasonReverted     = "Reverted"
	ReasonProposed     = "RevertProposed"
	ReasonRevertFailed = "RevertFailed"
	ReasonPokeFailed   = "RepositoryNotTold"
	// ReasonValuesUnknown: the values of the stable revision are in none of the newest commits.
	ReasonValuesUnknown = "RevertValuesUnknown"
)

const (
	noteBytes    = 1024
	messageBytes = 2000
	// writes is how often a status is written again after another writer was quicker.
	writes = 5
)

// trouble keeps a revert Pending, says why, and has it tried again.
func (r *Reconciler) trouble(ctx context.Context, rollout *v1alpha1.Rollout, cause error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, fmt.Errorf("reverting: %w", ctx.Err())
	}
	due := rollout.Status.Revert
	if err := r.report(ctx, rollout, due.ID, finding{state: v1alpha1.RevertPending, why: cause.Error()}); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: repository.Retry(r.now().Sub(due.RequestedAt.Time), longestRetry)}, nil
}

// report writes a finding into status, unless the Rollout has moved on to another revert meanwhile.
func (r *Reconciler) report(ctx context.Context, rollout *v1alpha1.Rollout, id string, found finding) error {
	was := *rollout.Status.Revert
	wrote, err := r.update(ctx, rollout, func(fresh *v1alpha1.Rollout) bool {
		now := fresh.Status.Revert
		if now == nil || now.Attempt != was.Attempt || now.Bad != was.Bad || now.Good != was.Good || now.State != was.State {
			return false
		}
		now.ID = id
		r.fill(fresh, found)
		return true
	})
	news := was.State != found.state
	if err != nil || !wrote || !news && (found.state != v1alpha1.RevertRejected || was.Message == rollout.Status.Revert.Message) {
		return err // the same refusal as before is told of once
	}
	if news {
		reverts.WithLabelValues(string(found.state)).Inc()
	}
	if found.state == v1alpha1.RevertPending {
		return nil
	}
	kind, reason := corev1.EventTypeNormal, ReasonReverted
	switch {
	case found.state == v1alpha1.RevertProposed:
		reason = ReasonProposed
	case waits(found.state) || found.state == v1alpha1.RevertSuspended:
		kind, reason = corev1.EventTypeWarning, ReasonRevertFailed
	}
	r.Recorder.Eventf(rollout, nil, kind, reason, "Revert", "%s", cut(string(found.state)+": "+found.why, noteBytes))
	return nil
}

// fill puts a finding into status.revert and the condition Reverted.
func (r *Reconciler) fill(rollout *v1alpha1.Rollout, found finding) {
	due := rollout.Status.Revert
	now := metav1.NewTime(r.now())
	message := cut(found.why, messageBytes)
	if found.state != v1alpha1.RevertPending && (found.state != due.State || found.state == v1alpha1.RevertRejected && message != due.Message) {
		due.FinishedAt = &now
	}
	due.State, due.Message = found.state, message
	if found.pull != nil {
		due.PullRequest = found.pull
	}
	for _, field := range []struct {
		to   *string
		from string
	}{{&due.BadCommit, found.badCommit}, {&due.GoodCommit, found.goodCommit}, {&due.Commit, found.commit}} {
		if field.from != "" {
			*field.to = field.from
		}
	}
	r.refused(due, found)
	reverted := metav1.ConditionFalse
	if found.state == v1alpha1.RevertPushed || found.state == v1alpha1.RevertNotNeeded {
		reverted = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&rollout.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReverted, Status: reverted, Reason: string(found.state), Message: due.Message,
		ObservedGeneration: rollout.Generation, LastTransitionTime: now,
	})
}

// writeGood notes the commit of the stable revision, if it still is that revision.
func (r *Reconciler) writeGood(ctx context.Context, rollout *v1alpha1.Rollout, commit string) error {
	revision := rollout.Status.Stable.Revision
	_, err := r.update(ctx, rollout, func(fresh *v1alpha1.Rollout) bool {
		stable := fresh.Status.Stable
		if stable == nil || stable.Revision != revision || stable.Commit != "" {
			return false
		}
		stable.Commit = commit
		return true
	})
	return err
}

// update changes status as it is now: a write onto another version than the one read is refused by the API server, and
// then made again on what is there, since the Rollout controller owns the rest.
func (r *Reconciler) update(ctx context.Context, rollout *v1alpha1.Rollout, change func(*v1alpha1.Rollout) bool) (bool, error) {
	for try := 1; ; try++ {
		base := rollout.DeepCopy()
		if !change(rollout) || equality.Semantic.DeepEqual(base.Status, rollout.Status) {
			return false, nil
		}
		patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
		err := r.Client.Status().Patch(ctx, rollout, patch)
		if err == nil {
			return true, nil
		}
		if apierrors.IsNotFound(err) {
			return false, nil // deleted meanwhile: nobody is left to tell
		}
		if !apierrors.IsConflict(err) || try == writes {
			return false, fmt.Errorf("writing status of the revert: %w", err)
		}
		if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(base), rollout); err != nil {
			return false, fmt.Errorf("reading Rollout again: %w", err)
		}
	}
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-3], "") + "…"
}
