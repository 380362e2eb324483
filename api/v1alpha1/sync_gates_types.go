package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SyncGates must all be open before a new bundle is applied. What has begun is finished, and drift is put right, whatever
// they say then.
type SyncGates struct {
	// follows lets only commits through that another Sync has run healthily.
	// +optional
	Follows *FollowsGate `json:"follows,omitempty"`
	// approvals asks people.
	// +optional
	Approvals *ApprovalsGate `json:"approvals,omitempty"`
	// windows say when changes may be made: none with kind Deny may cover the time, and where there is one with kind Allow,
	// one must.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Windows []SyncWindow `json:"windows,omitempty"`
}

// FollowsGate waits for another Sync.
type FollowsGate struct {
	// sync of this namespace and of the same Repository. The newest commit is taken whose objects it has run Healthy for soak,
	// and that has not broken since.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Sync string `json:"sync"`
	// soak is how long. Default 0s: as soon as it is Healthy.
	// +optional
	// +kubebuilder:default="0s"
	Soak Duration `json:"soak,omitempty"`
	// images Proven holds up a commit that brings a workload of this Sync an image that the same workload (kind and name) of the
	// other one has not run, Healthy for soak: the two may pin different ones. Images that this Sync declares already, or has
	// run Healthy, need no proof. Any takes commits whatever their images are. Default Proven.
	// +optional
	// +kubebuilder:default=Proven
	Images ImageProof `json:"images,omitempty"`
}

// ImageProof says whether images must have run elsewhere before.
//
// +kubebuilder:validation:Enum=Proven;Any
type ImageProof string

// Values of ImageProof.
const (
	ImagesProven ImageProof = "Proven"
	ImagesAny    ImageProof = "Any"
)

// ApprovalsGate asks people, by Decisions with action Approve about the plan (status.plan.digest).
type ApprovalsGate struct {
	// required is how many different people must approve. Default 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	Required int32 `json:"required,omitempty"`
	// notTheAuthor Enabled: nobody approves who wrote or committed one of the commits since the one applied. Default Disabled.
	// +optional
	// +kubebuilder:default=Disabled
	NotTheAuthor Switch `json:"notTheAuthor,omitempty"`
	// whenRisk is the risk of a plan from which on it needs approval. Default Low: every plan.
	// +optional
	// +kubebuilder:default=Low
	// +kubebuilder:validation:Enum=Low;Medium;High
	WhenRisk Risk `json:"whenRisk,omitempty"`
}

// SyncWindow is a time of the week in which changes may, or may not, be made.
//
// +kubebuilder:validation:XValidation:rule="!has(self.firstDate) || !has(self.lastDate) || self.firstDate <= self.lastDate",message="firstDate must not be after lastDate"
type SyncWindow struct {
	// name for people.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// kind Allow or Deny.
	// +required
	// +kubebuilder:validation:Enum=Allow;Deny
	Kind WindowKind `json:"kind"`
	// days on which it begins. Default: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=7
	Days []Weekday `json:"days,omitempty"`
	// from is a time of day, such as "09:00". Default 00:00.
	// +optional
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	From string `json:"from,omitempty"`
	// to is a time of day; not later than from, it is one of the next day. Default 24:00.
	// +optional
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:Pattern=`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`
	To string `json:"to,omitempty"`
	// firstDate on which it begins, such as "2026-12-20". Default: always.
	// +optional
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`
	FirstDate string `json:"firstDate,omitempty"`
	// lastDate on which it begins. Default: for ever.
	// +optional
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`
	LastDate string `json:"lastDate,omitempty"`
	// timeZone of the times and dates, a name of the IANA database such as Europe/Berlin. Default UTC.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}

// WindowKind says what a window is for.
type WindowKind string

// Values of WindowKind.
const (
	WindowAllow WindowKind = "Allow"
	WindowDeny  WindowKind = "Deny"
)

// Weekday is a day of the week.
//
// +kubebuilder:validation:Enum=Mon;Tue;Wed;Thu;Fri;Sat;Sun
type Weekday string

// Risk of a change.
type Risk string

// The risks.
const (
	RiskLow    Risk = "Low"
	RiskMedium Risk = "Medium"
	RiskHigh   Risk = "High"
)

// SyncPlan is what a Sync is about to do, or did last. The same commit and the same objects in the cluster give the same
// plan.
type SyncPlan struct {
	// digest names the plan: the bundle and every action. Approvals are bound to it.
	Digest string `json:"digest"`
	// commit the bundle is of.
	Commit string `json:"commit"`
	// bundle is the digest of the objects that the commit renders to.
	Bundle string `json:"bundle"`
	// risk is the highest of all actions.
	// +kubebuilder:validation:Enum=Low;Medium;High
	Risk Risk `json:"risk"`
	// create counts objects that are not there yet.
	Create int32 `json:"create"`
	// update counts objects that are changed.
	Update int32 `json:"update"`
	// recreate counts objects that are deleted and made again.
	// +optional
	Recreate int32 `json:"recreate,omitempty"`
	// prune counts objects that left Git.
	Prune int32 `json:"prune"`
	// skip counts objects that are as they should be.
	Skip int32 `json:"skip"`
	// actions are those of the highest risk, at most 50; digest is over all of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Actions []SyncAction `json:"actions,omitempty"`
	// approvals are policies that ask for an approval.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=1024
	Approvals []string `json:"approvals,omitempty"`
	// approvedBy are the people who have approved it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	ApprovedBy []string `json:"approvedBy,omitempty"`
	// admittedAt is when all gates were open: it has begun then.
	// +optional
	AdmittedAt *metav1.Time `json:"admittedAt,omitempty"`
}

// SyncAction is what happens to an object.
type SyncAction struct {
	// object as "Deployment.apps shop/web".
	// +kubebuilder:validation:MaxLength=640
	Object string `json:"object"`
	// action is Create, Update, Recreate (deleted and made again, because a field cannot be changed in place) or Prune.
	// +kubebuilder:validation:Enum=Create;Update;Recreate;Prune
	Action string `json:"action"`
	// risk of it.
	// +kubebuilder:validation:Enum=Low;Medium;High
	Risk Risk `json:"risk"`
	// reasons for the risk.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=256
	Reasons []string `json:"reasons,omitempty"`
}

// SyncRecord is what came of a bundle; the same outcome of the same bundle is one record.
type SyncRecord struct {
	// commit is the last one that rendered to the bundle.
	// +kubebuilder:validation:MaxLength=64
	Commit string `json:"commit"`
	// digest of the bundle; empty where it did not come to one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Digest string `json:"digest,omitempty"`
	// reason of the condition Ready.
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
	// message of the condition Ready, shortened.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
	// trigger is what it was done for: Commit, Spec, Request (the annotation belay.dev/reconcile) or Interval.
	// +kubebuilder:validation:Enum=Commit;Spec;Request;Interval
	Trigger string `json:"trigger"`
	// approvedBy are the people who approved it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	ApprovedBy []string `json:"approvedBy,omitempty"`
	// count is how often it came to that.
	// +kubebuilder:validation:Minimum=1
	Count int32 `json:"count"`
	// firstAt is when for the first time.
	FirstAt metav1.Time `json:"firstAt"`
	// lastAt is when it was last told of.
	LastAt metav1.Time `json:"lastAt"`
	// healthySince is since when the objects are Healthy, but for waveredSeconds; healthyUntil ends it.
	// +optional
	HealthySince *metav1.Time `json:"healthySince,omitempty"`
	// undone true: a Decision has taken the bundle back. Undo does not go back to it by itself.
	// +optional
	Undone bool `json:"undone,omitempty"`
	// healthyUntil is when another bundle began to take its place, or when it broke: see broken.
	// +optional
	HealthyUntil *metav1.Time `json:"healthyUntil,omitempty"`
	// waveredSeconds is for how long since healthySince not all objects were Healthy, in stretches of ten minutes at most, none of them a
	// failure. It does not count as soaked.
	// +optional
	// +kubebuilder:validation:Minimum=0
	WaveredSeconds int64 `json:"waveredSeconds,omitempty"`
	// broken is what ended it at healthyUntil: the objects that failed, or that were not ready for more than ten minutes. Empty: nothing
	// did. It is empty again once all are Healthy, with another healthySince.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Broken string `json:"broken,omitempty"`
}
