package view

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestForecast: a step that cannot be proven in time is told while an attempt runs, and nothing else is.
func TestForecast(t *testing.T) {
	for status, want := range map[metav1.ConditionStatus]bool{metav1.ConditionFalse: true, metav1.ConditionTrue: false} {
		o := shop()
		o.Rollout.Status.Conditions = append(o.Rollout.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionProvable, Status: status, Reason: "x", Message: "step tenth takes 3h"})
		if got := strings.Contains(Render(Build(o), Style{}, now), "step tenth takes 3h"); got != want {
			t.Errorf("%s: told %v, want %v", status, got, want)
		}
	}
}
