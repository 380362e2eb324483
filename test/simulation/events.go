package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Kind of event.
type Kind int

// The events.
const (
	Reconcile Kind = iota
	Kubelet
	Endpoints
	Gateway
	Measure
	Wait
	Template
	Steps
	Replicas
	TogglePaused
	Decide
	Delete
	ForeignRoute
	ForeignService
	LosePod
	ToggleBad
	ToggleBroken
	ToggleNoData
	ToggleProvider
	RevertBot
	Restart
	eventKinds
)

var names = [eventKinds]string{"Reconcile", "Kubelet", "Endpoints", "Gateway", "Measure", "Wait", "Template", "Steps", "Replicas",
	"TogglePaused", "Decide", "Delete", "ForeignRoute", "ForeignService", "LosePod", "ToggleBad", "ToggleBroken", "ToggleNoData",
	"ToggleProvider", "RevertBot", "Restart"}

// Event is one thing that happens; A says which or how.
type Event struct {
	Kind   Kind
	A, B   int
	Faults []Fault
	Lags   lags
	// Unread: the last route cannot be read.
	Unread bool
}

func (e Event) String() string {
	s := fmt.Sprintf("{Kind: %s, A: %d, B: %d", names[e.Kind], e.A, e.B)
	if len(e.Faults) > 0 {
		s += fmt.Sprintf(", Faults: %#v", e.Faults)
	}
	if e.Lags != (lags{}) {
		s += fmt.Sprintf(", Lags: %#v", e.Lags)
	}
	if e.Unread {
		s += ", Unread: true"
	}
	return s + "}"
}

var waits = []time.Duration{300 * time.Millisecond, time.Second, 4 * time.Second, 11 * time.Second, 31 * time.Second, 61 * time.Second, 11 * time.Minute}

var decisions = []v1alpha1.DecisionAction{v1alpha1.ActionPromote, v1alpha1.ActionPromoteFull, v1alpha1.ActionApprove, v1alpha1.ActionReject,
	v1alpha1.ActionAbort, v1alpha1.ActionPause, v1alpha1.ActionResume, v1alpha1.ActionRetry}

// revisions that people may want; "a" is stable at first.
func revision(i int) string { return string(rune('a' + i%4)) }

// Happen lets an event happen.
func (w *World) Happen(e Event) {
	if w.deleted {
		return
	}
	if e.Kind != Reconcile {
		w.say("%s %d %d", names[e.Kind], e.A, e.B)
	}
	switch e.Kind {
	case Reconcile:
		w.unread = e.Unread
		w.reconcile(e.Faults, e.Lags)
		w.unread = false
	case Kubelet:
		w.kubelets([]string{"", revision(e.A)}[e.B%2])
	case Endpoints:
		w.endpointSlices(e.A % 2)
	case Gateway:
		w.publish()
	case Measure:
		w.measure()
	case Wait:
		w.now = w.now.Add(waits[e.A%len(waits)])
	default:
		w.change(e)
	}
	w.caches.remember(w)
}

// change is what people and faults of the cluster do.
func (w *World) change(e Event) {
	switch e.Kind {
	case Template:
		w.setTemplate(revision(e.A))
	case LosePod:
		if w.cfg.Flaky {
			w.podLost(revision(e.A))
		}
	case ToggleBad:
		w.bad[revision(e.A)] = !w.bad[revision(e.A)]
	case ToggleBroken:
		w.truth.broke = true
		w.broken[revision(e.A)] = !w.broken[revision(e.A)]
	case ToggleNoData:
		w.noData = !w.noData
	case ToggleProvider:
		w.providerDown = !w.providerDown
	case RevertBot:
		w.revertBot()
	case ForeignRoute:
		w.foreignRoute(e.A, e.B)
	case ForeignService:
		w.truth.foreign = true
		if e.A%2 == 0 {
			w.services[0].role, w.services[0].roleAdded = "", false
		} else {
			w.services[1] = service{}
		}
	case Decide:
		w.decide(e)
	default:
		w.changeSpec(e)
	}
}

func (w *World) changeSpec(e Event) {
	w.version++
	w.rollout = w.rollout.DeepCopy()
	w.rollout.Generation++
	switch e.Kind {
	case Steps:
		w.rollout.Spec.Strategy = w.cfg.choose(e.A % strategyCount).strategy()
		w.truth.edited = true
	case Replicas:
		n := int32(e.A % 5)
		w.rollout.Spec.Replicas = &n
	case Restart:
		at := metav1.NewTime(w.now.Add(time.Duration(e.A-10) * time.Second).Truncate(time.Second)) // now and then it is still to come
		w.rollout.Spec.RestartAt = &at
	case TogglePaused:
		w.rollout.Spec.Paused = !w.rollout.Spec.Paused
	case Delete:
		if w.rollout.DeletionTimestamp == nil {
			at := metav1.NewTime(w.now.Truncate(time.Second))
			w.rollout.DeletionTimestamp = &at
			w.deleted = len(w.rollout.Finalizers) == 0
		}
	}
}

func (w *World) decide(e Event) {
	if len(w.decisions) > 3 {
		return
	}
	number, step := max(1, w.rollout.Status.Attempts-int64(e.B%2)), int32(0)
	if at := w.rollout.Status.Attempt; at != nil {
		step = at.Step
	}
	w.newDecision(decisions[e.A%len(decisions)], number, step, revision(e.B))
}

// RandomConfig is a world by seed.
func RandomConfig(r *rand.Rand) Config {
	cfg := Config{Replicas: 1 + r.Int32N(4), Bake: []v1alpha1.Duration{"0s", "1m"}[r.IntN(2)],
		Deadline: []v1alpha1.Duration{"2m", "10m"}[r.IntN(2)], Analysis: r.IntN(4) > 0, Pause: r.IntN(4) == 0, Revert: r.IntN(2) == 0,
		Routes: 1 + r.IntN(4)/3, Listed: r.IntN(5) == 0, Foreign: r.IntN(3) == 0, RoleInGit: r.IntN(2) == 0,
		Flaky: r.IntN(2) == 0, Stale: r.IntN(2) == 0}
	cfg = cfg.choose(r.IntN(strategyCount))
	cfg.Compare = r.IntN(3) == 0
	cfg.Dynamic = r.IntN(4) == 0
	if cfg.Foreign && cfg.Replicas%2 == 0 { // no draw of its own: the worlds of other seeds stay what they are
		cfg.MinReady = 15
	}
	return cfg
}

// Manner is how a random world behaves.
type Manner struct{ faults, people, foreign bool }

// RandomEvent is the next event of a world: mostly progress, sometimes trouble.
func RandomEvent(r *rand.Rand, m Manner) Event {
	e := Event{A: r.IntN(20), B: r.IntN(20)}
	switch n := r.IntN(100); {
	case n < 42:
		e.Kind, e.Unread = Reconcile, m.faults && e.A == 0
		if m.faults && r.IntN(4) == 0 {
			for range 1 + r.IntN(2) {
				e.Faults = append(e.Faults, Fault{At: r.IntN(6), How: r.IntN(faultKinds)})
			}
		}
		if r.IntN(3) == 0 {
			for i := range e.Lags {
				e.Lags[i] = r.IntN(depth)
			}
		}
	case n < 56:
		e.Kind = Kubelet
	case n < 66:
		e.Kind = Endpoints
	case n < 73:
		e.Kind = Gateway
	case n < 79:
		e.Kind = Measure
	case n < 94:
		e.Kind = Wait
		if e.A%len(waits) == len(waits)-1 && r.IntN(4) > 0 {
			e.A = 2
		}
	default:
		return trouble(r, m, e)
	}
	return e
}

func trouble(r *rand.Rand, m Manner, e Event) Event {
	e.Kind = Template + Kind(r.IntN(int(eventKinds-Template)))
	switch {
	case !m.foreign && (e.Kind == ForeignRoute || e.Kind == ForeignService),
		!m.people && (e.Kind == Steps || e.Kind == Replicas || e.Kind == TogglePaused || e.Kind == Decide || e.Kind == Restart),
		e.Kind == Delete && r.IntN(4) > 0:
		e.Kind = Template
	}
	return e
}

// pauses are the times after which the controller looks again when nothing changes: finely at first, then beyond every
// deadline.
var pauses = slices.Concat(slices.Repeat([]time.Duration{7 * time.Second}, 10), slices.Repeat([]time.Duration{45 * time.Second}, 4),
	slices.Repeat([]time.Duration{11 * time.Minute}, 4))

// settleDown lets the world run without faults until nothing changes any more (L1). People approve and resume; what
// cannot go on is aborted.
func (w *World) settleDown() {
	w.noData, w.providerDown = false, false
	if w.rollout.Spec.Paused {
		w.Happen(Event{Kind: TogglePaused})
	}
	quiet := 0
	for round := range 2000 {
		w.caches.catchUp()
		w.kubelets("")
		w.endpointSlices(0)
		w.endpointSlices(1)
		w.publish()
		w.measure()
		w.revertBot()
		w.caches.remember(w)
		w.caches.catchUp()
		changed := w.reconcile(nil, lags{})
		if w.deleted || len(w.truth.violations) > 0 {
			return
		}
		switch {
		case changed:
			quiet = 0
			w.now = w.now.Add(time.Second)
		case quiet < len(pauses):
			w.now = w.now.Add(pauses[quiet])
			quiet++
		case w.rollout.Status.Attempt == nil && w.rollout.DeletionTimestamp == nil:
			w.checkRest()
			return
		default:
			if !w.unblock(round) {
				w.violate("L1", "nothing goes on: stage %v, %s", w.rollout.Status.Attempt, w.rollout.Status.BlockedBy)
				return
			}
			quiet = 0
		}
	}
	w.violate("L1", "no fixed point is reached: %s", w.rollout.Status.BlockedBy)
}

// unblock is what a person does who is asked.
func (w *World) unblock(round int) bool {
	at := w.rollout.Status.Attempt
	if at == nil || round > 1500 {
		return false
	}
	action := v1alpha1.ActionApprove
	if at.Pause != nil {
		action = v1alpha1.ActionAbort
	} else if int(at.Step) >= len(w.rollout.Spec.Steps()) || w.rollout.Spec.Steps()[at.Step].Approval != v1alpha1.ApprovalRequired {
		return false
	}
	w.newDecision(action, at.Number, at.Step, "")
	w.caches.remember(w)
	return true
}

// checkRest looks at a world at rest (T9): nothing of ours remains, and stable has its pods.
func (w *World) checkRest() {
	st := &w.rollout.Status
	if st.Stable == nil {
		if w.replicas() > 0 && !w.broken[w.template] {
			w.violate("L1", "there is no stable revision at rest: %s", st.BlockedBy)
		}
		return
	}
	if s := w.sets[st.Stable.Revision]; s != nil && s.wanted != w.replicas() && !w.spare(s) {
		w.violate("L1", "stable has %d of %d pods at rest", s.wanted, w.replicas())
	}
	for k, s := range w.sets {
		if k != st.Stable.Revision && s.wanted > 0 {
			w.violate("L1", "revision %s still has %d pods at rest", k, s.wanted)
		}
	}
	if st.Stable.Revision != w.template && !w.truth.foreign && w.replicas() > 0 && st.BlockedBy == "" {
		w.violate("L4", "template %s is not rolled out and nothing says why", w.template)
	}
	w.checkRestarted()
	w.checkEdits()
	for _, r := range w.routes {
		if matched(r.object) || mirrored(r.object) { // also after somebody took our record off the route
			w.violate("T9", "route %s still has copies at rest: %v", r.object.GetName(), copies(r.object))
		}
	}
	if w.truth.foreign {
		return
	}
	for i, r := range w.routes {
		want, got := w.gitRoute(i), r.object
		if fmt.Sprint(want.Object["spec"]) != fmt.Sprint(got.Object["spec"]) || len(got.GetAnnotations()) > 0 {
			w.violate("T9", "route is not as it was:\n%v\n%v %v", want.Object["spec"], got.Object["spec"], got.GetAnnotations())
		}
	}
}

// Run lets events happen in a new world, then lets it settle down; it stops at the first violation.
func Run(cfg Config, events []Event, verbose bool) *World {
	w := NewWorld(cfg)
	w.truth.verbose = verbose
	for _, e := range events {
		w.Happen(e)
		w.truth.edited = w.truth.edited && e.Kind != Reconcile
		if len(w.truth.violations) > 0 {
			return w
		}
	}
	w.settleDown()
	w.truth.count.Worlds = 1
	return w
}
