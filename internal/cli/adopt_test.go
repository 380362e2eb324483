package cli

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// cart is a Deployment with two Services, of which one has a route.
func (h *harness) cart() {
	h.Helper()
	for _, text := range []string{
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: cart}, spec: {replicas: 0, paused: true, progressDeadlineSeconds: 120, selector: {matchLabels: {app: cart}}, template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: c, image: i}]}}}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: cart}, spec: {selector: {app: cart}, ports: [{port: 80}]}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: cart-metrics}, spec: {selector: {app: cart}, ports: [{port: 80}]}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {selector: {app: other}, ports: [{port: 80}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: public}, spec: {rules: [{backendRefs: [{name: cart, port: 80}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: elsewhere}, spec: {rules: [{backendRefs: [{name: other, port: 80}, {name: cart, namespace: x, port: 80}]}]}}`,
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			h.Fatal(err)
		}
		o.SetNamespace(h.env.Namespace)
		if err := h.env.Client.Create(h.Context(), o); err != nil {
			h.Fatal(err)
		}
	}
}

func TestAdopt(t *testing.T) {
	h := newHarness(t)
	h.want(h.run("adopt", "cart"), ExitError, "reading Deployment")
	h.cart()
	printed := h.run("adopt", "cart", "--print")
	h.want(printed, ExitOK, "# Takes over Deployment cart")
	r := &v1alpha1.Rollout{}
	if err := yaml.UnmarshalStrict([]byte(printed.out), r); err != nil {
		t.Fatal(err)
	}
	spec := r.Spec
	if spec.WorkloadRef.Name != "cart" || spec.Traffic.StableService != "cart" || len(spec.Traffic.Routes) != 1 || spec.Traffic.Routes[0].Name != "public" ||
		spec.ProgressDeadline != "120s" || spec.Replicas != nil {
		t.Errorf("printed: %s", printed.out)
	}
	if err := h.env.Client.Create(t.Context(), r.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the API server refuses what was printed: %v", err)
	}
	key := client.ObjectKey{Namespace: h.env.Namespace, Name: "cart"}
	if err := h.env.Client.Get(t.Context(), key, &v1alpha1.Rollout{}); err == nil {
		t.Error("--print made a Rollout")
	}
	h.want(h.run("adopt", "cart", "--service", "other"), ExitError, "does not select the pods", "cart, cart-metrics")
	h.want(h.run("adopt", "cart", "--service", "cart-metrics"), ExitError, "no route refers to")
	h.want(h.run("adopt", "cart"), ExitOK, "takes over Deployment cart, with Service cart and HTTPRoute public", "kubectl belay release cart")
	if err := h.env.Client.Get(t.Context(), key, r); err != nil {
		t.Error(err)
	}
	h.want(h.run("adopt", "cart"), ExitError, "already exists")
}

func TestAdoptRefuses(t *testing.T) {
	h := newHarness(t)
	h.cart()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: h.env.Namespace, Name: "odd"}, Spec: appsv1.DeploymentSpec{Paused: true,
		Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"odd"}}}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "odd"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}}}
	if err := h.env.Client.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("adopt", "odd"), ExitError, "matchExpressions")
}

func TestRelease(t *testing.T) {
	h := newHarness(t)
	h.want(h.run("release", "shop"), ExitError, "has no workloadRef")
	h.cart()
	h.want(h.run("adopt", "cart"), ExitOK)
	key := client.ObjectKey{Namespace: h.env.Namespace, Name: "cart"}
	r := &v1alpha1.Rollout{}
	if err := h.env.Client.Get(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
	r.Finalizers = []string{v1alpha1.FinalizerRestore}
	if err := h.env.Client.Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Status.BlockedBy = "the pods"
	if err := h.env.Client.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("release", "cart", "--timeout", "10ms"), ExitTimeout, "still being deleted", "the pods")
	if err := h.env.Client.Get(t.Context(), key, r); err != nil || r.DeletionTimestamp == nil {
		t.Fatalf("%v, %v", err, r.DeletionTimestamp)
	}
	r.Finalizers = nil
	if err := h.env.Client.Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("adopt", "cart"), ExitOK)
	h.want(h.run("release", "cart", "--timeout", (10*time.Second).String()), ExitOK, "Deployment cart has its pods back and stays paused")
	h.want(h.run("release", "cart"), ExitError, "not found")
}
