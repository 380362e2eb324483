package planner

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// Plan is what to do next.
type Plan struct {
	// Status to be stored.
	Status v1alpha1.RolloutStatus
	// Store: the status says something new that actions rely on, and must be stored before them.
	Store bool
	// Urgent: traffic is being taken back. Actions are carried out even if storing fails, and each even if another fails.
	Urgent bool
	// Doubtful: it takes the attempt back for endpoints that are missing, or gives weight to stable pods that are coming back.
	// Caches can be of before, so that the plan is to be made again from what the API server has.
	Doubtful bool
	// Actions in order.
	Actions []Action
	// Events to be told, once the status is stored.
	Events []Event
	// NextLook is the nearest moment at which time alone may change the plan; zero when there is none.
	NextLook time.Time
}

// Event is told to people.
type Event struct {
	// Type is Normal or Warning.
	Type string
	// Reason in CamelCase.
	Reason string
	// Message in one sentence.
	Message string
}

// draft is a plan in the making.
type draft struct {
	*Observed
	s *v1alpha1.RolloutStatus
	// blocked is what the Rollout waits for; the first reason given stands.
	blocked string
	// trafficProblem is why Services or routes cannot be used.
	trafficProblem string
	// refused: what makes them so lies outside of them.
	refused bool
	// waiting: for pods or for routes, which progressDeadline bounds.
	waiting bool
	// restarting is how far a restart of the pods is; empty when none is under way.
	restarting string
	// stalled: nothing goes on until a person or another object changes; its reason.
	stalled string
	// views are the answers to what was asked of routes so far.
	views map[question]gatewayapi.View
	plan  Plan
}

// Make makes the plan for what was observed.
func Make(o Observed) Plan {
	d := &draft{Observed: &o, s: o.Rollout.Status.DeepCopy()}
	if o.Rollout.DeletionTimestamp != nil {
		d.release()
		d.plan.Status = *d.s
		return d.plan
	}
	if !slices.Contains(o.Rollout.Finalizers, v1alpha1.FinalizerRestore) || o.Rollout.Spec.Replicas == nil && o.Workload == nil {
		d.do(SetFinalizer{Present: true, Replicas: o.asked(), Why: "routes must be restored before the Rollout goes"})
	}
	d.preflight()
	if d.adopt() {
		d.report()
		d.plan.Status = *d.s
		return d.plan
	}
	d.decide()
	d.advance()
	d.plan.Store = d.intentChanged()
	d.plan.Doubtful = d.newlyLost()
	d.plan.Urgent = d.s.Attempt != nil && d.s.Attempt.Stage == v1alpha1.StageWithdrawing
	d.world()
	d.plan.Doubtful = d.plan.Doubtful || d.dynamic() && d.plan.Urgent && d.routesPlanned()
	d.hold()
	d.restart()
	d.forecast()
	d.report()
	d.plan.Status = *d.s
	return d.plan
}

// replicas is how many pods carry all of the traffic. While an attempt runs it only grows: what an HPA measures meanwhile
// is not the load of 100 % stable (T5). None are wanted where spec.replicas is 0.
func (d *draft) replicas() int32 {
	asked := d.asked()
	if d.s.Attempt == nil || d.s.Attempt.Stage == v1alpha1.StageInitial || asked == 0 {
		return asked
	}
	return max(asked, d.s.Attempt.Replicas)
}

func (d *draft) do(a Action) { d.plan.Actions = append(d.plan.Actions, a) }

func (d *draft) tell(kind, reason, message string) {
	d.plan.Events = append(d.plan.Events, Event{Type: kind, Reason: reason, Message: message})
}

// block says what is waited for; what was said first stands.
func (d *draft) block(why string) {
	if d.blocked == "" {
		d.blocked = why
	}
}

// lookAt asks for another look at a time.
func (d *draft) lookAt(t time.Time) {
	if t.After(d.Now) && (d.plan.NextLook.IsZero() || t.Before(d.plan.NextLook)) {
		d.plan.NextLook = t
	}
}

func (d *draft) now() metav1.Time { return metav1.NewTime(d.Now.Truncate(time.Second)) }

func (d *draft) nowPtr() *metav1.Time {
	t := d.now()
	return &t
}

// passed says whether a duration has passed since a time, and otherwise asks for a look when it will have.
// Stored times are rounded down to seconds, so a second is added: nothing opens early.
func (d *draft) passed(since metav1.Time, wait time.Duration) bool {
	due := since.Add(wait)
	if wait > 0 {
		due = due.Add(time.Second)
	}
	if d.Now.Before(due) {
		d.lookAt(due)
		return false
	}
	return true
}

// intentChanged says whether the status now intends something that the stored one does not.
func (d *draft) intentChanged() bool {
	before, after := d.Rollout.Status, d.s
	if len(before.Decisions) != len(after.Decisions) || !slices.Equal(before.Decisions, after.Decisions) {
		return true
	}
	if revisionOf(before.Stable) != revisionOf(after.Stable) || revisionOf(before.Previous) != revisionOf(after.Previous) {
		return true
	}
	if len(before.Quarantine) != len(after.Quarantine) {
		return true
	}
	a, b := before.Attempt, after.Attempt
	if a == nil || b == nil {
		return a != b
	}
	return a.Number != b.Number || a.Stage != b.Stage || a.Step != b.Step || !exposure{a.Weight, a.Match, a.Mirror}.same(exposure{b.Weight, b.Match, b.Mirror}) ||
		(a.Verdict == nil) != (b.Verdict == nil) || (a.ConfirmedAt == nil) != (b.ConfirmedAt == nil) || a.Contest.Count() != b.Contest.Count()
}

func revisionOf(r *v1alpha1.RevisionRecord) string {
	if r == nil {
		return ""
	}
	return r.Revision
}
