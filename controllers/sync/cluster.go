package sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
)

const (
	// maxAccounts is for how many ServiceAccounts a client is kept.
	maxAccounts = 512
	// untyped is how the API server words, with status 500, that an object does not fit the schema of its kind.
	untyped = "failed to create typed patch object"
	// sideEffects is how the API server words that a webhook cannot be asked without being told.
	sideEffects = "does not support dry run"
	// establishTimeout is how long a new kind may take to be served.
	establishTimeout = 10 * time.Second
)

// accounts keeps a client per ServiceAccount.
type accounts struct {
	mu      sync.Mutex
	clients map[string]client.Client
}

// as returns a client that acts as a ServiceAccount. The API server adds the account's groups itself.
func (a *accounts) as(base *rest.Config, mapper meta.RESTMapper, account client.ObjectKey) (client.Client, error) {
	user := "system:serviceaccount:" + account.Namespace + ":" + account.Name
	a.mu.Lock()
	defer a.mu.Unlock()
	if found := a.clients[user]; found != nil {
		return found, nil
	}
	config := rest.CopyConfig(base)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	config.WarningHandlerWithContext = collector{}
	plain, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", user, err)
	}
	made := client.WithFieldValidation(plain, metav1.FieldValidationStrict) // a field that is not known is never passed over
	if a.clients == nil || len(a.clients) >= maxAccounts {
		a.clients = map[string]client.Client{}
	}
	a.clients[user] = made
	return made, nil
}

// tenant does to the cluster what a Sync's ServiceAccount may.
type tenant struct {
	client client.Client
	// of is the Sync; sole says that no other Sync of its name has brought an object.
	of   client.ObjectKey
	sole func(context.Context, v1alpha1.InventoryEntry) (bool, error)
	// account is the name of the account, for people.
	account string
}

// examine reads the live object and asks the API server what applying would make of it.
func (t tenant) examine(ctx context.Context, item *Item) error {
	if item.Fault != nil {
		return nil
	}
	if isSecret(item.Entry) {
		ctx = collecting(ctx, &warnings{}) // what a webhook warns of may repeat a value, too
	}
	live, err := t.read(ctx, item.Entry)
	if err == nil {
		item.Live = live
		if item.Fault = wrongSecret(item.Desired); item.Fault != nil {
			return nil
		}
		if item.Desired, err = driftpkg.Without(item.Desired, live, FieldManager, item.Ignore); err != nil {
			return fmt.Errorf("leaving fields of %s to others: %w", name(item.Entry), err)
		}
		item.Desired = combine(item.Desired, live)
		item.Dry, err = t.apply(ctx, item.Desired, client.DryRunAll)
	}
	if fields := frozenFields(err); fields != "" && item.Live != nil {
		item.Dry = nil
		return t.replaceable(ctx, item, fields)
	}
	if err != nil && strings.Contains(said(err), sideEffects) {
		item.Unknown, err = cut(err.Error(), warningBytes), nil
	}
	if err != nil && (ctx.Err() != nil || apierrors.IsConflict(err)) {
		return fmt.Errorf("trying %s: %w", name(item.Entry), err)
	}
	if err != nil {
		item.Fault = faultOf(err)
	}
	return nil
}

// read returns nil without an error where there is no such object.
func (t tenant) read(ctx context.Context, e v1alpha1.InventoryEntry) (*unstructured.Unstructured, error) {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Group: e.Group, Version: e.Version, Kind: e.Kind})
	err := t.client.Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: e.Name}, found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, t.quiet(e, err)
	}
	return found, nil
}

// apply returns the object as it is, or would be, afterwards. Unknown fields are an error of the API server's.
func (t tenant) apply(ctx context.Context, u *unstructured.Unstructured, more ...client.ApplyOption) (*unstructured.Unstructured, error) {
	out := u.DeepCopy()
	options := append([]client.ApplyOption{client.FieldOwner(FieldManager), client.ForceOwnership}, more...)
	if err := t.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(out), options...); err != nil {
		return nil, t.quiet(entryOf(u), err)
	}
	return out, nil
}

func (t tenant) remove(ctx context.Context, live *unstructured.Unstructured, options ...client.DeleteOption) error {
	return t.quiet(entryOf(live), t.client.Delete(ctx, live, options...))
}

// prune deletes an object of this Sync's. It returns false, and deletes nothing, where the object is gone, is no longer
// this Sync's, or wants to stay.
func (t tenant) prune(ctx context.Context, e v1alpha1.InventoryEntry) (bool, error) {
	mapping, err := t.client.RESTMapper().RESTMapping(schema.GroupKind{Group: e.Group, Kind: e.Kind})
	if meta.IsNoMatchError(err) {
		return false, nil // its kind is gone, and so is every object of it
	}
	if err != nil {
		return false, fmt.Errorf("pruning %s: %w", name(e), err)
	}
	e.Version = mapping.GroupVersionKind.Version
	live, err := t.read(ctx, e)
	if err != nil {
		return false, fmt.Errorf("pruning %s: %w", name(e), err)
	}
	if live == nil || !belongs(live, t.of) || live.GetAnnotations()[AnnotationPrune] == "Disabled" || live.GetDeletionTimestamp() != nil {
		return false, nil
	}
	if !marked(live) {
		if sole, err := t.sole(ctx, e); err != nil || !sole {
			return false, err
		}
	}
	uid, version := live.GetUID(), live.GetResourceVersion()
	err = t.remove(ctx, live, client.Preconditions{UID: &uid, ResourceVersion: &version},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("pruning %s: %w", name(e), err)
	}
	return true, nil
}

// established waits until the API server serves the kinds of the definitions just applied.
func (t tenant) established(ctx context.Context, definitions []*Item) error {
	for _, item := range definitions {
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, establishTimeout, true, func(ctx context.Context) (bool, error) {
			live, err := t.read(ctx, item.Entry)
			if err != nil || live == nil {
				return false, err
			}
			return isEstablished(live), nil
		})
		if err != nil {
			return fmt.Errorf("waiting for %s to be served: %w", name(item.Entry), err)
		}
	}
	return nil
}

func isEstablished(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// faultOf tells what the API server refuses from what it could not answer.
func faultOf(err error) *Fault {
	fault := &Fault{Message: err.Error(), Missing: apierrors.IsNotFound(err) || meta.IsNoMatchError(err)}
	fault.Denied = fault.Missing
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		fault.Denied = code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout ||
			strings.Contains(said(err), untyped)
	}
	return fault
}
