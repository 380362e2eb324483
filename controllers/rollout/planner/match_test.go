package planner

import (
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

func team() *v1alpha1.Match {
	return &v1alpha1.Match{Headers: []v1alpha1.ValueMatch{{Name: "x-team", Value: "shop", Type: v1alpha1.MatchExact}}}
}

// patched is a route as a split wants it.
func patched(route *unstructured.Unstructured, s gatewayapi.Split) *unstructured.Unstructured {
	patch, err := gatewayapi.Patch(route, s)
	if err != nil {
		panic(err)
	}
	data, err := route.MarshalJSON()
	if err != nil {
		panic(err)
	}
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		panic(err)
	}
	if data, err = ops.Apply(data); err != nil {
		panic(err)
	}
	out := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(data, &out.Object); err != nil {
		panic(err)
	}
	return out
}

// darkened is an attempt in a step that exposes by match alone; the route carries it where carried.
func darkened(carried bool) Observed {
	o := observed(stepping)
	o.Rollout.Spec.Strategy.Canary.Steps[1] = v1alpha1.Step{Match: team()}
	a := o.attempt()
	a.Weight, a.Match, a.EndpointsAt = 0, team(), ptr(at(-time.Minute))
	o.Canary.Endpoints["b"] = 1
	a.Available = 1
	o.replicaSet("b").Available, o.replicaSet("b").Wanted = 1, 1
	object := route(0)
	if carried {
		d := &draft{Observed: &o, s: &o.Rollout.Status}
		object = patched(object, d.split(Route{}, exposure{match: team()}))
	}
	o.Routes = []Route{{Kind: "HTTPRoute", Name: "r", Object: object}}
	return o
}

// Requests that match reach the canary only once its endpoints are there and have settled, and nothing forbids it (T2, T3, T7).
func TestMatchIsExposedAsAWeightIs(t *testing.T) {
	const exposed = "patch HTTPRoute r to canary weight 0 and match: step step-2"
	for _, test := range []struct {
		name   string
		change func(*Observed)
		want   bool
	}{
		{"all in order", func(*Observed) {}, true},
		{"no endpoint", func(o *Observed) { o.Canary.Endpoints["b"] = 0 }, false},
		{"endpoint of now", func(o *Observed) { o.attempt().EndpointsAt = ptr(at(-time.Second)) }, false},
		{"another revision", func(o *Observed) { o.Canary.Revision = "a" }, false},
		{"no stable role", func(o *Observed) { o.Stable.Role = "" }, false},
		{"paused", func(o *Observed) { o.Rollout.Spec.Paused = true }, false},
		{"aborted", func(o *Observed) { o.decision(v1alpha1.ActionAbort, 2, 1) }, false},
		{"gone from the steps", func(o *Observed) { o.Rollout.Spec.Strategy.Canary.Steps[1] = step(0, nil) }, false},
	} {
		o := darkened(false)
		test.change(&o)
		if got := strings.Contains(lines(Make(o)), exposed); got != test.want {
			t.Errorf("%s: exposed %t: %s", test.name, got, lines(Make(o)))
		}
	}
}

// Taking back removes the copies in the first write, with all else.
func TestMatchIsTakenBackFirst(t *testing.T) {
	o := darkened(true)
	o.decision(v1alpha1.ActionAbort, 2, 1)
	p := Make(o)
	patch, ok := p.Actions[0].(PatchRoute)
	if !ok || patch.Matches || patch.Raises || !p.Urgent || !p.Store || !strings.Contains(string(patch.Patch), `{"op":"remove","path":"/spec/rules/0"}`) {
		t.Errorf("urgent %t, stored first %t: %s\n%s", p.Urgent, p.Store, lines(p), patch.Patch)
	}
	if a := p.Status.Attempt; a.Match != nil || a.Verdict == nil {
		t.Errorf("attempt %+v", a)
	}
}

// A canary that only matching requests reach is exposed: it is lost without endpoints, and its Service stays as it is.
func TestMatchCountsAsExposure(t *testing.T) {
	o := darkened(true)
	o.Canary.Endpoints["b"] = 0
	if got := summary(Make(o)); got != "Withdrawing: RolledBack CanaryLost" {
		t.Error(got)
	}
	o = darkened(true)
	o.Canary.Revision = "c"
	if strings.Contains(lines(Make(o)), "point canary Service to b") {
		t.Errorf("the Service is pointed elsewhere under traffic: %s", lines(Make(o)))
	}
	o = darkened(true)
	o.analysed(v1alpha1.VerdictPass, nil)
	if got := Make(o).Status.BlockedBy; !strings.Contains(got, "no good measurement") && !strings.Contains(got, "does not carry") {
		t.Errorf("no evidence is owed: %q", got)
	}
	o = observed("")
	o.Routes = darkened(true).Routes
	o.Revision = "b"
	if got := Make(o).Status.BlockedBy; !strings.Contains(got, "still refer to the canary") {
		t.Errorf("an attempt begins beside a copy: %q", got)
	}
}

// One pod at least serves what matches; where no pods are asked for there are none.
func TestMatchHasAPod(t *testing.T) {
	o := darkened(true)
	o.Rollout.Spec.Replicas = ptr(int32(30))
	d := &draft{Observed: &o, s: &o.Rollout.Status}
	if got := d.canaryTarget(); got != 1 {
		t.Errorf("%d pods", got)
	}
	o.attempt().Weight = 25
	if got := d.canaryTarget(); got != 8 {
		t.Errorf("%d pods beside a weight", got)
	}
}

// What a route cannot carry is said before the start, with the step.
func TestMatchIsRefusedBeforeTheStart(t *testing.T) {
	o := observed("")
	o.Revision = "b"
	o.Rollout.Spec.Strategy.Canary.Steps[2] = v1alpha1.Step{Name: "team", Match: team()}
	rule := o.Routes[0].Object.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	rule["matches"] = []any{map[string]any{"path": map[string]any{"type": "RegularExpression", "value": "/x.*"}}}
	p := Make(o)
	if p.Status.Attempt != nil || !strings.Contains(p.Status.BlockedBy, "step team cannot be done on HTTPRoute r: spec.rules[0] matches its path by a regular expression") {
		t.Errorf("attempt %v, blocked by %q", p.Status.Attempt, p.Status.BlockedBy)
	}
}
