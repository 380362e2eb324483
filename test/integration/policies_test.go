package integration

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// policyKind makes a kind of policy that the cluster then serves.
func (w *world) policyKind(group string) schema.GroupVersionKind {
	w.t.Helper()
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "logins." + group, "labels": map[string]any{"gateway.networking.k8s.io/policy": "Direct"}},
		"spec": map[string]any{"group": group, "scope": "Namespaced", "names": map[string]any{"plural": "logins", "singular": "login", "kind": "Login"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
	}}
	w.must(w.user.Create(w.t.Context(), crd))
	w.t.Cleanup(func() { _ = w.user.Delete(context.WithoutCancel(w.t.Context()), crd) })
	gvk := schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Login"}
	w.poll("the kind of policy", func(ctx context.Context) string {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind("LoginList"))
		if err := w.user.List(ctx, list); err != nil {
			return err.Error()
		}
		return ""
	})
	return gvk
}

// A policy of one rule holds up a step that matches, with its name, until it is attached to the whole route.
func TestPolicyOfOneRuleIsFoundInTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.Steps[0].Match = &v1alpha1.Match{Headers: []v1alpha1.ValueMatch{{Name: "x-team", Value: "shop", Type: v1alpha1.MatchExact}}}
	})
	group := w.ns + ".example.com"
	w.reconcile.Policies = []schema.GroupResource{{Group: "not.served.example.com", Resource: "logins"}, {Group: group, Resource: "logins"}}
	route := w.getRoute(app)
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	rules[0].(map[string]any)["name"] = "main"
	w.must(unstructured.SetNestedSlice(route.Object, rules, "spec", "rules"))
	w.must(w.user.Update(t.Context(), route))
	w.started()
	policy := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "login", "namespace": w.ns},
		"spec": map[string]any{"targetRefs": []any{map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": app, "sectionName": "main"}}}}}
	policy.SetGroupVersionKind(w.policyKind(group))
	w.must(w.user.Create(t.Context(), policy))

	w.deploy("v2")
	ro := w.until("refused", func(ro *v1alpha1.Rollout) bool { return ro.Status.BlockedBy != "" })
	want := "Login " + w.ns + `/login covers rule "main" alone`
	c := v1alpha1.FindCondition(ro.Status.Conditions, v1alpha1.ConditionTrafficReady)
	if ro.Status.Attempt != nil || !strings.Contains(ro.Status.BlockedBy, want) || c == nil || c.Status != "False" {
		t.Errorf("attempt %v, blocked by %q, want %q; condition %+v", ro.Status.Attempt, ro.Status.BlockedBy, want, c)
	}
	unstructured.RemoveNestedField(policy.Object, "spec")
	w.must(unstructured.SetNestedMap(policy.Object, map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": app}, "spec", "targetRef"))
	w.must(w.user.Update(t.Context(), policy))
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}
