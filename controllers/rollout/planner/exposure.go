package planner

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// exposure is what routes should send to the canary: a share of all requests, and those that match.
type exposure struct {
	weight int32
	match  *v1alpha1.Match
}

func (e exposure) none() bool { return e.weight == 0 && e.match == nil }

// wanted is the exposure that the stored intent asks for, on every route. All requests include those that match.
func (d *draft) wanted() exposure {
	e := exposure{weight: d.wantedWeight()}
	if a := d.s.Attempt; a != nil && a.Verdict == nil && a.Stage == v1alpha1.StageStepping {
		e.match = a.Match
	}
	return e
}

// exposes says whether the current step sends requests to the canary.
func exposes(a *v1alpha1.Attempt) bool { return a.Weight > 0 || a.Match != nil }

func sameMatch(a, b *v1alpha1.Match) bool { return equality.Semantic.DeepEqual(a, b) }

// reachable says whether any route sends requests to the canary now, by weight or by match.
func (d *draft) reachable() bool {
	for _, r := range d.Routes {
		if r.Object == nil {
			continue
		}
		if v := gatewayapi.Inspect(r.Object, d.split(r, exposure{})); v.MaxCanary > 0 || v.Matched {
			return true
		}
	}
	return false
}

// preflightSteps finds a step that a route cannot carry, before anything is started.
func (d *draft) preflightSteps(r Route) string {
	if why := unsupportedKind(r); why != "" {
		return why
	}
	for i, s := range d.steps() {
		if s.Match == nil {
			continue
		}
		v := gatewayapi.Inspect(r.Object, d.splitOf(r, exposure{weight: d.stepWeight(int32(i)), match: s.Match}))
		if v.Problem != "" {
			return fmt.Sprintf("step %s cannot be done on %s: %s", d.step(int32(i)).Name, r, v.Problem)
		}
		if why := unsupported(d.step(int32(i)), r); why != "" {
			return why
		}
	}
	return ""
}

// String says what is exposed, for people.
func (e exposure) String() string { return fmt.Sprintf("weight %d", e.weight) + e.also() }

func (e exposure) of(total int32) string {
	return fmt.Sprintf("weight %d of %d", e.weight, total) + e.also()
}

func (e exposure) also() string {
	if e.match == nil {
		return ""
	}
	return " and requests with " + e.match.String()
}
