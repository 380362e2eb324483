package rollout

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// watches are those of kinds that a cluster need not serve: they begin with the first Rollout that needs them.
type watches struct {
	controller controller.Controller
	cache      cache.Cache
	mu         sync.Mutex
	begun      map[schema.GroupVersionKind]bool
}

// begin watches a kind, once. Without a controller, as where reconciliations are called by hand, it does nothing.
func (w *watches) begin(gvk schema.GroupVersionKind, wake handler.MapFunc) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.controller == nil || w.begun[gvk] {
		return nil
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(gvk)
	if err := w.controller.Watch(source.Kind[client.Object](w.cache, object, handler.EnqueueRequestsFromMapFunc(wake))); err != nil {
		return fmt.Errorf("watching %s: %w", gvk.Kind, err)
	}
	if w.begun == nil {
		w.begun = map[schema.GroupVersionKind]bool{}
	}
	w.begun[gvk] = true
	return nil
}
