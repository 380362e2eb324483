package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// LabelAttempt is on AnalysisRuns: the number of their attempt.
const LabelAttempt = "belay.dev/attempt"

// world turns the intent of the status into actions. What keeps traffic safe comes first: good pods into the stable
// Service, weights down, the canary Service to stable pods, bad pods out. Then what goes forward, then tidying.
func (d *draft) world() {
	d.roles(true)
	if d.plan.Urgent {
		d.routes("the attempt is taken back")
		d.pointCanary()
		d.roles(false)
		d.runs()
		d.scales()
		d.ensureStableRole()
		return
	}
	d.roles(false)
	d.ensureStableRole()
	d.replicaSets()
	d.pointCanary()
	d.routes(d.routeWhy())
	d.scales()
	d.runs()
	d.readiness()
	d.dress()
	d.tidy()
}

func (d *draft) routeWhy() string {
	a := d.s.Attempt
	if a == nil || a.Stage != v1alpha1.StageStepping {
		return "all traffic goes to the stable Service"
	}
	return "step " + a.StepName
}

// roleOf says which role the pods of a revision should have.
func (d *draft) roleOf(revision string) v1alpha1.Role {
	a := d.s.Attempt
	switching := a != nil && (a.Stage == v1alpha1.StageSwitching || a.Stage == v1alpha1.StageRetiring || a.Stage == v1alpha1.StageReturning)
	retired := switching && a.Stage != v1alpha1.StageSwitching
	switch {
	case revision == revisionOf(d.s.Stable) && retired:
		return v1alpha1.RolePrevious
	case revision == revisionOf(d.s.Stable):
		return v1alpha1.RoleStable
	case a == nil || revision != a.Revision:
		return v1alpha1.RolePrevious
	case switching || a.Stage == v1alpha1.StageInitial:
		return v1alpha1.RoleStable
	}
	return v1alpha1.RoleCanary
}

// roles puts the stable role on, where stable is asked for, or the other roles. Pods join the stable Service before
// others leave it.
func (d *draft) roles(stable bool) {
	for i := range d.ReplicaSets {
		rs := &d.ReplicaSets[i]
		role := d.roleOf(rs.Revision)
		if (role == v1alpha1.RoleStable) != stable || !stable && d.carries(rs.Revision) {
			continue
		}
		var pods []string
		for _, p := range d.Pods {
			if p.Revision == rs.Revision && p.Role != role {
				pods = append(pods, p.Name)
			}
		}
		template := rs.Role != role && (rs.Wanted > 0 || rs.Current > 0 || role != v1alpha1.RolePrevious)
		if template || len(pods) > 0 {
			d.do(SetRole{Revision: rs.Revision, Role: role, Template: template, Pods: pods, Why: d.roleWhy(role)})
		}
	}
}

// carries says whether the stable Service would be left with too little if the pods of a revision went: they stay, with
// their role, until the pods that take over have theirs and are seen in the Service (T6). Endpoints alone may be of
// yesterday: a pod that lost its role is an endpoint for a while yet.
func (d *draft) carries(revision string) bool {
	if d.Stable.Endpoints[revision] == 0 || d.replicas() == 0 {
		return false
	}
	var others int32
	for r, n := range d.Stable.Endpoints {
		if r != revision && d.roleOf(r) == v1alpha1.RoleStable {
			others += min(n, d.podsIn(r, v1alpha1.RoleStable))
		}
	}
	return others < max(1, (3*d.replicas()+3)/4)
}

func (d *draft) podsIn(revision string, role v1alpha1.Role) int32 {
	var n int32
	for _, p := range d.Pods {
		if p.Revision == revision && p.Role == role {
			n++
		}
	}
	return n
}

func (d *draft) roleWhy(role v1alpha1.Role) string {
	switch role {
	case v1alpha1.RoleStable:
		return "its pods belong to the stable Service"
	case v1alpha1.RoleCanary:
		return "its pods are on trial"
	}
	return "its pods are out of service"
}

// ensureStableRole adds the role to the selector of the stable Service once every stable pod carries it, and again if
// somebody takes it out.
func (d *draft) ensureStableRole() {
	if d.s.Stable == nil || !d.Stable.Exists || d.Stable.Role == string(v1alpha1.RoleStable) {
		return
	}
	rs := d.replicaSet(d.s.Stable.Revision)
	if d.roleOf(d.s.Stable.Revision) != v1alpha1.RoleStable {
		rs = d.replicaSet(d.s.Attempt.Revision) // the old pods are leaving the Service, the new ones are in it
	}
	if rs == nil || rs.Role != v1alpha1.RoleStable || d.available(rs.Revision) == 0 && d.replicas() > 0 {
		return
	}
	for _, p := range d.Pods {
		if p.Revision == rs.Revision && p.Role != v1alpha1.RoleStable {
			return
		}
	}
	if !d.witnessed(rs.Revision) {
		return
	}
	d.do(AddStableRole{Why: "canary pods must not join it"})
}

// replicaSets makes the ReplicaSet of the attempt's revision, and of the stable one where the template is still its.
func (d *draft) replicaSets() {
	if d.replicaSet(d.Revision) != nil {
		return
	}
	a := d.s.Attempt
	switch {
	case a != nil && a.Verdict == nil && a.Revision == d.Revision:
		d.do(CreateReplicaSet{Revision: d.Revision, Replicas: d.canaryTarget(), Role: d.roleOf(d.Revision), Why: fmt.Sprintf("attempt %d", a.Number)})
	case d.Revision == revisionOf(d.s.Stable):
		d.do(CreateReplicaSet{Revision: d.Revision, Replicas: d.replicas(), Role: v1alpha1.RoleStable, Why: "the stable ReplicaSet is gone"})
	}
}

// pointCanary makes the canary Service select the attempt's revision while it is tried, and stable pods while it is
// taken back. It is pointed at another revision only while no route sends traffic to it.
func (d *draft) pointCanary() {
	a := d.s.Attempt
	if a == nil {
		d.returnCanary()
		return
	}
	if a.Stage == v1alpha1.StageInitial || a.Stage == v1alpha1.StageBaking || !d.Stable.Exists || d.Canary.Exists && !d.Canary.Ours {
		return
	}
	if a.Verdict != nil {
		if d.yielded() > 0 {
			return // it serves its share until stable can
		}
		if d.Canary.Exists && d.Canary.Role != string(v1alpha1.RoleStable) {
			d.do(PointCanary{Why: "whoever still reaches it gets stable pods"})
		}
		return
	}
	if d.Canary.Exists && d.Canary.Revision == a.Revision && d.Canary.PortsMatch {
		return
	}
	if d.Canary.Exists && d.Canary.Revision != a.Revision && d.reachable() {
		return
	}
	d.do(PointCanary{Revision: a.Revision, Why: fmt.Sprintf("attempt %d", a.Number)})
}

// returnCanary takes the canary Service from a revision that was taken back, where a cache had not shown it at the time.
func (d *draft) returnCanary() {
	if d.Canary.Ours && d.s.Stable != nil && d.Canary.Revision != "" && d.Canary.Revision != d.s.Stable.Revision {
		d.do(PointCanary{Why: "no attempt runs"})
	}
}

// scales brings every ReplicaSet to its size. Stable has all its pods at every moment (T5), and pods that traffic may
// still reach are not taken away (T4).
func (d *draft) scales() {
	for i := range d.ReplicaSets {
		rs := &d.ReplicaSets[i]
		want, why := d.size(rs)
		if want != rs.Wanted {
			d.do(Scale{Revision: rs.Revision, From: rs.Wanted, To: want, Why: why})
		}
	}
}

func (d *draft) size(rs *ReplicaSet) (int32, string) {
	a := d.s.Attempt
	switch {
	case rs.Revision == revisionOf(d.s.Stable):
		return d.stableSize(rs)
	case a != nil && rs.Revision == a.Revision:
		return d.attemptSize(rs)
	case rs.Revision == revisionOf(d.s.Previous):
		if a != nil && a.Stage == v1alpha1.StageBaking {
			if d.dynamic() {
				return rs.Wanted, ""
			}
			return max(rs.Wanted, d.replicas()), "kept warm for the bake"
		}
		return rs.Wanted, ""
	}
	if d.carries(rs.Revision) {
		return rs.Wanted, ""
	}
	return 0, "no traffic reaches it"
}

func (d *draft) attemptSize(rs *ReplicaSet) (int32, string) {
	a := d.s.Attempt
	if a.Verdict != nil {
		return rs.Wanted, "" // until no traffic can reach it
	}
	want := d.canaryTarget()
	if want < rs.Wanted && (a.ConfirmedAt == nil || d.liveWeight() > a.Weight || !a.Exposes() && d.reachable()) {
		return rs.Wanted, "" // the lower weight is not confirmed yet
	}
	return want, fmt.Sprintf("attempt %d, stage %s", a.Number, a.Stage)
}

// runs starts the analysis once traffic is confirmed, and stops what is no longer asked.
func (d *draft) runs() {
	wanted := map[string]bool{}
	if a := d.s.Attempt; a != nil && a.Verdict == nil && a.Stage != v1alpha1.StageInitial {
		d.wantRuns(wanted)
	}
	for _, name := range sortedNames(d.Runs) {
		if run := d.Runs[name]; !wanted[name] && run.Spec.State != v1alpha1.RunStopped {
			d.do(StopRun{Name: name, Why: "nothing waits for it any more"})
		}
	}
}

func (d *draft) wantRuns(wanted map[string]bool) {
	a := d.s.Attempt
	d.wantShare(wanted)
	if d.Rollout.Spec.Analysis != nil {
		wanted[d.backgroundName()] = true
		exposed := a.Stage != v1alpha1.StageStepping || a.ConfirmedAt != nil && a.Exposes()
		switch {
		case d.measureAgain(d.backgroundName()):
		case d.Runs[d.backgroundName()] == nil && exposed && d.AnalysisProblem == "":
			d.do(StartRun{Name: d.backgroundName(), Step: StepBackground, Why: fmt.Sprintf("attempt %d is exposed", a.Number)})
		default:
			d.markStep(d.backgroundName())
		}
	}
	if a.Stage == v1alpha1.StageStepping && d.step(a.Step).Checks != nil {
		wanted[d.checksName()] = true
		run := d.Runs[d.checksName()]
		switch {
		case d.measureAgain(d.checksName()):
		case run != nil && run.Spec.State == v1alpha1.RunStopped:
			d.do(DeleteRun{Name: d.checksName(), Why: "it is of an earlier visit to step " + a.StepName})
		case run == nil && a.ConfirmedAt != nil && d.AnalysisProblem == "":
			d.do(StartRun{Name: d.checksName(), Step: a.Step, Why: "checks of step " + a.StepName})
		default:
			d.markStep(d.checksName())
		}
	}
}

func sortedNames(runs map[string]*v1alpha1.AnalysisRun) []string {
	names := make([]string, 0, len(runs))
	for n := range runs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// tidy removes ReplicaSets beyond the history limit, and AnalysisRuns of attempts that left the history.
func (d *draft) tidy() {
	limit := 5
	if l := d.Rollout.Spec.RevisionHistoryLimit; l != nil {
		limit = int(*l)
	}
	var idle []ReplicaSet
	for _, rs := range d.ReplicaSets {
		inUse := rs.Revision == revisionOf(d.s.Stable) || rs.Revision == revisionOf(d.s.Previous) || rs.Revision == d.Revision ||
			d.s.Attempt != nil && rs.Revision == d.s.Attempt.Revision
		if !inUse && rs.Wanted == 0 && rs.Current == 0 {
			idle = append(idle, rs)
		}
	}
	slices.SortFunc(idle, func(a, b ReplicaSet) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Name, b.Name))
	})
	for _, rs := range idle[min(limit, len(idle)):] {
		d.do(DeleteReplicaSet{Revision: rs.Revision, Why: "beyond revisionHistoryLimit"})
	}
	for _, name := range sortedNames(d.Runs) {
		n, err := strconv.ParseInt(d.Runs[name].Labels[LabelAttempt], 10, 64)
		if err == nil && n <= d.s.Attempts-maxHistory {
			d.do(DeleteRun{Name: name, Why: "its attempt left the history"})
		}
	}
}

// release gives everything back before the Rollout goes: routes first, then the Services, then the finalizer. A gateway
// that does not answer holds this up for progressDeadline at most.
func (d *draft) release() {
	if !slices.Contains(d.Rollout.Finalizers, v1alpha1.FinalizerRestore) {
		return
	}
	d.plan.Urgent = true
	a := d.s.Attempt
	if a != nil && a.Verdict == nil && a.Stage != v1alpha1.StageInitial {
		d.verdict(v1alpha1.Verdict{Outcome: v1alpha1.OutcomeSuperseded, Reason: "Deleted", Actor: ActorBelay, Message: "the Rollout is being deleted"})
		d.plan.Store = true
	}
	d.roles(true)
	d.routes("the Rollout is being deleted")
	if a != nil && a.Verdict != nil {
		d.pointCanary()
		d.roles(false)
		if !d.withdrawn() && !d.passed(a.StageSince, d.withdrawLimit()) {
			d.s.BlockedBy = d.blocked
			d.plan.Store = d.plan.Store || d.intentChanged()
			return
		}
	}
	for _, r := range d.Routes {
		if why := d.unread(r); why != "" {
			d.s.BlockedBy = why // once the Rollout is gone, nobody gives the route back
			return
		}
	}
	if d.routesPlanned() {
		return // looked at again once the route says so
	}
	if !d.idle() && !d.passed(*d.Rollout.DeletionTimestamp, d.deadline()) {
		return
	}
	if d.Stable.RoleAdded {
		d.do(RemoveStableRole{Why: "the Rollout is being deleted"})
	}
	if !d.giveBack() {
		d.s.BlockedBy = d.blocked
		return
	}
	d.do(SetFinalizer{Why: "routes and Services are as they were before"})
}

// idle says whether only stable pods are left, and takes the others away: without the role in its selector, the stable
// Service would take them in.
func (d *draft) idle() bool {
	idle := true
	for _, rs := range d.ReplicaSets {
		if rs.Revision == revisionOf(d.s.Stable) || d.s.Stable == nil || rs.Wanted == 0 && rs.Current == 0 {
			continue
		}
		idle = false
		if rs.Wanted > 0 {
			d.do(Scale{Revision: rs.Revision, From: rs.Wanted, Why: "the Rollout is being deleted"})
		}
	}
	return idle
}

func (d *draft) routesPlanned() bool {
	return slices.ContainsFunc(d.plan.Actions, func(a Action) bool {
		_, route := a.(PatchRoute)
		return route
	})
}
