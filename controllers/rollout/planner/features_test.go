package planner

import (
	"strings"
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// A step that a gateway cannot do is refused before the attempt, with the step, the feature and the controller.
func TestFeaturesAreAskedForBeforeTheStart(t *testing.T) {
	query := &v1alpha1.Match{QueryParams: []v1alpha1.ValueMatch{{Name: "beta", Value: "1"}}}
	able := Gateway{Name: "Gateway n/gw", Controller: "example.com/g", Features: []string{"HTTPRouteQueryParamMatching"}}
	unable := Gateway{Name: "Gateway n/old", Controller: "example.com/old", Features: []string{"Gateway"}}
	for _, test := range []struct {
		name     string
		match    *v1alpha1.Match
		gateways []Gateway
		want     string
	}{
		{"able", query, []Gateway{able}, ""},
		{"one of two is not", query, []Gateway{able, unable}, "step beta needs HTTPRouteQueryParamMatching, which Gateway n/old of HTTPRoute r cannot do: controller example.com/old does not report it"},
		{"headers are core", team(), []Gateway{unable}, ""},
		{"nothing is matched", nil, []Gateway{unable}, ""},
	} {
		o := observed("")
		o.Revision = "b"
		o.Rollout.Spec.Strategy.Canary.Steps[1].Name, o.Rollout.Spec.Strategy.Canary.Steps[1].Match = "beta", test.match
		o.Routes[0].Gateways = test.gateways
		p := Make(o)
		if started := p.Status.Attempt != nil; started != (test.want == "") || !strings.Contains(p.Status.BlockedBy, test.want) {
			t.Errorf("%s: started %t, blocked by %q", test.name, started, p.Status.BlockedBy)
		}
		if needs := NeedsFeatures(&o.Rollout.Spec); needs != (test.match == query) {
			t.Errorf("%s: needs features %t", test.name, needs)
		}
	}
}
