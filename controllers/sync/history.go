package sync

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	maxHistory = 20
	shortBytes = 256
)

// recorded adds a round to the history. The same outcome of the same bundle is one record, and is written again only where
// it says something new, so that nothing is written at rest.
func recorded(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, done result, why failure, now metav1.Time) {
	if why.reason == ReasonSuspended || done.commit == "" {
		return
	}
	message := cut(why.message, shortBytes)
	if why.reason == ReasonApplied {
		message = ""
	}
	record := v1alpha1.SyncRecord{Commit: done.commit, Digest: done.digest, Reason: why.reason, Message: message, Trigger: trigger(sync, done), Count: 1, FirstAt: now, LastAt: now}
	if next.Plan != nil && next.Plan.Bundle == done.digest && why.reason == ReasonApplied {
		record.ApprovedBy = next.Plan.ApprovedBy
	}
	if len(next.History) > 0 {
		if head := &next.History[0]; head.Digest == record.Digest && head.Reason == record.Reason {
			head.Commit = record.Commit
			if done.wrote() || head.Message != message {
				head.Message, head.LastAt, head.Count = message, now, head.Count+1
			}
			return
		}
	}
	if record.Reason == ReasonApplied {
		replaced(next, v1alpha1.FindCondition(sync.Status.Conditions, v1alpha1.ConditionHealthy), now)
	}
	next.History = slices.Insert(next.History, 0, record)
	next.History = next.History[:min(len(next.History), maxHistory)]
}

// trigger is what a round was made for.
func trigger(sync *v1alpha1.Sync, done result) string {
	switch {
	case sync.Status.Reconciled != sync.Annotations[v1alpha1.AnnotationReconcile]:
		return "Request"
	case sync.Status.AttemptedCommit != done.commit:
		return "Commit"
	case sync.Status.ObservedGeneration != sync.Generation:
		return "Spec"
	}
	return "Interval"
}
