package simulation

import (
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// strategyCount is how many strategies worlds choose from.
const strategyCount = stepSetCount + 5

// choose gives a configuration one of the strategies.
func (c Config) choose(i int) Config {
	c.Steps, c.BlueGreen = nil, nil
	if i < stepSetCount {
		c.Steps = stepSets(i)
		return c
	}
	one := intstr.FromInt32(1)
	checks := &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "checks"}}}
	c.BlueGreen = []*v1alpha1.BlueGreenStrategy{
		{Hold: "20s"},
		{PrePromotion: checks, PreviewReplicas: &one},
		{PrePromotion: checks, Approval: v1alpha1.ApprovalRequired, Hold: "10s"},
		{Hold: "20s", PreviewMatch: header("x-preview", "yes"), PreviewReplicas: &one},
		{PostPromotion: checks, MaxHold: "1m", OnInconclusive: v1alpha1.InconclusiveRollback},
	}[i-stepSetCount]
	return c
}

func (c Config) strategy() v1alpha1.Strategy {
	if c.BlueGreen == nil {
		scale := v1alpha1.StableScaleFull
		if c.Dynamic {
			scale = v1alpha1.StableScaleDynamic
		}
		return v1alpha1.Strategy{Canary: &v1alpha1.CanaryStrategy{Steps: c.Steps, Bake: c.Bake, ScaleDownDelay: "30s", StableScale: scale}}
	}
	b := c.BlueGreen.DeepCopy()
	b.Bake, b.ScaleDownDelay = c.Bake, "30s"
	return v1alpha1.Strategy{BlueGreen: b}
}

// checkBlueGreen (B1): a blue-green attempt exposes nothing, or everything. A strategy that has become blue-green in the
// middle of an attempt begins with the preview: all traffic is back on stable before the switch.
func (x *executor) checkBlueGreen(was, is *v1alpha1.Attempt) {
	if x.rollout.Spec.Strategy.BlueGreen == nil || is == nil || is.Verdict != nil || is.Stage != v1alpha1.StageStepping {
		return
	}
	if is.Weight != 0 && is.Weight != 100 {
		x.violate("B1", "a blue-green attempt asks for weight %d", is.Weight)
	}
	if is.Weight == 0 || is.Full != nil || was != nil && was.Weight == 100 {
		return
	}
	if was == nil || was.Number != is.Number || was.StepName != v1alpha1.StepPreview {
		x.violate("B1", "attempt %d switches without a preview: %+v", is.Number, was)
	}
}
