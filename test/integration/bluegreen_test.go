package integration

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// previewed makes the strategy blue-green, with every gate of a preview.
func previewed(ro *v1alpha1.Rollout) {
	one := intstr.FromInt32(1)
	ro.Spec.Strategy = v1alpha1.Strategy{BlueGreen: &v1alpha1.BlueGreenStrategy{PreviewReplicas: &one, Hold: "1s", Bake: "2s", ScaleDownDelay: "1s",
		Approval: v1alpha1.ApprovalRequired, PrePromotion: &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "golden"}}}}}
}

func awaitsApproval(ro *v1alpha1.Rollout) bool {
	c := v1alpha1.FindCondition(ro.Status.Conditions, v1alpha1.ConditionStalled)
	return c != nil && c.Reason == "ApprovalRequired"
}

func TestBlueGreen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, previewed).started()
	v2 := w.deploy("v2")
	ro := w.until("waiting for an approval", awaitsApproval)
	if a := ro.Status.Attempt; a.StepName != v1alpha1.StepPreview || a.MaxWeight != 0 || a.ExposedAt != nil || a.Progress != "1/2" {
		t.Errorf("the preview: %+v", a)
	}
	yes := w.say(v1alpha1.ActionApprove, func(s *v1alpha1.DecisionSpec) { s.Step = ptr.To[int32](0) })
	w.alias.add(yes.Name, "approve")
	w.result(yes, v1alpha1.DecisionApplied)
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	ro = w.rest()
	golden(t, "blue-green", w.record.text(0))
	w.idle()
	if ro.Status.Stable.Revision != v2 || ro.Status.Phase != "Healthy" || ro.Status.History[0].MaxWeight != 100 {
		t.Errorf("status: %s", w.alias.in(statusText(&ro.Status)))
	}
}

func TestBadPreviewMeetsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, previewed).started()
	v2 := hash(t, "v2")
	w.analyst.verdicts[v2] = v1alpha1.VerdictFail
	w.deploy("v2")
	w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
	if h := w.rest().Status.History[0]; h.Reason != "AnalysisFailed" || h.MaxWeight != 0 {
		t.Errorf("history: %+v", h)
	}
	w.idle()
}
