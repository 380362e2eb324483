package analysisrun

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

// asManager gives a user the rights of config/rbac/manager.yaml, and no others.
func (w jobWorld) asManager() *rest.Config {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(testenv.Root(), "config", "rbac", "manager.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		if strings.Contains(doc, "kind: ClusterRole\n") {
			if err := yaml.UnmarshalStrict([]byte(doc), role); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if len(role.Rules) == 0 {
		w.t.Fatal("config/rbac/manager.yaml has no ClusterRole")
	}
	name := "manager-of-" + w.Namespace
	role.ObjectMeta = metav1.ObjectMeta{Name: name}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}}
	for _, o := range []client.Object{role, binding} {
		if err := w.Client.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = w.Client.Delete(context.WithoutCancel(w.t.Context()), o) })
	}
	cfg := rest.CopyConfig(w.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: name}
	return cfg
}

// TestARunningManagerWithItsOwnRights makes a Job, learns of its end by itself, and removes one whose run is stopped.
func TestARunningManagerWithItsOwnRights(t *testing.T) {
	w := newJobWorld(t, nil)
	ours, err := labels.NewRequirement(v1alpha1.LabelAnalysisRun, selection.Exists, nil)
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(w.asManager(), ctrl.Options{
		Scheme: w.Scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{w.Namespace: {}},
			ByObject: map[client.Object]cache.ByObject{&batchv1.Job{}: {Label: labels.NewSelector().Add(*ours)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	skip := true
	if err := new(Reconciler).SetupWithManager(mgr, controller.Options{SkipNameValidation: &skip}); err != nil {
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
	w.until("a Job", func(context.Context) bool { return len(w.jobs()) == 1 })
	w.end(w.jobs()[0].Name, corev1.PodSucceeded)
	w.until("the verdict", func(context.Context) bool { return w.run().Status.Verdict == v1alpha1.VerdictPass })

	second := w.run()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: "second"}
	if err := w.Client.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	w.until("its Job", func(ctx context.Context) bool {
		err := w.Client.Get(ctx, client.ObjectKeyFromObject(second), second)
		return err == nil && len(second.Status.Metrics) == 1 && second.Status.Metrics[0].Job != nil
	})
	w.until("the stop", func(ctx context.Context) bool {
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(second), second); err != nil {
			return false
		}
		second.Spec.State = v1alpha1.RunStopped
		return w.Client.Update(ctx, second) == nil
	})
	w.until("the removal of its Job", func(context.Context) bool { return len(w.jobs()) == 1 })
}
