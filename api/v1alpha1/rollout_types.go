package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Rollout owns ReplicaSets as a Deployment does, and brings every change of its pod template to production step by
// step: a share of the traffic, a judgement on evidence, then more, or back.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ro,categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=`.status.attempt.progress`
// +kubebuilder:printcolumn:name="Weight",type=integer,JSONPath=`.status.attempt.confirmedWeight`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="Stable",type=string,JSONPath=`.status.stable.revision`
// +kubebuilder:printcolumn:name="Canary",type=string,JSONPath=`.status.attempt.revision`
// +kubebuilder:printcolumn:name="Blocked by",type=string,JSONPath=`.status.blockedBy`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name must have at most 52 characters: ReplicaSets are named <name>-<revision>"
type Rollout struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what should run and how changes are brought out.
	// +required
	Spec RolloutSpec `json:"spec"`
	// status is what runs and where the current attempt stands.
	// +optional
	Status RolloutStatus `json:"status,omitempty"`
}

// RolloutSpec is what should run and how changes are brought out.
//
// +kubebuilder:validation:XValidation:rule="self.selector == oldSelf.selector",message="selector cannot be changed: make a new Rollout instead"
// +kubebuilder:validation:XValidation:rule="!has(self.selector.matchLabels) || (has(self.template.metadata) && has(self.template.metadata.labels) && self.selector.matchLabels.all(k, k in self.template.metadata.labels && self.template.metadata.labels[k] == self.selector.matchLabels[k]))",message="template.metadata.labels must carry every label of selector.matchLabels"
// +kubebuilder:validation:XValidation:rule="!has(self.strategy.canary.steps) || self.strategy.canary.steps.all(s, s.weight <= (has(self.traffic.totalWeight) ? self.traffic.totalWeight : 100))",message="strategy.canary.steps: weight must not exceed traffic.totalWeight (default 100)"
type RolloutSpec struct {
	// replicas is how many pods serve at rest. Default 1. An HPA may target the Rollout.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Replicas *int32 `json:"replicas,omitempty"`
	// selector selects the pods of this Rollout; it cannot be changed. matchLabels only.
	// +required
	Selector Selector `json:"selector"`
	// template is the pod template. Every change of it starts a numbered attempt.
	// +required
	Template corev1.PodTemplateSpec `json:"template"`
	// minReadySeconds is how many seconds a pod must have been ready to count as available. Default 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	MinReadySeconds int32 `json:"minReadySeconds,omitempty"`
	// revisionHistoryLimit is how many ReplicaSets without pods are kept for going back. Default 5.
	// +optional
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	RevisionHistoryLimit *int32 `json:"revisionHistoryLimit,omitempty"`
	// progressDeadline is how long an attempt may wait for pods or for the gateway without progress before it has
	// failed. Default 10m.
	// +optional
	// +kubebuilder:default="10m"
	ProgressDeadline Duration `json:"progressDeadline,omitempty"`
	// paused stops forward steps; traffic stays as it is, and abort still works. Default false.
	// +optional
	Paused bool `json:"paused,omitempty"`
	// traffic says which Service and routes carry the traffic.
	// +required
	Traffic Traffic `json:"traffic"`
	// strategy says in which steps a new revision is exposed.
	// +required
	Strategy Strategy `json:"strategy"`
	// analysis is judged in the background during the whole attempt and its bake. Unset: only pod failures, holds and
	// approvals decide.
	// +optional
	Analysis *AnalysisReference `json:"analysis,omitempty"`
	// onFailure says what happens when an attempt fails. Default: roll back, write nothing to Git.
	// +optional
	OnFailure OnFailure `json:"onFailure,omitzero"`
}

// Selector selects pods by equality.
type Selector struct {
	// matchLabels are the labels that every pod of the Rollout carries.
	// +required
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	MatchLabels map[string]string `json:"matchLabels"`
}

// Traffic says which Service and routes carry the traffic.
//
// +kubebuilder:validation:XValidation:rule="!has(self.canaryService) || self.canaryService != self.stableService",message="canaryService must differ from stableService"
type Traffic struct {
	// stableService is the Service that users of the workload call. It exists in Git; Belay adds belay.dev/role to its
	// selector once.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=56
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	StableService string `json:"stableService"`
	// canaryService is created and owned by Belay. Default: <stableService>-canary.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	CanaryService string `json:"canaryService,omitempty"`
	// totalWeight is the denominator of the steps' weights. Default 100; 1000 allows steps of 0.1 %.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	TotalWeight int32 `json:"totalWeight,omitempty"`
	// settle is how long after a gateway accepted a route its traffic is taken to have moved. Samples count from then
	// on, and nothing is scaled down before. Default 10s.
	// +optional
	// +kubebuilder:default="10s"
	Settle Duration `json:"settle,omitempty"`
	// routes carry the traffic. Every rule that refers to stableService is stepped.
	// +required
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Routes []RouteReference `json:"routes"`
}

// RouteReference names a route of the Gateway API in the Rollout's namespace.
type RouteReference struct {
	// kind of the route: HTTPRoute.
	// +required
	// +kubebuilder:validation:Enum=HTTPRoute
	Kind string `json:"kind"`
	// name of the route.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Strategy says in which steps a new revision is exposed.
type Strategy struct {
	// canary exposes a new revision to a growing share of the traffic.
	// +required
	Canary CanaryStrategy `json:"canary"`
}

// CanaryStrategy exposes a new revision to a growing share of the traffic.
//
// +kubebuilder:validation:XValidation:rule="self.steps.all(s, !has(s.name) || self.steps.filter(t, has(t.name) && t.name == s.name).size() == 1)",message="steps: every name may occur once"
type CanaryStrategy struct {
	// steps are gone through in order; after the last one the revision is promoted.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=30
	Steps []Step `json:"steps"`
	// bake is how long after promotion the revision is still judged while the old pods stay warm. Default 0s.
	// +optional
	// +kubebuilder:default="0s"
	Bake Duration `json:"bake,omitempty"`
	// scaleDownDelay is how long the pods of a revision that no longer gets traffic are kept. Default 30s.
	// +optional
	// +kubebuilder:default="30s"
	ScaleDownDelay Duration `json:"scaleDownDelay,omitempty"`
}

// Step is how much is exposed, and what opens the gate to the next step.
type Step struct {
	// name of the step, for people. Default: "step-<n>", counted from 1.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// weight is the canary's share of the traffic, in units of 1/totalWeight.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Weight *int32 `json:"weight"`
	// replicas of the canary: a count, or a percentage of spec.replicas. Default: in proportion to the weight, at
	// least 1 while exposed.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?|100)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string || (self >= 1 && self <= 10000)",message="replicas must be a count of at least 1, or a percentage from 1% to 100%"
	Replicas *intstr.IntOrString `json:"replicas,omitempty"`
	// hold is the least time at full exposure, counted from the moment the traffic is confirmed. Default 0s.
	// +optional
	// +kubebuilder:default="0s"
	Hold Duration `json:"hold,omitempty"`
	// approval Required: the step is left only after a Decision with action Approve. Default NotRequired.
	// +optional
	// +kubebuilder:default=NotRequired
	Approval Approval `json:"approval,omitempty"`
	// checks are judged for this step alone, beside the background analysis, and must pass to leave it.
	// +optional
	Checks *AnalysisReference `json:"checks,omitempty"`
}

// Approval says whether a person must approve.
// +kubebuilder:validation:Enum=Required;NotRequired
type Approval string

// Values of Approval.
const (
	ApprovalRequired    Approval = "Required"
	ApprovalNotRequired Approval = "NotRequired"
)

// OnFailure says what happens when an attempt fails.
type OnFailure struct {
	// action Rollback takes the traffic back at once; Pause holds everything where it is for a person. Default Rollback.
	// +optional
	// +kubebuilder:default=Rollback
	// +kubebuilder:validation:Enum=Rollback;Pause
	Action FailureAction `json:"action,omitempty"`
	// revert commits the way back to Git. Unset: tell, do not write.
	// +optional
	Revert *Revert `json:"revert,omitempty"`
}

// FailureAction is what happens when an attempt fails.
type FailureAction string

// Values of FailureAction.
const (
	FailureRollback FailureAction = "Rollback"
	FailurePause    FailureAction = "Pause"
)

// Revert says where in Git this workload is declared.
type Revert struct {
	// repository is a Repository of this namespace with spec.write set.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Repository string `json:"repository"`
	// path of the folder in the repository that renders to this Rollout: plain YAML or kustomize.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="path must be relative to the repository's root and must not contain '..'"
	Path string `json:"path"`
}

// RolloutStatus is what runs and where the current attempt stands.
type RolloutStatus struct {
	// conditions are Ready, Progressing, Stalled, TrafficReady, AnalysisHealthy, Reverted.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// phase is for people and print columns: Healthy, Progressing, Paused, Baking, RollingBack, Degraded. Nothing reads it.
	// +optional
	Phase string `json:"phase,omitempty"`
	// blockedBy says in one sentence what the Rollout is waiting for; empty when it waits for nothing.
	// +optional
	BlockedBy string `json:"blockedBy,omitempty"`
	// replicas counts the pods of all revisions.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// updatedReplicas counts the pods of the template's revision.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas,omitempty"`
	// readyReplicas counts the ready pods of all revisions.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// availableReplicas counts the available pods of all revisions.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas,omitempty"`
	// selector of the pods in string form, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// stable is the last known-good revision: all users get it when no attempt runs.
	// +optional
	Stable *RevisionRecord `json:"stable,omitempty"`
	// previous is the revision that was stable before and whose pods are still kept.
	// +optional
	Previous *RevisionRecord `json:"previous,omitempty"`
	// attempt is the current attempt, or the last one while its traffic is being taken back. Unset at rest.
	// +optional
	Attempt *Attempt `json:"attempt,omitempty"`
	// attempts counts the attempts so far; the current one has this number.
	// +optional
	Attempts int64 `json:"attempts,omitempty"`
	// quarantine lists revisions that failed: they are not started again until a Decision with action Retry.
	// +optional
	// +listType=map
	// +listMapKey=revision
	// +kubebuilder:validation:MaxItems=20
	Quarantine []Quarantined `json:"quarantine,omitempty"`
	// history holds the last attempts, newest first.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=10
	History []AttemptRecord `json:"history,omitempty"`
	// decisions are the UIDs of the last Decisions that were applied, newest first, so that none is applied twice.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Decisions []string `json:"decisions,omitempty"`
	// revert is the last intended revert and how far it got.
	// +optional
	Revert *RevertStatus `json:"revert,omitempty"`
}

// RevisionRecord is a revision and where it came from.
type RevisionRecord struct {
	// revision is the hash of the template.
	Revision string `json:"revision"`
	// commit that brought it, where known.
	// +optional
	Commit string `json:"commit,omitempty"`
	// since when it has had this role.
	Since metav1.Time `json:"since"`
	// idleAt is since when no traffic has reached it; unset while it may be used.
	// +optional
	IdleAt *metav1.Time `json:"idleAt,omitempty"`
}

// Stage is where an attempt stands. The planner reads it; it is stored before it is acted on.
type Stage string

// The stages of an attempt, in the order of a good one. Withdrawing is entered from any of them.
const (
	// StageInitial: the first revision ever comes up; there is nothing to go back to.
	StageInitial Stage = "Initial"
	// StageStepping: the canary gets the weight of the current step.
	StageStepping Stage = "Stepping"
	// StageSwitching: all traffic is on the canary Service while the new pods join the stable Service.
	StageSwitching Stage = "Switching"
	// StageRetiring: the old pods leave the stable Service.
	StageRetiring Stage = "Retiring"
	// StageReturning: the traffic goes back from the canary Service to the stable Service.
	StageReturning Stage = "Returning"
	// StageBaking: promoted; still judged, old pods warm.
	StageBaking Stage = "Baking"
	// StageWithdrawing: the traffic is taken back and the canary drained.
	StageWithdrawing Stage = "Withdrawing"
)

// Outcome is how an attempt ended.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomePromoted   Outcome = "Promoted"
	OutcomeRolledBack Outcome = "RolledBack"
	OutcomeSuperseded Outcome = "Superseded"
	OutcomeAborted    Outcome = "Aborted"
)

// Attempt is one try to bring out one revision.
type Attempt struct {
	// number of the attempt, from 1.
	Number int64 `json:"number"`
	// revision that is tried.
	Revision string `json:"revision"`
	// commit that brought it, where known.
	// +optional
	Commit string `json:"commit,omitempty"`
	// stage of the attempt.
	Stage Stage `json:"stage"`
	// stageSince is when the stage was entered.
	StageSince metav1.Time `json:"stageSince"`
	// startedAt is when the attempt began.
	StartedAt metav1.Time `json:"startedAt"`
	// step is the index of the current step, from 0.
	// +optional
	Step int32 `json:"step"`
	// stepName is the name of the current step.
	// +optional
	StepName string `json:"stepName,omitempty"`
	// stepSince is when the current step was entered.
	// +optional
	StepSince *metav1.Time `json:"stepSince,omitempty"`
	// progress is "step/steps", for print columns.
	// +optional
	Progress string `json:"progress,omitempty"`
	// weight wanted for the canary, in units of 1/totalWeight.
	// +optional
	Weight int32 `json:"weight"`
	// acceptedAt is when every route was first seen accepted with the wanted weight.
	// +optional
	AcceptedAt *metav1.Time `json:"acceptedAt,omitempty"`
	// confirmedAt is when the wanted weight had also settled: hold and evidence count from here.
	// +optional
	ConfirmedAt *metav1.Time `json:"confirmedAt,omitempty"`
	// confirmedWeight is the last confirmed weight of the canary.
	// +optional
	ConfirmedWeight int32 `json:"confirmedWeight"`
	// maxWeight is the highest weight that was wanted so far.
	// +optional
	MaxWeight int32 `json:"maxWeight,omitempty"`
	// exposedAt is when the first weight above 0 was wanted.
	// +optional
	ExposedAt *metav1.Time `json:"exposedAt,omitempty"`
	// progressAt is when the attempt last came closer to what it is waiting for; progressDeadline counts from here.
	// Unset while it waits for neither pods nor routes.
	// +optional
	ProgressAt *metav1.Time `json:"progressAt,omitempty"`
	// available is the highest number of this revision's pods that were available, and endpoints of the canary Service,
	// in the current step; no more than the step asks for.
	// +optional
	Available int32 `json:"available,omitempty"`
	// pause is set while a person or onFailure has paused the attempt.
	// +optional
	Pause *Actor `json:"pause,omitempty"`
	// approvals given, by step.
	// +optional
	// +listType=map
	// +listMapKey=step
	// +kubebuilder:validation:MaxItems=32
	Approvals []StepApproval `json:"approvals,omitempty"`
	// full is set once a person has asked for promotion without further steps.
	// +optional
	Full *Actor `json:"full,omitempty"`
	// verdict is set once the attempt has failed or been called off, before anything else is done about it.
	// +optional
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Actor is who asked for something, why and when.
type Actor struct {
	// name of the actor.
	Name string `json:"name"`
	// reason given.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// at is when.
	At metav1.Time `json:"at"`
}

// StepApproval is a person's approval of a step.
type StepApproval struct {
	// step that was approved, from 0.
	Step int32 `json:"step"`
	// by whom, why and when.
	By Actor `json:"by"`
}

// Verdict says why an attempt ends otherwise than promoted.
type Verdict struct {
	// outcome the attempt will end with.
	Outcome Outcome `json:"outcome"`
	// reason in one word: AnalysisFailed, PodsFailed, ProgressDeadline, CanaryLost, Manual, NewTemplate, TemplateReverted, RouteLost.
	Reason string `json:"reason"`
	// message in one sentence, with the evidence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// actor is who decided: belay, or a person.
	Actor string `json:"actor"`
	// at is when.
	At metav1.Time `json:"at"`
	// metric that failed, where one did.
	// +optional
	Metric string `json:"metric,omitempty"`
	// value that was measured, as text.
	// +optional
	Value string `json:"value,omitempty"`
	// weight that was wanted when the verdict fell.
	// +optional
	Weight int32 `json:"weight,omitempty"`
}

// Quarantined is a revision that failed.
type Quarantined struct {
	// revision that failed.
	Revision string `json:"revision"`
	// attempt it failed in.
	Attempt int64 `json:"attempt"`
	// reason in one word.
	Reason string `json:"reason"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// at is when.
	At metav1.Time `json:"at"`
}

// AttemptRecord is an attempt that is over.
type AttemptRecord struct {
	// number of the attempt.
	Number int64 `json:"number"`
	// revision that was tried.
	Revision string `json:"revision"`
	// commit that brought it, where known.
	// +optional
	Commit string `json:"commit,omitempty"`
	// outcome of the attempt.
	Outcome Outcome `json:"outcome"`
	// reason in one word.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// actor is who decided.
	// +optional
	Actor string `json:"actor,omitempty"`
	// metric that failed, where one did.
	// +optional
	Metric string `json:"metric,omitempty"`
	// value that was measured of it, as text.
	// +optional
	Value string `json:"value,omitempty"`
	// startedAt is when the attempt began.
	StartedAt metav1.Time `json:"startedAt"`
	// endedAt is when it ended.
	EndedAt metav1.Time `json:"endedAt"`
	// maxWeight is the highest weight the attempt had wanted, in units of 1/totalWeight.
	// +optional
	MaxWeight int32 `json:"maxWeight,omitempty"`
}

// RevertState is how far a revert got.
type RevertState string

// The states of a revert.
const (
	// RevertPending: to be composed and pushed; retried with back-off.
	RevertPending RevertState = "Pending"
	// RevertPushed: the commit is in Git.
	RevertPushed RevertState = "Pushed"
	// RevertNotNeeded: Git no longer said bad when looked at.
	RevertNotNeeded RevertState = "NotNeeded"
	// RevertConflict: Git says neither bad nor good; a person must look.
	RevertConflict RevertState = "Conflict"
	// RevertRejected: the Git server refuses the push for good, e.g. a protected branch; a person must look.
	RevertRejected RevertState = "Rejected"
)

// RevertStatus is an intended revert and how far it got. It is stored before Git is touched.
type RevertStatus struct {
	// id is made from the repository, branch, workload, bad and good revision: the same failure has the same id.
	ID string `json:"id"`
	// attempt that failed.
	Attempt int64 `json:"attempt"`
	// state of the revert.
	State RevertState `json:"state"`
	// bad revision that is taken out of Git.
	Bad string `json:"bad"`
	// good revision that is put back.
	Good string `json:"good"`
	// badCommit that brought the bad revision, once known.
	// +optional
	BadCommit string `json:"badCommit,omitempty"`
	// goodCommit whose content is restored, once known.
	// +optional
	GoodCommit string `json:"goodCommit,omitempty"`
	// commit that reverts, once pushed.
	// +optional
	Commit string `json:"commit,omitempty"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// requestedAt is when the verdict fell.
	RequestedAt metav1.Time `json:"requestedAt"`
	// finishedAt is when the revert reached a final state.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
}

// RolloutList is a list of Rollouts.
//
// +kubebuilder:object:root=true
type RolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rollout `json:"items"`
}
