package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SyncDrift says what is done when an object in the cluster is not, or no longer, as Git declares it.
type SyncDrift struct {
	// mode Correct writes again what Git declares, after the value that is overwritten was recorded; Detect only reports;
	// RequireApproval reports, and corrects what a Decision (action Approve, with the digest from status) lets through. A
	// commit that changes the object is applied in any case, and the value that it overwrites is recorded. Default Correct.
	// +optional
	// +kubebuilder:default=Correct
	// +kubebuilder:validation:Enum=Correct;Detect;RequireApproval
	Mode DriftMode `json:"mode,omitempty"`
	// ignore lists fields that are others' business: they are neither compared nor written while somebody else owns them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Ignore []DriftIgnore `json:"ignore,omitempty"`
	// fight says when correcting the same object again and again is given up.
	// +optional
	// +kubebuilder:default={}
	Fight DriftFight `json:"fight,omitzero"`
}

// DriftMode says what is done about drift.
type DriftMode string

// Values of DriftMode.
const (
	DriftCorrect         DriftMode = "Correct"
	DriftDetect          DriftMode = "Detect"
	DriftRequireApproval DriftMode = "RequireApproval"
)

// DriftIgnore names fields of objects. Unset group, kind, namespace and name mean any.
//
// +kubebuilder:validation:XValidation:rule="has(self.paths) || has(self.managers)",message="a rule needs paths or managers"
type DriftIgnore struct {
	// group of the objects; unset: any. The core group cannot be named alone: give kind.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// kind of the objects; unset: any.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`
	// namespace of the objects; unset: any.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`
	// name of the objects; unset: any.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// paths of fields as a drift report shows them, for example .spec.replicas or
	// .spec.template.spec.containers[name="app"].image; "[*]" is any item of a list. What is below a path goes with it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(p, p.startsWith('.') && size(p) > 1)",message="a path begins with a dot and names a field, for example .spec.replicas"
	Paths []string `json:"paths,omitempty"`
	// managers whose fields are theirs, by their names in metadata.managedFields, for example vpa-updater.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.exists(m, m == 'belay-sync')",message="belay-sync is Belay's own name"
	Managers []string `json:"managers,omitempty"`
}

// DriftFight says when correcting is given up.
type DriftFight struct {
	// corrections of one object, none of them later than within after the one before, that are a fight. Then it is no
	// longer corrected and the condition DriftFight is True, until Git declares the object anew or a new value of the
	// annotation belay.dev/reconcile asks for it. Default 5.
	// +optional
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=100
	Corrections int32 `json:"corrections,omitempty"`
	// within is the longest time between two corrections of a fight, at least 10s. Default 10m.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s')",message="within must be at least 10s"
	Within Duration `json:"within,omitempty"`
}

// SyncDriftStatus says what is not as Git declares it, and what was put right lately.
type SyncDriftStatus struct {
	// drifted is how many objects differ from Git now.
	// +optional
	Drifted int32 `json:"drifted,omitempty"`
	// objects are those that differ now, and after them those corrected last; at most 32, and no more than 64 KiB.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Objects []DriftedObject `json:"objects,omitempty"`
	// unwatched are kinds that neither Belay nor the Sync's account may list and watch: their objects are only compared
	// every spec.interval (10m where that is not set).
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=320
	Unwatched []string `json:"unwatched,omitempty"`
}

// DriftState says what became of a drift.
type DriftState string

// Values of DriftState.
const (
	// DriftOpen: it is there; mode Detect leaves it.
	DriftOpen DriftState = "Open"
	// DriftAwaitingApproval: a Decision is needed.
	DriftAwaitingApproval DriftState = "AwaitingApproval"
	// DriftFighting: it was corrected too often, and is left now.
	DriftFighting DriftState = "Fighting"
	// DriftCorrected: what Git declares was written again.
	DriftCorrected DriftState = "Corrected"
	// DriftFailed: it should have been corrected; message of the condition Ready says why it was not.
	DriftFailed DriftState = "Failed"
)

// DriftClass says what kind of difference it is.
type DriftClass string

// DriftedObject is an object that was not as Git declares it.
type DriftedObject struct {
	// group of the object; empty for the core group.
	// +optional
	Group string `json:"group,omitempty"`
	// kind of the object.
	Kind string `json:"kind"`
	// namespace of the object; empty where it has none.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object.
	Name string `json:"name"`
	// state says what became of it.
	// +kubebuilder:validation:Enum=Open;AwaitingApproval;Fighting;Corrected;Failed
	State DriftState `json:"state"`
	// class says who is behind it: ManualEdit, ControllerWrite, AdmissionMutation, Deleted, VersionSkew or NewCommit.
	// +kubebuilder:validation:Enum=ManualEdit;ControllerWrite;AdmissionMutation;Deleted;VersionSkew;NewCommit
	Class DriftClass `json:"class"`
	// digest of the object, of what Git declares and of what was found instead: an approval is for exactly that.
	Digest string `json:"digest"`
	// declaredDigest names what Git declares of this object.
	DeclaredDigest string `json:"declaredDigest"`
	// fields that differ, at most 8.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Fields []DriftedField `json:"fields,omitempty"`
	// moreFields is how many fields differ beside those.
	// +optional
	MoreFields int32 `json:"moreFields,omitempty"`
	// writer is who is behind the change, as far as it can be told.
	// +optional
	Writer *DriftWriter `json:"writer,omitempty"`
	// firstSeen is when Belay noticed it.
	FirstSeen metav1.Time `json:"firstSeen"`
	// lastSeen is when it was last looked at or corrected.
	LastSeen metav1.Time `json:"lastSeen"`
	// corrections is how often it was corrected in a row: see spec.drift.fight.
	// +optional
	Corrections int32 `json:"corrections,omitempty"`
	// commit that was applied, and that the object is compared with.
	// +optional
	Commit string `json:"commit,omitempty"`
	// file of the repository that declares the object.
	// +optional
	File string `json:"file,omitempty"`
	// declaredBy is the commit that last changed the object in Git, where all of it is concerned; else see fields.
	// +optional
	DeclaredBy *DriftDeclaration `json:"declaredBy,omitempty"`
	// remedy is what is proposed.
	Remedy DriftRemedy `json:"remedy"`
	// record is the key in the Secret belay-drift-records of this namespace under which the overwritten value is kept:
	// `kubectl belay drift restore` puts it back.
	// +optional
	Record string `json:"record,omitempty"`
}

// DriftWriter is who is behind a change.
type DriftWriter struct {
	// manager is the name under which a client wrote. A client gives it to itself: it is a hint, no proof.
	Manager string `json:"manager"`
	// operation is Apply or Update.
	// +optional
	Operation string `json:"operation,omitempty"`
	// subresource that was written, for example scale.
	// +optional
	Subresource string `json:"subresource,omitempty"`
	// user as the API server knew them; only where the admission policy of config/drift stamps objects.
	// +optional
	User string `json:"user,omitempty"`
	// at is the time of the write as the API server noted it. Another write of the same field by the same manager need not
	// renew it.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
	// certainty is Owner where the manager owns the field; Latest where it only wrote last: a removal leaves no other trace.
	// +kubebuilder:validation:Enum=Owner;Latest
	Certainty string `json:"certainty"`
}

// DriftedField is a field that differs.
type DriftedField struct {
	// path of the field.
	Path string `json:"path"`
	// declared value. Values of Secrets are replaced by a digest.
	Declared string `json:"declared"`
	// live value that was found.
	Live string `json:"live"`
	// class of this field, where it is not the object's.
	// +optional
	Class DriftClass `json:"class,omitempty"`
	// declaredBy is the commit that declared the field; unset where that is not known.
	// +optional
	DeclaredBy *DriftDeclaration `json:"declaredBy,omitempty"`
}

// DriftDeclaration is where Git declares a field.
type DriftDeclaration struct {
	// file that declares it.
	// +optional
	File string `json:"file,omitempty"`
	// line in the file, from 1.
	// +optional
	Line int32 `json:"line,omitempty"`
	// commit that last changed the field.
	// +optional
	Commit string `json:"commit,omitempty"`
	// author of the commit.
	// +optional
	Author string `json:"author,omitempty"`
	// at is when it was written.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
	// subject of the commit's message.
	// +optional
	Subject string `json:"subject,omitempty"`
	// before true says that the field was declared no later than this commit; how much earlier is not known.
	// +optional
	Before bool `json:"before,omitempty"`
}

// DriftRemedy is what is proposed.
type DriftRemedy struct {
	// action is Reapply, Recreate, Ignore or ChangeGit.
	Action string `json:"action"`
	// risk is Low, Medium or High.
	// +kubebuilder:validation:Enum=Low;Medium;High
	Risk string `json:"risk"`
	// reason in one sentence.
	Reason string `json:"reason"`
}
