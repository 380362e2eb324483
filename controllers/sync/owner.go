package sync

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/belay-delivery/belay/api/v1alpha1"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
)

// belongs says that the labels of an object name this Sync, as far as they name one: see marked.
func belongs(live *unstructured.Unstructured, to client.ObjectKey) bool {
	return live.GetLabels()[v1alpha1.LabelSync] == to.Name && (!marked(live) || live.GetLabels()[v1alpha1.LabelSyncNamespace] == to.Namespace)
}

// marked says that an object names the namespace of its Sync. What an earlier Belay wrote last does not.
func marked(live *unstructured.Unstructured) bool {
	_, has := live.GetLabels()[v1alpha1.LabelSyncNamespace]
	return has
}

var markPath = fieldpath.MakePathOrDie("metadata", "labels", v1alpha1.LabelSyncNamespace)

// isMark says that a field differs only in that the object is not marked yet, which is no drift.
func isMark(f driftpkg.Field) bool { return f.Live == nil && f.Path.Equals(markPath) }

// sole says that of all Syncs of this name this one alone has an object in its inventory, so that the name says enough. Where not
// all Syncs can be seen, the object is left, and that is said.
func (r *Reconciler) sole(ctx context.Context, sync *v1alpha1.Sync, e v1alpha1.InventoryEntry) (bool, error) {
	if r.Drift != nil && len(r.Drift.Namespaces) > 0 {
		r.event(sync, corev1.EventTypeWarning, ReasonLeft, fmt.Sprintf(
			"%s has no label %s, and a Sync %q of a namespace that this manager does not see may have brought it: it was left, delete it by hand if nobody needs it", name(e), v1alpha1.LabelSyncNamespace, sync.Name))
		return false, nil
	}
	var all v1alpha1.SyncList
	if err := r.Client.List(ctx, &all); err != nil {
		return false, fmt.Errorf("pruning %s: listing Syncs: %w", name(e), err)
	}
	for _, other := range all.Items {
		if other.Name == sync.Name && other.Namespace != sync.Namespace &&
			slices.ContainsFunc(other.Status.Inventory, func(b v1alpha1.InventoryEntry) bool { return refOf(b) == refOf(e) }) {
			return false, nil
		}
	}
	return true, nil
}
