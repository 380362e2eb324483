package planner

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestRouteThatCannotBeUsed(t *testing.T) {
	tests := map[string]struct {
		change func(*Observed)
		want   string
		again  bool
	}{
		"refused": {func(o *Observed) {
			o.Routes[0].Namespace, o.Routes[0].Refused = "edge", "no ReferenceGrant"
		}, "HTTPRoute edge/r: no ReferenceGrant", true},
		"listed twice": {func(o *Observed) { o.Routes = append(o.Routes, o.Routes[0]) }, "HTTPRoute r is listed twice in traffic.routes", false},
		"no such rule": {func(o *Observed) { o.Routes[0].Rules = []string{"orders"} }, `HTTPRoute r: route has no rule that refers to service`, false},
		"kind not supported": {func(o *Observed) {
			o.Routes[0].Kind = "GRPCRoute"
			o.Routes[0].Gateways = []Gateway{{Name: "Gateway g", Controller: "example.com/g", Features: []string{"HTTPRoute"}}}
		}, "Gateway g of GRPCRoute r has no support for GRPCRoute: controller example.com/g does not report it among its 1 supportedFeatures", false},
	}
	for name, test := range tests {
		o := observed("")
		o.Revision = "b"
		test.change(&o)
		plan := Make(o)
		if plan.Status.Attempt != nil || !strings.HasPrefix(plan.Status.BlockedBy, test.want) {
			t.Errorf("%s: attempt %v, blocked by %q", name, plan.Status.Attempt, plan.Status.BlockedBy)
		}
		if again := plan.NextLook.Equal(o.Now.Add(30 * time.Second)); again != test.again {
			t.Errorf("%s: next look at %s", name, plan.NextLook)
		}
	}
}

// A grant that is gone in the middle of an attempt keeps the weight where it is, and does not keep it from going back.
func TestRouteRefusedMeanwhile(t *testing.T) {
	o := observed(v1alpha1.StageStepping)
	o.Routes[0].Object = route(25)
	o.Routes[0].Namespace, o.Routes[0].Refused = "edge", "no ReferenceGrant"
	for _, a := range Make(o).Actions {
		if p, ok := a.(PatchRoute); ok {
			t.Errorf("the weight is changed: %s", p)
		}
	}
	o.decision(v1alpha1.ActionAbort, 2, 1)
	lowered := false
	for _, a := range Make(o).Actions {
		p, ok := a.(PatchRoute)
		lowered = lowered || ok && p.Weight == 0 && !p.Raises && o.Routes[0].Is(p)
	}
	if !lowered {
		t.Error("the attempt is not taken back")
	}
}

// T8: a route that cannot be read keeps neither the other routes nor the canary Service from going back, and nothing goes forward.
func TestUnreadRoute(t *testing.T) {
	two := func(stage v1alpha1.Stage) Observed {
		o := observed(stage)
		o.Routes = append(o.Routes, Route{Kind: "HTTPRoute", Namespace: "b", Name: "r", Unread: "403"})
		return o
	}
	o := two(stepping)
	o.Routes[0].Object, o.attempt().EndpointsAt = route(25), ptr(at(-time.Minute))
	if p := Make(o); strings.Contains(lines(p), "patch") || summary(p) != "Stepping 1 at 50" || !p.NextLook.Equal(noon.Add(unreadAgain)) {
		t.Errorf("%s, next look at %s, actions:\n%s", summary(p), p.NextLook, lines(p))
	}
	o.attempt().ProgressAt = ptr(at(-11 * time.Minute))
	if got := summary(Make(o)); got != "Withdrawing: RolledBack ProgressDeadline" {
		t.Errorf("nobody waits for it for ever: %s", got)
	}

	o = two(stepping)
	if p := Make(o); summary(p) != "Stepping 1 at 50" || p.Status.Attempt.ConfirmedAt == nil || p.Status.Attempt.Contest != nil {
		t.Errorf("one answer that is lost sets nothing back: %s, %+v", summary(p), p.Status.Attempt)
	}
	o.decision(v1alpha1.ActionAbort, 2, 1)
	p := Make(o)
	wantActions(t, p, "patch HTTPRoute r to canary weight 0: the attempt is taken back", "point canary Service to stable pods: whoever still reaches it gets stable pods")
	ready := v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionTrafficReady)
	if want := "HTTPRoute b/r cannot be read, and may give the canary any weight: 403"; ready.Message != want {
		t.Errorf("condition %q", ready.Message)
	}

	o = two(withdrawing)
	o.attempt().AcceptedAt = ptr(at(-time.Hour))
	if p := Make(o); summary(p) != "Withdrawing: RolledBack AnalysisFailed" || p.Status.Attempt.ConfirmedAt != nil || strings.Contains(lines(p), "scale") {
		t.Errorf("%s is over although nobody knows: %s", summary(p), lines(p))
	}
	o.attempt().StageSince = at(-11 * time.Minute)
	if got := summary(Make(o)); got != "over: RolledBack AnalysisFailed" {
		t.Errorf("past the deadline: %s", got)
	}
	now := at(-time.Hour)
	o.Rollout.DeletionTimestamp = &now
	if p := Make(o); strings.Contains(lines(p), "finalizer") || strings.Contains(lines(p), "scale") || !strings.Contains(p.Status.BlockedBy, "cannot be read") {
		t.Errorf("deleted: %q, %s", p.Status.BlockedBy, lines(p))
	}

	o = two(returning)
	if got := summary(Make(o)); got != "Returning" {
		t.Errorf("promoted although nobody knows: %s", got)
	}
}

// Where stable has given pods up, the canary serves what an unread route may send until they are back.
func TestUnreadRouteOfADynamicStable(t *testing.T) {
	o := observed(withdrawing)
	o.Rollout.Spec.Strategy.Canary.StableScale = v1alpha1.StableScaleDynamic
	o.Canary.Revision, o.Canary.Role, o.Canary.Endpoints = "b", "", map[string]int32{"b": 4}
	o.Routes[0] = Route{Kind: "HTTPRoute", Name: "r", Unread: "403"}
	for stable, pointed := range map[int32]bool{1: false, 4: true} {
		o.Stable.Endpoints["a"] = stable
		if got := strings.Contains(lines(Make(o)), "point canary Service to stable pods"); got != pointed {
			t.Errorf("%d of 4 stable pods: the canary Service is pointed to them: %t", stable, got)
		}
	}
}
