package sync

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
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

// ailment is what an object that is not well says of itself.
type ailment struct {
	text   string
	failed bool
}

// vitals are the objects of a Sync that are not well. It is not changed once it is made.
type vitals map[drift.Ref]ailment

// steady are kinds of Kubernetes whose status says nothing of health, or that have none.
var steady = map[schema.GroupKind]bool{
	{Kind: "ConfigMap"}: true, {Kind: "Secret"}: true, {Kind: "ServiceAccount"}: true, {Kind: "Service"}: true, {Kind: "Endpoints"}: true,
	{Kind: "LimitRange"}: true, {Kind: "ResourceQuota"}: true, {Kind: "PodTemplate"}: true, {Kind: "Event"}: true,
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}: true, {Group: "batch", Kind: "CronJob"}: true,
	{Group: "policy", Kind: "PodDisruptionBudget"}: true, {Group: "discovery.k8s.io", Kind: "EndpointSlice"}: true,
	{Group: "networking.k8s.io", Kind: "Ingress"}: true, {Group: "networking.k8s.io", Kind: "IngressClass"}: true, {Group: "networking.k8s.io", Kind: "NetworkPolicy"}: true,
	{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}: true, {Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"}: true,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}: true, {Group: "storage.k8s.io", Kind: "StorageClass"}: true,
}

// lively says that an object's health may change after it was applied.
func lively(e v1alpha1.InventoryEntry) bool {
	return !steady[refOf(e).Kind] && e.Group != "rbac.authorization.k8s.io" && e.Group != "admissionregistration.k8s.io"
}

// take judges an object by kstatus, and a Rollout by what came of its attempts; nil: there is none.
func (v vitals) take(e v1alpha1.InventoryEntry, u *unstructured.Unstructured) {
	delete(v, refOf(e))
	state, message := status.InProgressStatus, "it is not there"
	switch {
	case u != nil:
		state, message = stateOf(u)
	case !lively(e), e.Group == "batch" && e.Kind == "Job": // one that is done may be cleared away
		return
	}
	if state != status.CurrentStatus {
		v[refOf(e)] = ailment{cut(fmt.Sprintf("%s: %s", name(e), message), 256), state == status.FailedStatus}
	}
}

// sum is the health of all. It is pure.
func (v vitals) sum() *health {
	var failed, moving []string
	for _, a := range v {
		if a.failed {
			failed = append(failed, a.text)
		} else {
			moving = append(moving, a.text)
		}
	}
	slices.Sort(failed)
	slices.Sort(moving)
	moving = slices.Compact(moving)
	switch {
	case len(failed) > 0:
		return &health{metav1.ConditionFalse, ReasonUnhealthy, failed}
	case len(moving) > 0:
		return &health{metav1.ConditionUnknown, ReasonProgressing, moving}
	}
	return &health{status: metav1.ConditionTrue, reason: ReasonHealthy}
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

// judge takes all objects as they were found or made.
func (r *Reconciler) judge(sync *v1alpha1.Sync, items []*Item) *health {
	v := vitals{}
	for _, item := range items {
		if item.Keeper == "" {
			v.take(item.Entry, item.now())
		}
	}
	r.vitals.Store(sync.UID, v)
	return v.sum()
}

// judgeOne takes one object as it was found or made.
func (r *Reconciler) judgeOne(sync *v1alpha1.Sync, item *Item) {
	if v := r.vitalsOf(sync); v != nil {
		v = maps.Clone(v)
		v.take(item.Entry, item.now())
		r.vitals.Store(sync.UID, v)
	}
}

// vitalsOf is nil until this process has looked at all objects of a Sync.
func (r *Reconciler) vitalsOf(sync *v1alpha1.Sync) vitals {
	stored, _ := r.vitals.Load(sync.UID)
	v, _ := stored.(vitals)
	return v
}

// lookAfter reads again the objects that are not well, and those that have stirred since they were; all of them where this process
// has not looked yet. It never says more than what was read.
func (r *Reconciler) lookAfter(ctx context.Context, sync *v1alpha1.Sync, done *result) error {
	if sync.Status.AppliedDigest == "" || begun(&sync.Status) {
		return nil // what is there is not the bundle that counts as applied
	}
	var stirred []drift.Suspect
	if r.Drift != nil {
		stirred, done.stirs = r.Drift.Stirred(sync.UID)
	}
	v, unread := r.vitalsOf(sync), map[drift.Ref]string{}
	for ref := range v {
		unread[ref] = ""
	}
	for _, s := range stirred {
		unread[s.Ref] = s.Version
	}
	v, err := r.read(ctx, sync, v, unread)
	if ctx.Err() != nil {
		return fmt.Errorf("looking at the health of objects: %w", ctx.Err())
	}
	done.health = v.sum()
	return err
}

// read judges objects anew, which are named with the version as of which they are to be seen. What could not be read is not well.
func (r *Reconciler) read(ctx context.Context, sync *v1alpha1.Sync, before vitals, unread map[drift.Ref]string) (vitals, error) {
	if before != nil && len(unread) == 0 {
		return before, nil
	}
	after := vitals{}
	maps.Copy(after, before)
	cluster, err := r.tenantOf(sync)
	var judged []drift.Verified
	for _, e := range sync.Status.Inventory {
		asOf, wanted := unread[refOf(e)]
		if err != nil || before != nil && !wanted {
			continue
		}
		var live *unstructured.Unstructured
		if live, err = cluster.read(ctx, e); err != nil {
			err = fmt.Errorf("reading %s: %w", name(e), err)
			continue
		}
		delete(unread, refOf(e))
		after.take(e, live)
		judged = append(judged, judgedAt(e, live, asOf))
	}
	for ref := range unread {
		if _, ill := after[ref]; err == nil {
			delete(after, ref) // it is no longer one of ours
		} else if !ill {
			after[ref] = ailment{text: cut(err.Error(), 256)}
		}
	}
	if before == nil && err != nil { // it is not kept: all are read again
		after[drift.Ref{}] = ailment{text: cut(err.Error(), 256)}
	}
	if before != nil || err == nil {
		r.vitals.Store(sync.UID, after)
	}
	if r.Drift != nil && len(judged) > 0 {
		r.Drift.Judged(member(sync), judged)
	}
	return after, err
}

func judgedAt(e v1alpha1.InventoryEntry, live *unstructured.Unstructured, asOf string) drift.Verified {
	v := drift.Verified{Ref: refOf(e), Lively: lively(e)}
	if v.Version = asOf; live != nil {
		v.Version = live.GetResourceVersion()
	}
	return v
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
