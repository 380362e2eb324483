// Package v1alpha1 holds Belay's kinds: Rollout, Decision, AnalysisTemplate, AnalysisRun, Repository and Sync.
//
// The package knows only apimachinery and the pod template of core/v1. What a schema can check is checked in the
// schema (CEL rules with messages), so that the API server and `kubectl belay lint` refuse the same things.
// Durations are Gateway API style strings such as "90s", "5m" or "1h30m".
//
// +kubebuilder:object:generate=true
// +groupName=belay.dev
package v1alpha1
