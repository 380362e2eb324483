package sync

import (
	"context"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
	"github.com/belay-delivery/belay/controllers/repository"
)

// manager runs the controller as the product does, until stop.
func (w *world) manager() (stop func()) {
	w.Helper()
	mgr, err := ctrl.NewManager(w.r.Config, ctrl.Options{
		Scheme: w.env.Scheme, Metrics: server.Options{BindAddress: "0"}, Logger: logr.Discard(), Controller: config.Controller{SkipNameValidation: new(true)},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{w.env.Namespace: {}}},
	})
	if err != nil {
		w.Fatal(err)
	}
	syncs := &Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Config: w.r.Config, Source: repository.NewSource(mgr.GetAPIReader(), false),
		Recorder: mgr.GetEventRecorder("belay-test"), Drift: &drift.Tracker{Log: logr.Discard()}}
	if err := syncs.SetupWithManager(mgr, Options{}); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 2) // stop may be called twice
	go func() { ended <- mgr.Start(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("manager: %v", err)
		}
		ended <- nil
	}
	w.Cleanup(stop)
	return stop
}

// TestG23_TheManagerComesByItself when something breaks, also one that was started since.
func TestG23_TheManagerComesByItself(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/r.yaml": strings.Replace(rollout, "VAR", "1", 1)}, "rollouts.belay.dev")
	stop := w.manager()
	comes := func(want metav1.ConditionStatus) *v1alpha1.SyncRecord {
		t.Helper()
		var s v1alpha1.Sync
		w.until(func() bool {
			w.get("shop", &s)
			c := healthOf(&s.Status)
			return c != nil && c.Status == want
		})
		return inForce(&s.Status)
	}
	comes(metav1.ConditionUnknown)
	w.webIs(well)
	comes(metav1.ConditionTrue)
	w.webIs(failed)
	if r := comes(metav1.ConditionFalse); r.Broken == "" || r.HealthyUntil == nil {
		t.Errorf("the record in force: %+v", r)
	}
	w.webIs(well)
	comes(metav1.ConditionTrue)
	stop()
	w.webIs(failed) // while nobody looks
	w.manager()
	comes(metav1.ConditionFalse)
	w.webIs(well)
	if r := comes(metav1.ConditionTrue); r.Broken != "" || r.HealthyUntil != nil {
		t.Errorf("the record in force: %+v", r)
	}
	w.webIs(failed)
	comes(metav1.ConditionFalse)
}
