package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout"
)

// startManager runs the controller as cmd/belay does, in one namespace, and returns what it asks of the API server.
func startManager(t *testing.T, w *world, change ...func(*rest.Config)) *ledger {
	t.Helper()
	seen := &ledger{verbs: map[string]map[string]bool{}}
	cfg := rest.CopyConfig(w.env.Config)
	cfg.Wrap(rights.wrap)
	cfg.Wrap(seen.wrap)
	for _, c := range change {
		c(cfg)
	}
	ours, err := labels.NewRequirement(v1alpha1.LabelRevision, selection.Exists, nil)
	w.must(err)
	selected := cache.ByObject{Label: labels.NewSelector().Add(*ours)}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: w.env.Scheme,
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{w.ns: {}},
			ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: selected, &appsv1.ReplicaSet{}: selected}},
		Client:     client.Options{Cache: &client.CacheOptions{Unstructured: true, EnableReadYourWritesConsistency: ptr.To(true)}},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	w.must(err)
	r := &rollout.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Scheme: mgr.GetScheme(), Clock: clock.RealClock{},
		Recorder: mgr.GetEventRecorder("belay")}
	w.must(r.SetupWithManager(mgr, rollout.Options{}))
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			t.Errorf("the manager: %v", err)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	return seen
}

// TestRunningManager: two Rollouts, behind an HTTPRoute and a GRPCRoute, go on by watch events alone, and at rest nothing is asked of the API server.
func TestRunningManager(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	w.watch.off = true
	names, kinds := []string{app, "two"}, map[string]string{app: "HTTPRoute", "two": "GRPCRoute"}
	w.gateway.kinds = []string{"GRPCRoute"}
	w.must(w.user.Create(t.Context(), w.template()))
	for _, name := range names {
		ro := w.named(name)
		ro.Spec.Traffic.Routes[0].Kind = kinds[name]
		w.must(w.user.Create(t.Context(), ro))
		svc := w.stableService()
		svc.Name, svc.Spec.Selector = name, map[string]string{"app": name}
		w.must(w.user.Create(t.Context(), svc))
		route := w.route(name, []any{map[string]any{"backendRefs": []any{map[string]any{"name": name, "port": int64(80)}}}})
		route.SetGroupVersionKind(gatewayKind(kinds[name]))
		w.must(w.user.Create(t.Context(), route))
	}
	seen := startManager(t, w)
	w.playUntil("both healthy", names, func(ro *v1alpha1.Rollout) bool { return ro.Status.Phase == "Healthy" })
	for _, name := range names {
		ro := w.fetch(name)
		before := ro.DeepCopy()
		ro.Spec.Template.Spec.Containers[0].Image = "example.com/app:v2"
		w.must(w.user.Patch(t.Context(), ro, client.MergeFrom(before)))
	}
	w.playUntil("both promoted", names, func(ro *v1alpha1.Rollout) bool {
		return len(ro.Status.History) == 2 && ro.Status.Attempt == nil && ro.Status.Previous == nil && ro.Status.Replicas == 2 && ro.Status.Phase == "Healthy"
	})
	for _, name := range names {
		if h := w.fetch(name).Status.History[0]; h.Outcome != v1alpha1.OutcomePromoted {
			t.Errorf("Rollout %s: %+v", name, h)
		}
	}
	quiet(t, seen)
}

// quiet waits until five seconds have passed without a request.
func quiet(t *testing.T, seen *ledger) {
	t.Helper()
	deadline, last, since := time.Now().Add(patience), len(seen.since(0)), time.Now()
	for tick := time.NewTicker(100 * time.Millisecond); time.Since(since) < 5*time.Second; <-tick.C {
		if n := len(seen.since(0)); n != last {
			last, since = n, time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatalf("no rest: the last requests were %v", seen.since(max(0, last-10)))
		}
	}
	t.Logf("%d requests in all, none for 5 s at the end", last)
}

// playUntil plays kubelet, gateway and analyst until something holds of every Rollout.
func (w *world) playUntil(what string, names []string, holds func(*v1alpha1.Rollout) bool) {
	w.t.Helper()
	w.poll(what, func(ctx context.Context) string {
		s, err := w.scene(ctx)
		if err != nil {
			return err.Error()
		}
		w.clock.SetTime(time.Now())
		said := w.playPods(ctx, s) + w.playRoutes(ctx, s) + w.playRuns(ctx, s)
		for _, name := range names {
			if ro := w.fetch(name); !holds(ro) {
				return fmt.Sprintf("%s: %s %s", name, statusText(&ro.Status), said)
			}
		}
		return ""
	})
}

func (w *world) fetch(name string) *v1alpha1.Rollout {
	w.t.Helper()
	ro := &v1alpha1.Rollout{}
	w.must(w.user.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, ro))
	return ro
}

// named is the usual Rollout under another name, with everything that goes with it.
func (w *world) named(name string) *v1alpha1.Rollout {
	return w.rollout(func(ro *v1alpha1.Rollout) {
		ro.Name, ro.Spec.Traffic.StableService, ro.Spec.Traffic.Routes[0].Name = name, name, name
		ro.Spec.Selector.MatchLabels = map[string]string{"app": name}
		ro.Spec.Template.Labels = map[string]string{"app": name}
	})
}
