package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Decision is what a person asks of a Rollout or a Sync. It is immutable, and its status says what came of it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=dec,categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.spec.subject.name`
// +kubebuilder:printcolumn:name="Attempt",type=integer,JSONPath=`.spec.attempt`
// +kubebuilder:printcolumn:name="Actor",type=string,JSONPath=`.spec.actor`
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Decision struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what is asked.
	// +required
	Spec DecisionSpec `json:"spec"`
	// status is what came of it.
	// +optional
	Status DecisionStatus `json:"status,omitempty"`
}

// DecisionSpec is what is asked.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Decision cannot be changed: make a new one"
// +kubebuilder:validation:XValidation:rule="self.subject.kind != 'Rollout' || (self.action in ['Retry', 'Undo'] ? has(self.revision) : has(self.attempt))",message="actions Retry and Undo need revision; every other action needs attempt"
// +kubebuilder:validation:XValidation:rule="self.subject.kind != 'Rollout' || !(self.action in ['Approve', 'Promote']) || has(self.step)",message="actions Approve and Promote need step, counted from 0"
// +kubebuilder:validation:XValidation:rule="self.subject.kind != 'Sync' || self.action in ['Approve', 'Reject', 'Pause', 'Resume', 'Undo']",message="a Decision about a Sync has action Approve, Reject, Pause, Resume or Undo"
// +kubebuilder:validation:XValidation:rule="self.subject.kind != 'Sync' || has(self.plan) == (self.action in ['Approve', 'Reject'])",message="actions Approve and Reject of a Sync need plan, the digest of status.plan; every other action has none"
// +kubebuilder:validation:XValidation:rule="self.subject.kind != 'Sync' || has(self.bundle) == (self.action in ['Pause', 'Undo'])",message="actions Pause and Undo of a Sync need bundle, status.appliedDigest; every other action has none"
// +kubebuilder:validation:XValidation:rule="!has(self.to) || self.subject.kind == 'Sync' && self.action == 'Undo'",message="to goes with action Undo of a Sync"
// +kubebuilder:validation:XValidation:rule="self.subject.kind == 'Sync' || !has(self.bundle)",message="bundle goes with a subject of kind Sync"
// +kubebuilder:validation:XValidation:rule="self.subject.kind == 'Sync' || !has(self.plan)",message="plan goes with a subject of kind Sync"
type DecisionSpec struct {
	// subject is what the decision is about.
	// +required
	Subject DecisionSubject `json:"subject"`
	// action asked for. Promote leaves the step named, whatever its gates say; PromoteFull goes to promotion at once and
	// overrules the analysis for the rest of the attempt; Approve opens the step's approval gate; Reject and Abort take
	// the traffic back; Pause and Resume; Retry takes the revision out of quarantine; Undo has
	// Git go back from the stable revision, which is named, to the one promoted before it, and needs onFailure.revert.
	// Of a Sync: Approve and Reject are about its plan; Undo has the cluster go back from the bundle named to an earlier one,
	// and holds it there; Pause holds the bundle named; Resume has the Sync follow Git again.
	// +required
	// +kubebuilder:validation:Enum=Promote;PromoteFull;Approve;Reject;Abort;Pause;Resume;Retry;Undo
	Action DecisionAction `json:"action"`
	// attempt the decision is about; it is refused once that attempt is over.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempt *int64 `json:"attempt,omitempty"`
	// step the decision is about, from 0; it is refused once that step is left.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31
	Step *int32 `json:"step,omitempty"`
	// revision the decision is about, for Retry and Undo.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Revision string `json:"revision,omitempty"`
	// plan the decision is about, for a Sync: the digest of its status.plan. It is refused once that is another one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	Plan string `json:"plan,omitempty"`
	// bundle the decision is about, for Pause and Undo of a Sync: its status.appliedDigest. It is refused once that is another one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	Bundle string `json:"bundle,omitempty"`
	// to is the bundle to go back to, for Undo of a Sync: the digest of one in its status.history that was applied. Unset: the
	// last one applied before that was not undone itself.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	To string `json:"to,omitempty"`
	// reason for people who ask later.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// actor is the user who asks, as the API server knows them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Actor string `json:"actor"`
}

// DecisionSubject is what a decision is about.
type DecisionSubject struct {
	// kind is Rollout or Sync.
	// +required
	// +kubebuilder:validation:Enum=Rollout;Sync
	Kind string `json:"kind"`
	// name of the object in the Decision's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// DecisionAction is what is asked.
type DecisionAction string

// The actions.
const (
	ActionPromote     DecisionAction = "Promote"
	ActionPromoteFull DecisionAction = "PromoteFull"
	ActionApprove     DecisionAction = "Approve"
	ActionReject      DecisionAction = "Reject"
	ActionAbort       DecisionAction = "Abort"
	ActionPause       DecisionAction = "Pause"
	ActionResume      DecisionAction = "Resume"
	ActionRetry       DecisionAction = "Retry"
	ActionUndo        DecisionAction = "Undo"
)

// DecisionStatus is what came of a decision.
type DecisionStatus struct {
	// result is Applied or Refused; empty while it is pending.
	// +optional
	// +kubebuilder:validation:Enum=Applied;Refused
	Result DecisionResult `json:"result,omitempty"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// at is when it was applied or refused.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}

// DecisionResult is what came of a decision.
type DecisionResult string

// The results.
const (
	DecisionApplied DecisionResult = "Applied"
	DecisionRefused DecisionResult = "Refused"
)

// DecisionList is a list of Decisions.
//
// +kubebuilder:object:root=true
type DecisionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Decision `json:"items"`
}
