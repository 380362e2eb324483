package sync

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
)

// AnnotationAdopt with the value TakeOver, on an object in Git, has a Sync whose adoption is Observe take over the object that is
// there.
const AnnotationAdopt = "belay.dev/adopt"

// ReasonObserved is the reason of an Event: objects were found that others keep.
const ReasonObserved = "Observed"

const (
	maxObserved       = 32
	maxObservedFields = 8
	// valueHidden stands for values that are not shown. A digest would change with the process.
	valueHidden = "(hidden)"
)

// adopted says that Git wants the object taken over.
func adopted(item *Item) bool {
	return item.Declared.GetAnnotations()[AnnotationAdopt] == string(v1alpha1.AdoptionTakeOver)
}

// left says who keeps an object that this Sync leaves as it is; empty: it does not. What a Sync has applied, or made and is in
// the inventory, is not left to others, whoever writes it since: that is drift.
func left(sync *v1alpha1.Sync, item *Item) string {
	if sync.Spec.Adoption != v1alpha1.AdoptionObserve || item.Live == nil || owned(item.Live) != nil || adopted(item) {
		return ""
	}
	ours := slices.ContainsFunc(sync.Status.Inventory, func(e v1alpha1.InventoryEntry) bool { return refOf(e) == refOf(item.Entry) })
	if ours && belongs(item.Live, client.ObjectKeyFromObject(sync)) {
		return ""
	}
	if tool := keeper(item.Live); tool != "" {
		return tool
	}
	var managers []string
	for _, entry := range item.Live.GetManagedFields() {
		if entry.Subresource == "" && !slices.Contains(managers, entry.Manager) {
			managers = append(managers, cut(entry.Manager, 64))
		}
	}
	if len(managers) == 0 {
		return "nobody known"
	}
	return "field manager " + strings.Join(managers[:min(len(managers), 3)], ", ")
}

// leave marks an item as left to others. What the API server said of taking it over holds nothing up.
func (i *Item) leave(keeper string) {
	i.Keeper = keeper
	if i.Fault != nil {
		i.Refused, i.Fault = i.Fault.Message, nil
	}
	i.Recreate, i.Unknown = "", ""
}

// checkAdoption refuses an annotation that says nothing.
func checkAdoption(items []*Item, w *warnings) {
	for _, item := range items {
		if value, has := item.Declared.GetAnnotations()[AnnotationAdopt]; has && !adopted(item) {
			item.say(v1alpha1.CheckDeny, fmt.Sprintf("annotation %s is %q, the only value is %s", AnnotationAdopt, value, v1alpha1.AdoptionTakeOver), w)
		}
	}
}

// observed says what taking over would change of the objects that are left to others; nil: there are none.
func observed(items []*Item) (*v1alpha1.SyncObserved, error) {
	var found []*Item
	for _, item := range items {
		if item.Keeper != "" {
			found = append(found, item)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortFunc(found, func(a, b *Item) int { return cmp.Compare(name(a.Entry), name(b.Entry)) })
	out := &v1alpha1.SyncObserved{Count: int32(len(found))} //nolint:gosec // at most maxObjects
	for _, item := range found[:min(len(found), maxObserved)] {
		o := v1alpha1.ObservedObject{Object: cut(name(item.Entry), 640), Keeper: cut(item.Keeper, 256), Refused: cut(item.Refused, 512)}
		if item.Dry != nil {
			fields, err := driftpkg.Compare(driftpkg.Observed{Manager: FieldManager, Desired: item.Desired, Live: item.Live, Dry: unmarked(item), Same: true})
			if err != nil {
				return nil, fmt.Errorf("comparing %s: %w", name(item.Entry), err)
			}
			show(&o, item, fields)
		}
		out.Objects = append(out.Objects, o)
	}
	return out, nil
}

// unmarked is what taking over would make of an object, without the Sync's labels: a mark, and no change.
func unmarked(item *Item) *unstructured.Unstructured {
	out := item.Dry.DeepCopy()
	labels := out.GetLabels()
	for _, key := range []string{v1alpha1.LabelSync, v1alpha1.LabelSyncNamespace} {
		if label, has := item.Live.GetLabels()[key]; has {
			labels[key] = label
		} else {
			delete(labels, key)
		}
	}
	if len(labels) == 0 {
		labels = nil // takes the field away
	}
	out.SetLabels(labels)
	return out
}

func show(o *v1alpha1.ObservedObject, item *Item, fields []driftpkg.Field) {
	kind := refOf(item.Entry).Kind
	for _, field := range fields {
		if len(o.Fields) == maxObservedFields {
			o.MoreFields++
			continue
		}
		shown := v1alpha1.ObservedField{Path: cut(field.Path.String(), pathBytes), Declared: valueHidden, Live: valueHidden}
		if !driftpkg.Hidden(kind, field.Path, field.Declared) && !driftpkg.Hidden(kind, field.Path, field.Live) {
			shown.Declared, shown.Live = driftpkg.Shown(kind, field.Path, field.Declared), driftpkg.Shown(kind, field.Path, field.Live)
		}
		o.Fields = append(o.Fields, shown)
	}
}

// setObserved puts what is left to others into the next status, and tells of objects that are new there.
func (r *Reconciler) setObserved(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, done result) {
	if !done.examined || equality.Semantic.DeepEqual(next.Observed, done.observed) {
		return
	}
	var names []string
	if done.observed != nil {
		for _, o := range done.observed.Objects {
			known := next.Observed != nil && slices.ContainsFunc(next.Observed.Objects, func(b v1alpha1.ObservedObject) bool { return b.Object == o.Object && b.Keeper == o.Keeper })
			if !known {
				names = append(names, fmt.Sprintf("%s (%s)", o.Object, o.Keeper))
			}
		}
	}
	next.Observed = done.observed
	if len(names) > 0 {
		r.event(sync, corev1.EventTypeNormal, ReasonObserved, "left to others, and not written: "+list(names)+"; status.observed says what would be changed")
	}
}
