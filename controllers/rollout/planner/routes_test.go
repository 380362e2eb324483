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
