package sync

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/revision"
)

// Reasons of the condition Healthy.
const (
	ReasonHealthy     = "Healthy"
	ReasonProgressing = "Progressing"
	ReasonUnhealthy   = "Unhealthy"
)

// health is what the objects of a Sync say of themselves.
type health struct {
	status metav1.ConditionStatus
	reason string
	names  []string
}

// healthOf judges objects by kstatus, and Rollouts by what came of their attempts. It is pure.
func healthOf(objects []*unstructured.Unstructured) health {
	var failed, moving []string
	for _, u := range objects {
		state, message := stateOf(u)
		text := cut(fmt.Sprintf("%s: %s", name(entryOf(u)), message), 256)
		switch state {
		case status.CurrentStatus:
		case status.FailedStatus:
			failed = append(failed, text)
		default:
			moving = append(moving, text)
		}
	}
	switch {
	case len(failed) > 0:
		return health{metav1.ConditionFalse, ReasonUnhealthy, failed}
	case len(moving) > 0:
		return health{metav1.ConditionUnknown, ReasonProgressing, moving}
	}
	return health{status: metav1.ConditionTrue, reason: ReasonHealthy}
}

func stateOf(u *unstructured.Unstructured) (status.Status, string) {
	if isRollout(u) {
		return stateOfRollout(u)
	}
	result, err := status.Compute(u)
	if err != nil {
		return status.UnknownStatus, err.Error()
	}
	return result.Status, result.Message
}

// stateOfRollout: an attempt that was taken back is a failure of the bundle that asked for it.
func stateOfRollout(u *unstructured.Unstructured) (status.Status, string) {
	var r v1alpha1.Rollout
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &r); err != nil {
		return status.UnknownStatus, err.Error()
	}
	ready := v1alpha1.FindCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	wanted, err := revision.Hash(&r.Spec.Template)
	switch {
	case ready == nil || r.Status.ObservedGeneration != r.Generation:
		return status.InProgressStatus, "it has not been looked at yet"
	case r.Status.Attempt != nil:
		return status.InProgressStatus, fmt.Sprintf("attempt %d is under way: %s", r.Status.Attempt.Number, r.Status.Attempt.Revision)
	}
	for _, q := range r.Status.Quarantine {
		if err == nil && q.Revision == wanted {
			return status.FailedStatus, fmt.Sprintf("revision %s was taken back: %s", q.Revision, q.Reason)
		}
	}
	switch stable := r.Status.Stable; {
	case ready.Status != metav1.ConditionTrue:
		return status.InProgressStatus, ready.Message
	case r.Spec.WorkloadRef == nil && stable != nil && err == nil && stable.Revision != wanted:
		return status.InProgressStatus, fmt.Sprintf("revision %s runs, and not %s", stable.Revision, wanted)
	}
	return status.CurrentStatus, ""
}

// judge takes the objects as they were found or made.
func judge(items []*Item) *health {
	var objects []*unstructured.Unstructured
	for _, item := range items {
		switch {
		case item.Keeper != "":
		case item.Written != nil:
			objects = append(objects, item.Written)
		case item.Live != nil:
			objects = append(objects, item.Live)
		}
	}
	h := healthOf(objects)
	return &h
}

// lookAfter reads the objects again until they are healthy.
func (r *Reconciler) lookAfter(ctx context.Context, sync *v1alpha1.Sync, done *result) error {
	if c := v1alpha1.FindCondition(sync.Status.Conditions, v1alpha1.ConditionHealthy); c != nil && c.Status == metav1.ConditionTrue {
		return nil
	}
	cluster, err := r.tenantOf(sync)
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, e := range sync.Status.Inventory {
		live, err := cluster.read(ctx, e)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name(e), err)
		}
		if live != nil {
			objects = append(objects, live)
		}
	}
	h := healthOf(objects)
	done.health = &h
	return nil
}

func (r *Reconciler) setHealth(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, h *health) {
	if h == nil {
		return
	}
	message := "all objects are healthy"
	if len(h.names) > 0 {
		message = cut(list(h.names), messageBytes)
	}
	meta.SetStatusCondition(&next.Conditions, metav1.Condition{Type: v1alpha1.ConditionHealthy, Status: h.status, Reason: h.reason,
		Message: message, ObservedGeneration: sync.Generation, LastTransitionTime: metav1.NewTime(r.now())})
}
