package planner

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// shared is an attempt whose route was accepted and has settled, on a gateway whose share is measured.
func shared() Observed {
	o := observed(stepping)
	o.Rollout.Spec.Traffic.Confirm = []v1alpha1.Confirmation{{ControllerName: "example.com/g", Level: v1alpha1.ConfirmShare,
		Share: &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "share"}}}}}
	o.Routes[0].Gateways = []Gateway{{Name: "Gateway n/gw", Controller: "example.com/g"}}
	o.Rollout.Spec.Strategy.Canary.Steps[1].Hold = "10m"
	a := o.attempt()
	a.AcceptedAt, a.ConfirmedAt, a.CarriedAt = ptr(at(-time.Minute)), nil, ptr(at(-time.Minute))
	o.Runs = map[string]*v1alpha1.AnalysisRun{}
	return o
}

// A weight is not in force before its share was measured, and no step is left on a share of before it settled.
func TestMeasuredShareConfirms(t *testing.T) {
	o := shared()
	p := Make(o)
	if !strings.Contains(lines(p), "AnalysisRun shop-2-c1: the share of step step-2") || p.Status.Attempt.ConfirmedAt != nil {
		t.Fatalf("not measured: %s; confirmed %v", lines(p), p.Status.Attempt.ConfirmedAt)
	}
	run := &v1alpha1.AnalysisRun{}
	run.Spec.Metrics = []v1alpha1.Metric{{Name: "share"}}
	run.Status.Metrics = []v1alpha1.MetricStatus{{Name: "share", Verdict: v1alpha1.VerdictPass, LastPassedAt: ptr(at(-2 * time.Minute))}}
	o.Runs["shop-2-c1"] = run
	if p = Make(o); p.Status.Attempt.ConfirmedAt != nil || !strings.Contains(p.Status.BlockedBy, "the canary's share is not confirmed: metric share") {
		t.Errorf("confirmed by a measurement from before the route was accepted: %q", p.Status.BlockedBy)
	}
	run.Status.Metrics[0].LastPassedAt = ptr(at(-time.Second))
	if p = Make(o); p.Status.Attempt.ConfirmedAt == nil || !strings.Contains(lines(p), "stop AnalysisRun shop-2-c1") {
		t.Errorf("not confirmed: %q, %s", p.Status.BlockedBy, lines(p))
	}
	// What has failed is measured anew, until progressDeadline takes the attempt back.
	run.Status.Verdict, run.Status.Metrics[0].LastPassedAt = v1alpha1.VerdictFail, nil
	if p = Make(o); !strings.Contains(lines(p), "delete AnalysisRun shop-2-c1") || p.Status.Attempt.Verdict != nil {
		t.Errorf("%s; %+v", lines(p), p.Status.Attempt.Verdict)
	}
	// Nobody waits for a share on the way back, or once a person has overruled.
	for _, action := range []v1alpha1.DecisionAction{v1alpha1.ActionAbort, v1alpha1.ActionPromoteFull} {
		o := shared()
		o.decision(action, 2, 1)
		if p := Make(o); strings.Contains(lines(p), "c1") || strings.Contains(p.Status.BlockedBy, "share") {
			t.Errorf("%s: %s, %q", action, lines(p), p.Status.BlockedBy)
		}
	}
}

// A gateway that cannot be read holds steps up, and nothing else.
func TestUnknownGatewayDoesNotHoldAnAbort(t *testing.T) {
	o := shared()
	o.Routes[0].Gateways, o.Routes[0].Unknown = nil, "reading Gateway n/gw: forbidden"
	if p := Make(o); p.Status.Attempt.ConfirmedAt != nil || !strings.Contains(p.Status.BlockedBy, "forbidden") {
		t.Errorf("confirmed %v, %q", p.Status.Attempt.ConfirmedAt, p.Status.BlockedBy)
	}
	o.decision(v1alpha1.ActionAbort, 2, 1)
	if p := Make(o); !strings.Contains(lines(p), "patch HTTPRoute r to canary weight 0") {
		t.Error(lines(p))
	}
}

func TestBypassIsToldAtTheStart(t *testing.T) {
	o := observed("")
	o.Revision = "b"
	o.Bypasses = []Bypass{{Route: "HTTPRoute far/web", Why: "callers in namespace far follow it instead", Consumer: true}, {Route: "HTTPRoute n/other", Why: "it refers to Service shop too"}}
	p := Make(o)
	c := v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionTrafficReady)
	if c == nil || c.Status != "True" || c.Reason != ReasonConsumerRouteBypass || !strings.Contains(c.Message, "HTTPRoute far/web (callers in namespace far follow it instead), HTTPRoute n/other") || p.Events[0].Reason != ReasonConsumerRouteBypass && p.Events[1].Reason != ReasonConsumerRouteBypass {
		t.Errorf("%+v, %+v", c, p.Events)
	}
	o.Rollout.Status, o.Bypasses = p.Status, nil
	if c := v1alpha1.FindCondition(Make(o).Status.Conditions, v1alpha1.ConditionTrafficReady); c.Reason != ReasonConsumerRouteBypass {
		t.Errorf("forgotten in the course of the attempt: %+v", c)
	}
}

// A weight is not in force before every gateway was seen to serve it, and nobody waits for that on the way back.
func TestProbeConfirms(t *testing.T) {
	o := shared()
	o.Rollout.Spec.Traffic.Confirm[0] = v1alpha1.Confirmation{ControllerName: "example.com/g", Level: v1alpha1.ConfirmProbe}
	p := Make(o)
	if got := lines(p); !strings.Contains(got, "patch HTTPRoute r to canary weight 50") || len(Probes(o)) == 0 {
		t.Fatalf("the rule to probe is not put in: %s", got)
	}
	d := &draft{Observed: &o, s: &o.Rollout.Status}
	o.Routes[0].Object = patched(o.Routes[0].Object, d.split(o.Routes[0], exposure{weight: 50}))
	o.Routes[0].ProbeTrouble = "address 10.0.0.1:80 of the gateway does not serve this version of the route yet"
	p = Make(o)
	if p.Status.Attempt.ConfirmedAt != nil || !strings.Contains(p.Status.BlockedBy, "address 10.0.0.1:80") || p.NextLook.IsZero() {
		t.Errorf("confirmed %v, %q", p.Status.Attempt.ConfirmedAt, p.Status.BlockedBy)
	}
	probes := Probes(o)
	if len(probes) != 1 || probes[0].Token != "a2-s1-c0" {
		t.Fatalf("probes %+v", probes)
	}
	o.Routes[0].Probed, o.Routes[0].ProbeTrouble = "a2-s0-c0", "" // of the step before
	if p = Make(o); p.Status.Attempt.ConfirmedAt != nil {
		t.Error("confirmed by another version")
	}
	o.Routes[0].Probed = probes[0].Token
	if p = Make(o); p.Status.Attempt.ConfirmedAt == nil {
		t.Errorf("not confirmed: %q", p.Status.BlockedBy)
	}
	o.Routes[0].Probed = ""
	o.decision(v1alpha1.ActionAbort, 2, 1)
	if p = Make(o); !strings.Contains(lines(p), "patch HTTPRoute r to canary weight 0") || len(Probes(o)) != 0 {
		t.Error(lines(p))
	}
}
