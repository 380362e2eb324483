package analysisrun

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

// A running manager measures a run although as many servers hang as there are workers but one.
func TestHungServersDoNotHoldUpOtherRuns(t *testing.T) {
	env := testenv.New(t)
	mgr, err := ctrl.NewManager(env.Config, ctrl.Options{
		Scheme: env.Scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{env.Namespace: {}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const workers = 8
	hung := make(chan struct{}, workers)
	server := &fakeServer{answer: func(ctx context.Context, query string) (float64, error) {
		if query == "hangs" {
			hung <- struct{}{}
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return 0, nil
	}}
	r := &Reconciler{DefaultAddress: "http://default", NewQuerier: func(cfg prometheus.Config) (prometheus.Querier, error) {
		return fakeQuerier{server: server, cfg: cfg}, nil
	}}
	if err := r.SetupWithManager(mgr, controller.Options{MaxConcurrentReconciles: workers}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("stopping the manager: %v", err)
		}
	})
	create := func(name, query string) {
		run := &v1alpha1.AnalysisRun{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: name},
			Spec:       v1alpha1.AnalysisRunSpec{Metrics: []v1alpha1.Metric{metric("m", query)}},
		}
		if err := env.Client.Create(t.Context(), run); err != nil {
			t.Fatal(err)
		}
	}
	for i := range workers - 1 {
		create(fmt.Sprintf("hangs-%d", i), "hangs")
	}
	for range workers - 1 {
		<-hung
	}
	create("well", "q")
	err = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		run := &v1alpha1.AnalysisRun{}
		err := env.Client.Get(ctx, client.ObjectKey{Namespace: env.Namespace, Name: "well"}, run)
		return run.Status.Verdict == v1alpha1.VerdictPass, err
	})
	if err != nil {
		t.Fatalf("waiting for the run whose server answers: %v", err)
	}
}
