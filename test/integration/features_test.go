package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func gatewayKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: kind}
}

// gate makes the Gateway that routes of the world are attached to, of a class that reports features.
func (w *world) gate(features ...string) *unstructured.Unstructured {
	w.t.Helper()
	class := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"controllerName": "example.com/gate"}}}
	class.SetGroupVersionKind(gatewayKind("GatewayClass"))
	class.SetName(w.ns)
	w.must(w.user.Create(w.t.Context(), class))
	w.t.Cleanup(func() { _ = w.user.Delete(context.WithoutCancel(w.t.Context()), class) })
	gateway := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"gatewayClassName": w.ns,
		"listeners": []any{map[string]any{"name": "http", "port": int64(80), "protocol": "HTTP"}}}}}
	gateway.SetGroupVersionKind(gatewayKind("Gateway"))
	gateway.SetNamespace(w.ns)
	gateway.SetName("gate")
	w.must(w.user.Create(w.t.Context(), gateway))
	w.report(class, features...)
	return class
}

// report says what a class can do, as its controller would.
func (w *world) report(class *unstructured.Unstructured, features ...string) {
	w.t.Helper()
	var list []any
	for _, f := range features {
		list = append(list, map[string]any{"name": f})
	}
	w.must(unstructured.SetNestedSlice(class.Object, list, "status", "supportedFeatures"))
	w.must(w.user.Status().Update(w.t.Context(), class))
}

func TestStepThatTheGatewayCannotDoIsRefusedBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.Steps[0].Match = &v1alpha1.Match{Methods: []v1alpha1.Method{"GET"}}
	})
	class := w.gate("Gateway", "HTTPRoute", "HTTPRouteQueryParamMatching")
	w.started()
	w.deploy("v2")
	ro := w.until("refused", func(ro *v1alpha1.Rollout) bool { return ro.Status.BlockedBy != "" })
	want := "step half needs HTTPRouteMethodMatching, which Gateway " + w.ns + "/gate of HTTPRoute app cannot do: controller example.com/gate does not report it among its 3 supportedFeatures"
	c := v1alpha1.FindCondition(ro.Status.Conditions, v1alpha1.ConditionTrafficReady)
	if ro.Status.Attempt != nil || ro.Status.BlockedBy != want || c == nil || c.Status != "False" || !strings.Contains(c.Message, "HTTPRouteMethodMatching") {
		t.Errorf("attempt %v, blocked by %q, want %q; condition %+v", ro.Status.Attempt, ro.Status.BlockedBy, want, c)
	}
	w.report(class, "Gateway", "HTTPRoute", "HTTPRouteMethodMatching")
	ro = w.until("promoted", finished(v1alpha1.OutcomePromoted))
	if len(ro.Status.History) != 2 {
		t.Errorf("history: %+v", ro.Status.History)
	}
}

// A step that mirrors: a copy of the rule with the filter, in the API server's own form, and nothing of it left at the end.
func TestMirror(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.Steps[0] = v1alpha1.Step{Name: "shadow", Mirror: &v1alpha1.Mirror{Percent: 10}, Approval: v1alpha1.ApprovalRequired}
	})
	w.gate("Gateway", "HTTPRoute", "HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror", "HTTPRouteMethodMatching")
	w.started()
	before := w.getRoute("app")
	w.deploy("v2")
	w.until("mirrored", func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Attempt != nil && ro.Status.Attempt.ConfirmedAt != nil && ro.Status.Attempt.StepName == "shadow"
	})
	rules, _, _ := unstructured.NestedSlice(w.getRoute("app").Object, "spec", "rules")
	filters, _, _ := unstructured.NestedSlice(rules[0].(map[string]any), "filters")
	if len(rules) != 2 || len(filters) != 1 {
		t.Fatalf("rules while it mirrors: %v", rules)
	}
	if percent, _, _ := unstructured.NestedInt64(filters[0].(map[string]any), "requestMirror", "percent"); percent != 10 {
		t.Errorf("filter: %v", filters[0])
	}
	w.say(v1alpha1.ActionAbort)
	w.until("aborted", finished(v1alpha1.OutcomeAborted))
	after := w.getRoute("app")
	if diff := cmp.Diff(before.Object["spec"], after.Object["spec"]); diff != "" {
		t.Errorf("T9: %s", diff)
	}
}
