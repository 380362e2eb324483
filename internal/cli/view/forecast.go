package view

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// forecastLine says which steps cannot be proven in time; empty where all can, or nothing is known.
func forecastLine(conditions []metav1.Condition) string {
	if c := v1alpha1.FindCondition(conditions, v1alpha1.ConditionProvable); c != nil && c.Status == metav1.ConditionFalse {
		return c.Message
	}
	return ""
}
