package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// ofKind is a route of another kind, or of another namespace.
func (w *world) ofKind(kind, namespace string, spec map[string]any) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	spec["parentRefs"] = []any{map[string]any{"name": "gate", "namespace": w.ns}}
	u.SetGroupVersionKind(gatewayKind(kind))
	u.SetNamespace(namespace)
	u.SetName(app)
	w.must(w.user.Create(w.t.Context(), u))
	return u
}

// now is a route as the API server has it.
func (w *world) now(r *unstructured.Unstructured) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(r.GroupVersionKind())
	w.must(w.user.Get(w.t.Context(), client.ObjectKeyFromObject(r), u))
	return u
}

// pairs are the weights of canary and stable in each rule; -1 where a rule does not have one.
func pairs(r *unstructured.Unstructured) [][2]int64 {
	var out [][2]int64
	rules, _, _ := unstructured.NestedSlice(r.Object, "spec", "rules")
	for _, item := range rules {
		pair := [2]int64{-1, -1}
		for _, ref := range item.(map[string]any)["backendRefs"].([]any) {
			b := ref.(map[string]any)
			weight, _ := b["weight"].(int64)
			switch b["name"] {
			case app + "-canary":
				pair[0] = weight
			case app:
				pair[1] = weight
			}
		}
		out = append(out, pair)
	}
	return out
}

func (w *world) grant(service string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"from": []any{map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": w.gateway.edge}},
		"to":   []any{map[string]any{"group": "", "kind": "Service", "name": service}}}}}
	u.SetGroupVersionKind(gatewayKind("ReferenceGrant"))
	u.SetNamespace(w.ns)
	u.SetName(service)
	return u
}

// TestEveryKindOfRoute: one Rollout on an HTTPRoute, a named rule of a GRPCRoute, a TLSRoute, a TCPRoute and an HTTPRoute of
// another namespace goes to all of them, and takes all of it back.
func TestEveryKindOfRoute(t *testing.T) {
	t.Parallel()
	edge := ""
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		edge = ro.Namespace + "-edge"
		ro.Spec.Traffic.Routes = append(ro.Spec.Traffic.Routes, v1alpha1.RouteReference{Kind: "GRPCRoute", Name: app, Rules: []string{"orders"}},
			v1alpha1.RouteReference{Kind: "TLSRoute", Name: app}, v1alpha1.RouteReference{Kind: "TCPRoute", Name: app},
			v1alpha1.RouteReference{Kind: "HTTPRoute", Name: app, Namespace: edge})
	})
	w.must(w.user.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: edge}}))
	t.Cleanup(func() {
		if err := w.user.Delete(context.WithoutCancel(t.Context()), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: edge}}); err != nil {
			t.Error(err)
		}
	})
	w.gateway.kinds, w.gateway.edge = []string{"GRPCRoute", "TLSRoute", "TCPRoute"}, edge
	w.alias.add(edge, "<edge>")
	backend := func() []any { return []any{map[string]any{"name": app, "port": int64(80)}} }
	away := []any{map[string]any{"name": app, "namespace": w.ns, "port": int64(80)}}
	routes := []*unstructured.Unstructured{
		w.ofKind("GRPCRoute", w.ns, map[string]any{"rules": []any{
			map[string]any{"name": "orders", "matches": []any{map[string]any{"method": map[string]any{"service": "shop.Orders"}}}, "backendRefs": backend()},
			map[string]any{"name": "carts", "backendRefs": backend()}}}),
		w.ofKind("TLSRoute", w.ns, map[string]any{"hostnames": []any{"shop.example.com"}, "rules": []any{map[string]any{"backendRefs": backend()}}}),
		w.ofKind("TCPRoute", w.ns, map[string]any{"rules": []any{map[string]any{"backendRefs": backend()}}}),
		w.ofKind("HTTPRoute", edge, map[string]any{"rules": []any{map[string]any{"backendRefs": away}}}),
	}
	w.started()
	w.deploy("v2")
	ro := w.until("refused", func(ro *v1alpha1.Rollout) bool { return ro.Status.BlockedBy != "" })
	if want := "HTTPRoute " + edge + "/app: no ReferenceGrant in namespace " + w.ns + " allows a HTTPRoute of namespace " + edge + " to refer to Service app"; ro.Status.BlockedBy != want || ro.Status.Attempt != nil {
		t.Errorf("attempt %v, blocked by %q, want %q", ro.Status.Attempt, ro.Status.BlockedBy, want)
	}
	w.must(w.user.Create(t.Context(), w.grant(app)))
	ro = w.until("refused for the canary", func(ro *v1alpha1.Rollout) bool { return strings.HasSuffix(ro.Status.BlockedBy, "app-canary") })
	if ro.Status.Attempt != nil {
		t.Errorf("it began: %+v", ro.Status.Attempt)
	}
	w.must(w.user.Create(t.Context(), w.grant(app+"-canary")))
	w.until("half", func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.StepName == "half" && a.ConfirmedAt != nil
	})
	wants := [][][2]int64{{{50, 50}, {-1, 1}}, {{50, 50}}, {{50, 50}}, {{50, 50}}}
	for i, r := range routes {
		if diff := cmp.Diff(wants[i], pairs(w.now(r))); diff != "" {
			t.Errorf("%s %s at half (-want +have):\n%s", r.GetKind(), r.GetNamespace(), diff)
		}
	}
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	w.rest()
	w.idle()
	for _, r := range routes {
		if now := w.now(r); !cmp.Equal(r.Object["spec"], now.Object["spec"]) || len(now.GetAnnotations()) > 0 {
			t.Errorf("%s was not restored: %s %v", r.GetKind(), cmp.Diff(r.Object["spec"], now.Object["spec"]), now.GetAnnotations())
		}
	}
}
