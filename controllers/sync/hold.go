package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/render"
)

// Reasons of Events.
const (
	ReasonHeld     = "Held"
	ReasonReleased = "Released"
)

// headRetry is how soon the head is tried to be read again while a Sync is held and Git is down.
const headRetry = 5 * time.Minute

// holds takes in what people have decided about what the Sync runs: Undo and Pause hold it at a bundle, Resume releases it. The
// hold is stored before it is acted on, and before the Decision is answered; it names the Decision.
func (r *Reconciler) holds(ctx context.Context, sync *v1alpha1.Sync) error {
	decisions, err := r.decisionsOf(ctx, sync)
	if err != nil {
		return err
	}
	for i := range decisions {
		d := &decisions[i]
		if d.Status.Result != "" || !slices.Contains([]v1alpha1.DecisionAction{v1alpha1.ActionUndo, v1alpha1.ActionPause, v1alpha1.ActionResume}, d.Spec.Action) {
			continue
		}
		next := sync.Status.DeepCopy()
		said, refuse := hold(next, d, metav1.NewTime(r.now()))
		if refuse == "" {
			if err := r.writeStatus(ctx, sync, next); err != nil {
				return err
			}
		}
		if err := r.answerWith(ctx, d, said, refuse); err != nil {
			return err
		}
		if refuse == "" {
			reason := map[bool]string{true: ReasonReleased, false: ReasonHeld}[sync.Status.Held == nil]
			r.event(sync, corev1.EventTypeNormal, reason, fmt.Sprintf("%s by %s: %s (%s)", d.Spec.Action, d.Spec.Actor, said, cmp.Or(d.Spec.Reason, "no reason given")))
		}
	}
	return nil
}

// hold changes a status as a Decision wants it. It is pure; said is what came of it, refuse why it cannot be.
func hold(s *v1alpha1.SyncStatus, d *v1alpha1.Decision, now metav1.Time) (said, refuse string) {
	if d.Spec.Action == v1alpha1.ActionResume {
		if s.Held == nil {
			return "nothing holds it", ""
		}
		s.Held = nil
		return "it follows Git again", ""
	}
	if s.Held != nil && s.Held.Decision == d.Name { // stored, and then this process, or the one before it, was cut off
		return "held at commit " + short(s.Held.Commit), ""
	}
	if d.Spec.Bundle != s.AppliedDigest {
		return "", fmt.Sprintf("bundle %s is not the one applied, which is %s", short(d.Spec.Bundle), cmp.Or(short(s.AppliedDigest), "none"))
	}
	h := &v1alpha1.SyncHold{Decision: d.Name, Action: d.Spec.Action, Bundle: s.AppliedDigest, Commit: s.AppliedCommit, Actor: d.Spec.Actor, Reason: d.Spec.Reason, At: now}
	if d.Spec.Action == v1alpha1.ActionUndo {
		to := earlier(s, d.Spec.To)
		if to == nil && d.Spec.To != "" {
			return "", fmt.Sprintf("bundle %s is not one that status.history says was applied before", short(d.Spec.To))
		}
		if to == nil {
			return "", "no bundle that was applied before, and not undone, is known: there is nothing to go back to"
		}
		h.Bundle, h.Commit = to.Digest, to.Commit
		for i := range s.History {
			if record := &s.History[i]; record.Digest == s.AppliedDigest {
				record.Undone, record.HealthySince, record.HealthyUntil = true, nil, nil
			}
		}
	}
	s.Held = h
	return "held at commit " + short(h.Commit), ""
}

// earlier is the record of the bundle to go back to: the one asked for, or the last one applied before that was not undone.
func earlier(s *v1alpha1.SyncStatus, asked string) *v1alpha1.SyncRecord {
	for i := range s.History {
		record := &s.History[i]
		fits := asked == "" && !record.Undone || asked != "" && record.Digest == asked
		if fits && record.Reason == ReasonApplied && record.Digest != s.AppliedDigest {
			return record
		}
	}
	return nil
}

func heldText(sync *v1alpha1.Sync, h *v1alpha1.SyncHold) string {
	return fmt.Sprintf("held at commit %s since %s (%s by %s: %s); kubectl belay resume sync/%s -n %s has it follow Git again",
		short(h.Commit), h.At.UTC().Format(time.RFC3339), h.Action, h.Actor, cmp.Or(h.Reason, "no reason given"), sync.Name, sync.Namespace)
}

// head is the newest commit that was held against what a Sync is held at.
type head struct {
	commit string
	at     time.Time
	read   bool
}

// converge ends the hold of an Undo once Git says what it is held at. Git being down ends nothing.
func (r *Reconciler) converge(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository) error {
	h := sync.Status.Held
	if h == nil || h.Action != v1alpha1.ActionUndo {
		return nil
	}
	stored, _ := r.heads.Load(sync.UID)
	last, _ := stored.(head)
	if last.commit == repo.Status.Commit && (last.read || r.now().Sub(last.at) < headRetry) {
		return nil
	}
	objects, err := r.fromGit(ctx, sync, repo, repo.Status.Commit)
	r.heads.Store(sync.UID, head{commit: repo.Status.Commit, at: r.now(), read: err == nil})
	if err != nil || render.Digest(objects) != h.Bundle {
		return nil
	}
	next := sync.Status.DeepCopy()
	next.Held = nil
	if err := r.writeStatus(ctx, sync, next); err != nil {
		return err
	}
	r.event(sync, corev1.EventTypeNormal, ReasonReleased, fmt.Sprintf("commit %s of Git says what the Sync was held at: it follows Git again", short(repo.Status.Commit)))
	return nil
}

// standBy looks after what is applied, while a newer bundle waits, is refused, or cannot be read.
func (r *Reconciler) standBy(ctx context.Context, sync *v1alpha1.Sync, done *result) error {
	err := r.keepAsApplied(ctx, sync, done)
	if done.health == nil {
		err = errors.Join(err, r.lookAfter(ctx, sync, done))
	}
	return err
}

// keepAsApplied keeps what is applied as Git declared it, while a newer bundle waits, is refused, or cannot be read: its objects are
// compared once when a process begins and then in intervals, and those that change in between at once. Nothing is pruned. What
// has begun is finished and not held up by that.
func (r *Reconciler) keepAsApplied(ctx context.Context, sync *v1alpha1.Sync, done *result) error {
	digest := sync.Status.AppliedDigest
	if digest == "" || done.tried && done.digest == digest || done.wrote() || begun(&sync.Status) {
		return nil
	}
	repo, err := r.repositoryOf(ctx, sync)
	if err != nil {
		return nil //nolint:nilerr // it is why the round has failed, and is told
	}
	stood := result{commit: sync.Status.AppliedCommit, digest: digest}
	stored, _ := r.stood.Load(sync.UID)
	at, _ := stored.(time.Time)
	if last := r.lookAt(sync).at; last.After(at) { // the round before was a good one
		at = last
		r.stood.Store(sync.UID, at)
	}
	if !at.IsZero() && r.now().Sub(at) < r.interval(sync) {
		stood, err = r.checkDrift(ctx, sync, repo, stood)
	} else {
		err = r.compareApplied(ctx, sync, repo, &stood)
	}
	done.drift, done.looked, done.again, done.stoodAt = stood.drift, stood.looked, sooner(done.again, stood.again), stood.commit
	if stood.health != nil {
		done.health = stood.health
	}
	return err
}

// compareApplied looks at all objects of the bundle that is applied, where it is known without Git.
func (r *Reconciler) compareApplied(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, stood *result) error {
	objects := r.bundles.get(bundleKey(sync, repo, stood.commit))
	if objects == nil || render.Digest(objects) != stood.digest {
		var err error
		if objects, err = r.kept(ctx, sync, repo, stood.digest); err != nil || objects == nil {
			return nil //nolint:nilerr // it was logged, and there is nothing to compare with
		}
		r.bundles.put(bundleKey(sync, repo, stood.commit), objects)
	}
	cluster, err := r.tenantOf(sync)
	if err != nil {
		return err
	}
	policies, err := r.rulesOf(ctx, sync)
	if err != nil {
		return err
	}
	plan, err := r.examine(ctx, sync, cluster, observedBundle{commit: stood.commit, digest: stood.digest, objects: objects, policies: policies, repo: repo, seen: stood})
	if err != nil {
		return err
	}
	if err := r.settle(ctx, sync, &plan, stood); err != nil {
		return err
	}
	plan.Prune, plan.Final = nil, plan.Inventory
	if err := r.carryOut(ctx, sync, cluster, plan, stood); err != nil {
		return err
	}
	for _, item := range plan.items {
		stood.looked = append(stood.looked, item.Entry)
	}
	stood.health = r.judge(sync, plan.items)
	r.verified(sync, plan.items, stood.drift)
	r.stood.Store(sync.UID, r.now())
	return nil
}
