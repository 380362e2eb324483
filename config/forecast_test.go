package config

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

// warnings are what the API server said.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.Join(w.said, "; ")
	w.said = nil
	return text
}

const forecastRollout = `
metadata: {name: slow}
spec:
  selector: {matchLabels: {app: shop}}
  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: i}]}}
  traffic: {stableService: shop, routes: [{kind: HTTPRoute, name: shop}]}
  strategy: {canary: {steps: [{name: first, weight: 10, maxHold: 5m}, {name: half, weight: 50, maxHold: 5m}, {name: most, weight: 80}, {weight: 90}]}}
`

// TestForecastWarning: who changes a Rollout is told which steps cannot be proven in time, and is refused nothing.
func TestForecastWarning(t *testing.T) {
	env := testenv.New(t)
	policies(t, env)
	said := &warnings{}
	cfg := rest.CopyConfig(env.Config)
	cfg.WarningHandler = said
	user, err := client.New(cfg, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	r := &v1alpha1.Rollout{}
	if err := yaml.UnmarshalStrict([]byte(forecastRollout), r); err != nil {
		t.Fatal(err)
	}
	r.Namespace = env.Namespace
	if err := user.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Status.Forecast = &v1alpha1.Forecast{Attempt: 4, At: metav1.Now(), Traffic: v1alpha1.ObservedTraffic{RequestsPerSecond: "2", BadRatio: "0.01", Span: "1200s"},
		Steps: []v1alpha1.StepForecast{{Name: "first", Weight: 10, NextWeight: 50, Takes: "2400s"}, {Name: "half", Weight: 50, NextWeight: 80, Takes: "120s"}, {Name: "most", Weight: 80, NextWeight: 90}}}
	if err := user.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	change := func(ctx context.Context, image string, steps func([]v1alpha1.Step)) string {
		t.Helper()
		said.take()
		next := r.DeepCopy()
		next.Spec.Template.Spec.Containers[0].Image = image
		if steps != nil {
			steps(next.Spec.Strategy.Canary.Steps)
		}
		if err := user.Update(ctx, next, client.DryRunAll); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		return said.take()
	}
	want := "at 2 requests per second, as before attempt 4, these steps are not proven within their maxHold: first, most (kubectl belay plan tells more)"
	got := ""
	// A policy takes a moment to be in force.
	_ = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		got = change(ctx, "i:2", nil)
		return got != "", nil
	})
	if !strings.Contains(got, want) {
		t.Fatalf("warned %q, want %q", got, want)
	}
	if got := change(t.Context(), "i", nil); got != "" {
		t.Errorf("nothing changed, and warned %q", got)
	}
	got = change(t.Context(), "i:2", func(s []v1alpha1.Step) { s[0].MaxHold, s[2].Name = "1h", "other" })
	if got != "" {
		t.Errorf("with more time, and warned %q", got)
	}
}
