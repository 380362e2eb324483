package planner

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// exposure is what routes should send to the canary: a share of all requests, those that match, and copies.
type exposure struct {
	weight int32
	match  *v1alpha1.Match
	mirror *v1alpha1.Mirror
}

func (e exposure) none() bool { return e.weight == 0 && e.match == nil && e.mirror == nil }

func (e exposure) same(other exposure) bool {
	return e.weight == other.weight && equality.Semantic.DeepEqual(e.match, other.match) && equality.Semantic.DeepEqual(e.mirror, other.mirror)
}

// asStep is the exposure of a step.
func (d *draft) asStep(i int32) exposure {
	return exposure{d.stepWeight(i), d.step(i).Match, d.step(i).Mirror}
}

// wanted is the exposure that the stored intent asks for, on every route. All requests include those that match.
func (d *draft) wanted() exposure {
	e := exposure{weight: d.wantedWeight()}
	if a := d.s.Attempt; a != nil && a.Verdict == nil && a.Stage == v1alpha1.StageStepping {
		e.match, e.mirror = a.Match, a.Mirror
	}
	return e
}

// reachable says whether any route sends requests to the canary now, or may do so.
func (d *draft) reachable() bool {
	return d.reached() || slices.ContainsFunc(d.Routes, func(r Route) bool { return r.Unread != "" })
}

// reached says whether any route is seen to send requests to the canary now, by weight or by match.
func (d *draft) reached() bool {
	for _, r := range d.Routes {
		if r.Object == nil {
			continue
		}
		if v := d.bareView(r, exposure{}); v.MaxCanary > 0 || v.Matched {
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
		if s.Match == nil && s.Mirror == nil {
			continue
		}
		v := d.viewOf(r, d.asStep(int32(i)))
		if v.Problem != "" {
			return fmt.Sprintf("step %s cannot be done on %s: %s", d.step(int32(i)).Name, r, v.Problem)
		}
		if why := unsupported(d.step(int32(i)), r); why != "" {
			return why
		}
		if why := d.uncovered(r, int32(i)); why != "" {
			d.refused = true
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
	switch {
	case e.match != nil:
		return " and requests with " + e.match.String()
	case e.mirror != nil:
		return " and " + e.mirror.String()
	}
	return ""
}
