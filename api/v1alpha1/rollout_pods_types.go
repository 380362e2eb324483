package v1alpha1

// RoleMetadata is what pods carry while they have a role. It is put on and taken off running pods; their templates stay.
type RoleMetadata struct {
	// stable is for pods of the stable revision.
	// +optional
	Stable PodMetadata `json:"stable,omitzero"`
	// canary is for pods of the revision on trial.
	// +optional
	Canary PodMetadata `json:"canary,omitzero"`
}

// Of is what pods of a role carry.
func (m *RoleMetadata) Of(role Role) PodMetadata {
	switch {
	case m == nil:
	case role == RoleStable:
		return m.Stable
	case role == RoleCanary:
		return m.Canary
	}
	return PodMetadata{}
}

// PodMetadata is labels and annotations of pods. A key that the pod's template has too gets the template's value back when
// the pod changes its role.
type PodMetadata struct {
	// labels by key. Those that a selector of the Rollout or of its Services uses must not be among them.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !k.startsWith('belay.dev/') && k != 'pod-template-hash')",message="belay.dev/* and pod-template-hash are labels that controllers select pods by"
	Labels map[string]LabelValue `json:"labels,omitempty"`
	// annotations by key.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !k.startsWith('belay.dev/'))",message="annotations of belay.dev/* are Belay's own"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue string

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=1024
type AnnotationValue string

// Spread keeps pods of different revisions on different nodes.
// +kubebuilder:validation:Enum=Off;Preferred;Required
type Spread string

// Values of Spread. Preferred: the scheduler tries. Required: a pod on trial waits until there is such a node.
const (
	SpreadOff       Spread = "Off"
	SpreadPreferred Spread = "Preferred"
	SpreadRequired  Spread = "Required"
)

// ApprovalRules say who must approve.
type ApprovalRules struct {
	// required is how many different people must approve a step. Default 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	Required int32 `json:"required,omitempty"`
	// notTheAuthor Enabled: who wrote or committed what brought the revision may not approve it, nor promote it over its gates.
	// People are told apart by the part of their name before the @, without a prefix that ends in ":", "#" or "/". Where the
	// authors are not known, because the Rollout does not come through a Sync, nobody may. Default Disabled.
	// +optional
	// +kubebuilder:default=Disabled
	NotTheAuthor Switch `json:"notTheAuthor,omitempty"`
}

// Switch turns something on.
// +kubebuilder:validation:Enum=Enabled;Disabled
type Switch string

// Values of Switch.
const (
	Enabled  Switch = "Enabled"
	Disabled Switch = "Disabled"
)
