package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeliveryPolicy is a rule that the objects of a Sync must keep before any of them is applied. It counts for the Syncs of
// its namespace that name it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=dpol,categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Severity",type=string,JSONPath=`.spec.severity`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.spec.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DeliveryPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the rule.
	// +required
	Spec DeliveryPolicySpec `json:"spec"`
	// status says whether the rule can be used.
	// +optional
	Status DeliveryPolicyStatus `json:"status,omitempty"`
}

// ClusterDeliveryPolicy is a DeliveryPolicy for the Syncs of every namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=cdpol,categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Severity",type=string,JSONPath=`.spec.severity`
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.spec.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterDeliveryPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the rule.
	// +required
	Spec ClusterDeliveryPolicySpec `json:"spec"`
	// status says whether the rule can be used.
	// +optional
	Status DeliveryPolicyStatus `json:"status,omitempty"`
}

// ClusterDeliveryPolicySpec is a rule and whom it binds.
type ClusterDeliveryPolicySpec struct {
	DeliveryPolicySpec `json:",inline"`
	// enforcement WhenNamed: for the Syncs that name it; Always: for every Sync of the cluster, whatever it names. Default
	// WhenNamed.
	// +optional
	// +kubebuilder:default=WhenNamed
	// +kubebuilder:validation:Enum=WhenNamed;Always
	Enforcement PolicyEnforcement `json:"enforcement,omitempty"`
}

// PolicyEnforcement says whom a policy binds.
type PolicyEnforcement string

// Values of PolicyEnforcement.
const (
	EnforceWhenNamed PolicyEnforcement = "WhenNamed"
	EnforceAlways    PolicyEnforcement = "Always"
)

// DeliveryPolicySpec is a rule.
//
// +kubebuilder:validation:XValidation:rule="self.target != 'Bundle' || !has(self.match) || !has(self.match.kinds)",message="target Bundle is judged once for all objects: leave match.kinds out"
type DeliveryPolicySpec struct {
	// match says what is judged. Default: everything.
	// +optional
	Match PolicyMatch `json:"match,omitempty"`
	// target Object judges each object that matches, Bundle judges once for all objects together. Default Object.
	// +optional
	// +kubebuilder:default=Object
	// +kubebuilder:validation:Enum=Object;Bundle
	Target PolicyTarget `json:"target,omitempty"`
	// expression in CEL, with the libraries of Kubernetes; true means that the rule is kept. Variables: object (as the API
	// server would store it), oldObject (what is there, or null), bundle (the list of all objects), commit (sha, branch,
	// repository), environment (spec.environment of the Sync, or ""). With target Bundle, object and oldObject are null. An
	// expression that fails, e.g. on a field that is not there, counts as false: ask has() first.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expression string `json:"expression"`
	// message is what is told where the rule is broken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message"`
	// rationale says why there is this rule, how to keep it, and what a safe way back is. It is shown with the denial.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Rationale string `json:"rationale"`
	// severity Deny applies nothing of the bundle; Warn only says so in the Sync's status; RequireApproval waits for a
	// Decision. Default Deny.
	// +optional
	// +kubebuilder:default=Deny
	// +kubebuilder:validation:Enum=Deny;Warn;RequireApproval
	Severity PolicySeverity `json:"severity,omitempty"`
}

// PolicyMatch says what a policy judges.
type PolicyMatch struct {
	// kinds as "Rollout" (of any group) or "Deployment.apps". Default: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[A-Z][A-Za-z0-9]*(\.[a-z0-9.-]+)?$`
	Kinds []string `json:"kinds,omitempty"`
	// environments of Syncs. Default: all, those of Syncs without spec.environment too.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	Environments []string `json:"environments,omitempty"`
}

// PolicyTarget says what a policy judges at a time.
type PolicyTarget string

// Values of PolicyTarget.
const (
	TargetObject PolicyTarget = "Object"
	TargetBundle PolicyTarget = "Bundle"
)

// PolicySeverity says what follows from a rule that is broken.
type PolicySeverity string

// Values of PolicySeverity.
const (
	SeverityDeny            PolicySeverity = "Deny"
	SeverityWarn            PolicySeverity = "Warn"
	SeverityRequireApproval PolicySeverity = "RequireApproval"
)

// DeliveryPolicyStatus says whether the rule can be used.
type DeliveryPolicyStatus struct {
	// conditions are Ready: the expression compiles. A Sync that names a policy which does not compile applies nothing.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PolicyReference names a policy.
type PolicyReference struct {
	// kind is DeliveryPolicy, of the Sync's namespace, or ClusterDeliveryPolicy. Default DeliveryPolicy.
	// +optional
	// +kubebuilder:default=DeliveryPolicy
	// +kubebuilder:validation:Enum=DeliveryPolicy;ClusterDeliveryPolicy
	Kind string `json:"kind,omitempty"`
	// name of the policy.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// DeliveryPolicyList is a list of DeliveryPolicies.
//
// +kubebuilder:object:root=true
type DeliveryPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DeliveryPolicy `json:"items"`
}

// ClusterDeliveryPolicyList is a list of ClusterDeliveryPolicies.
//
// +kubebuilder:object:root=true
type ClusterDeliveryPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterDeliveryPolicy `json:"items"`
}
