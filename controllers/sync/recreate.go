package sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/preflight"
)

// AnnotationRecreate, on an object in Git, lets Belay delete it and make it again where a field cannot be changed in place.
const AnnotationRecreate = "belay.dev/recreate"

// Values of AnnotationRecreate. What may take data with it needs the second.
const (
	RecreateAllowed      = "Allowed"
	RecreateWithDataLoss = "AllowedWithDataLoss"
)

const (
	// recreateTimeout is how long a deleted object may take to be gone in one round.
	recreateTimeout = 10 * time.Second
	maxFrozen       = 4
)

// frozen are the words by which the API server says that a field cannot be changed.
var frozen = []string{"immutable", "may not change once set", "cannot change roleref", "updates to statefulset spec", "updates to parameters are forbidden", "updates to provisioner are forbidden"}

// frozenFields names the fields that, by an error of the API server, cannot be changed in place; empty: it is another error. It
// tells no values.
func frozenFields(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusUnprocessableEntity || status.Status().Details == nil {
		return ""
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		text := strings.ToLower(cause.Message)
		if slices.ContainsFunc(frozen, func(words string) bool { return strings.Contains(text, words) }) && !slices.Contains(fields, cause.Field) {
			fields = append(fields, cause.Field)
		}
	}
	return strings.Join(fields[:min(len(fields), maxFrozen)], ", ")
}

// plainGroups are groups of kinds of which nothing outlives them but what Git declares. What a controller makes for objects of other
// groups, a database for one, may go with them.
var plainGroups = []string{"", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", groupRBAC, "storage.k8s.io", "scheduling.k8s.io", "node.k8s.io",
	"admissionregistration.k8s.io", "coordination.k8s.io", "discovery.k8s.io", groupRoute, v1alpha1.Group}

// losesData says what may go with an object; empty: nothing that Git does not declare.
func losesData(e v1alpha1.InventoryEntry) string {
	switch kind := (schema.GroupKind{Group: e.Group, Kind: e.Kind}); {
	case kind == schema.GroupKind{Kind: "PersistentVolumeClaim"}, kind == schema.GroupKind{Kind: "PersistentVolume"}:
		return "its data may go with it"
	case kind == schema.GroupKind{Kind: "Namespace"}:
		return "everything in the namespace goes with it"
	case e.Group == groupCRD:
		return "every object of the kind goes with its definition"
	case !slices.Contains(plainGroups, e.Group):
		return "what its controller made for it may go with it"
	}
	return ""
}

// replaceable decides about an object of which a field cannot be changed in place: it is deleted and made again where Git says
// that it may be, and where the API server would take both; else it is refused.
func (t tenant) replaceable(ctx context.Context, item *Item, fields string) error {
	refuse := func(format string, args ...any) error {
		item.Fault = &Fault{Denied: true, Final: true, Message: fmt.Sprintf("%s cannot be changed in place: ", fields) + fmt.Sprintf(format, args...)}
		return nil
	}
	consent, loss := item.Declared.GetAnnotations()[AnnotationRecreate], losesData(item.Entry)
	needed := RecreateAllowed
	if loss != "" {
		needed = RecreateWithDataLoss
	}
	switch {
	case item.Live.GetDeletionTimestamp() != nil:
		item.Fault = &Fault{Message: fmt.Sprintf("it is being deleted, held by finalizers %q, and is made again once it is gone", item.Live.GetFinalizers())}
		return nil
	case item.Keep:
		return refuse("it is made again with the next comparison of all objects, where spec.drift.mode is Correct and the annotation %s allows it", AnnotationRecreate)
	case consent == "":
		return refuse("it would have to be deleted and made again (risk High: %s); the annotation %s: %s in Git allows that", strings.Join(replacement(item), "; "), AnnotationRecreate, needed)
	case consent != needed && consent != RecreateWithDataLoss:
		return refuse("annotation %s is %q, but to delete it and make it again takes %s (risk High: %s)", AnnotationRecreate, consent, needed, strings.Join(replacement(item), "; "))
	}
	anew := item.Desired.DeepCopy()
	anew.SetResourceVersion("")
	if err := t.tryAnew(ctx, anew); err != nil {
		return refuse("it is allowed to delete it and make it again, but the new one would be refused: %v", err)
	}
	if err := t.remove(ctx, item.Live.DeepCopy(), client.Preconditions{UID: uidOf(item.Live)}, propagation(item), client.DryRunAll); err != nil {
		return refuse("it is allowed to delete it and make it again, but deleting it would be refused: %v", err)
	}
	item.Desired, item.Recreate = anew, fields
	return nil
}

// tryAnew asks what the API server would say to the object if there were none of its name, by another name. Kinds whose name says
// what they are, and ports and addresses that the live one still has, cannot be tried so.
func (t tenant) tryAnew(ctx context.Context, u *unstructured.Unstructured) error {
	kind := u.GroupVersionKind().GroupKind()
	if kind.Group == groupCRD || kind.Kind == "APIService" {
		return nil
	}
	trial := u.DeepCopy()
	short := u.GetName()
	trial.SetName(strings.TrimRight(short[:min(len(short), 48)], "-.") + "-anew")
	if kind == (schema.GroupKind{Kind: "Service"}) {
		withoutPorts(trial)
	}
	_, err := t.apply(ctx, trial, client.DryRunAll)
	if err != nil && strings.Contains(said(err), sideEffects) {
		return nil
	}
	return err
}

func withoutPorts(service *unstructured.Unstructured) {
	for _, field := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
		unstructured.RemoveNestedField(service.Object, "spec", field)
	}
	ports, _, _ := unstructured.NestedSlice(service.Object, "spec", "ports")
	for _, port := range ports {
		if p, ok := port.(map[string]any); ok {
			delete(p, "nodePort")
		}
	}
	if len(ports) > 0 {
		_ = unstructured.SetNestedSlice(service.Object, ports, "spec", "ports") // it was a slice there
	}
}

// recreate deletes the object that was examined and makes it again. Cut off in between, the next round finds none and makes it.
func (t tenant) recreate(ctx context.Context, item *Item) (*unstructured.Unstructured, error) {
	err := t.remove(ctx, item.Live.DeepCopy(), client.Preconditions{UID: uidOf(item.Live)}, propagation(item))
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("deleting it to make it again: %w", err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, recreateTimeout, true, func(ctx context.Context) (bool, error) {
		live, err := t.read(ctx, item.Entry)
		return err == nil && (live == nil || live.GetUID() != item.Live.GetUID()), err
	})
	if err != nil {
		return nil, fmt.Errorf("waiting until the one before is gone, to make it again: %w", err)
	}
	return t.applyPatiently(ctx, item.Desired)
}

func uidOf(u *unstructured.Unstructured) *types.UID {
	uid := u.GetUID()
	return &uid
}

// propagation: the pods of a StatefulSet whose selector stays are left to the new one; all else goes with its owner.
func propagation(item *Item) client.DeleteOption {
	if keepsPods(item) {
		return client.PropagationPolicy(metav1.DeletePropagationOrphan)
	}
	return client.PropagationPolicy(metav1.DeletePropagationBackground)
}

func keepsPods(item *Item) bool {
	if (schema.GroupKind{Group: item.Entry.Group, Kind: item.Entry.Kind}) != (schema.GroupKind{Group: "apps", Kind: "StatefulSet"}) {
		return false
	}
	before, _, _ := unstructured.NestedFieldNoCopy(item.Live.Object, "spec", "selector")
	after, _, _ := unstructured.NestedFieldNoCopy(item.Desired.Object, "spec", "selector")
	return equality.Semantic.DeepEqual(before, after)
}

// replacement says what deleting an object and making it again means.
func replacement(item *Item) []string {
	kind := schema.GroupKind{Group: item.Entry.Group, Kind: item.Entry.Kind}
	out := []string{"it is deleted and made again"}
	loss := losesData(item.Entry)
	switch {
	case loss != "":
		out = append(out, loss)
	case keepsPods(item):
		out = append(out, "its pods stay and are taken over")
	case preflight.IsWorkload(kind) || kind == schema.GroupKind{Group: "batch", Kind: "Job"}:
		out = append(out, "its pods go with it")
	case kind == schema.GroupKind{Kind: "Service"}:
		out = append(out, "its address may change, and nothing is reached through it meanwhile")
	}
	return out
}
