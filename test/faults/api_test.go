package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var errInjected = errors.New("injected by the test")

// How a write goes wrong.
const (
	notSent = iota
	unanswered
	killed
	variants
)

// write is one kind of write: verb, subresource and kind.
type write struct{ verb, kind string }

// refusal answers writes of a kind with an error, for as many times as are left.
type refusal struct {
	write
	err  error
	left int
}

// api stands between the reconciler and what is stored.
type api struct {
	w     *world
	mu    sync.Mutex // labels of several pods are written at once
	seen  []write    // the writes that were tried, in order
	tried int
	// strike the write of this number so.
	at, how int
	// strike the first of these writes so, wherever it comes.
	first  *write
	refuse *refusal
	// refuseKind refuses every write of a kind.
	refuseKind string
	// unread is the name of a route that cannot be read.
	unread string
	// onRollout is called before the Rollout is read.
	onRollout func()
	// dead: the process died, and reads and writes nothing. struck: something went wrong by our doing.
	dead, struck bool
	hits         int
	past
}

// past is what a cache may still show of typed objects.
type past struct {
	depth  int
	chance *rand.Rand
	// versions of each kind, the last one as it is now; shown is the one that the cache shows.
	versions map[string][][]client.Object
	shown    map[string]int
	lagged   bool
}

func newAPI(w *world) *api { return &api{w: w, at: -1} }

func (a *api) forget() { a.dead, a.shown = false, map[string]int{} }

func (a *api) client(cached bool) client.Client {
	return interceptor.NewClient(a.w.store, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if a.dead {
				return errInjected
			}
			if _, ok := o.(*v1alpha1.Rollout); ok && a.onRollout != nil {
				a.onRollout()
			}
			if kindOf(o) == "HTTPRoute" && k.Name == a.unread {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "httproutes"}, k.Name, errInjected)
			}
			if old, ok := a.stale(cached, kindOf(o)); ok {
				return pick(old, k, o)
			}
			return c.Get(ctx, k, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if a.dead {
				return errInjected
			}
			if old, ok := a.stale(cached, strings.TrimSuffix(kindOf(l), "List")); ok {
				return apimeta.SetList(l, copies(old, opts))
			}
			if lists()[strings.TrimSuffix(kindOf(l), "List")] != nil {
				return apimeta.SetList(l, copies(a.w.listed(ctx, l), opts))
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return a.write("create", o, func() error {
				stamp(o, a.w.clock.Now())
				return c.Create(ctx, o, opts...)
			})
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return a.write("delete", o, func() error { return a.delete(ctx, o, opts) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return a.write("update", o, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return a.write("patch", o, func() error {
				return a.generation(ctx, o, func() error { return invalid(c.Patch(ctx, o, p, opts...)) })
			})
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, in client.Object, opts ...client.SubResourceCreateOption) error {
			return a.write("create "+sub, o, func() error { return c.SubResource(sub).Create(ctx, o, in, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return a.write("update "+sub, o, func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return a.write("patch "+sub, o, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

func kindOf(o runtime.Object) string {
	gvk, err := apiutil.GVKForObject(o, scheme)
	if err != nil {
		panic(err)
	}
	return gvk.Kind
}

// invalid makes of a failed test of a JSON patch what an API server makes of it.
func invalid(err error) error {
	var status apierrors.APIStatus
	if err == nil || errors.As(err, &status) {
		return err
	}
	return apierrors.NewInvalid(schema.GroupKind{}, "", nil)
}

// write sends a write unless a fault says otherwise, and checks what is stored after it.
func (a *api) write(verb string, o client.Object, send func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		return errInjected
	}
	this := write{verb, kindOf(o)}
	number := a.tried
	a.tried++
	a.seen = append(a.seen, this)
	if r := a.refuse; r != nil && r.write == this && r.left > 0 {
		r.left--
		a.struck = true
		a.hits++
		return r.err
	}
	if this.kind == a.refuseKind {
		a.struck = true
		return errInjected
	}
	hit := number == a.at || a.first != nil && *a.first == this
	if hit {
		a.first = nil
	}
	a.struck = a.struck || hit
	if hit {
		a.hits++
		if a.how == notSent {
			return errInjected
		}
	}
	if err := send(); err != nil {
		a.struck = a.struck || a.depth > 0 // a stale read makes conflicts, which is what conflicts are for
		return err
	}
	a.remember()
	a.w.check.after(a.w, fmt.Sprintf("%s %s %s", verb, this.kind, o.GetName()))
	if hit {
		a.dead = a.how == killed
		return errInjected
	}
	return nil
}

// delete honours preconditions.
func (a *api) delete(ctx context.Context, o client.Object, opts []client.DeleteOption) error {
	d := &client.DeleteOptions{}
	for _, opt := range opts {
		opt.ApplyToDelete(d)
	}
	if p := d.Preconditions; p != nil {
		now := o.DeepCopyObject().(client.Object)
		if err := a.w.store.Get(ctx, client.ObjectKeyFromObject(o), now); err != nil {
			return err
		}
		if p.UID != nil && *p.UID != now.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != now.GetResourceVersion() {
			return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("precondition"))
		}
	}
	return a.w.store.Delete(ctx, o)
}

// generation counts a change of spec, as the API server does.
func (a *api) generation(ctx context.Context, o client.Object, change func() error) error {
	k := client.ObjectKeyFromObject(o)
	before, after := o.DeepCopyObject().(client.Object), o.DeepCopyObject().(client.Object)
	if err := a.w.store.Get(ctx, k, before); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	if err := a.w.store.Get(ctx, k, after); err != nil {
		return client.IgnoreNotFound(err) // its finalizer was taken off
	}
	if equality.Semantic.DeepEqual(spec(before), spec(after)) {
		return nil
	}
	after.SetGeneration(after.GetGeneration() + 1)
	if err := a.w.store.Update(ctx, after); err != nil {
		return err
	}
	o.SetGeneration(after.GetGeneration())
	o.SetResourceVersion(after.GetResourceVersion())
	return nil
}

func spec(o client.Object) any {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		panic(err)
	}
	return content["spec"]
}

// objectsOf are the objects of a list.
func objectsOf(l client.ObjectList) ([]client.Object, error) {
	raw, err := apimeta.ExtractList(l)
	out := make([]client.Object, len(raw))
	for i := range raw {
		out[i] = raw[i].(client.Object)
	}
	return out, err
}

func lists() map[string]client.ObjectList {
	return map[string]client.ObjectList{"ReplicaSet": &appsv1.ReplicaSetList{}, "Pod": &corev1.PodList{}, "Service": &corev1.ServiceList{},
		"EndpointSlice": &discoveryv1.EndpointSliceList{}, "AnalysisRun": &v1alpha1.AnalysisRunList{}, "Decision": &v1alpha1.DecisionList{}}
}

// remember takes note of what is stored, where caches lag behind.
func (a *api) remember() {
	if a.depth == 0 {
		return
	}
	for kind, l := range lists() {
		now := a.w.listed(a.w.t.Context(), l)
		v := a.versions[kind]
		if len(v) > 0 && sameVersions(v[len(v)-1], now) {
			continue
		}
		a.versions[kind] = append(v, now)
	}
}

func sameVersions(a, b []client.Object) bool {
	return slices.EqualFunc(a, b, func(x, y client.Object) bool {
		return x.GetUID() == y.GetUID() && x.GetResourceVersion() == y.GetResourceVersion()
	})
}

// lag makes caches show what was true up to some writes ago.
func (a *api) lag(depth int, chance *rand.Rand) {
	a.depth, a.chance, a.versions = depth, chance, map[string][][]client.Object{}
	a.remember()
}

// turn decides what the caches show in the next reconciliation: never something older than before.
func (a *api) turn() {
	a.lagged = false
	if a.depth == 0 {
		return
	}
	a.struck = true
	for _, kind := range slices.Sorted(maps.Keys(a.versions)) { // always in one order, for a seed to tell the run
		last := len(a.versions[kind]) - 1
		a.shown[kind] = max(a.shown[kind], last-a.chance.IntN(a.depth+1), 0)
		a.lagged = a.lagged || a.shown[kind] < last
	}
}

func (a *api) stale(cached bool, kind string) ([]client.Object, bool) {
	if !cached || a.depth == 0 || lists()[kind] == nil {
		return nil, false
	}
	return a.versions[kind][a.shown[kind]], true
}
