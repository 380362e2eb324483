package drift

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// watchKey is what is watched, and as whom.
type watchKey struct {
	kind schema.GroupKind
	// namespace is empty for all, and for kinds that have none.
	namespace string
	// account is empty for the manager's own; else that of the Sync sync in the namespace home.
	account, home, sync string
}

// watching is a watch that somebody needs.
type watching struct {
	needs map[types.UID]bool
	stop  context.CancelFunc
	// refused: the API server does not let us.
	refused bool
	// filled: the first list is there.
	filled bool
}

// again is how long after a refusal it is tried anew: rights change.
const again = time.Hour

// watchFor makes the watches that a Sync needs, and lets those go that it no longer does.
func (t *Tracker) watchFor(known *member) {
	var keys []watchKey
	for _, ref := range known.refs {
		for _, key := range t.keysFor(known, ref) {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	for _, key := range keys {
		w := t.watches[key]
		if w == nil {
			w = &watching{needs: map[types.UID]bool{}}
			t.watches[key] = w
			t.run(key, w)
		}
		w.needs[known.UID] = true
	}
	left := slices.DeleteFunc(slices.Clone(known.watches), func(k watchKey) bool { return slices.Contains(keys, k) })
	known.watches = keys
	t.release(known.UID, left)
}

// keysFor is the manager's own watch, and the account's beside it once the manager's was refused.
func (t *Tracker) keysFor(known *member, ref Ref) []watchKey {
	own := watchKey{kind: ref.Kind}
	if ref.Namespace != "" && len(t.Namespaces) > 0 {
		own.namespace = ref.Namespace
	}
	if w := t.watches[own]; w == nil || !w.refused {
		return []watchKey{own}
	}
	return []watchKey{own, {kind: ref.Kind, namespace: ref.Namespace, account: known.Account, home: known.Key.Namespace, sync: known.Key.Name}}
}

func (t *Tracker) release(uid types.UID, keys []watchKey) {
	for _, key := range keys {
		w := t.watches[key]
		if w == nil {
			continue
		}
		if delete(w.needs, uid); len(w.needs) == 0 {
			if w.stop != nil {
				w.stop()
			}
			delete(t.watches, key)
		}
	}
}

// run starts a watch, if the tracker has started.
func (t *Tracker) run(key watchKey, w *watching) {
	if t.ctx == nil || w.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(t.ctx)
	w.stop = stop
	go t.watch(ctx, key)
}

// watch keeps one watch going. A refusal ends it for a while, and has the Syncs find another way.
func (t *Tracker) watch(ctx context.Context, key watchKey) {
	for ctx.Err() == nil {
		err := t.follow(ctx, key)
		if ctx.Err() != nil {
			return
		}
		refused := apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err)
		t.Log.V(1).Info("A watch ended", "watch", key.String(), "refused", refused, "reason", err.Error())
		wait := again
		if refused {
			t.refuse(key)
		} else {
			wait = time.Minute // the kind is gone, or not there yet
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// refuse notes that a watch is not allowed, and makes the Syncs that need it watch as themselves.
func (t *Tracker) refuse(key watchKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watches[key]
	if w == nil || w.refused {
		return
	}
	w.refused = true
	for uid := range w.needs {
		if known := t.members[uid]; known != nil {
			t.watchFor(known)
			t.Tell(known.Key) // for its status, and so that it compares once it is not watched
		}
	}
}

func (t *Tracker) allowed(key watchKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.watches[key]; w != nil {
		was := w.refused
		w.refused, w.filled = false, true
		for uid := range w.needs {
			if known := t.members[uid]; known != nil && was {
				t.watchFor(known)
				t.Tell(known.Key)
			}
		}
	}
}

// follow lists and watches until something is wrong that trying again at once does not cure.
func (t *Tracker) follow(ctx context.Context, key watchKey) error {
	source, err := t.source(key)
	if err != nil {
		return err
	}
	// One object tells whether we may: a reflector would ask on and on.
	if _, err := source.List(ctx, t.options(key, metav1.ListOptions{Limit: 1})); err != nil {
		return fmt.Errorf("listing %s: %w", key, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	give := func(err error) error {
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
			cancel(err)
		}
		return err
	}
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := source.List(ctx, t.options(key, o))
			return list, give(err)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := source.Watch(ctx, t.options(key, o))
			return w, give(err)
		},
	}, t.Metadata)
	log := t.Log.V(2)
	reflector := cache.NewReflectorWithOptions(lw, &metav1.PartialObjectMetadata{}, &marks{tracker: t, key: key},
		cache.ReflectorOptions{Name: "drift " + key.String(), TypeDescription: key.kind.String(), Logger: &log})
	reflector.RunWithContext(ctx)
	return context.Cause(ctx)
}

func (t *Tracker) options(key watchKey, o metav1.ListOptions) metav1.ListOptions {
	o.LabelSelector = v1alpha1.LabelSync
	if key.sync != "" {
		o.LabelSelector = v1alpha1.LabelSync + "=" + key.sync
	}
	return o
}

func (t *Tracker) source(key watchKey) (metadata.ResourceInterface, error) {
	mapping, err := t.Mapper.RESTMapping(key.kind)
	if err != nil {
		return nil, fmt.Errorf("finding the resource of %s: %w", key.kind, err)
	}
	from := t.Metadata
	if key.account != "" {
		if from, err = t.As(types.NamespacedName{Namespace: key.home, Name: key.account}); err != nil {
			return nil, err
		}
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace && key.namespace != "" {
		return from.Resource(mapping.Resource).Namespace(key.namespace), nil
	}
	return from.Resource(mapping.Resource), nil
}

// marks is a store that keeps no objects.
type marks struct {
	tracker *Tracker
	key     watchKey
}

func (m *marks) take(o any, gone bool) error {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	object, err := meta.Accessor(o)
	if err != nil {
		return fmt.Errorf("reading an event of %s: %w", m.key, err)
	}
	state := StateOf(object, m.tracker.Manager)
	state.Gone = gone
	m.tracker.saw(Ref{Kind: m.key.kind, Namespace: object.GetNamespace(), Name: object.GetName()}, state)
	return nil
}

func (m *marks) Add(o any) error    { return m.take(o, false) }
func (m *marks) Update(o any) error { return m.take(o, false) }
func (m *marks) Delete(o any) error { return m.take(o, true) }
func (m *marks) Resync() error      { return nil }

// Replace takes in a whole list.
func (m *marks) Replace(objects []any, version string) error {
	present := make(map[types.NamespacedName]bool, len(objects))
	for _, o := range objects {
		object, err := meta.Accessor(o)
		if err != nil {
			return fmt.Errorf("reading a list of %s: %w", m.key, err)
		}
		present[types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}] = true
		if err := m.take(o, false); err != nil {
			return err
		}
	}
	m.tracker.allowed(m.key)
	m.tracker.listed(m.key, present, version)
	return nil
}
