package planner

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// Observed is everything that a plan depends on.
type Observed struct {
	// Now is the time of the plan.
	Now time.Time
	// Rollout as the API server has it; Plan does not change it. With workloadRef, template, selector, minReadySeconds and
	// replicas are filled in from the Deployment.
	Rollout *v1alpha1.Rollout
	// Workload is the Deployment of workloadRef; nil where there is no workloadRef.
	Workload *Workload
	// Revision is the hash of the Rollout's template.
	Revision string
	// ReplicaSets that the Rollout owns.
	ReplicaSets []ReplicaSet
	// Pods of those ReplicaSets that are not being deleted.
	Pods []Pod
	// Stable and Canary are the two Services.
	Stable, Canary Service
	// Routes in the order of the spec.
	Routes []Route
	// Bypasses are routes that lead to the stable Service past the split, sorted; they are looked for only where an
	// attempt may begin.
	Bypasses []Bypass
	// Runs are the AnalysisRuns of this Rollout by name.
	Runs map[string]*v1alpha1.AnalysisRun
	// AnalysisProblem says why the templates cannot be used; empty when they can, or when none are named.
	AnalysisProblem string
	// Decisions about this Rollout without a result.
	Decisions []v1alpha1.Decision
	// Inspect reads routes; nil: gatewayapi.Inspect. Somebody who makes many plans on the same routes may remember answers.
	Inspect func(*unstructured.Unstructured, gatewayapi.Split) gatewayapi.View
}

// ReplicaSet is what the planner knows of a ReplicaSet.
type ReplicaSet struct {
	Name, Revision string
	// Role of new pods, from the labels of the template.
	Role v1alpha1.Role
	// Wanted is spec.replicas; the others are counts from the status.
	Wanted, Current, Ready, Available int32
	Created                           time.Time
	// Linked: the Deployment of workloadRef is named as an owner beside the Rollout, and gets the pods if the Rollout is gone.
	Linked bool
	// MinReadySeconds of its spec.
	MinReadySeconds int32
	// Problem is the message of the condition ReplicaFailure, where it is True.
	Problem string
}

// Pod is what the planner knows of a pod.
type Pod struct {
	Name, Revision string
	UID            types.UID
	Role           v1alpha1.Role
	Created        time.Time
	// Dress is what the pod carries for a role, as DressOf writes it; empty for nothing.
	Dress string
	// Ready is the condition Ready.
	Ready bool
	// Waiting is the reason that a container waits for, e.g. CrashLoopBackOff; Message its message.
	Waiting, Message string
	// Restarts of the container with the most.
	Restarts int32
	// Unschedulable is the scheduler's message where the pod cannot be placed.
	Unschedulable string
}

// Service is what the planner knows of a Service.
type Service struct {
	Name string
	// Exists and Ours (made by this Rollout).
	Exists, Ours bool
	// Role and Revision that the selector asks for; empty when it asks for none.
	Role, Revision string
	// Keys are the labels that its selector asks for.
	Keys []string
	// RoleAdded: Belay added the role to the selector.
	RoleAdded bool
	// PortsMatch: it has all ports of the stable Service.
	PortsMatch bool
	// Endpoints counts ready endpoints by the revision of their pods.
	Endpoints map[string]int32
}

// Route is a route that the spec names.
type Route struct {
	Kind, Name string
	// Namespace of the route where it is not the Rollout's.
	Namespace string
	// Rules are the names of the rules that are stepped; none for all.
	Rules []string
	// Object is nil when the route does not exist, or is Unread.
	Object *unstructured.Unstructured
	// Refused says why the route cannot be used whatever it says; empty when it can.
	Refused string
	// Unread says why the route could not be read, in the course of an attempt; empty when it could, or does not exist.
	Unread string
	// Unknown says why Gateways could not be read, in the course of an attempt; empty when they could.
	Unknown string
	// Probed is the token that every address of its gateways has answered with; ProbeTrouble says which has not.
	Probed, ProbeTrouble string
	// Policies that are attached to single rules of the route; they are looked for only where an attempt may begin.
	Policies []Policy
	// Gateways that the route is attached to, where NeedsFeatures.
	Gateways []Gateway
}

// String names the route for people.
func (r Route) String() string { return named(r.Kind, r.Namespace, r.Name) }

// Is says whether a patch is for this route.
func (r Route) Is(a PatchRoute) bool {
	return r.Kind == a.Kind && r.Namespace == a.Namespace && r.Name == a.Name
}

// named is a kind and a name, with the namespace where one is given.
func named(kind, namespace, name string) string {
	if namespace != "" {
		name = namespace + "/" + name
	}
	return kind + " " + name
}

// replicaSet of a revision, or nil.
func (o *Observed) replicaSet(revision string) *ReplicaSet {
	for i := range o.ReplicaSets {
		if o.ReplicaSets[i].Revision == revision {
			return &o.ReplicaSets[i]
		}
	}
	return nil
}

func (o *Observed) available(revision string) int32 {
	if rs := o.replicaSet(revision); rs != nil {
		return rs.Available
	}
	return 0
}

// asked is spec.replicas. Where the number was taken out, as it is for an HPA to come, what runs stays, until somebody says another.
func (o *Observed) asked() int32 {
	st := &o.Rollout.Status
	switch {
	case o.Rollout.Spec.Replicas != nil:
		return *o.Rollout.Spec.Replicas
	case st.Attempt != nil && st.Attempt.Replicas > 0:
		return st.Attempt.Replicas
	case st.Stable != nil && o.replicaSet(st.Stable.Revision) != nil:
		return max(1, o.replicaSet(st.Stable.Revision).Wanted)
	}
	return 1
}

func (o *Observed) total() int32 {
	if t := o.Rollout.Spec.Traffic.TotalWeight; t > 0 {
		return t
	}
	return 100
}

func (o *Observed) deadline() time.Duration {
	return o.Rollout.Spec.ProgressDeadline.Or(10 * time.Minute)
}

func (o *Observed) steps() []v1alpha1.Step { return o.Rollout.Spec.Steps() }
