package v1alpha1

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Duration is a Gateway API style duration: up to four pairs of a number (1 to 5 digits) and a unit of h, m, s or ms,
// for example "90s", "5m" or "1h30m". "0s" is allowed.
//
// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(h|m|s|ms)){1,4}$`
// +kubebuilder:validation:MaxLength=32
type Duration string

// Or returns the duration, or def where it is unset or does not parse (the schema refuses what does not parse).
func (d Duration) Or(def time.Duration) time.Duration {
	v, err := time.ParseDuration(string(d))
	if err != nil {
		return def
	}
	return v
}

// LocalReference names an object of a known kind in the same namespace.
type LocalReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// AnalysisReference names the templates whose metrics are judged, and the values of their arguments.
type AnalysisReference struct {
	// templates are AnalysisTemplates of this namespace, or ClusterAnalysisTemplates. Their metrics are judged together; a
	// metric name may occur once.
	// +required
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Templates []TemplateReference `json:"templates"`
	// args give values to the templates' arguments; an argument without a default must be given.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Args []Argument `json:"args,omitempty"`
}

// Argument is a named string value.
type Argument struct {
	// name of the argument, used in queries as {{args.name}}.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-zA-Z][a-zA-Z0-9_-]*$`
	Name string `json:"name"`
	// value of the argument. In a template: its default; unset means that the user of the template must give one.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Value *string `json:"value,omitempty"`
}

// Names of labels, annotations, roles and finalizers that Belay writes.
const (
	// LabelRevision is on every ReplicaSet and pod of a Rollout: the hash of its template.
	LabelRevision = "belay.dev/revision"
	// LabelRole is on every ReplicaSet and pod of a Rollout: stable, canary or previous.
	LabelRole = "belay.dev/role"
	// LabelRollout is on objects that belong to a Rollout and are not pods: its name.
	LabelRollout = "belay.dev/rollout"
	// LabelSync is on every object that a Sync applied: the name of the Sync.
	LabelSync = "belay.dev/sync"
	// LabelSyncNamespace is beside it: the namespace of the Sync. Both together say whose an object is.
	LabelSyncNamespace = "belay.dev/sync-namespace"
	// AnnotationCommit is on a Rollout that a Sync applied: the commit that last changed its rendered form.
	AnnotationCommit = "belay.dev/commit"
	// AnnotationAuthors is on such a Rollout where approvals.notTheAuthor is Enabled: the mail addresses of the authors and
	// committers of the commits that came with that one, separated by commas; AuthorsUnknown where they are not all known.
	AnnotationAuthors = "belay.dev/authors"
	// AuthorsUnknown says that not all authors are known.
	AuthorsUnknown = "unknown"
	// AnnotationRollout is on a Deployment whose pods a Rollout has taken over: the name of the Rollout.
	AnnotationRollout = "belay.dev/rollout"
	// AnnotationRoleMetadata is on a pod: the labels and annotations that it carries for its role, as roleMetadata had them.
	AnnotationRoleMetadata = "belay.dev/role-metadata"
	// AnnotationReconcile asks a Repository or Sync for a reconciliation at once; any new value counts.
	AnnotationReconcile = "belay.dev/reconcile"
	// FinalizerRestore keeps a Rollout until its routes and Services are as they were before.
	FinalizerRestore = "belay.dev/restore"
	// FinalizerPrune keeps a Sync until its objects are pruned, where prune is Enabled.
	FinalizerPrune = "belay.dev/prune"
	// FieldManager is the name under which Belay writes.
	FieldManager = "belay"
)

// Role of a revision's pods.
type Role string

// The roles of a revision's pods.
const (
	RoleStable   Role = "stable"
	RoleCanary   Role = "canary"
	RolePrevious Role = "previous"
)

// RevisionName is the name of the ReplicaSet of a revision of a Rollout.
func RevisionName(rollout, revision string) string { return fmt.Sprintf("%s-%s", rollout, revision) }

// Condition types, usable with `kubectl wait --for=condition=…`.
const (
	// ConditionReady: the object does what its spec says, now.
	ConditionReady = "Ready"
	// ConditionHealthy: everything that a Sync brought is up and running, Rollouts without an attempt that was taken back.
	ConditionHealthy = "Healthy"
	// ConditionImagesVerified: every image that a Sync says must be signed is signed by a key that it trusts.
	ConditionImagesVerified = "ImagesVerified"
	// ConditionProgressing: an attempt is under way.
	ConditionProgressing = "Progressing"
	// ConditionStalled: nothing will go on until a person or another object changes.
	ConditionStalled = "Stalled"
	// ConditionTrafficReady: Services and routes exist and say what is wanted of them.
	ConditionTrafficReady = "TrafficReady"
	// ConditionAnalysisHealthy: templates exist and their metrics can be measured.
	ConditionAnalysisHealthy = "AnalysisHealthy"
	// ConditionReverted: True when Git says what the cluster runs again after a failed attempt; False while it does not.
	ConditionReverted = "Reverted"
	// ConditionDrifted: objects of a Sync are not as Git declares them, and are left so for now.
	ConditionDrifted = "Drifted"
	// ConditionBundleKept: what a Sync has applied is kept in the cluster, and can be applied again without Git.
	ConditionBundleKept = "BundleKept"
	// ConditionDriftFight: an object of a Sync is no longer corrected, since somebody else writes it again each time.
	ConditionDriftFight = "DriftFight"
)

// FindCondition returns the condition of a type, or nil.
func FindCondition(cs []metav1.Condition, t string) *metav1.Condition {
	for i := range cs {
		if cs[i].Type == t {
			return &cs[i]
		}
	}
	return nil
}
