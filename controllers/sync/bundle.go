package sync

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/belay-delivery/belay/api/v1alpha1"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/preflight"
	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

const (
	groupCRD   = "apiextensions.k8s.io"
	kindCRD    = "CustomResourceDefinition"
	groupRoute = "gateway.networking.k8s.io"
	// maxObjects is what fits into status.inventory.
	maxObjects = 2000
)

// The stages in which a bundle is applied; pruning goes through them backwards.
const (
	stageCRD = iota
	stageNamespace
	stageClass
	stageRest
	stageWorkload
	stageWebhook
	stages
)

// scopes says whether objects of a kind live in namespaces; an unknown kind is meta.NoKindMatchError.
type scopes func(schema.GroupKind) (bool, error)

// renderBundle turns a folder of a commit into objects; nothing at all is never taken for a wish to have nothing.
func renderBundle(tree git.Tree, path string) ([]render.Object, error) {
	objects, err := render.Render(tree, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &failure{reason: ReasonPathNotFound, message: fmt.Sprintf("path %q: %v", path, err), stalled: true}
	case err != nil:
		return nil, &failure{reason: ReasonRenderFailed, message: err.Error(), stalled: true}
	case len(objects) == 0:
		return nil, &failure{reason: ReasonEmptyBundle, stalled: true,
			message: fmt.Sprintf("path %q renders to no objects: nothing is changed; to remove everything delete the Sync", path)}
	case len(objects) > maxObjects:
		return nil, &failure{reason: ReasonTooLarge, stalled: true,
			message: fmt.Sprintf("path %q renders to %d objects, more than the %d a Sync can keep account of", path, len(objects), maxObjects)}
	}
	return objects, nil
}

// Item is one object of the bundle.
type Item struct {
	Entry v1alpha1.InventoryEntry
	// File of the repository that declares it.
	File string
	// Doc is the index of the document in the file; -1 where that is not known.
	Doc int
	// Desired is what is applied.
	Desired *unstructured.Unstructured
	// Live is what is there; nil: nothing.
	Live *unstructured.Unstructured
	// Dry is what the API server would make of Desired; nil with a Fault.
	Dry *unstructured.Unstructured
	// Fault is why the object could not be tried.
	Fault *Fault
	// Unknown is why the API server could not say what it would make of the object, though nothing denies it; Dry is nil.
	Unknown string
	// Rendered is the object of the bundle, which is not to be changed.
	Rendered *unstructured.Unstructured
	// Applied: the bundle applied last declares the object just so. What differs is drift then, and an Unknown object needs a
	// write only if fields have changed.
	Applied bool
	// Declared is Desired as Git has it, before anything was added to it or left to others.
	Declared *unstructured.Unstructured
	// Ignore are the rules by which fields are left to others.
	Ignore []driftpkg.Ignore
	// Unsigned are images that need not be signed though others must be.
	Unsigned []string
	// Keeper, unless empty, is who keeps the object: it is not written, and is no part of the inventory.
	Keeper string
	// Refused is why the API server would not let such an object be taken over.
	Refused string
	// Keep: whatever Git says, it is not deleted to be made again.
	Keep bool
	// Recreate names the fields for which the object is deleted and made again; Dry is nil then.
	Recreate string
	// Written is what the API server made of it; nil: it was not written.
	Written *unstructured.Unstructured
}

// now is what was made of it, or what was found; nil: there is none.
func (item *Item) now() *unstructured.Unstructured {
	if item.Written != nil {
		return item.Written
	}
	return item.Live
}

// Fault is why an object could not be tried.
type Fault struct {
	Message string
	// Denied: the API server refuses it, and will again; otherwise trying failed.
	Denied bool
	// Missing: its kind or its namespace does not exist.
	Missing bool
	// Final: what the bundle brings before the object will not cure it.
	Final bool
}

// prepare completes rendered objects: a namespace where they need one, the Sync's labels, no foreign bookkeeping.
func prepare(sync *v1alpha1.Sync, objects []render.Object, known scopes) ([]*Item, error) {
	declared := declaredScopes(objects)
	seen := map[v1alpha1.InventoryEntry]string{}
	var items []*Item
	for _, object := range objects {
		item := &Item{Rendered: object.Unstructured, Desired: object.DeepCopy(), File: object.Origin.File, Doc: object.Origin.Doc}
		gvk := item.Desired.GroupVersionKind()
		namespaced, err := known(gvk.GroupKind())
		if scope, found := declared[gvk.GroupKind()]; meta.IsNoMatchError(err) && found {
			namespaced, err = scope, nil
		}
		switch {
		case meta.IsNoMatchError(err):
			item.Fault = &Fault{Denied: true, Missing: true,
				Message: fmt.Sprintf("kind %s is known neither to the API server nor to this bundle", gvk.GroupKind())}
		case err != nil:
			return nil, fmt.Errorf("looking up kind %s: %w", gvk.GroupKind(), err)
		}
		complete(item.Desired, sync, namespaced)
		item.Entry, item.Declared = entryOf(item.Desired), item.Desired
		if other, twice := seen[item.Entry]; twice {
			return nil, &failure{reason: ReasonRenderFailed, stalled: true,
				message: fmt.Sprintf("%s is declared twice: in %s and in %s", name(item.Entry), other, item.File)}
		}
		seen[item.Entry] = item.File
		items = append(items, item)
	}
	slices.SortStableFunc(items, func(a, b *Item) int { return stage(a.Entry) - stage(b.Entry) })
	return items, nil
}

func complete(u *unstructured.Unstructured, sync *v1alpha1.Sync, namespaced bool) {
	switch {
	case !namespaced:
		u.SetNamespace("")
	case u.GetNamespace() == "":
		u.SetNamespace(sync.Namespace)
	}
	labels := u.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[v1alpha1.LabelSync], labels[v1alpha1.LabelSyncNamespace] = sync.Name, sync.Namespace
	u.SetLabels(labels)
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(u.Object, "status")
	if isRollout(u) {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations", v1alpha1.AnnotationCommit)
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations", v1alpha1.AnnotationAuthors)
	}
}

// declaredScopes are the scopes of the kinds that the bundle itself defines.
func declaredScopes(objects []render.Object) map[schema.GroupKind]bool {
	found := map[schema.GroupKind]bool{}
	for _, object := range objects {
		if kind, ok := defines(object.Unstructured); ok {
			scope, _, _ := unstructured.NestedString(object.Object, "spec", "scope")
			found[kind] = scope == "Namespaced"
		}
	}
	return found
}

// defines is the kind that a CustomResourceDefinition defines.
func defines(u *unstructured.Unstructured) (schema.GroupKind, bool) {
	if u.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: groupCRD, Kind: kindCRD}) {
		return schema.GroupKind{}, false
	}
	group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: kind}, true
}

// combine is desired with what Belay has added to the live object for a while: a Rollout's split of the traffic, the
// role in a Service's selector, the commit on a Rollout.
func combine(desired, live *unstructured.Unstructured) *unstructured.Unstructured {
	switch gk := desired.GroupVersionKind().GroupKind(); {
	case live == nil:
		return desired
	case gk.Group == groupRoute && gk.Kind != "Gateway" && gk.Kind != "GatewayClass":
		return pinned(gatewayapi.Merge(desired, live), live)
	case gk == schema.GroupKind{Kind: "Service"}:
		return pinned(gatewayapi.MergeService(desired, live), live)
	case isRollout(desired):
		if commit, has := live.GetAnnotations()[v1alpha1.AnnotationCommit]; has {
			out := annotated(desired, v1alpha1.AnnotationCommit, commit)
			if authors, has := live.GetAnnotations()[v1alpha1.AnnotationAuthors]; has {
				out = annotated(out, v1alpha1.AnnotationAuthors, authors)
			}
			return out
		}
	}
	return desired
}

// Declared is what a Sync would have applied of a rendered object, as far as it is not left to others: what differs from it in the
// live object is drift, or not applied yet.
func Declared(sync *v1alpha1.Sync, rendered, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	out := rendered.DeepCopy()
	out.SetNamespace(live.GetNamespace())
	out, err := driftpkg.Without(out, live, FieldManager, ignoreRules(sync))
	if err != nil {
		return nil, fmt.Errorf("leaving fields of %s to others: %w", name(entryOf(live)), err)
	}
	return combine(out, live), nil
}

// pinned makes the API server refuse the write if the live object is another one by then.
func pinned(u, live *unstructured.Unstructured) *unstructured.Unstructured {
	u.SetResourceVersion(live.GetResourceVersion())
	return u
}

func annotated(u *unstructured.Unstructured, key, value string) *unstructured.Unstructured {
	out := u.DeepCopy()
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	out.SetAnnotations(annotations)
	return out
}

func isRollout(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind().GroupKind() == schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "Rollout"}
}

func entryOf(u *unstructured.Unstructured) v1alpha1.InventoryEntry {
	gvk := u.GroupVersionKind()
	return v1alpha1.InventoryEntry{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

func name(e v1alpha1.InventoryEntry) string {
	if e.Namespace == "" {
		return schema.GroupKind{Group: e.Group, Kind: e.Kind}.String() + " " + e.Name
	}
	return schema.GroupKind{Group: e.Group, Kind: e.Kind}.String() + " " + e.Namespace + "/" + e.Name
}

func stage(e v1alpha1.InventoryEntry) int {
	switch {
	case e.Group == groupCRD && e.Kind == kindCRD:
		return stageCRD
	case e.Group == "" && e.Kind == "Namespace":
		return stageNamespace
	case e.Group == "admissionregistration.k8s.io":
		return stageWebhook
	case strings.HasSuffix(e.Kind, "Class") && e.Namespace == "": // StorageClass, GatewayClass, PriorityClass, …
		return stageClass
	case preflight.IsWorkload(schema.GroupKind{Group: e.Group, Kind: e.Kind}):
		return stageWorkload
	}
	return stageRest
}
