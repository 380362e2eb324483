package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// split is what a route should say at an exposure; the canary is taken out of the route where nothing is exposed.
func (d *draft) split(r Route, e exposure) gatewayapi.Split {
	return gatewayapi.Split{Rules: r.Rules, Namespace: d.Rollout.Namespace, StableService: d.Stable.Name, CanaryService: d.Canary.Name,
		Total: d.total(), Canary: e.weight, Match: gatewayapi.MatchOf(e.match), Mirror: gatewayapi.MirrorOf(e.mirror), Probe: d.probe(r, e), Present: !e.none(),
		Owner: d.Rollout.Namespace + "/" + d.Rollout.Name}
}

// splitOf is split for one route. A canary reference on a route whose record is gone can only be ours where it has weight,
// or stands beside rules that we inserted: the user's own must have had weight 0 before the attempt began.
func (d *draft) splitOf(r Route, e exposure) gatewayapi.Split {
	s := d.split(r, e)
	if a := d.s.Attempt; a != nil && a.Stage != v1alpha1.StageInitial {
		v := d.bareView(r, exposure{})
		s.Ours = v.PreListed && (v.MaxCanary > 0 || v.Matched)
	}
	return s
}

// refusedAgain is how soon a route that cannot be used for what lies outside of it is looked at again, while it is needed.
const refusedAgain = 30 * time.Second

// unusable says what makes the traffic unusable; empty where nothing does.
func (d *draft) unusable() string {
	if d.refused {
		d.lookAt(d.Now.Add(refusedAgain)) // nothing may tell of it
	}
	return d.trafficProblem
}

// preflight finds what makes the traffic unusable, before anything is started.
func (d *draft) preflight() {
	switch {
	case !d.Stable.Exists:
		d.trafficProblem = fmt.Sprintf("Service %s does not exist", d.Stable.Name)
	case d.Canary.Exists && !d.Canary.Ours:
		d.trafficProblem = fmt.Sprintf("Service %s exists but was not made by this Rollout: delete it, or set traffic.canaryService", d.Canary.Name)
	default:
		d.trafficProblem = d.undressable()
	}
	for i, r := range d.Routes {
		if d.trafficProblem != "" {
			return
		}
		if why := d.unread(r); why != "" {
			d.trafficProblem = why
			return
		}
		if r.Refused != "" {
			d.refused = true
			d.trafficProblem = fmt.Sprintf("%s: %s", r, r.Refused)
			return
		}
		if slices.ContainsFunc(d.Routes[:i], func(o Route) bool { return o.String() == r.String() }) {
			d.trafficProblem = fmt.Sprintf("%s is listed twice in traffic.routes", r)
			return
		}
		if r.Object == nil {
			d.trafficProblem = fmt.Sprintf("%s does not exist", r)
			return
		}
		if v := d.viewOf(r, exposure{weight: d.total()}); v.Problem != "" {
			d.trafficProblem = fmt.Sprintf("%s: %s", r, v.Problem)
		} else if v.Managed == 0 {
			d.trafficProblem = fmt.Sprintf("%s has no rule that refers to Service %s", r, d.Stable.Name)
		} else {
			d.trafficProblem = d.preflightSteps(r)
		}
	}
}

// wantedWeight is the canary's weight that the stored intent asks for, on every route.
func (d *draft) wantedWeight() int32 {
	a := d.s.Attempt
	switch {
	case a == nil:
		return 0
	case a.Verdict != nil:
		return d.yielded()
	}
	switch a.Stage {
	case v1alpha1.StageStepping:
		return a.Weight
	case v1alpha1.StageSwitching, v1alpha1.StageRetiring:
		return d.total()
	}
	return 0
}

// unreadAgain is how soon a route that could not be read is read again.
const unreadAgain = 5 * time.Second

// unread says that it is not known what a route carries: nothing is raised then, what can be taken back is, and nothing that
// the route may still need is taken away.
func (d *draft) unread(r Route) string {
	if r.Unread == "" {
		return ""
	}
	d.lookAt(d.Now.Add(unreadAgain))
	return fmt.Sprintf("%s cannot be read, and may give the canary any weight: %s", r, r.Unread)
}

// liveWeight is the highest weight of the canary that any route carries now (T11), or may carry.
func (d *draft) liveWeight() int32 {
	var w int32
	for _, r := range d.Routes {
		if r.Unread != "" {
			return d.total()
		}
		if r.Object != nil {
			w = max(w, d.bareView(r, exposure{weight: d.total()}).MaxCanary)
		}
	}
	return w
}

// confirmed says whether every route carries the wanted exposure, was accepted, and has settled. A route that someone
// changed sets the clock back, so that evidence gathered meanwhile does not count (T10).
func (d *draft) confirmed() bool {
	a, want := d.s.Attempt, d.wanted()
	if d.carried(want) && a.CarriedAt == nil {
		a.CarriedAt = d.nowPtr()
	}
	for _, r := range d.Routes {
		why := d.unready(r, want)
		if why == "" && a.Verdict == nil {
			why = r.Unknown
		}
		if why != "" {
			d.block(why)
			d.waiting = true
			return false
		}
	}
	if a.AcceptedAt == nil {
		a.AcceptedAt = d.nowPtr()
	}
	if a.ConfirmedAt == nil {
		if !d.passed(*a.AcceptedAt, d.settle()) {
			d.block(fmt.Sprintf("routes are accepted at %s; traffic settles until %s", want, clock(a.AcceptedAt.Add(d.settle()))))
			return false
		}
		if why := d.unmeasured(); why != "" {
			d.block("the canary's share is not confirmed: " + why)
			d.waiting = true
			return false
		}
		if why := d.unprobed(want); why != "" {
			d.block(why)
			d.waiting = true
			d.lookAt(d.Now.Add(probeAgain))
			return false
		}
		a.ConfirmedAt, a.ConfirmedWeight = d.nowPtr(), want.weight
	}
	return true
}

// carried says whether every route that exists is as it is wanted, accepted or not.
func (d *draft) carried(want exposure) bool {
	for _, r := range d.Routes {
		if r.Unread != "" || r.Object != nil && !d.viewOf(r, want).Matches {
			return false
		}
	}
	return true
}

// disturbed sets the clock back where a route does not carry the wanted exposure, while something else is waited for.
func (d *draft) disturbed() {
	for _, r := range d.Routes {
		d.unready(r, d.wanted())
	}
}

// unready says why a route does not carry an exposure yet.
func (d *draft) unready(r Route, want exposure) string {
	a := d.s.Attempt
	if why := d.unread(r); why != "" {
		return why // the clock goes on: what somebody else does meanwhile shows once it can be read
	}
	if r.Object == nil {
		if want.none() {
			return "" // nothing there that could send traffic
		}
		a.CarriedAt, a.AcceptedAt, a.ConfirmedAt = nil, nil, nil
		return fmt.Sprintf("%s does not exist", r)
	}
	if v := d.viewOf(r, want); !v.Matches {
		if a.CarriedAt != nil {
			d.foreign(r)
		}
		a.CarriedAt, a.AcceptedAt, a.ConfirmedAt = nil, nil, nil
		return fmt.Sprintf("%s does not carry %s yet%s", r, want, d.raiseTrouble(want))
	}
	if ok, why := d.programmed(r); !ok {
		if a.ConfirmedAt == nil {
			a.AcceptedAt = nil
		}
		return fmt.Sprintf("%s: %s", r, why)
	}
	return ""
}

func (d *draft) raiseTrouble(want exposure) string {
	if want.none() {
		return ""
	}
	if why := d.cannotRaise(); why != "" {
		return ": " + why
	}
	return ""
}

// cannotRaise says why no more requests may be sent to the canary now, by weight or by match (T2, T3, T6).
func (d *draft) cannotRaise() string {
	a := d.s.Attempt
	have, need := d.Canary.Endpoints[a.Revision], d.canaryNeed()
	switch {
	case a.Verdict != nil:
		return "the attempt is being taken back"
	case d.unusable() != "":
		return d.trafficProblem
	case !d.Canary.Exists || !d.Canary.PortsMatch || d.Canary.Revision != a.Revision:
		return fmt.Sprintf("Service %s does not select revision %s yet", d.Canary.Name, a.Revision)
	case d.Stable.Role != string(v1alpha1.RoleStable):
		return fmt.Sprintf("Service %s does not select %s=stable", d.Stable.Name, v1alpha1.LabelRole)
	case have < max(1, need):
		return fmt.Sprintf("%d of %d canary pods are ready endpoints of Service %s", have, max(1, need), d.Canary.Name)
	case d.available(a.Revision) < max(1, need):
		return fmt.Sprintf("%d of %d canary pods are available", d.available(a.Revision), max(1, need))
	case d.liveWeight() == 0 && !d.endpointsSettled():
		return fmt.Sprintf("endpoints of Service %s settle", d.Canary.Name)
	}
	if why := d.yields(); why != "" {
		return why
	}
	return d.paused()
}

// endpointsSettled says whether gateways have had the time to learn of the canary's endpoints: a route may reach them
// before the endpoints do, and a weighted Service without endpoints answers 503.
func (d *draft) endpointsSettled() bool {
	since := d.s.Attempt.EndpointsAt
	return since != nil && d.passed(*since, d.settle())
}

// routes plans the patches that bring every route to the wanted exposure. Down always; up only where nothing forbids it.
func (d *draft) routes(why string) {
	want := d.wanted()
	for _, r := range d.Routes {
		if r.Object == nil {
			continue
		}
		d.route(r, want, why)
	}
}

func (d *draft) route(r Route, want exposure, why string) {
	v := d.viewOf(r, want)
	if v.Matches || (want.none() && !v.Traces && v.MaxCanary == 0) {
		return
	}
	raises := v.MinCanary < want.weight || v.CopyMissing
	if raises && d.cannotRaise() != "" {
		if v.MaxCanary <= want.weight && !v.CopyExtra {
			return
		}
		want.weight, raises = min(want.weight, v.MinCanary), false
		if v.CopyMissing {
			want.match, want.mirror = nil, nil
		}
	}
	patch, err := gatewayapi.Patch(r.Object, d.splitOf(r, want))
	if err != nil || patch == nil {
		return // the problem stands in the preflight
	}
	d.do(PatchRoute{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Weight: want.weight, Matches: want.match != nil, Mirrors: want.mirror != nil, Raises: raises, Patch: patch, Why: why})
}

// canaryTarget is how many pods the attempt's revision should have.
func (d *draft) canaryTarget() int32 {
	a := d.s.Attempt
	if a.Stage != v1alpha1.StageStepping {
		return d.replicas()
	}
	step := d.step(a.Step)
	if step.Replicas == nil {
		n := traffic.CanaryReplicas(d.replicas(), a.Weight, d.total())
		if a.Exposes() && d.replicas() > 0 {
			n = max(1, n)
		}
		return n
	}
	n := step.Replicas.IntVal
	if step.Replicas.StrVal != "" {
		var percent int32
		if _, err := fmt.Sscanf(step.Replicas.StrVal, "%d%%", &percent); err != nil {
			percent = 100 // the schema refuses this; too many pods are safer than too few
		}
		n = traffic.CanaryReplicas(d.replicas(), percent, 100)
	}
	return max(1, n)
}

// canaryNeed is how many available pods the step needs before its weight is given.
func (d *draft) canaryNeed() int32 { return d.canaryTarget() }
