package v1alpha1

import (
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Names of the two steps that a blue-green strategy stands for.
const (
	StepPreview = "preview"
	StepSwitch  = "switch"
)

// Exposes says whether the step sends requests, or copies of them, to the canary.
func (s *Step) Exposes() bool {
	return s.Weight != nil && *s.Weight > 0 || s.Match != nil || s.Mirror != nil
}

// Exposes says whether the current step sends requests, or copies of them, to the canary.
func (a *Attempt) Exposes() bool { return a.Weight > 0 || a.Match != nil || a.Mirror != nil }

// Total is the denominator of weights.
func (t *Traffic) Total() int32 {
	if t.TotalWeight > 0 {
		return t.TotalWeight
	}
	return 100
}

// Steps are the steps of either strategy. Blue-green is two of them: everything up and nothing exposed but what
// previewMatch names, then all of the traffic.
func (s *RolloutSpec) Steps() []Step {
	switch {
	case s.Strategy.Canary != nil:
		return s.Strategy.Canary.Steps
	case s.Strategy.BlueGreen == nil:
		return nil
	}
	b := s.Strategy.BlueGreen
	none, total, full := int32(0), s.Traffic.Total(), intstr.FromString("100%")
	preview := Step{Name: StepPreview, Weight: &none, Match: b.PreviewMatch, Replicas: b.PreviewReplicas, Hold: b.Hold, Approval: b.Approval,
		Checks: b.PrePromotion, MaxHold: b.MaxHold, OnInconclusive: b.OnInconclusive}
	if preview.Replicas == nil {
		preview.Replicas = &full
	}
	all := Step{Name: StepSwitch, Weight: &total, Replicas: &full, Checks: b.PostPromotion, MaxHold: b.MaxHold,
		OnInconclusive: b.OnInconclusive}
	return []Step{preview, all}
}

// Bake is how long after promotion the revision is still judged.
func (s *RolloutSpec) Bake() time.Duration {
	if b := s.Strategy.BlueGreen; b != nil {
		return b.Bake.Or(0)
	}
	if c := s.Strategy.Canary; c != nil {
		return c.Bake.Or(0)
	}
	return 0
}

// ScaleDownDelay is how long the pods of a revision that no longer gets traffic are kept.
func (s *RolloutSpec) ScaleDownDelay() time.Duration {
	delay := 30 * time.Second
	if b := s.Strategy.BlueGreen; b != nil {
		return b.ScaleDownDelay.Or(delay)
	}
	if c := s.Strategy.Canary; c != nil {
		return c.ScaleDownDelay.Or(delay)
	}
	return delay
}
