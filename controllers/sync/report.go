package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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

// Reasons of the condition Ready.
const (
	ReasonApplied            = "Applied"
	ReasonSuspended          = "Suspended"
	ReasonRepositoryNotFound = "RepositoryNotFound"
	ReasonRepositoryNotReady = "RepositoryNotReady"
	ReasonFetchFailed        = "FetchFailed"
	ReasonPathNotFound       = "PathNotFound"
	ReasonRenderFailed       = "RenderFailed"
	ReasonEmptyBundle        = "EmptyBundle"
	ReasonTooLarge           = "TooLarge"
	ReasonDenied             = "Denied"
	ReasonWaiting            = "Waiting"
	ReasonDependencyCycle    = "DependencyCycle"
	ReasonPolicyNotFound     = "PolicyNotFound"
	ReasonPolicyInvalid      = "PolicyInvalid"
	ReasonCheckFailed        = "CheckFailed"
	ReasonApplyFailed        = "ApplyFailed"
	ReasonPruneFailed        = "PruneFailed"
	ReasonFailed             = "Failed"

	// ReasonPruned and ReasonLeft are reasons of Events only: objects were deleted with their Sync, or could not be.
	ReasonPruned = "Pruned"
	ReasonLeft   = "LeftBehind"
)

const (
	defaultInterval = 10 * time.Minute
	// conflictRetry is how soon a bundle is tried again after another writer was quicker.
	conflictRetry = time.Second
	// noteBytes is the longest note of an Event that the API server takes.
	noteBytes    = 1024
	messageBytes = 4096
)

// failure is why a Sync is not Ready, for its condition.
type failure struct {
	reason  string
	message string
	// stalled: only a change of an object or of Git will help.
	stalled bool
	cause   error
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.cause }

// result is what a reconciliation did.
type result struct {
	commit  string
	digest  string
	applied []string
	pruned  []string
	// plan that waits, or was let through in this round.
	plan *v1alpha1.SyncPlan
	// blockedBy is what keeps the newest commit from being applied; wake is when to look again.
	blockedBy string
	wake      time.Time
	// health of the objects, where they were looked at.
	health *health
	// rules is the version of the policies that bind the Sync.
	rules string
	// warnings of this round, once the objects were looked at.
	warnings []string
	// drift are the objects that were not as Git declared them, as far as they were looked at.
	drift []*finding
	// looked are the objects that were looked at; nil: all, if checked.
	looked []v1alpha1.InventoryEntry
	// again is when objects are looked at that turned suspect too often; 0: none.
	again time.Duration
	// stirs is when objects are judged whose health may have changed; 0: none.
	stirs time.Duration
	// signatures of the bundle's images, where they were looked at.
	signatures *signatures
	// checked: the objects were compared with Git, so that this need not be done again before the interval is over.
	checked bool
	// tried: the bundle was read, and held against what is there.
	tried bool
	// examined: all objects were looked at, and observed are those that are left to others.
	examined bool
	observed *v1alpha1.SyncObserved
	// stoodAt is the commit that drift was found against, where that is not the one that was tried.
	stoodAt string
	// kept is what came of keeping the bundle in the cluster; nil: it was not tried.
	kept *metav1.Condition
}

func (r result) wrote() bool { return len(r.applied)+len(r.pruned) > 0 }

// report writes status, if it says anything new, and tells of it.
func (r *Reconciler) report(ctx context.Context, sync *v1alpha1.Sync, done result, err error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, fmt.Errorf("reconciling: %w", ctx.Err())
	}
	if apierrors.IsConflict(err) && !done.wrote() {
		count("conflict")
		return ctrl.Result{RequeueAfter: conflictRetry}, nil // someone else was quicker: look again, no news for anybody
	}
	next := sync.Status.DeepCopy()
	next.ObservedGeneration = sync.Generation
	next.Reconciled = sync.Annotations[v1alpha1.AnnotationReconcile]
	if done.commit != "" {
		next.AttemptedCommit = done.commit
	}
	if done.wrote() {
		at := metav1.NewTime(r.now())
		next.AppliedAt = &at
	}
	if done.warnings != nil || done.checked {
		next.Warnings = done.warnings
	}
	why := reasonOf(err)
	if err == nil {
		next.AppliedCommit, next.AppliedDigest = done.commit, done.digest
		why.message = "the cluster is as commit " + done.commit + " says"
		if done.examined && done.observed != nil || !done.examined && sync.Status.Observed != nil {
			why.message += ", but for what is left to others: see status.observed"
		}
	}
	if done.plan != nil {
		next.Plan = done.plan
	}
	now := metav1.NewTime(r.now())
	setBlocked(next, done, why, now)
	r.setConditions(sync, next, why)
	r.setHealth(sync, next, done.health)
	r.reportSignatures(sync, next, done.signatures)
	r.setKept(sync, next, done.kept)
	r.setObserved(sync, next, done)
	if err == nil && begun(next) {
		next.Plan = nil // it was given up: Git says otherwise, or somebody does
	}
	recorded(sync, next, done, why, now)
	soaking(next, healthOf(&sync.Status), now)
	r.tellHealth(sync, next)
	r.reportDrift(sync, next, done, err)
	r.tell(sync, done, why)
	if err := r.writeStatus(ctx, sync, next); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.nameCommits(ctx, sync, done); err != nil {
		return ctrl.Result{}, err
	}
	return r.next(sync, done, why), nil
}

// setBlocked says what is waited for, and since when for just that.
func setBlocked(next *v1alpha1.SyncStatus, done result, why failure, now metav1.Time) {
	before := next.BlockedBy
	next.BlockedBy = cut(done.blockedBy, noteBytes)
	if why.reason == ReasonWaiting {
		next.BlockedBy = cut(why.message, noteBytes)
	}
	switch {
	case next.BlockedBy == "":
		next.BlockedSince = nil
	case next.BlockedSince == nil || next.BlockedBy != before:
		next.BlockedSince = &now
	}
}

func reasonOf(err error) failure {
	var known *failure
	switch {
	case err == nil:
		return failure{reason: ReasonApplied}
	case errors.As(err, &known):
		return failure{reason: known.reason, message: cut(err.Error(), messageBytes), stalled: known.stalled}
	}
	return failure{reason: ReasonFailed, message: cut(err.Error(), messageBytes)}
}

func (r *Reconciler) setConditions(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, why failure) {
	ready, stalled := metav1.ConditionFalse, metav1.ConditionFalse
	switch {
	case why.reason == ReasonApplied:
		ready = metav1.ConditionTrue
	case why.reason == ReasonSuspended:
		ready = metav1.ConditionUnknown
	}
	if why.stalled {
		stalled = metav1.ConditionTrue
	}
	for kind, status := range map[string]metav1.ConditionStatus{v1alpha1.ConditionReady: ready, v1alpha1.ConditionStalled: stalled} {
		meta.SetStatusCondition(&next.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: why.reason, Message: why.message,
			ObservedGeneration: sync.Generation, LastTransitionTime: metav1.NewTime(r.now()),
		})
	}
}

// tell makes an Event of what was done, and of a failure that is not the one told last.
func (r *Reconciler) tell(sync *v1alpha1.Sync, done result, why failure) {
	before := v1alpha1.FindCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	news := before == nil || before.Reason != why.reason || before.Message != why.message
	switch {
	case why.reason == ReasonSuspended:
		return
	case why.reason != ReasonApplied:
		count(resultOf(why.reason))
		if news || done.wrote() {
			note := why.message
			if done.wrote() {
				note += "; " + done.summary()
			}
			r.event(sync, corev1.EventTypeWarning, why.reason, note)
		}
	case done.wrote():
		count("applied")
		r.event(sync, corev1.EventTypeNormal, ReasonApplied, done.summary())
	default:
		count("unchanged")
	}
}

func (r *Reconciler) event(sync *v1alpha1.Sync, kind, reason, note string) {
	r.Recorder.Eventf(sync, nil, kind, reason, "Apply", "%s", cut(note, noteBytes))
}

func (r result) summary() string {
	text := fmt.Sprintf("commit %s: applied %s", r.commit, list(r.applied))
	if len(r.pruned) > 0 {
		text += ", removed " + list(r.pruned)
	}
	return text
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if more := len(names) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// writeStatus refuses to write over a status it has not seen: an inventory must never be lost.
func (r *Reconciler) writeStatus(ctx context.Context, sync *v1alpha1.Sync, next *v1alpha1.SyncStatus) error {
	if equality.Semantic.DeepEqual(&sync.Status, next) {
		return nil
	}
	base := sync.DeepCopy()
	sync.Status = *next
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, sync, patch); err != nil {
		sync.Status = base.Status
		return fmt.Errorf("writing status: %w", err)
	}
	return nil
}

// next says when to look again, and remembers what was looked at.
func (r *Reconciler) next(sync *v1alpha1.Sync, done result, why failure) ctrl.Result {
	interval := max(r.interval(sync), time.Second)
	if r.Drift != nil { // where a round tries a whole bundle, it does not come for the sake of health
		r.Drift.Listens(sync.UID, slices.Contains([]string{ReasonApplied, ReasonSuspended, ReasonRepositoryNotFound}, why.reason))
	}
	switch why.reason {
	case ReasonSuspended, ReasonRepositoryNotFound:
		return ctrl.Result{RequeueAfter: sooner(done.stirs, r.healthWait(sync))} // a watch brings the change
	case ReasonApplied:
		if done.checked {
			r.checked.Store(sync.UID, look{at: r.now(), rules: done.rules})
		}
		wait := max(interval-r.sinceCheck(sync), time.Second)
		wait = sooner(sooner(wait, done.again), sooner(done.stirs, r.healthWait(sync)))
		return ctrl.Result{RequeueAfter: r.awake(wait, done)}
	}
	r.checked.Delete(sync.UID)
	interval = sooner(interval, done.again)
	ready := v1alpha1.FindCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	return ctrl.Result{RequeueAfter: r.awake(repository.Retry(r.now().Sub(ready.LastTransitionTime.Time), min(interval, defaultInterval)), done)}
}

// awake is a wait that ends when a window opens, or a commit has soaked.
func (r *Reconciler) awake(wait time.Duration, done result) time.Duration {
	if done.wake.IsZero() {
		return wait
	}
	return min(wait, max(done.wake.Sub(r.now()), time.Second))
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-3], "") + "…"
}
