package faults

import (
	"context"
	"reflect"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// ledger counts what was written, and keeps what was listed until somebody writes that kind: most of what a run reads, it has read before.
type ledger struct {
	mu sync.Mutex // labels of several pods are written at once
	// writes counts all of them; of counts those of a kind.
	writes int
	of     map[string]int
	kept   map[string]listing
}

// listing is what was listed after so many writes of its kind.
type listing struct {
	writes  int
	objects []client.Object
}

func (w *world) wrote(o client.Object) {
	l := &w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	l.of[kindOf(o)]++
}

// newStore keeps objects without the managers of their fields, which nobody here reads.
func (w *world) newStore() client.WithWatch {
	w.ledger = ledger{of: map[string]int{}, kept: map[string]listing{}}
	tracker := clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())
	return fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper()).WithObjectTracker(tracker).WithStatusSubresource(&v1alpha1.Rollout{},
		&v1alpha1.AnalysisRun{}, &v1alpha1.Decision{}, &appsv1.ReplicaSet{}, &appsv1.Deployment{}, &corev1.Pod{}).WithInterceptorFuncs(w.counted()).Build()
}

// counted counts the writes of everybody.
func (w *world) counted() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			l := keeps(o)
			if l == nil || k.Namespace != namespace {
				return c.Get(ctx, k, o, opts...)
			}
			return pick(w.listed(ctx, l), k, o)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			defer w.wrote(o)
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			defer w.wrote(o)
			return c.Delete(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			defer w.wrote(o)
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			defer w.wrote(o)
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, in client.Object, opts ...client.SubResourceCreateOption) error {
			defer w.wrote(o)
			return c.SubResource(sub).Create(ctx, o, in, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			defer w.wrote(o)
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			defer w.wrote(o)
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}
}

// list lists the namespace.
func (w *world) list(ctx context.Context, l client.ObjectList) {
	w.must(apimeta.SetList(l, copies(w.listed(ctx, l), nil)))
}

// keeps is the list by which objects of a kind are read; nil for kinds that are read one by one.
func keeps(o client.Object) client.ObjectList {
	switch o := o.(type) {
	case *v1alpha1.Rollout:
		return &v1alpha1.RolloutList{}
	case *appsv1.Deployment:
		return &appsv1.DeploymentList{}
	case *unstructured.Unstructured:
		if o.GroupVersionKind() == routeGVK {
			return newRoutes()
		}
		return nil
	}
	return lists()[kindOf(o)]
}

func newRoutes() *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(routeGVK.GroupVersion().WithKind(routeGVK.Kind + "List"))
	return l
}

// pick copies one of the objects.
func pick(objects []client.Object, k client.ObjectKey, into client.Object) error {
	for _, o := range objects {
		if client.ObjectKeyFromObject(o) == k {
			if from, to := reflect.ValueOf(o.DeepCopyObject()), reflect.ValueOf(into); from.Type() == to.Type() {
				to.Elem().Set(from.Elem())
				return nil
			}
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o) // who asks wants its metadata only
			if err != nil {
				return err
			}
			return runtime.DefaultUnstructuredConverter.FromUnstructured(content, into)
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: kindOf(into)}, k.Name)
}

// listed are the objects of a list's kind, which stay as they are.
func (w *world) listed(ctx context.Context, l client.ObjectList) []client.Object {
	kind := kindOf(l)
	w.ledger.mu.Lock()
	writes := w.ledger.of[kind[:len(kind)-len("List")]]
	k, known := w.ledger.kept[kind]
	w.ledger.mu.Unlock()
	if known && k.writes == writes {
		return k.objects
	}
	fresh := l.DeepCopyObject().(client.ObjectList)
	w.must(w.store.List(ctx, fresh, client.InNamespace(namespace)))
	objects, err := objectsOf(fresh)
	w.must(err)
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.ledger.kept[kind] = listing{writes, objects}
	return objects
}

// copies of the objects that have the labels asked for.
func copies(objects []client.Object, opts []client.ListOption) []runtime.Object {
	o := &client.ListOptions{}
	o.ApplyOptions(opts)
	var out []runtime.Object
	for _, item := range objects {
		if o.LabelSelector == nil || o.LabelSelector.Matches(labelSet(item.GetLabels())) {
			out = append(out, item.DeepCopyObject())
		}
	}
	return out
}

type labelSet map[string]string

func (l labelSet) Has(k string) bool              { _, ok := l[k]; return ok }
func (l labelSet) Get(k string) string            { return l[k] }
func (l labelSet) Lookup(k string) (string, bool) { v, ok := l[k]; return v, ok }
