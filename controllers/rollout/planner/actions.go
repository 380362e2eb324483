package planner

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Action is one thing to do. Each is idempotent and has a deterministic identity.
type Action interface {
	fmt.Stringer
	action()
}

type (
	// SetFinalizer puts the finalizer on the Rollout, or takes it off. Replicas is written down where spec.replicas is not set.
	SetFinalizer struct {
		Present  bool
		Replicas int32
		Why      string
	}
	// CreateReplicaSet makes the ReplicaSet of the Rollout's template.
	CreateReplicaSet struct {
		Revision string
		Replicas int32
		Role     v1alpha1.Role
		Why      string
	}
	// Scale sets the replicas of a ReplicaSet.
	Scale struct {
		Revision string
		From, To int32
		Why      string
	}
	// DeleteReplicaSet removes a ReplicaSet that has no pods.
	DeleteReplicaSet struct {
		Revision string
		Why      string
	}
	// SetRole puts a role on the template of a ReplicaSet, where Template is set, and on pods.
	SetRole struct {
		Revision string
		Role     v1alpha1.Role
		Template bool
		Pods     []string
		Why      string
	}
	// SetMinReady brings minReadySeconds of a ReplicaSet to what the spec says.
	SetMinReady struct {
		Revision string
		Seconds  int32
		Why      string
	}
	// DressPods puts on pods what roleMetadata says of a role, and takes off what an earlier role had put on.
	DressPods struct {
		Revision string
		Pods     []string
		Metadata v1alpha1.PodMetadata
		Why      string
	}
	// AddStableRole adds the role to the selector of the stable Service.
	AddStableRole struct{ Why string }
	// RemoveStableRole takes it out again, where Belay added it.
	RemoveStableRole struct{ Why string }
	// PointCanary makes the canary Service, or sets what it selects: a revision, or the stable role when Revision is
	// empty.
	PointCanary struct {
		Revision string
		Why      string
	}
	// PatchRoute changes what a route says of the two Services.
	PatchRoute struct {
		Kind, Name string
		// Namespace of the route where it is not the Rollout's.
		Namespace string
		// Weight of the canary after the patch, and whether requests that match go to it.
		Weight  int32
		Matches bool
		// Mirrors: copies of requests go to it.
		Mirrors bool
		// Raises: more requests reach the canary than before.
		Raises bool
		// Patch is an RFC 6902 patch.
		Patch []byte
		Why   string
	}
	// StartRun creates an AnalysisRun from the templates of the background analysis, or of a step.
	StartRun struct {
		Name string
		// Step whose checks are meant, StepBackground for the background analysis, or StepShare for the measured share.
		Step int32
		Why  string
	}
	// MarkStep tells an AnalysisRun of a step whose traffic was confirmed.
	MarkStep struct {
		Name string
		Step v1alpha1.RunStep
		Why  string
	}
	// StopRun ends an AnalysisRun's measuring.
	StopRun struct{ Name, Why string }
	// DeleteRun removes an AnalysisRun of an attempt that left the history.
	DeleteRun struct{ Name, Why string }
	// EvictPod evicts a pod, so that its ReplicaSet makes a new one.
	EvictPod struct {
		Name string
		UID  types.UID
		Why  string
	}
	// HoldDeployment pauses the Deployment of workloadRef and writes the Rollout's name on it.
	HoldDeployment struct{ Why string }
	// AdoptReplicaSet makes the Rollout the controller of a ReplicaSet, with the labels of its revision, and leaves the
	// Deployment a second owner of it.
	AdoptReplicaSet struct {
		Name, Revision string
		Role           v1alpha1.Role
		Why            string
	}
	// DeleteStray removes a ReplicaSet that the Deployment made beside those of the Rollout.
	DeleteStray struct{ Name, Why string }
	// SizeDeployment sets the replicas of the Deployment.
	SizeDeployment struct {
		From, To int32
		Why      string
	}
	// ReturnReplicaSet makes the Deployment the controller of a ReplicaSet, and takes Belay's labels off its template.
	ReturnReplicaSet struct{ Name, Why string }
	// FreeDeployment takes the Rollout's name off the Deployment, and the pause where Resume is set.
	FreeDeployment struct {
		Resume bool
		Why    string
	}
	// Answer writes the result of a Decision.
	Answer struct {
		Decision string
		Result   v1alpha1.DecisionResult
		Message  string
	}
)

// Values of StartRun.Step that are no step.
const (
	StepBackground int32 = -1
	StepShare      int32 = -2
)

func (SetFinalizer) action()     {}
func (CreateReplicaSet) action() {}
func (Scale) action()            {}
func (DeleteReplicaSet) action() {}
func (SetRole) action()          {}
func (SetMinReady) action()      {}
func (DressPods) action()        {}
func (AddStableRole) action()    {}
func (RemoveStableRole) action() {}
func (PointCanary) action()      {}
func (PatchRoute) action()       {}
func (StartRun) action()         {}
func (MarkStep) action()         {}
func (StopRun) action()          {}
func (DeleteRun) action()        {}
func (EvictPod) action()         {}
func (HoldDeployment) action()   {}
func (AdoptReplicaSet) action()  {}
func (DeleteStray) action()      {}
func (SizeDeployment) action()   {}
func (ReturnReplicaSet) action() {}
func (FreeDeployment) action()   {}
func (Answer) action()           {}

func (a SetFinalizer) String() string {
	if a.Present {
		return "add finalizer: " + a.Why
	}
	return "remove finalizer: " + a.Why
}

func (a CreateReplicaSet) String() string {
	return fmt.Sprintf("create ReplicaSet %s with %d pods as %s: %s", a.Revision, a.Replicas, a.Role, a.Why)
}

func (a Scale) String() string {
	return fmt.Sprintf("scale %s from %d to %d: %s", a.Revision, a.From, a.To, a.Why)
}

func (a DeleteReplicaSet) String() string {
	return fmt.Sprintf("delete ReplicaSet %s: %s", a.Revision, a.Why)
}

func (a SetRole) String() string {
	return fmt.Sprintf("make %s %s (%d pods): %s", a.Revision, a.Role, len(a.Pods), a.Why)
}

func (a SetMinReady) String() string {
	return fmt.Sprintf("set minReadySeconds of %s to %d: %s", a.Revision, a.Seconds, a.Why)
}

func (a DressPods) String() string {
	return fmt.Sprintf("set role metadata of %d pods of %s: %s", len(a.Pods), a.Revision, a.Why)
}

func (a AddStableRole) String() string    { return "add role to stable Service: " + a.Why }
func (a RemoveStableRole) String() string { return "remove role from stable Service: " + a.Why }
func (a PointCanary) String() string {
	if a.Revision == "" {
		return "point canary Service to stable pods: " + a.Why
	}
	return fmt.Sprintf("point canary Service to %s: %s", a.Revision, a.Why)
}

func (a PatchRoute) String() string {
	match := ""
	if a.Matches {
		match = " and match"
	}
	if a.Mirrors {
		match = " and mirror"
	}
	return fmt.Sprintf("patch %s to canary weight %d%s: %s", named(a.Kind, a.Namespace, a.Name), a.Weight, match, a.Why)
}
func (a StartRun) String() string       { return fmt.Sprintf("start AnalysisRun %s: %s", a.Name, a.Why) }
func (a StopRun) String() string        { return fmt.Sprintf("stop AnalysisRun %s: %s", a.Name, a.Why) }
func (a DeleteRun) String() string      { return fmt.Sprintf("delete AnalysisRun %s: %s", a.Name, a.Why) }
func (a EvictPod) String() string       { return fmt.Sprintf("evict pod %s: %s", a.Name, a.Why) }
func (a HoldDeployment) String() string { return "pause the Deployment: " + a.Why }
func (a AdoptReplicaSet) String() string {
	return fmt.Sprintf("take over ReplicaSet %s as %s %s: %s", a.Name, a.Role, a.Revision, a.Why)
}
func (a DeleteStray) String() string {
	return fmt.Sprintf("delete stray ReplicaSet %s: %s", a.Name, a.Why)
}
func (a SizeDeployment) String() string {
	return fmt.Sprintf("set replicas of the Deployment from %d to %d: %s", a.From, a.To, a.Why)
}
func (a ReturnReplicaSet) String() string {
	return fmt.Sprintf("give ReplicaSet %s back: %s", a.Name, a.Why)
}
func (a FreeDeployment) String() string {
	if a.Resume {
		return "resume the Deployment: " + a.Why
	}
	return "let the Deployment go, paused: " + a.Why
}
func (a MarkStep) String() string {
	return fmt.Sprintf("tell AnalysisRun %s of a step: %s", a.Name, a.Why)
}
func (a Answer) String() string {
	return fmt.Sprintf("answer Decision %s: %s (%s)", a.Decision, a.Result, a.Message)
}
