package v1alpha1

// SyncChecks are made before anything is applied.
type SyncChecks struct {
	// references asks that every ConfigMap, Secret, ServiceAccount and PersistentVolumeClaim that a pod cannot start without is
	// in the bundle or in the cluster. Deny changes nothing where one is missing, Warn only says so, Off does not look. An
	// object that makes others names them in the annotation belay.dev/provides ("Secret/tls, ConfigMap/ca"). What the
	// ServiceAccount may not read is not known to be missing. Default Deny.
	// +optional
	// +kubebuilder:default=Deny
	References CheckMode `json:"references,omitempty"`
	// quota asks that what the bundle as a whole adds fits into the ResourceQuotas of its namespaces, at the height of a
	// rollout. Default Deny.
	// +optional
	// +kubebuilder:default=Deny
	Quota CheckMode `json:"quota,omitempty"`
	// otherTools asks that no object that Flux, Argo CD, Config Sync or Helm marks as kept by them is written: two that keep one
	// object write it in turns. Default Deny.
	// +optional
	// +kubebuilder:default=Deny
	OtherTools CheckMode `json:"otherTools,omitempty"`
}

// CheckMode says what follows from a check that fails.
//
// +kubebuilder:validation:Enum=Deny;Warn;Off
type CheckMode string

// Values of CheckMode.
const (
	CheckDeny CheckMode = "Deny"
	CheckWarn CheckMode = "Warn"
	CheckOff  CheckMode = "Off"
)
