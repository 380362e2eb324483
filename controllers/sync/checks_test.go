package sync

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func deploy(name, image, more string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: " + name + "}}\n" +
		"  template:\n    metadata: {labels: {app: " + name + "}}\n    spec: {containers: [{name: c, image: \"" + image + "\"" + more + "}]}\n"
}

const usesConfig = ", envFrom: [{configMapRef: {name: settings}}]"

func hasWarning(s *v1alpha1.Sync, text string) bool {
	return strings.Contains(strings.Join(s.Status.Warnings, "\n"), text)
}

// nothing fails the test where anything was written as the tenant.
func (w *world) nothing(s *v1alpha1.Sync) {
	w.Helper()
	if got := w.seen.writes(); len(got) > 0 || len(s.Status.Inventory) > 0 {
		w.Errorf("writes %v, inventory %v: one denial, and nothing is changed", got, inventory(s))
	}
}

func TestG07_NothingIsWrittenUnlessEveryReferenceIsClosed(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/web.yaml": deploy("web", "i", usesConfig)}, "configmaps", "deployments.apps")
	s := w.reconcile()
	expect(t, s, "False/Denied", "Deployment.apps "+w.env.Namespace+"/web (apps/web.yaml)", "spec.template.spec.containers[0].envFrom[0].configMapRef.name",
		"ConfigMap "+w.env.Namespace+"/settings is neither in this bundle nor in the cluster")
	w.nothing(s)

	w.edit(func(s *v1alpha1.Sync) { s.Spec.Checks.References = v1alpha1.CheckWarn })
	s = w.reconcile()
	expect(t, s, "True/Applied")
	if !hasWarning(s, "settings is neither") || !hasWarning(s, "PolicyUnknown: ResourceQuotas") {
		t.Errorf("warnings %q", s.Status.Warnings)
	}

	w.edit(func(s *v1alpha1.Sync) { s.Spec.Checks.References = v1alpha1.CheckDeny })
	w.commit(map[string]string{"apps/settings.yaml": configMap("settings", "1"), "apps/web.yaml": deploy("web", "j", usesConfig)})
	if s = w.reconcile(); hasWarning(s, "settings is neither") {
		t.Errorf("warnings %q of something that is there", s.Status.Warnings)
	}
	expect(t, s, "True/Applied")
}

func TestG07_WhatTheAccountMayNotReadIsUnknownNotMissing(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/web.yaml": deploy("web", "i", ", envFrom: [{secretRef: {name: hidden}}]")}, "deployments.apps")
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if !hasWarning(s, "PolicyUnknown: whether Secret "+w.env.Namespace+"/hidden exists: ServiceAccount deployer may not read it") {
		t.Errorf("warnings %q", s.Status.Warnings)
	}
}

// TestG07_WebhookWithSideEffects: such a webhook cannot be registered any more, but one of an old cluster lives on.
func TestG07_WebhookWithSideEffectsIsUnknownNotDenied(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.seen.answer = func(r *http.Request) *http.Response {
		if r.URL.Query().Get("dryRun") == "" {
			return nil
		}
		const body = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"BadRequest","code":400,"message":"admission webhook \"old.example.com\" does not support dry run"}`
		return &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)), Request: r}
	}
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if !hasWarning(s, "PolicyUnknown: ConfigMap "+w.env.Namespace+"/a: ") || value(w, "a") != "1" {
		t.Errorf("warnings %q", s.Status.Warnings)
	}
	w.seen.take()
	w.now = w.now.Add(time.Hour)
	w.reconcile()
	if got := w.seen.writes(); len(got) > 0 {
		t.Errorf("writes %v: nothing has changed", got)
	}
	var cm corev1.ConfigMap
	w.get("a", &cm)
	cm.Data["key"] = "by hand"
	if err := w.env.Client.Update(t.Context(), &cm); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if w.reconcile(); value(w, "a") != "1" {
		t.Errorf("a = %q: drift is undone without a dry run too", value(w, "a"))
	}
}

func TestG07_KindOfTheSameBundleIsCheckedOffline(t *testing.T) {
	w := newWorld(t)
	group := strings.ReplaceAll(w.env.Namespace, "-", "") + ".example.org"
	definition := `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: Gadget, listKind: GadgetList, plural: gadgets, singular: gadget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, maximum: 9}}
            x-kubernetes-validations: [{rule: self.size != 7, message: seven is taken}]
`
	gadget := func(spec string) string {
		return "apiVersion: " + group + "/v1\nkind: Gadget\nmetadata: {name: g}\nspec: " + spec + "\n"
	}
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/crd.yaml": definition, "apps/a.yaml": configMap("a", "1"), "apps/g.yaml": gadget("{size: 10}")}, "configmaps")
	w.grantCluster([]string{"get", "create", "patch", "delete"}, "customresourcedefinitions."+groupCRD)
	t.Cleanup(func() {
		crd := &unstructured.Unstructured{}
		crd.SetAPIVersion("apiextensions.k8s.io/v1")
		crd.SetKind(kindCRD)
		crd.SetName("gadgets." + group)
		_ = w.env.Client.Delete(context.Background(), crd)
	})
	for spec, says := range map[string]string{
		"{size: 10}": "should be less than or equal to 9", "{size: 7}": "seven is taken", "{sice: 1}": `unknown field "spec.sice"`,
		"{size: 1}": "ServiceAccount deployer may not patch gadgets." + group,
	} {
		w.commit(map[string]string{"apps/g.yaml": gadget(spec)})
		s := w.reconcile()
		expect(t, s, "False/Denied", says, "Gadget."+group)
		w.nothing(s)
	}
	w.grantCluster([]string{"get", "create", "patch", "delete"}, "gadgets."+group)
	w.commit(map[string]string{"apps/g.yaml": gadget("{size: 1}")})
	expect(t, w.reconcile(), "True/Applied")
}

func TestG07_ObjectsInANamespaceOfTheSameBundleAreCheckedOffline(t *testing.T) {
	w := newWorld(t)
	space := w.env.Namespace + "-new"
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + space + "}\n",
		"apps/a.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: " + space + "}\ndatum: {}\n",
	}, "configmaps")
	w.grantCluster([]string{"get", "create", "patch", "delete"}, "namespaces.")
	t.Cleanup(func() {
		_ = w.env.Client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}})
	})
	// The account may do nothing there, which is a denial of its own.
	expect(t, w.reconcile(), "False/Denied", "configmaps \"a\" is forbidden")
	w.grantCluster([]string{"get", "patch"}, "configmaps.")
	s := w.reconcile()
	expect(t, s, "False/Denied", "datum")
	w.nothing(s)
	w.commit(map[string]string{"apps/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: " + space + "}\n"})
	s = w.reconcile()
	expect(t, s, "False/Denied", "ServiceAccount deployer may not create configmaps in namespace")
	w.nothing(s)
	w.grantCluster([]string{"create", "delete"}, "configmaps.")
	expect(t, w.reconcile(), "True/Applied")
}

func TestG32_QuotaIsAddedUpOverTheWholeBundle(t *testing.T) {
	w := newWorld(t)
	service := func(name string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {ports: [{port: 80}], clusterIP: None}\n"
	}
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": service("a"), "apps/b.yaml": service("b")}, "services")
	w.grant("deployer", []string{"list"}, "resourcequotas")
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "few"}}
	quota.Spec.Hard = corev1.ResourceList{"count/services": resource.MustParse("1")}
	w.create(quota)
	s := w.reconcile()
	expect(t, s, "False/Denied", "ResourceQuota "+w.env.Namespace+"/few: count/services would be 0 used + 2 of this bundle, more than 1")
	w.nothing(s)
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Checks.Quota = v1alpha1.CheckOff })
	w.commit(map[string]string{"apps/b.yaml": ""})
	expect(t, w.reconcile(), "True/Applied")
}

func TestG21_ImagesMustBeNamedByDigest(t *testing.T) {
	w := newWorld(t)
	pinned := "r/web@sha256:" + strings.Repeat("0a", 32)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/web.yaml": deploy("web", "r/web:1", "")}, "deployments.apps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Images.RequireDigest = v1alpha1.CheckDeny })
	s := w.reconcile()
	expect(t, s, "False/Denied", `image "r/web:1" is not named by digest`)
	w.nothing(s)
	w.commit(map[string]string{"apps/web.yaml": deploy("web", pinned, "")})
	expect(t, w.reconcile(), "True/Applied")
}

// grantCluster gives the account rights in every namespace; resources are "plural.group".
func (w *world) grantCluster(verbs []string, resources ...string) {
	w.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: w.env.Namespace + "-"}}
	for _, r := range resources {
		resource, group, _ := strings.Cut(r, ".")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs})
	}
	w.create(role)
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.env.Namespace, Name: "deployer"}}}
	w.create(binding)
	w.Cleanup(func() {
		for _, o := range []client.Object{binding, role} {
			_ = w.env.Client.Delete(context.Background(), o)
		}
	})
	for _, r := range resources {
		for _, verb := range verbs {
			w.await("deployer", verb, strings.TrimSuffix(r, "."))
		}
	}
}
