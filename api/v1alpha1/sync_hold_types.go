package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SyncHold is what a Sync is held at.
type SyncHold struct {
	// decision that asked for it, by name.
	// +kubebuilder:validation:MaxLength=253
	Decision string `json:"decision"`
	// action is Undo or Pause.
	// +kubebuilder:validation:Enum=Undo;Pause
	Action DecisionAction `json:"action"`
	// bundle it is held at.
	// +kubebuilder:validation:MaxLength=64
	Bundle string `json:"bundle"`
	// commit that the bundle is of.
	// +kubebuilder:validation:MaxLength=64
	Commit string `json:"commit"`
	// actor who asked for it.
	// +kubebuilder:validation:MaxLength=253
	Actor string `json:"actor"`
	// reason they gave.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// at is since when.
	At metav1.Time `json:"at"`
}
