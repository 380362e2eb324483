package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConditionProvable says whether each step can be proven by the compare metrics, at the traffic that was observed when the last
// attempt began, within the time that maxHold gives it.
const ConditionProvable = "Provable"

// ObservedTraffic is what the stable revision did before a run, as its first compare metric of errors saw it.
type ObservedTraffic struct {
	// requestsPerSecond to all pods together, a decimal number as text.
	// +required
	// +kubebuilder:validation:MaxLength=32
	RequestsPerSecond string `json:"requestsPerSecond"`
	// badRatio is the share of bad requests, a decimal number as text.
	// +required
	// +kubebuilder:validation:MaxLength=32
	BadRatio string `json:"badRatio"`
	// span of time that was observed.
	// +required
	Span Duration `json:"span"`
}

// Forecast is how long the steps of an attempt take to be proven.
type Forecast struct {
	// attempt that it was made for.
	Attempt int64 `json:"attempt"`
	// at is when it was made: when the attempt's run had read what stable did before. It is made once per attempt.
	At metav1.Time `json:"at"`
	// traffic that it assumes.
	Traffic ObservedTraffic `json:"traffic"`
	// steps in their order, those without a weight left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Steps []StepForecast `json:"steps,omitempty"`
}

// StepForecast is how long one step takes for a revision that is as good as stable. Bad luck can double it.
type StepForecast struct {
	// name of the step.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// weight of the step.
	Weight int32 `json:"weight"`
	// nextWeight is what must be proven safe.
	NextWeight int32 `json:"nextWeight"`
	// canaryRequests that the proof needs; unset: no number of them suffices.
	// +optional
	CanaryRequests int64 `json:"canaryRequests,omitempty"`
	// takes is how long they take; unset: longer than 4 weeks.
	// +optional
	Takes Duration `json:"takes,omitempty"`
}
