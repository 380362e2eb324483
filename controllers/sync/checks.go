package sync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/preflight"
)

// maxTargets is how many objects outside the bundle are looked for.
const maxTargets = 500

// checkWhole makes the checks that see the bundle as a whole. What is denied becomes the fault of an item.
func (r *Reconciler) checkWhole(ctx context.Context, sync *v1alpha1.Sync, cluster tenant, items []*Item, w *warnings) error {
	checkOrder(items, w)
	checkAdoption(items, w)
	checkImages(mode(sync.Spec.Images.RequireDigest, v1alpha1.CheckOff), items, w)
	changed := changing(items)
	if len(changed) == 0 {
		w.keep(sync.Status.Warnings)
		return nil // nothing will be written, so nothing is asked
	}
	checkKeepers(mode(sync.Spec.Checks.OtherTools, v1alpha1.CheckDeny), changed, w)
	if m := mode(sync.Spec.Checks.References, v1alpha1.CheckDeny); m != v1alpha1.CheckOff {
		if err := cluster.checkReferences(ctx, m, items, w); err != nil {
			return err
		}
	}
	if m := mode(sync.Spec.Checks.Quota, v1alpha1.CheckDeny); m != v1alpha1.CheckOff {
		return cluster.checkQuota(ctx, m, changed, w)
	}
	return nil
}

// changing are the items that would be written.
func changing(items []*Item) []*Item {
	news := newsOf(items)
	var out []*Item
	for _, item := range items {
		if item.Keeper != "" {
			continue
		}
		if item.Fault == nil && differs(item) || item.Fault != nil && !item.Fault.Final && news.exempt(item) {
			out = append(out, item)
		}
	}
	return out
}

// object is what would be there: as the API server would make it, where it was asked.
func (i *Item) object() *unstructured.Unstructured {
	if i.Keeper != "" {
		return i.Live
	}
	if i.Dry != nil {
		return i.Dry
	}
	return i.Desired
}

// say warns of a finding, or refuses the item for it.
func (i *Item) say(m v1alpha1.CheckMode, text string, w *warnings) {
	if i.Keeper != "" {
		return // it is not written, whatever it says
	}
	if m != v1alpha1.CheckDeny {
		w.add(fmt.Sprintf("%s (%s): %s", name(i.Entry), i.File, text))
		return
	}
	if i.Fault != nil && i.Fault.Final {
		i.Fault.Message += "; " + text
		return
	}
	i.Fault = &Fault{Message: text, Denied: true, Final: true}
}

func checkImages(m v1alpha1.CheckMode, items []*Item, w *warnings) {
	if m == v1alpha1.CheckOff {
		return
	}
	for _, item := range items {
		for _, image := range preflight.Images(item.object()) {
			if !image.Pinned() {
				item.say(m, fmt.Sprintf("%s: image %q is not named by digest, and images.requireDigest is %s: write it as name@sha256:…", image.Field, image.Name, m), w)
			}
		}
	}
}

// checkReferences closes the bundle: what its pods need is in it, or alive.
func (t tenant) checkReferences(ctx context.Context, m v1alpha1.CheckMode, items []*Item, w *warnings) error {
	var objects []*unstructured.Unstructured
	of := map[*unstructured.Unstructured]*Item{}
	for _, item := range items {
		objects = append(objects, item.object())
		of[item.object()] = item
	}
	open, targets := preflight.Open(objects)
	if len(targets) > maxTargets {
		w.add(fmt.Sprintf("PolicyUnknown: %d objects outside the bundle are referred to; only the first %d were looked for", len(targets), maxTargets))
		targets = targets[:maxTargets]
	}
	missing := map[preflight.Target]bool{}
	for _, target := range targets {
		gone, err := t.missing(ctx, target, w)
		if err != nil {
			return err
		}
		missing[target] = gone
	}
	for _, reference := range open {
		if missing[reference.Target] {
			of[reference.From].say(m, fmt.Sprintf("%s: %s is neither in this bundle nor in the cluster (what makes it can say so: annotation %s)",
				reference.Field, reference.Target, preflight.AnnotationProvides), w)
		}
	}
	return nil
}

// missing says that an object is surely not there.
func (t tenant) missing(ctx context.Context, target preflight.Target, w *warnings) (bool, error) {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: target.Kind})
	err := t.client.Get(ctx, client.ObjectKey{Namespace: target.Namespace, Name: target.Name}, found)
	switch {
	case err == nil:
		return false, nil
	case apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsForbidden(err):
		w.add(fmt.Sprintf("PolicyUnknown: whether %s exists: %s may not read it", target, t.account))
		return false, nil
	}
	return false, fmt.Errorf("looking for %s: %w", target, err)
}

// checkQuota adds up what the changes need, against every ResourceQuota of their namespaces.
func (t tenant) checkQuota(ctx context.Context, m v1alpha1.CheckMode, changed []*Item, w *warnings) error {
	byNamespace := map[string][]*Item{}
	for _, item := range changed {
		if item.Entry.Namespace != "" && (item.Fault == nil || !item.Fault.Missing) {
			byNamespace[item.Entry.Namespace] = append(byNamespace[item.Entry.Namespace], item)
		}
	}
	for namespace, items := range byNamespace {
		var quotas corev1.ResourceQuotaList
		err := t.client.List(ctx, &quotas, client.InNamespace(namespace))
		if apierrors.IsForbidden(err) {
			w.add(fmt.Sprintf("PolicyUnknown: ResourceQuotas of namespace %s: %s may not list them", namespace, t.account))
			continue
		}
		if err != nil {
			return fmt.Errorf("listing ResourceQuotas of namespace %s: %w", namespace, err)
		}
		if len(quotas.Items) == 0 {
			continue
		}
		over, skipped := preflight.OverQuota(t.changes(items), quotas.Items)
		if len(skipped) > 0 {
			w.add("PolicyUnknown: ResourceQuotas with scopes are not added up: " + strings.Join(skipped, ", "))
		}
		for _, excess := range over {
			blamed(items, excess).say(m, excess.String(), w)
		}
	}
	return nil
}

// blamed is the item that adds most.
func blamed(items []*Item, excess preflight.Excess) *Item {
	i := slices.IndexFunc(items, func(i *Item) bool { return i.Entry.Kind+" "+i.Entry.Name == excess.From[0] })
	return items[max(i, 0)]
}

func (t tenant) changes(items []*Item) []preflight.Change {
	var out []preflight.Change
	for _, item := range items {
		kind := schema.GroupKind{Group: item.Entry.Group, Kind: item.Entry.Kind}
		plural, _ := meta.UnsafeGuessKindToResource(kind.WithVersion(item.Entry.Version))
		if mapping, err := t.client.RESTMapper().RESTMapping(kind); err == nil {
			plural = mapping.Resource
		}
		out = append(out, preflight.Change{Desired: item.object(), Live: item.Live, Resource: plural.Resource})
	}
	return out
}
