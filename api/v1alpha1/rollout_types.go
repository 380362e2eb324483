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
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.attempt) || oldSelf.status.attempt.stage == 'Initial' || (self.spec.traffic.stableService == oldSelf.spec.traffic.stableService && has(self.spec.traffic.canaryService) == has(oldSelf.spec.traffic.canaryService) && (!has(self.spec.traffic.canaryService) || self.spec.traffic.canaryService == oldSelf.spec.traffic.canaryService) && self.spec.traffic.totalWeight == oldSelf.spec.traffic.totalWeight && self.spec.traffic.routes.map(r, r) == oldSelf.spec.traffic.routes.map(r, r))",message="spec.traffic: Services, routes and totalWeight cannot be changed while an attempt is under way: wait for its end, or abort it"
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
// +kubebuilder:validation:XValidation:rule="has(self.selector) == has(oldSelf.selector) && (!has(self.selector) || self.selector == oldSelf.selector)",message="selector cannot be changed: make a new Rollout instead"
// +kubebuilder:validation:XValidation:rule="has(self.template) != has(self.workloadRef)",message="exactly one of template and workloadRef must be set"
// +kubebuilder:validation:XValidation:rule="has(self.selector) != has(self.workloadRef)",message="selector goes with template; with workloadRef it is the Deployment's and must be left out"
// +kubebuilder:validation:XValidation:rule="has(self.workloadRef) == has(oldSelf.workloadRef) && (!has(self.workloadRef) || self.workloadRef == oldSelf.workloadRef)",message="workloadRef cannot be added, changed or removed: `kubectl belay release` gives the pods back, then make a new Rollout"
// +kubebuilder:validation:XValidation:rule="!has(self.workloadRef) || !has(self.onFailure) || !has(self.onFailure.revert)",message="onFailure.revert goes with template: what Git says of a Deployment cannot be compared with what the API server has made of it"
// +kubebuilder:validation:XValidation:rule="!has(self.selector) || !has(self.template) || (has(self.template.metadata) && has(self.template.metadata.labels) && self.selector.matchLabels.all(k, k in self.template.metadata.labels && self.template.metadata.labels[k] == self.selector.matchLabels[k]))",message="template.metadata.labels must carry every label of selector.matchLabels"
// +kubebuilder:validation:XValidation:rule="!has(self.strategy.canary) || self.strategy.canary.steps.all(s, !has(s.weight) || s.weight <= (has(self.traffic.totalWeight) ? self.traffic.totalWeight : 100))",message="strategy.canary.steps: weight must not exceed traffic.totalWeight (default 100)"
// +kubebuilder:validation:XValidation:rule="!has(self.roleMetadata) || !has(self.selector) || self.selector.matchLabels.all(k, (!has(self.roleMetadata.stable) || !has(self.roleMetadata.stable.labels) || !(k in self.roleMetadata.stable.labels)) && (!has(self.roleMetadata.canary) || !has(self.roleMetadata.canary.labels) || !(k in self.roleMetadata.canary.labels)))",message="roleMetadata: labels of selector.matchLabels must not be among the labels of a role"
type RolloutSpec struct {
	// replicas is how many pods serve at rest. An HPA may target the Rollout. Default 1, or as many as run where the number was
	// taken out, which Belay writes down; with workloadRef, where unset: as many as the Deployment asks for, by hand or by an HPA that targets it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Replicas *int32 `json:"replicas,omitempty"`
	// selector selects the pods of this Rollout; it cannot be changed. matchLabels only. With workloadRef it is the
	// Deployment's, and left out here.
	// +optional
	Selector Selector `json:"selector,omitzero"`
	// template is the pod template. Every change of it starts a numbered attempt. Exactly one of template and
	// workloadRef is set.
	// +optional
	Template corev1.PodTemplateSpec `json:"template,omitzero"`
	// workloadRef takes the pod template from a Deployment of this namespace, and its running pods with it: they change
	// their owner, none is restarted. The Deployment is kept paused for as long as the Rollout exists, and gets the pods
	// back when the Rollout is deleted.
	// +optional
	WorkloadRef *WorkloadReference `json:"workloadRef,omitempty"`
	// minReadySeconds is how many seconds a pod must have been ready to count as available. Default 0; with workloadRef,
	// the Deployment's.
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
	// rollbackWindow says which earlier stable revisions are gone back to without steps. Default: the last 3.
	// +optional
	RollbackWindow RollbackWindow `json:"rollbackWindow,omitzero"`
	// restartAt asks for every stable pod that was created before this time to be replaced: one at a time, as
	// PodDisruptionBudgets allow, and while no attempt runs. It starts no attempt.
	// +optional
	RestartAt *metav1.Time `json:"restartAt,omitempty"`
	// roleMetadata puts labels and annotations on pods for as long as they have a role, without restarting them.
	// +optional
	RoleMetadata *RoleMetadata `json:"roleMetadata,omitempty"`
	// spread keeps the pods of a revision on trial off nodes that run pods of another revision. Default Off.
	// +optional
	// +kubebuilder:default=Off
	Spread Spread `json:"spread,omitempty"`
	// approvals says how many people must approve a step that asks for approval. Default: one.
	// +optional
	Approvals ApprovalRules `json:"approvals,omitzero"`
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
	// evidence says how sure the compare metrics of analysis must be. Default: a false abort rate of 0.01 for each attempt, and
	// a harm budget of 0.005.
	// +optional
	Evidence *Evidence `json:"evidence,omitempty"`
	// onFailure says what happens when an attempt fails. Default: roll back, write nothing to Git.
	// +optional
	OnFailure OnFailure `json:"onFailure,omitzero"`
}

// WorkloadReference names the Deployment whose template and pods a Rollout takes over.
type WorkloadReference struct {
	// apiVersion is apps/v1.
	// +optional
	// +kubebuilder:default=apps/v1
	// +kubebuilder:validation:Enum=apps/v1
	APIVersion string `json:"apiVersion,omitempty"`
	// kind is Deployment.
	// +optional
	// +kubebuilder:default=Deployment
	// +kubebuilder:validation:Enum=Deployment
	Kind string `json:"kind,omitempty"`
	// name of the Deployment.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// RollbackWindow says which earlier stable revisions are gone back to without steps.
type RollbackWindow struct {
	// revisions is how many of the revisions that were promoted last count, the stable one left out. They are looked for in
	// the last 10 attempts. 0: every revision goes through the steps. Default 3.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9
	Revisions *int32 `json:"revisions,omitempty"`
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
	// confirm says, per controller of gateways, how a weight is taken to be in force. A controller that is not named here is
	// confirmed by Status.
	// +optional
	// +listType=map
	// +listMapKey=controllerName
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.filter(c, c.level == 'Share').size() <= 1",message="confirm: one controller may have level Share"
	Confirm []Confirmation `json:"confirm,omitempty"`
	// routes carry the traffic. Every rule that refers to stableService is stepped, or only the rules named.
	// +required
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Routes []RouteReference `json:"routes"`
}

// Confirmation says how the gateways of one controller are taken to have put a weight into force. Going back never waits
// for it; only the scale-down does.
//
// +kubebuilder:validation:XValidation:rule="(self.level == 'Share') == has(self.share)",message="level Share needs share, and no other level takes it"
type Confirmation struct {
	// controllerName of the GatewayClass, e.g. traefik.io/gateway-controller.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ControllerName string `json:"controllerName"`
	// level says what is waited for. Status: the conditions of the route at its generation, then settle. Fixed: settle alone, from
	// the write on: for gateways whose status cannot be trusted. Share: as Status, and then what share measures must pass. Probe: as Status, and then every address of the Gateway must answer for this version of the route. Default Status.
	// +optional
	// +kubebuilder:default=Status
	Level ConfirmLevel `json:"level,omitempty"`
	// settle of these gateways. Default: traffic.settle. A route with several parents waits for the slowest.
	// +optional
	Settle Duration `json:"settle,omitempty"`
	// share names AnalysisTemplates whose metrics must pass, measured since the route settled, before the canary's weight in a
	// step counts as in force. They get the argument share: the part of the traffic that the canary should have, from 0 to 1.
	// +optional
	Share *AnalysisReference `json:"share,omitempty"`
}

// ConfirmLevel says how a weight is taken to be in force.
// +kubebuilder:validation:Enum=Fixed;Status;Share;Probe
type ConfirmLevel string

// Values of ConfirmLevel.
const (
	ConfirmFixed  ConfirmLevel = "Fixed"
	ConfirmStatus ConfirmLevel = "Status"
	ConfirmShare  ConfirmLevel = "Share"
	ConfirmProbe  ConfirmLevel = "Probe"
)

// RouteReference names a route of the Gateway API.
//
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || size(self.rules) == 0 || self.kind in ['HTTPRoute', 'GRPCRoute']",message="rules can be named on HTTPRoute and GRPCRoute only: a TLSRoute or TCPRoute has one rule"
type RouteReference struct {
	// kind of the route. HTTPRoute and GRPCRoute split requests; TLSRoute and TCPRoute split new connections, by weight
	// only.
	// +required
	// +kubebuilder:validation:Enum=HTTPRoute;GRPCRoute;TLSRoute;TCPRoute
	Kind string `json:"kind"`
	// name of the route.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// namespace of the route. Default: the Rollout's. A route elsewhere needs a ReferenceGrant here for both Services.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`
	// rules are the names of the rules that are stepped. Default: every rule that refers to stableService.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Rules []string `json:"rules,omitempty"`
}

// CanaryStrategy exposes a new revision to a growing share of the traffic.
//
// +kubebuilder:validation:XValidation:rule="self.steps.all(s, !has(s.name) || self.steps.filter(t, has(t.name) && t.name == s.name).size() == 1)",message="steps: every name may occur once"
// +kubebuilder:validation:XValidation:rule="!has(self.stableScale) || self.stableScale != 'Dynamic' || self.steps.all(s, !has(s.replicas))",message="stableScale Dynamic goes without replicas in steps: the pods of both revisions together carry the traffic"
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
	// stableScale Full keeps all stable pods until the new revision is promoted: going back starts no pod. Dynamic takes stable
	// pods away once the canary's weight is confirmed, to save them: going back then starts them again, and moves the weight
	// only as they become endpoints, at the latest after progressDeadline; a canary that is lost goes at once. Default Full.
	// +optional
	// +kubebuilder:default=Full
	StableScale StableScale `json:"stableScale,omitempty"`
}

// StableScale says how many stable pods there are while an attempt runs.
// +kubebuilder:validation:Enum=Full;Dynamic
type StableScale string

// Values of StableScale.
const (
	StableScaleFull    StableScale = "Full"
	StableScaleDynamic StableScale = "Dynamic"
)

// Step is how much is exposed, and what opens the gate to the next step. Every step says all of its exposure: what it
// does not mention, it does not expose.
//
// +kubebuilder:validation:XValidation:rule="has(self.weight) || has(self.match) || has(self.mirror) || has(self.replicas)",message="a step needs weight, match, mirror or replicas"
// +kubebuilder:validation:XValidation:rule="!has(self.mirror) || !has(self.match) && (!has(self.weight) || self.weight == 0)",message="mirror goes without match and weight: a request that the canary serves must not reach it twice"
// +kubebuilder:validation:XValidation:rule="!has(self.maxHold) || !has(self.hold) || duration(self.maxHold) == duration('0s') || duration(self.maxHold) >= duration(self.hold)",message="maxHold must not be shorter than hold"
// +kubebuilder:validation:XValidation:rule="has(self.maxHold) || !has(self.onInconclusive) || self.onInconclusive == 'Pause'",message="onInconclusive needs maxHold: without it the step waits without end"
type Step struct {
	// name of the step, for people. Default: "step-<n>", counted from 1.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// weight is the canary's share of the traffic, in units of 1/totalWeight. Default 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Weight *int32 `json:"weight,omitempty"`
	// match sends all requests that match to the canary; without weight nobody else reaches it (a dark canary), with weight
	// the others are split as the weight says.
	// +optional
	Match *Match `json:"match,omitempty"`
	// mirror sends copies of requests to the canary, and no request itself. It needs a gateway that can, on HTTPRoutes.
	// +optional
	Mirror *Mirror `json:"mirror,omitempty"`
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
	// maxHold is the longest time that the step waits for its evidence, counted like hold. Unset or 0s: without end.
	// +optional
	MaxHold Duration `json:"maxHold,omitempty"`
	// onInconclusive applies once maxHold is over and metrics or checks still owe their evidence: Pause waits for a person
	// (resume gives the step another maxHold), Extend waits on and says so, Proceed leaves the step without the evidence
	// and records it, Rollback takes the traffic back. Default Pause.
	// +optional
	// +kubebuilder:default=Pause
	OnInconclusive InconclusiveAction `json:"onInconclusive,omitempty"`
	// approval Required: the step is left only after a Decision with action Approve. Default NotRequired.
	// +optional
	// +kubebuilder:default=NotRequired
	Approval Approval `json:"approval,omitempty"`
	// checks are judged for this step alone, beside the background analysis, and must pass to leave it.
	// +optional
	Checks *AnalysisReference `json:"checks,omitempty"`
}

// InconclusiveAction is what happens to a step whose evidence has not come within maxHold.
// +kubebuilder:validation:Enum=Pause;Extend;Proceed;Rollback
type InconclusiveAction string

// Values of InconclusiveAction.
const (
	InconclusivePause    InconclusiveAction = "Pause"
	InconclusiveExtend   InconclusiveAction = "Extend"
	InconclusiveProceed  InconclusiveAction = "Proceed"
	InconclusiveRollback InconclusiveAction = "Rollback"
)

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

// RolloutList is a list of Rollouts.
//
// +kubebuilder:object:root=true
type RolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rollout `json:"items"`
}
