package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Sync brings what a folder of a Repository renders to into the cluster, and keeps it there.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository`
// +kubebuilder:printcolumn:name="Path",type=string,JSONPath=`.spec.path`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.status.appliedCommit`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must have at most 63 characters: it is the value of a label"
type Sync struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec says what is brought into the cluster.
	// +required
	Spec SyncSpec `json:"spec"`
	// status says what was.
	// +optional
	Status SyncStatus `json:"status,omitempty"`
}

// SyncSpec says what is brought into the cluster.
type SyncSpec struct {
	// repository is a Repository of this namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Repository string `json:"repository"`
	// path of the folder: plain YAML or kustomize.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="path must be relative to the repository's root and must not contain '..'"
	Path string `json:"path"`
	// interval at which all objects are compared with Git even if nothing was seen to change, at least 5s. Unset: every 24h
	// while all their kinds are watched, else every 10m. What changes in between is noticed by watches, see drift.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="interval must be at least 5s"
	Interval Duration `json:"interval,omitempty"`
	// serviceAccountName of this namespace: objects are applied with its rights.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName"`
	// prune Enabled removes objects that are no longer in Git, and all of them when the Sync is deleted. Default Disabled.
	// +optional
	// +kubebuilder:default=Disabled
	// +kubebuilder:validation:Enum=Enabled;Disabled
	Prune Prune `json:"prune,omitempty"`
	// environment that this Sync brings up to date, such as prod: policies can ask for it, and metrics carry it.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Environment string `json:"environment,omitempty"`
	// policies that every object must keep before any is applied, beside the ClusterDeliveryPolicies that bind every Sync.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Policies []PolicyReference `json:"policies,omitempty"`
	// gates must be open before a new bundle is applied.
	// +optional
	Gates SyncGates `json:"gates,omitempty"`
	// dependsOn are Syncs of this namespace that must be Ready and Healthy, at the same commit where they follow the same
	// Repository, before anything of this one is applied. A circle is refused.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	DependsOn []LocalReference `json:"dependsOn,omitempty"`
	// checks are made of the whole bundle before anything is applied, beside the API server's own dry run of each object.
	// +optional
	Checks SyncChecks `json:"checks,omitempty"`
	// images says what is asked of the images of pods.
	// +optional
	Images SyncImages `json:"images,omitempty"`
	// drift says what is done when an object is not, or no longer, as Git declares it.
	// +optional
	// +kubebuilder:default={}
	Drift SyncDrift `json:"drift,omitzero"`
	// adoption says what is done about objects of the bundle that exist already and were not made by a Sync: TakeOver writes
	// them (what other tools mark as theirs only where checks.otherTools lets it); Observe leaves them as they are and says in
	// status.observed who keeps them and what would be changed, until Git gives the object the annotation belay.dev/adopt:
	// TakeOver, or adoption is TakeOver. Default TakeOver.
	// +optional
	// +kubebuilder:default=TakeOver
	// +kubebuilder:validation:Enum=TakeOver;Observe
	Adoption Adoption `json:"adoption,omitempty"`
	// suspend true stops all writes of this Sync; Healthy is still read. Default false.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Prune says whether objects that left Git are removed.
type Prune string

// Values of Prune.
const (
	PruneEnabled  Prune = "Enabled"
	PruneDisabled Prune = "Disabled"
)

// Adoption says what is done about objects that exist already.
type Adoption string

// Values of Adoption.
const (
	AdoptionTakeOver Adoption = "TakeOver"
	AdoptionObserve  Adoption = "Observe"
)

// SyncStatus says what was brought into the cluster.
type SyncStatus struct {
	// conditions are Ready, Stalled, Healthy, ImagesVerified, Drifted, DriftFight, BundleKept.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// appliedCommit is the last commit that was applied whole.
	// +optional
	AppliedCommit string `json:"appliedCommit,omitempty"`
	// appliedDigest is the digest of the objects that commit renders to.
	// +optional
	AppliedDigest string `json:"appliedDigest,omitempty"`
	// appliedAt is when they were last written.
	// +optional
	AppliedAt *metav1.Time `json:"appliedAt,omitempty"`
	// attemptedCommit is the last commit that was tried.
	// +optional
	AttemptedCommit string `json:"attemptedCommit,omitempty"`
	// plan is what is about to be done, or was done last.
	// +optional
	Plan *SyncPlan `json:"plan,omitempty"`
	// blockedBy is what keeps the newest commit from being applied: a gate, or another Sync.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	BlockedBy string `json:"blockedBy,omitempty"`
	// blockedSince is since when blockedBy says that.
	// +optional
	BlockedSince *metav1.Time `json:"blockedSince,omitempty"`
	// history of bundles, the newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	History []SyncRecord `json:"history,omitempty"`
	// inventory lists the objects that are, or may be, in the cluster because of this Sync. It is written before they are.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2000
	Inventory []InventoryEntry `json:"inventory,omitempty"`
	// warnings of the last time the objects were looked at: what the API server warned of, checks whose mode is Warn, and
	// "PolicyUnknown: …" for what could not be asked. They hold nothing up.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	Warnings []string `json:"warnings,omitempty"`
	// drift says what is not as Git declares it.
	// +optional
	Drift *SyncDriftStatus `json:"drift,omitempty"`
	// signedImages are the images whose signatures were verified, those of the newest bundle and of earlier ones: they are not
	// asked for again, so that going back to one of these needs no registry.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	SignedImages []SignedImage `json:"signedImages,omitempty"`
	// held is what the Sync is held at, whatever Git says, until a Decision with action Resume, or until Git says the same.
	// +optional
	Held *SyncHold `json:"held,omitempty"`
	// observed are objects of the bundle that others keep, and that are left to them: see spec.adoption.
	// +optional
	Observed *SyncObserved `json:"observed,omitempty"`
	// reconciled is the value of the belay.dev/reconcile annotation that was last acted on.
	// +optional
	Reconciled string `json:"reconciled,omitempty"`
}

// InventoryEntry names an object.
type InventoryEntry struct {
	// group of the object; empty for the core group.
	// +optional
	Group string `json:"group,omitempty"`
	// version it was applied in.
	Version string `json:"version"`
	// kind of the object.
	Kind string `json:"kind"`
	// namespace of the object; empty where it has none.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object.
	Name string `json:"name"`
}

// SyncList is a list of Syncs.
//
// +kubebuilder:object:root=true
type SyncList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Sync `json:"items"`
}
