package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/belay-delivery/belay/gitops/preflight"
)

// retries are made of one write before the object counts as failed in this round; further rounds follow with a back-off.
var retries = wait.Backoff{Steps: 3, Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.2}

// wreck is what could not be applied in a round, and so what else cannot be.
type wreck struct {
	kinds      map[schema.GroupKind]string
	namespaces map[string]string
	objects    map[preflight.Target]string
	said       []string
	causes     []error
	// waits: nothing has failed, and something waits for another object.
	waits bool
	// items of the bundle by name, and those that were not applied yet.
	items   map[string]*Item
	pending map[*Item]bool
}

func newWreck(p Plan) *wreck {
	w := &wreck{items: map[string]*Item{}, pending: map[*Item]bool{}}
	for _, item := range p.items {
		w.items[name(item.Entry)] = item
	}
	for _, level := range p.Apply {
		for _, item := range level {
			w.pending[item] = true
		}
	}
	return w
}

// why names the failed object that an item needs: its definition, its namespace, or what its pods refer to.
func (w *wreck) why(item *Item) string {
	if on := w.kinds[item.Desired.GroupVersionKind().GroupKind()]; on != "" {
		return on
	}
	if on := w.namespaces[item.Entry.Namespace]; on != "" {
		return on
	}
	for _, reference := range preflight.References(item.Desired) {
		if on := w.objects[reference.Target]; on != "" {
			return on
		}
	}
	return ""
}

// lost notes an item that was not applied. Everything that needs it is left out; everything else goes on.
func (w *wreck) lost(item *Item, said string, cause error) {
	if w.kinds == nil {
		w.kinds, w.namespaces, w.objects = map[schema.GroupKind]string{}, map[string]string{}, map[preflight.Target]string{}
	}
	if kind, ok := defines(item.Desired); ok {
		w.kinds[kind] = name(item.Entry)
	}
	if stage(item.Entry) == stageNamespace {
		w.namespaces[item.Entry.Name] = name(item.Entry)
	}
	if item.Entry.Group == "" {
		w.objects[preflight.Target{Kind: item.Entry.Kind, Namespace: item.Entry.Namespace, Name: item.Entry.Name}] = name(item.Entry)
	}
	w.said = append(w.said, said)
	if cause != nil {
		w.causes = append(w.causes, cause)
	}
}

// failure sums a round up; nil where all went well.
func (w *wreck) failure() error {
	if len(w.said) == 0 {
		return nil
	}
	message := strings.Join(w.said[:min(len(w.said), maxNamed)], "; ")
	if more := len(w.said) - maxNamed; more > 0 {
		message += fmt.Sprintf("; and %d more", more)
	}
	reason := ReasonApplyFailed
	if w.waits && len(w.causes) == 0 {
		reason = ReasonProgressing
	}
	return &failure{reason: reason, message: message, cause: errors.Join(w.causes...)}
}

// applyStage applies what can be of a stage.
func (w *wreck) applyStage(ctx context.Context, cluster tenant, items []*Item, done *result) error {
	for _, item := range items {
		if on := w.why(item); on != "" {
			w.lost(item, fmt.Sprintf("%s (%s) was left out: it needs %s", name(item.Entry), item.File, on), nil)
			continue
		}
		if on := w.waitsFor(item); on != "" {
			w.waits = true
			w.lost(item, fmt.Sprintf("%s (%s) waits for %s", name(item.Entry), item.File, on), nil)
			continue
		}
		write := cluster.write
		if item.Recreate != "" {
			write = cluster.recreate
		}
		written, err := write(ctx, item)
		if ctx.Err() != nil {
			return applyFailed(item, ctx.Err())
		}
		if err != nil {
			w.lost(item, applyFailed(item, err).Error(), err)
			continue
		}
		item.Written = written
		delete(w.pending, item)
		done.applied = append(done.applied, name(item.Entry))
	}
	return nil
}

func (t tenant) write(ctx context.Context, item *Item) (*unstructured.Unstructured, error) {
	return t.applyPatiently(ctx, item.Desired)
}

// applyPatiently tries again what the API server could not do just now.
func (t tenant) applyPatiently(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var written *unstructured.Unstructured
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, retries, func(ctx context.Context) (bool, error) {
		written, last = t.apply(ctx, u)
		if last != nil && passing(last) {
			return false, nil
		}
		return true, last
	})
	if wait.Interrupted(err) && last != nil {
		return nil, last
	}
	return written, err
}

// passing says that an error may be over in a moment.
func passing(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsInternalError(err) && !strings.Contains(said(err), untyped)
}
