package v1alpha1

import "k8s.io/apimachinery/pkg/util/intstr"

// Strategy says in which steps a new revision is exposed.
//
// +kubebuilder:validation:XValidation:rule="has(self.canary) != has(self.blueGreen)",message="exactly one of canary and blueGreen must be set"
type Strategy struct {
	// canary exposes a new revision to a growing share of the traffic.
	// +optional
	Canary *CanaryStrategy `json:"canary,omitempty"`
	// blueGreen brings a new revision up beside the old one, and then switches all of the traffic at once.
	// +optional
	BlueGreen *BlueGreenStrategy `json:"blueGreen,omitempty"`
}

// BlueGreenStrategy brings a new revision up beside the old one, and then switches all of the traffic at once. The preview
// Service is traffic.canaryService: it selects the new revision while the attempt runs.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxHold) || !has(self.hold) || duration(self.maxHold) == duration('0s') || duration(self.maxHold) >= duration(self.hold)",message="maxHold must not be shorter than hold"
// +kubebuilder:validation:XValidation:rule="has(self.maxHold) || !has(self.onInconclusive) || self.onInconclusive == 'Pause'",message="onInconclusive needs maxHold: without it the preview waits without end"
type BlueGreenStrategy struct {
	// previewReplicas is how many pods of the new revision run before the switch: a count, or a percentage of
	// spec.replicas. All of spec.replicas run before any traffic is switched. Default 100%.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?|100)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string || (self >= 1 && self <= 10000)",message="previewReplicas must be a count of at least 1, or a percentage from 1% to 100%"
	PreviewReplicas *intstr.IntOrString `json:"previewReplicas,omitempty"`
	// previewMatch sends all requests that match to the new revision before the switch, on the same routes. Unset: the
	// preview is reached through the preview Service only.
	// +optional
	PreviewMatch *Match `json:"previewMatch,omitempty"`
	// prePromotion is judged on the preview, which users do not reach yet but by previewMatch, and must pass before the switch.
	// +optional
	PrePromotion *AnalysisReference `json:"prePromotion,omitempty"`
	// postPromotion is judged once all traffic is on the new revision, and must pass before the revision is promoted. The
	// old pods stay: going back starts no pod.
	// +optional
	PostPromotion *AnalysisReference `json:"postPromotion,omitempty"`
	// approval Required: the switch waits for a Decision with action Approve. Default NotRequired: it goes on by itself
	// after hold.
	// +optional
	// +kubebuilder:default=NotRequired
	Approval Approval `json:"approval,omitempty"`
	// hold is the least time that the preview is up before the switch, counted from the moment its pods are endpoints of the
	// preview Service and have settled. Default 0s.
	// +optional
	// +kubebuilder:default="0s"
	Hold Duration `json:"hold,omitempty"`
	// maxHold is the longest time that prePromotion may owe its evidence, counted like hold; that of postPromotion is
	// counted from the moment all traffic is confirmed. Unset or 0s: without end.
	// +optional
	MaxHold Duration `json:"maxHold,omitempty"`
	// onInconclusive applies once maxHold is over, as for the steps of a canary: Pause, Extend, Proceed or Rollback. Default
	// Pause.
	// +optional
	// +kubebuilder:default=Pause
	OnInconclusive InconclusiveAction `json:"onInconclusive,omitempty"`
	// bake is how long after promotion the revision is still judged while the old pods stay warm: going back starts no
	// pod. Default 0s.
	// +optional
	// +kubebuilder:default="0s"
	Bake Duration `json:"bake,omitempty"`
	// scaleDownDelay is how long the pods of a revision that no longer gets traffic are kept. Default 30s.
	// +optional
	// +kubebuilder:default="30s"
	ScaleDownDelay Duration `json:"scaleDownDelay,omitempty"`
}
