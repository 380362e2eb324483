package sync

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// FieldManager is the name under which the objects of a Sync are applied.
const FieldManager = "belay-sync"

// AnnotationPrune with the value Disabled, on an object, keeps it when it leaves Git.
const AnnotationPrune = "belay.dev/prune"

// maxNamed is how many objects a message names.
const maxNamed = 5

// Plan is what is done to bring the cluster to a bundle, in the order of its fields.
type Plan struct {
	// Refused, unless nil, is why nothing at all is done.
	Refused *failure
	// Inventory is written before anything is applied: what was there, and what will be.
	Inventory []v1alpha1.InventoryEntry
	// Apply are the objects that differ, stage by stage.
	Apply [stages][]*Item
	// Define says that objects follow whose kinds are only defined by this plan.
	Define bool
	// Prune are the objects that left Git, in the order in which they go.
	Prune []v1alpha1.InventoryEntry
	// Final is the inventory once all is done.
	Final []v1alpha1.InventoryEntry
	// Described is the plan for people, and for gates; nil where nothing is to be done.
	Described *v1alpha1.SyncPlan
	// Observed are the objects that are left to others.
	Observed *v1alpha1.SyncObserved
	// Warnings hold nobody up.
	Warnings []string

	items []*Item
}

// MakePlan decides what to do about a bundle. It is pure; items hold what was observed.
func MakePlan(sync *v1alpha1.Sync, commit string, items []*Item) Plan {
	var p Plan
	news := newsOf(items)
	var faults []*Item
	var others []v1alpha1.InventoryEntry
	for _, item := range items {
		if item.Keeper != "" {
			others = append(others, item.Entry)
			continue
		}
		p.Final = append(p.Final, item.Entry)
		switch exempt := item.Fault != nil && news.exempt(item); {
		case item.Fault != nil && !exempt:
			faults = append(faults, item)
		case exempt || differs(item):
			item.Desired = final(item.Desired, commit)
			p.Apply[stage(item.Entry)] = append(p.Apply[stage(item.Entry)], item)
			p.Define = p.Define || exempt
		}
	}
	if len(faults) > 0 {
		return Plan{Refused: refusal(faults)}
	}
	left := without(without(sync.Status.Inventory, p.Final), others)
	p.Inventory = slices.Concat(p.Final, left)
	if len(p.Inventory) > maxObjects {
		return Plan{Refused: &failure{reason: ReasonTooLarge, stalled: true,
			message: fmt.Sprintf("%d objects in Git and %d that left it are more than the %d a Sync can keep account of", len(p.Final), len(left), maxObjects)}}
	}
	if sync.Spec.Prune != v1alpha1.PruneEnabled {
		p.Final = p.Inventory
		return p
	}
	p.Prune = pruneOrder(left)
	return p
}

// changes says whether anything is to be done.
func (p *Plan) changes() bool {
	for _, level := range p.Apply {
		if len(level) > 0 {
			return true
		}
	}
	return len(p.Prune) > 0
}

// news are the kinds and namespaces that the bundle brings or changes.
type news struct {
	kinds      map[schema.GroupKind]bool
	namespaces map[string]bool
}

func newsOf(items []*Item) news {
	n := news{kinds: map[schema.GroupKind]bool{}, namespaces: map[string]bool{}}
	for _, item := range items {
		if item.Fault != nil {
			continue
		}
		if kind, ok := defines(item.Desired); ok && differs(item) {
			n.kinds[kind] = true
		}
		if stage(item.Entry) == stageNamespace && item.Live == nil {
			n.namespaces[item.Entry.Name] = true
		}
	}
	return n
}

// exempt says that the fault may be cured by what the bundle brings before the object.
func (n news) exempt(item *Item) bool {
	if item.Fault.Final {
		return false
	}
	kind := schema.GroupKind{Group: item.Entry.Group, Kind: item.Entry.Kind}
	return n.kinds[kind] || item.Fault.Missing && n.namespaces[item.Entry.Namespace]
}

// differs says that applying the object would change it, or whose its fields are.
func differs(item *Item) bool {
	if item.Unknown != "" && item.Live != nil && item.Applied {
		return !within(item.Desired.Object, item.Live.Object)
	}
	if item.Live == nil || item.Dry == nil {
		return true
	}
	return !equality.Semantic.DeepEqual(content(item.Live), content(item.Dry)) ||
		!equality.Semantic.DeepEqual(owned(item.Live), owned(item.Dry))
}

// within says that live holds everything that desired says.
func within(desired, live any) bool {
	switch want := desired.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		for key, value := range want {
			if !ok || !within(value, have[key]) {
				return false
			}
		}
		return ok || len(want) == 0
	case []any:
		have, ok := live.([]any)
		if !ok || len(have) != len(want) {
			return len(want) == 0 && live == nil
		}
		for i := range want {
			if !within(want[i], have[i]) {
				return false
			}
		}
		return true
	}
	return equality.Semantic.DeepEqual(desired, live)
}

// content is an object without the API server's bookkeeping.
func content(u *unstructured.Unstructured) map[string]any {
	metadata, _ := u.Object["metadata"].(map[string]any)
	kept := make(map[string]any, len(metadata))
	for key, value := range metadata {
		switch key {
		case "managedFields", "resourceVersion", "generation":
		default:
			kept[key] = value
		}
	}
	out := make(map[string]any, len(u.Object))
	for key, value := range u.Object {
		out[key] = value
	}
	out["metadata"] = kept
	return out
}

// owned are the fields that an apply of ours has set.
func owned(u *unstructured.Unstructured) any {
	managers, _, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "managedFields")
	list, _ := managers.([]any)
	for _, manager := range list {
		entry, _ := manager.(map[string]any)
		if entry["manager"] == FieldManager && entry["operation"] == "Apply" && entry["subresource"] == nil {
			return entry["fieldsV1"]
		}
	}
	return nil
}

// final is what is written once it is known that something is: a Rollout then says which commit did it.
func final(u *unstructured.Unstructured, commit string) *unstructured.Unstructured {
	if !isRollout(u) {
		return u
	}
	return annotated(u, v1alpha1.AnnotationCommit, commit)
}

func refusal(faults []*Item) *failure {
	f := &failure{reason: ReasonDenied, stalled: true}
	var named []string
	for _, item := range faults {
		if !item.Fault.Denied {
			f.reason, f.stalled = ReasonCheckFailed, false
		}
		if len(named) < maxNamed {
			named = append(named, fmt.Sprintf("%s (%s): %s", name(item.Entry), item.File, item.Fault.Message))
		}
	}
	f.message = "nothing was changed: " + strings.Join(named, "; ")
	if more := len(faults) - len(named); more > 0 {
		f.message += fmt.Sprintf("; and %d more", more)
	}
	return f
}

// without are the entries of list that are not in other, whatever their version.
func without(list, other []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	seen := make(map[v1alpha1.InventoryEntry]bool, len(other))
	for _, e := range other {
		e.Version = ""
		seen[e] = true
	}
	var out []v1alpha1.InventoryEntry
	for _, e := range list {
		identity := e
		identity.Version = ""
		if !seen[identity] {
			out = append(out, e)
		}
	}
	return out
}

// pruneOrder is the order of applying backwards, so that nothing goes before what lives in it.
func pruneOrder(list []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b v1alpha1.InventoryEntry) int { return stage(b) - stage(a) })
	return out
}
