package planner

import (
	"strings"
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func tenth() *v1alpha1.Mirror { return &v1alpha1.Mirror{Percent: 10} }

// mirroring is an attempt in a step that mirrors; the route carries it where carried.
func mirroring(carried bool) Observed {
	o := darkened(false)
	o.Rollout.Spec.Strategy.Canary.Steps[1] = v1alpha1.Step{Mirror: tenth(), Hold: "10m"}
	o.attempt().Match, o.attempt().Mirror = nil, tenth()
	if carried {
		d := &draft{Observed: &o, s: &o.Rollout.Status}
		o.Routes[0].Object = patched(o.Routes[0].Object, d.split(Route{}, exposure{mirror: tenth()}))
	}
	return o
}

// Requests are mirrored only once the canary's endpoints are there and have settled, and the mirror goes in the first write
// of the way back (T2, T3).
func TestMirrorIsExposedAsAWeightIs(t *testing.T) {
	if got := lines(Make(mirroring(false))); !strings.Contains(got, "patch HTTPRoute r to canary weight 0 and mirror: step step-2") {
		t.Errorf("not exposed: %s", got)
	}
	o := mirroring(false)
	o.Canary.Endpoints["b"] = 0
	if got := lines(Make(o)); strings.Contains(got, "patch HTTPRoute") {
		t.Errorf("exposed without an endpoint: %s", got)
	}
	o = mirroring(true)
	p := Make(o)
	if got := lines(p); strings.Contains(got, "patch HTTPRoute") || p.Status.Attempt.AcceptedAt == nil && p.Status.Attempt.CarriedAt == nil {
		t.Errorf("not seen as carried: %s, %+v", got, p.Status.Attempt)
	}
	o.decision(v1alpha1.ActionAbort, 2, 1)
	p = Make(o)
	if got := lines(p); p.Status.Attempt.Mirror != nil || !strings.Contains(got, "patch HTTPRoute r to canary weight 0: the attempt is taken back") {
		t.Errorf("not taken back: %s", got)
	}
	// With evidence asked for, a mirror is an exposure that owes it.
	o = mirroring(true)
	o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = ""
	o.Rollout.Spec.Analysis = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "t"}}}
	o.attempt().AcceptedAt, o.attempt().ConfirmedAt, o.attempt().CarriedAt = ptr(at(-60e9)), ptr(at(-60e9)), ptr(at(-60e9))
	if p = Make(o); !strings.Contains(p.Status.BlockedBy, "AnalysisRun shop-2 has not started") {
		t.Errorf("blocked by %q", p.Status.BlockedBy)
	}
}

// A gateway that cannot mirror, or only all requests, refuses the step before the attempt.
func TestMirrorIsAskedOfTheGateway(t *testing.T) {
	for _, test := range []struct {
		features []string
		want     string
	}{
		{[]string{"HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror", "HTTPRouteMethodMatching"}, ""},
		{[]string{"HTTPRouteRequestMirror", "HTTPRouteMethodMatching"}, "step shadow needs HTTPRouteRequestPercentageMirror"},
		{nil, "step shadow needs HTTPRouteRequestMirror"},
	} {
		o := observed("")
		o.Revision = "b"
		o.Rollout.Spec.Strategy.Canary.Steps[0] = v1alpha1.Step{Name: "shadow", Mirror: tenth()}
		o.Routes[0].Gateways = []Gateway{{Name: "Gateway n/gw", Controller: "traefik.io/gateway-controller", Features: test.features}}
		p := Make(o)
		if started := p.Status.Attempt != nil; started != (test.want == "") || !strings.Contains(p.Status.BlockedBy, test.want) {
			t.Errorf("%v: started %t, blocked by %q", test.features, started, p.Status.BlockedBy)
		}
	}
}
