package sync

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
)

// grace is for how long objects may be on their way (a restart, more replicas, a node that is emptied) before that ends a soak. It is
// how long Kubernetes gives a Deployment by default. It does not count as soaked, and no gate opens meanwhile.
const grace = 10 * time.Minute

// begun says that a bundle was let through, and is not known to be applied as a whole.
func begun(s *v1alpha1.SyncStatus) bool {
	return s.Plan != nil && s.Plan.AdmittedAt != nil && s.Plan.Bundle != s.AppliedDigest
}

// inForce is the record of the bundle that is applied; nil: there is none.
func inForce(s *v1alpha1.SyncStatus) *v1alpha1.SyncRecord {
	i := slices.IndexFunc(s.History, func(record v1alpha1.SyncRecord) bool {
		return record.Reason == ReasonApplied && record.Digest == s.AppliedDigest
	})
	if i < 0 {
		return nil
	}
	return &s.History[i]
}

func healthOf(s *v1alpha1.SyncStatus) *metav1.Condition {
	return v1alpha1.FindCondition(s.Conditions, v1alpha1.ConditionHealthy)
}

// replaced ends the soak of what is applied: another bundle takes its place.
func replaced(next *v1alpha1.SyncStatus, before *metav1.Condition, now metav1.Time) {
	for i := range next.History {
		record := &next.History[i]
		switch {
		case record.HealthySince == nil || record.HealthyUntil != nil:
		case before != nil && before.Status == metav1.ConditionUnknown && now.Sub(before.LastTransitionTime.Time) > grace:
			broke(record, before.LastTransitionTime, before.Message)
		case before != nil && before.Status == metav1.ConditionUnknown:
			record.HealthyUntil = before.LastTransitionTime.DeepCopy()
		default:
			record.HealthyUntil = &now
		}
	}
}

func broke(record *v1alpha1.SyncRecord, since metav1.Time, why string) {
	if record.HealthySince == nil || record.HealthyUntil != nil {
		return
	}
	record.HealthyUntil, record.Broken = &since, cut(why, shortBytes)
}

// soaking notes since when the applied bundle is healthy. A failure ends that, and so do objects that are not ready for longer than
// grace; health begins it anew. before is the condition Healthy as it was. All that it depends on is in status.
func soaking(next *v1alpha1.SyncStatus, before *metav1.Condition, now metav1.Time) {
	record, c := inForce(next), healthOf(next)
	if record == nil || c == nil || begun(next) || record.Undone && next.Held != nil {
		return
	}
	since, wavered := now, before != nil && before.Status == metav1.ConditionUnknown
	if wavered {
		since = before.LastTransitionTime
	}
	gone := now.Sub(since.Time)
	switch {
	case c.Status == metav1.ConditionFalse:
		broke(record, since, c.Message)
	case c.Status == metav1.ConditionUnknown && gone > grace:
		broke(record, since, c.Message)
	case c.Status != metav1.ConditionTrue:
	case record.HealthySince == nil || record.HealthyUntil != nil || gone > grace:
		record.HealthySince, record.HealthyUntil, record.WaveredSeconds, record.Broken = &now, nil, 0, ""
	case wavered:
		record.WaveredSeconds += int64(gone.Round(time.Second) / time.Second)
	}
}

// tellHealth makes an Event and a count of a bundle that breaks, and of one that recovers.
func (r *Reconciler) tellHealth(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus) {
	ails := func(s *v1alpha1.SyncStatus) bool {
		c, record := healthOf(s), inForce(s)
		return c != nil && c.Status == metav1.ConditionFalse || record != nil && record.Broken != ""
	}
	c := healthOf(next)
	switch before, now := ails(&sync.Status), ails(next); {
	case c == nil || before == now:
	case now:
		healthChanges.WithLabelValues(sync.Namespace, "unhealthy").Inc()
		r.Recorder.Eventf(sync, nil, corev1.EventTypeWarning, ReasonUnhealthy, "Health", "%s", cut(fmt.Sprintf("commit %s: %s", short(next.AppliedCommit), c.Message), noteBytes))
	case c.Status == metav1.ConditionTrue && sync.Status.AppliedDigest == next.AppliedDigest:
		healthChanges.WithLabelValues(sync.Namespace, "healthy").Inc()
		r.Recorder.Eventf(sync, nil, corev1.EventTypeNormal, ReasonHealthy, "Health", "commit %s: all objects are healthy again", short(next.AppliedCommit))
	}
}

// healthWait is when the health of a Sync is to be looked at again, whatever is seen of it: 0, not before something is.
func (r *Reconciler) healthWait(sync *v1alpha1.Sync) time.Duration {
	c := healthOf(&sync.Status)
	if c == nil || c.Status == metav1.ConditionTrue {
		return 0
	}
	age := r.now().Sub(c.LastTransitionTime.Time)
	wait := repository.Retry(age, defaultInterval)
	if left := grace - age + time.Second; left > 0 && c.Status == metav1.ConditionUnknown {
		wait = min(wait, max(left, time.Second))
	}
	return wait
}

// sooner is the shorter of two waits; 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
