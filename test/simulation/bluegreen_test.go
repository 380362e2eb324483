package simulation

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// gated has every gate that a preview can have.
func gated() *v1alpha1.BlueGreenStrategy {
	one := intstr.FromInt32(1)
	return &v1alpha1.BlueGreenStrategy{PreviewReplicas: &one, Hold: "30s", Approval: v1alpha1.ApprovalRequired,
		PrePromotion: &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "checks"}}}}
}

func blueGreen(t *testing.T, s *story) {
	s.title("Blue-green: the preview comes up and is checked, a person approves, all of the traffic moves at once.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	for range 60 {
		s.once()
	}
	s.ask(v1alpha1.ActionApprove)
	s.until(t, v1alpha1.StageStepping, 1)
	s.until(t, "", 0)
	s.quiet()
}

func badPreview(t *testing.T, s *story) {
	s.title("Blue-green: prePromotion fails on the preview, and no user has met the revision.")
	s.bad["b"] = true
	s.commit("b")
	s.until(t, v1alpha1.StageWithdrawing, 0)
	s.until(t, "", 0)
	if h := s.rollout.Status.History[0]; h.MaxWeight != 0 {
		t.Errorf("the revision was exposed: %+v", h)
	}
}

func becomesBlueGreen(t *testing.T, s *story) {
	s.title("The strategy becomes blue-green while a canary has traffic: the attempt goes back to the preview, not on to the switch.")
	s.cfg.Steps = []v1alpha1.Step{weighted(20, v1alpha1.Step{}), weighted(50, v1alpha1.Step{Hold: "1h"})}
	s.rollout.Spec.Strategy = s.cfg.strategy()
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	for range 20 {
		s.once()
	}
	s.say("a user makes the strategy blue-green")
	s.Happen(Event{Kind: Steps, A: stepSetCount})
	s.until(t, v1alpha1.StageStepping, 0)
	s.until(t, "", 0)
}
