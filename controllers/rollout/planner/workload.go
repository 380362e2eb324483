package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Workload is what the planner knows of the Deployment of workloadRef.
type Workload struct {
	Name   string
	Exists bool
	// Problem says why its pods cannot be taken over, or its template not be followed; empty when they can.
	Problem string
	// Unfinished says what its own rollout waits for; empty when it is complete.
	Unfinished string
	// Paused is spec.paused. Claimed: it carries the name of this Rollout.
	Paused, Claimed bool
	// Seen: its controller has seen its current generation.
	Seen bool
	// Replicas is spec.replicas; Counted is how many pods its controller counts as its own.
	Replicas, Counted int32
	// Owned are the ReplicaSets that it controls. They are read only where there may be any.
	Owned []Owned
	// Object is the Deployment that changes start from; the planner does not look at it.
	Object *appsv1.Deployment
}

// Owned is a ReplicaSet that the Deployment controls.
type Owned struct {
	Name string
	// Revision of its template.
	Revision string
	// Wanted is spec.replicas, Current the count of its pods.
	Wanted, Current int32
	Created         time.Time
	// Ours: it carries the name of this Rollout, so it has been the Rollout's before.
	Ours bool
}

func (o Owned) active() bool { return o.Wanted > 0 || o.Current > 0 }

const whyAdopt = "the Rollout takes over the pods of the Deployment"

// adopt takes over what the Deployment runs, before anything else is done: the Deployment is paused and its controller
// seen to know it; then its ReplicaSets change their owner, those with pods last, because a Deployment without any of
// those brings its latest ReplicaSet to its size, paused or not. It says whether the plan ends here. Nothing of this is
// stored: until status.stable is there, what the Deployment controls is still to be taken over.
func (d *draft) adopt() bool {
	w := d.Workload
	if w == nil || d.s.Stable != nil || d.s.Attempt != nil {
		return false
	}
	why := d.cannotAdopt()
	switch {
	case why != "":
		d.block(why)
		return true
	case len(d.plan.Actions) > 0:
		return true // the finalizer comes first
	case !w.Claimed || !w.Paused:
		d.do(HoldDeployment{Why: whyAdopt})
		return true
	case !w.Seen:
		d.block(fmt.Sprintf("the Deployment controller has not yet seen that Deployment %s is paused", w.Name))
		return true
	case len(w.Owned) > 0:
		d.takeOver()
		return true
	}
	rs := d.running()
	if rs == nil {
		return false // the Deployment has made nothing yet: the first revision is made here
	}
	d.s.Stable = &v1alpha1.RevisionRecord{Revision: rs.Revision, Since: d.now()}
	d.tell("Normal", "Adopted", fmt.Sprintf("the pods of Deployment %s are taken over: revision %s is stable", w.Name, rs.Revision))
	return false
}

// cannotAdopt says why nothing can be taken over now. Nothing is touched before everything is in place.
func (d *draft) cannotAdopt() string {
	w := d.Workload
	if why := d.workloadTrouble(); why != "" {
		d.stalled = "WorkloadNotUsable"
		return why
	}
	begun := w.Claimed && w.Paused
	switch {
	case begun && len(d.activeOwned()) > 1:
		return fmt.Sprintf("Deployment %s was paused in the middle of a rollout: resume it (`kubectl rollout resume`); it is taken over once its rollout is complete", w.Name)
	case begun:
		return ""
	case w.Unfinished != "":
		return fmt.Sprintf("Deployment %s is in the middle of a rollout of its own (%s): it is taken over once that is complete", w.Name, w.Unfinished)
	case d.Rollout.Spec.Paused:
		return "spec.paused is true"
	case d.unusable() != "":
		return d.trafficProblem
	}
	return d.AnalysisProblem
}

// workloadTrouble says why the Deployment cannot be followed.
func (d *draft) workloadTrouble() string {
	w := d.Workload
	switch {
	case w == nil:
		return ""
	case !w.Exists && d.s.Stable == nil:
		return fmt.Sprintf("Deployment %s does not exist", w.Name)
	case !w.Exists:
		return fmt.Sprintf("Deployment %s does not exist any more: its pods are kept as they are; apply it again, or delete the Rollout", w.Name)
	}
	return w.Problem
}

func (d *draft) activeOwned() []Owned {
	return slices.DeleteFunc(slices.Clone(d.Workload.Owned), func(o Owned) bool { return !o.active() })
}

// takeOver moves the ReplicaSets without pods, newest first, and then the one with pods. Of two with the same template the
// one with pods counts, and then the newer one.
func (d *draft) takeOver() {
	sets := slices.Clone(d.Workload.Owned)
	slices.SortFunc(sets, func(a, b Owned) int {
		return cmp.Or(boolean(b.active())-boolean(a.active()), b.Created.Compare(a.Created), strings.Compare(a.Name, b.Name))
	})
	taken := map[string]bool{}
	for _, rs := range d.ReplicaSets {
		taken[rs.Revision] = true
	}
	var last []Action
	for _, o := range sets {
		switch {
		case taken[o.Revision] && o.active():
			d.block(fmt.Sprintf("ReplicaSets of Deployment %s with the same template have pods: scale %s to 0", d.Workload.Name, o.Name))
			return
		case taken[o.Revision]:
			d.do(DeleteStray{Name: o.Name, Why: "another ReplicaSet has the same template"})
		case o.active():
			last = append(last, AdoptReplicaSet{Name: o.Name, Revision: o.Revision, Role: v1alpha1.RoleStable, Why: whyAdopt})
		default:
			d.do(AdoptReplicaSet{Name: o.Name, Revision: o.Revision, Role: v1alpha1.RolePrevious, Why: whyAdopt})
		}
		taken[o.Revision] = true
	}
	d.plan.Actions = append(d.plan.Actions, last...)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// running is the ReplicaSet that serves, among those that were taken over: the one with the most pods wanted, or that of
// the template where none are.
func (d *draft) running() *ReplicaSet {
	var most *ReplicaSet
	for i := range d.ReplicaSets {
		rs := &d.ReplicaSets[i]
		if rs.Wanted > 0 && (most == nil || rs.Wanted > most.Wanted) {
			most = rs
		}
	}
	if most == nil {
		return d.replicaSet(d.Revision)
	}
	return most
}

// hold keeps the Deployment from running pods of its own: it is paused again where somebody has resumed it, and what it
// made meanwhile is removed. Such pods have no role, so the stable Service does not select them.
func (d *draft) hold() {
	w := d.Workload
	if w == nil || !w.Exists || w.Problem != "" {
		return
	}
	if !w.Paused || !w.Claimed {
		if d.s.Stable != nil && !w.Paused {
			d.block(fmt.Sprintf("Deployment %s was resumed and is paused again; to give its pods back, delete the Rollout", w.Name))
			d.tell("Warning", "DeploymentResumed", d.blocked)
		}
		d.do(HoldDeployment{Why: "its pods belong to the Rollout"})
		return
	}
	for _, rs := range d.ReplicaSets {
		if !rs.Linked {
			d.do(AdoptReplicaSet{Name: rs.Name, Revision: rs.Revision, Role: rs.Role, Why: "the Deployment is its second owner"})
		}
	}
	for _, o := range w.Owned {
		switch {
		case o.Ours:
			d.do(AdoptReplicaSet{Name: o.Name, Revision: o.Revision, Role: d.roleOf(o.Revision), Why: "it belongs to the Rollout"})
		case w.Seen:
			d.do(DeleteStray{Name: o.Name, Why: "the Deployment was resumed, and its pods get no traffic"})
		}
	}
}

// witnessed says whether the controller of EndpointSlices is seen to know the role of every stable pod: a Service that
// selects by a label which that controller has not seen yet would lose its endpoints. The canary Service, which no route
// refers to at rest, is pointed at the role to find out. Pods that were made with their role need no witness.
func (d *draft) witnessed(revision string) bool {
	if d.Workload == nil || d.s.Attempt != nil {
		return true
	}
	if d.trafficProblem != "" {
		return false
	}
	if !d.Canary.Exists || d.Canary.Role != string(v1alpha1.RoleStable) || !d.Canary.PortsMatch {
		d.do(PointCanary{Why: "its endpoints show that the role of stable pods is known"})
		return false
	}
	return d.Canary.Endpoints[revision] >= max(1, d.Stable.Endpoints[revision]) || d.replicas() == 0
}

// giveBack makes the Deployment the owner of its pods again, at the deletion of the Rollout, and says whether that is done:
// first it gets the size of what runs, then the stable ReplicaSet, then the history. It is resumed when its controller is
// seen to count the pods as its own, and only if its template is that of the pods: otherwise it stays paused, because to
// resume it would bring out a revision that was not proven.
func (d *draft) giveBack() bool {
	w := d.Workload
	if w == nil || !w.Exists || w.Problem != "" {
		return true
	}
	dirty := slices.ContainsFunc(w.Owned, func(o Owned) bool { return o.Ours })
	if d.dress(); slices.ContainsFunc(d.plan.Actions, func(a Action) bool { _, dressing := a.(DressPods); return dressing }) {
		return false
	}
	switch {
	case d.Stable.RoleAdded:
		return false // the Service first
	case len(d.ReplicaSets) == 0 && !dirty && !w.Claimed:
		return true
	case !w.Paused || !w.Claimed:
		d.do(HoldDeployment{Why: "its pods are given back"})
	case !w.Seen:
		d.block(fmt.Sprintf("the Deployment controller has not yet seen the last change of Deployment %s", w.Name))
	case len(d.ReplicaSets) > 0 || dirty:
		d.returnSets()
	default:
		d.free()
	}
	return false
}

func (d *draft) returnSets() {
	w := d.Workload
	stable := d.replicaSet(revisionOf(d.s.Stable))
	if stable != nil {
		for _, o := range w.Owned {
			if !o.Ours {
				d.do(DeleteStray{Name: o.Name, Why: "the pods that serve are given back instead"})
			}
		}
		switch {
		case len(d.plan.Actions) > 0:
			return
		case w.Counted > 0 && len(w.Owned) == 0:
			d.block(fmt.Sprintf("the Deployment controller still counts %d pods as its own", w.Counted))
			return
		case w.Replicas != stable.Wanted:
			d.do(SizeDeployment{From: w.Replicas, To: stable.Wanted, Why: "as many pods as run"})
			return
		}
		d.do(ReturnReplicaSet{Name: stable.Name, Why: "the Rollout is being deleted"})
		return
	}
	for _, o := range w.Owned {
		if o.Ours {
			d.do(ReturnReplicaSet{Name: o.Name, Why: "the Rollout is being deleted"})
		}
	}
	for _, rs := range d.ReplicaSets {
		d.do(ReturnReplicaSet{Name: rs.Name, Why: "the Rollout is being deleted"})
	}
}

func (d *draft) free() {
	w := d.Workload
	var pods int32
	resume := true
	for _, o := range w.Owned {
		if o.active() {
			pods += o.Current
			resume = resume && o.Revision == d.Revision
		}
	}
	if w.Counted < pods {
		d.block(fmt.Sprintf("the Deployment controller counts %d of %d pods as its own", w.Counted, pods))
		return
	}
	if !resume {
		d.block(fmt.Sprintf("the template of Deployment %s is not that of its pods, so it stays paused: to bring it out without Belay, use `kubectl rollout resume deployment/%s`", w.Name, w.Name))
		d.tell("Warning", "DeploymentLeftPaused", d.blocked)
		d.do(FreeDeployment{Why: "its template was not proven"})
		return
	}
	d.do(FreeDeployment{Resume: true, Why: "it owns its pods again"})
}
