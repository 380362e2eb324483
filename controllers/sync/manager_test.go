package sync

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
)

// TestDefinitionAndObjectInOneBundle brings a kind, a namespace and objects of both in one go, twice.
func TestDefinitionAndObjectInOneBundle(t *testing.T) {
	w := newWorld(t)
	group := strings.ReplaceAll(w.env.Namespace, "-", "") + ".example.com"
	space := w.env.Namespace + "-more"
	definition := `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/crd.yaml": definition, "apps/ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + space + "}\n",
		"apps/a.yaml": "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: a, namespace: " + space + "}\nsize: 1\n",
	})
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: w.env.Namespace}}
	role.Rules = []rbacv1.PolicyRule{{
		APIGroups: []string{"", groupCRD, group}, Verbs: []string{"get", "create", "patch", "delete"},
		Resources: []string{"namespaces", "customresourcedefinitions", "widgets"},
	}}
	w.create(role)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.env.Namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.env.Namespace, Name: "deployer"}},
	}
	w.create(binding)
	t.Cleanup(func() {
		crd := &unstructured.Unstructured{}
		crd.SetAPIVersion("apiextensions.k8s.io/v1")
		crd.SetKind(kindCRD)
		crd.SetName("widgets." + group)
		more := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}
		for _, o := range []client.Object{crd, more, binding, role} {
			_ = w.env.Client.Delete(context.Background(), o)
		}
	})
	expect(t, w.reconcile(), "True/Applied")
	if got := strings.Join(w.seen.writes(), ", "); got != "PATCH widgets."+group+", PATCH "+space+", PATCH a" {
		t.Errorf("writes %s", got)
	}
	w.now = w.now.Add(time.Hour)
	w.reconcile()
	if got := w.seen.writes(); len(got) != 0 {
		t.Errorf("at rest: writes %v", got)
	}
}

// TestManagerFollowsACommit runs both controllers as the product does.
func TestManagerFollowsACommit(t *testing.T) {
	w := newWorld(t)
	mgr, err := ctrl.NewManager(w.env.Config, ctrl.Options{
		Scheme: w.env.Scheme, Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{w.env.Namespace: {}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	source := repository.NewSource(mgr.GetAPIReader(), false)
	recorder := mgr.GetEventRecorder("belay-test")
	repositories := &repository.Reconciler{Client: mgr.GetClient(), Source: source, Recorder: recorder}
	if err := repositories.SetupWithManager(mgr, repository.Options{}); err != nil {
		t.Fatal(err)
	}
	syncs := &Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Config: mgr.GetConfig(), Source: source, Recorder: recorder}
	if err := syncs.SetupWithManager(mgr, Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.until(func() bool { return w.exists("a", &corev1.ConfigMap{}) && value(w, "a") == "1" })
	w.git.Commit("fleet", "main", "two", map[string]string{"apps/a.yaml": configMap("a", "2")})
	var repo v1alpha1.Repository
	w.get("fleet", &repo)
	base := repo.DeepCopy()
	repo.Annotations = map[string]string{v1alpha1.AnnotationReconcile: "now"}
	if err := w.env.Client.Patch(t.Context(), &repo, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return value(w, "a") == "2" })
}

func (w *world) until(done func() bool) {
	w.Helper()
	err := wait.PollUntilContextTimeout(w.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		var s v1alpha1.Sync
		w.get("shop", &s)
		w.Fatalf("it did not come to pass: %v; status %+v", err, s.Status)
	}
}
