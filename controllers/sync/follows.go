package sync

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// choose says which commit is to be applied: the head, or with gates.follows the newest one that the other Sync has run
// healthily for long enough, and that brings no image which it has not. Where there is none yet, what is applied stays, and
// blockedBy says why.
func (r *Reconciler) choose(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, done *result) error {
	done.commit = repo.Status.Commit
	if h := sync.Status.Held; h != nil {
		done.commit, done.blockedBy = h.Commit, heldText(sync, h)
		return nil
	}
	gate := sync.Spec.Gates.Follows
	if gate == nil {
		return nil
	}
	var other v1alpha1.Sync
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: sync.Namespace, Name: gate.Sync}, &other)
	switch {
	case apierrors.IsNotFound(err):
		return &failure{reason: ReasonWaiting, message: fmt.Sprintf("gates.follows: Sync %q does not exist in this namespace", gate.Sync)}
	case err != nil:
		return fmt.Errorf("reading Sync %q: %w", gate.Sync, err)
	case other.Spec.Repository != sync.Spec.Repository:
		return &failure{reason: ReasonWaiting, stalled: true,
			message: fmt.Sprintf("gates.follows: Sync %q is of Repository %q and not of %q: their commits cannot be compared", gate.Sync, other.Spec.Repository, sync.Spec.Repository)}
	}
	l := lead{sync: sync, repo: repo, other: &other, soak: gate.Soak.Or(0), now: r.now(),
		contains: func(ctx context.Context, commit, ancestor string) (bool, error) {
			return r.Source.Contains(ctx, repo, commit, ancestor)
		}}
	l.proven = slices.DeleteFunc(slices.Clone(other.Status.History), func(record v1alpha1.SyncRecord) bool { return !l.soaked(record) })
	commit, why, err := r.fittest(ctx, l)
	if err != nil {
		return err
	}
	switch {
	case commit != "":
		done.commit = commit
	case begun(&sync.Status):
		done.commit = sync.Status.Plan.Commit // what has begun is finished
	case sync.Status.AppliedCommit != "":
		done.commit = sync.Status.AppliedCommit
	default:
		_, done.wake = l.waits()
		return &failure{reason: ReasonWaiting, message: why}
	}
	if done.commit != repo.Status.Commit {
		done.blockedBy = why
		_, done.wake = l.waits()
	}
	return nil
}

// lead is a Sync, and the other one that it follows.
type lead struct {
	sync, other *v1alpha1.Sync
	repo        *v1alpha1.Repository // of both
	soak        time.Duration
	now         time.Time
	// proven are the bundles that the other one has run Healthy for soak, the newest first.
	proven []v1alpha1.SyncRecord
	// contains says whether a commit came after another one.
	contains func(ctx context.Context, commit, ancestor string) (bool, error)
}

// soaked says whether a bundle was Healthy for long enough. One that broke was not, however long it had been before; one that is in
// force must be Healthy now.
func (l lead) soaked(record v1alpha1.SyncRecord) bool {
	if record.Reason != ReasonApplied || record.HealthySince == nil || record.Broken != "" {
		return false
	}
	until := l.now
	if record.HealthyUntil != nil {
		until = record.HealthyUntil.Time
	} else if c := l.ailing(); c != nil {
		return false
	}
	return !until.Before(l.ripe(record))
}

// ailing is the condition Healthy of the Sync that is followed, unless that is True.
func (l lead) ailing() *metav1.Condition {
	if c := healthOf(&l.other.Status); c != nil && c.Status != metav1.ConditionTrue {
		return c
	}
	return nil
}

// ripe is when a bundle that is Healthy has soaked.
func (l lead) ripe(record v1alpha1.SyncRecord) time.Time {
	return record.HealthySince.Add(l.soak + time.Duration(record.WaveredSeconds)*time.Second)
}

// newest is the bundle that the other one runs; nil where there is none yet.
func (l lead) newest() *v1alpha1.SyncRecord {
	i := slices.IndexFunc(l.other.Status.History, func(record v1alpha1.SyncRecord) bool { return record.Reason == ReasonApplied })
	if i < 0 {
		return nil
	}
	return &l.other.Status.History[i]
}

// waits says what the newest bundle lacks, and when that will be over.
func (l lead) waits() (why string, until time.Time) {
	switch newest := l.newest(); {
	case newest == nil:
		why = fmt.Sprintf("Sync %q has run no commit healthily yet", l.other.Name)
	case newest.HealthySince == nil:
		why = fmt.Sprintf("commit %s is not Healthy in Sync %q", short(newest.Commit), l.other.Name)
	case newest.Broken != "":
		why = fmt.Sprintf("commit %s broke in Sync %q at %s: %s", short(newest.Commit), l.other.Name, newest.HealthyUntil.UTC().Format(time.RFC3339), newest.Broken)
	case newest.HealthyUntil == nil && l.ailing() != nil:
		why = fmt.Sprintf("commit %s is not Healthy in Sync %q just now", short(newest.Commit), l.other.Name)
	case l.soaked(*newest):
		why = fmt.Sprintf("Sync %q is at commit %s, and at nothing newer yet", l.other.Name, short(newest.Commit))
	case newest.HealthyUntil != nil:
		why = fmt.Sprintf("Sync %q is about to leave commit %s, which has not soaked", l.other.Name, short(newest.Commit))
	default:
		until = l.ripe(*newest)
		why = fmt.Sprintf("commit %s soaks in Sync %q until %s", short(newest.Commit), l.other.Name, until.UTC().Format(time.RFC3339))
	}
	return "gates.follows: " + why, until
}

// since are the proven bundles that came after the one of a commit; known is false where that one is not in the history.
func (l lead) since(commit string) (newer []v1alpha1.SyncRecord, known bool) {
	for _, record := range l.other.Status.History {
		switch {
		case record.Reason == ReasonApplied && record.Commit == commit:
			return newer, true
		case l.soaked(record):
			newer = append(newer, record)
		}
	}
	return newer, false
}

// fittest is the newest proven commit that may be applied; empty where none is newer than the one that is: a Sync never goes back
// because the one that it follows did worse. why is what keeps the head from being it.
func (r *Reconciler) fittest(ctx context.Context, l lead) (commit, why string, err error) {
	why, _ = l.waits()
	applied := l.sync.Status.AppliedCommit
	candidates, known := l.since(applied)
	for _, candidate := range candidates {
		unfit, err := r.unproven(ctx, l, candidate)
		if err != nil {
			return "", "", err
		}
		if unfit != "" {
			if candidate.Commit == l.newest().Commit {
				why = unfit
			}
			continue
		}
		if !known && applied != "" {
			older, err := l.contains(ctx, applied, candidate.Commit)
			if err != nil {
				return "", "", fetchFailed(l.repo, err)
			}
			if older {
				return "", why, nil
			}
		}
		return candidate.Commit, why, nil
	}
	return "", why, nil
}
