package planner

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestForecastOncePerAttempt: it is made when the run knows the traffic, told once, and changes nothing else.
func TestForecastOncePerAttempt(t *testing.T) {
	for _, test := range []struct {
		name, rate string
		status     metav1.ConditionStatus
		says       string
		events     int
	}{
		{"enough", "500", metav1.ConditionTrue, "at 500 requests per second, 0.002 of them bad, as before attempt", 0},
		{"too little", "0.1", metav1.ConditionFalse, "maxHold 10m0s is over before its proof, which takes about", 1},
		{"none", "0", metav1.ConditionFalse, "cannot be proven at this traffic", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, run := comparing()
			run.Spec.Metrics[0].Compare = &v1alpha1.Compare{Errors: &v1alpha1.CompareErrors{Total: "t", Bad: "b"}}
			o.Rollout.Spec.Strategy.Canary.Steps[1].MaxHold = "10m"
			without := Make(o)
			if without.Status.Forecast != nil || v1alpha1.FindCondition(without.Status.Conditions, v1alpha1.ConditionProvable) != nil {
				t.Fatal("a forecast of nothing")
			}
			run.Status.Traffic = &v1alpha1.ObservedTraffic{RequestsPerSecond: test.rate, BadRatio: "0.002", Span: "1200s"}
			first := Make(o)
			f, c := first.Status.Forecast, v1alpha1.FindCondition(first.Status.Conditions, v1alpha1.ConditionProvable)
			if f == nil || f.Attempt != o.attempt().Number || len(f.Steps) == 0 || c == nil || c.Status != test.status || !strings.Contains(c.Message, test.says) {
				t.Fatalf("forecast %+v, condition %+v", f, c)
			}
			if got := len(first.Events) - len(without.Events); got != test.events {
				t.Errorf("%d events more, want %d", got, test.events)
			}
			if len(first.Actions) != len(without.Actions) || first.Store != without.Store {
				t.Error("the forecast changes what is done")
			}
			o.Rollout.Status.Forecast, o.Now = f, o.Now.Add(time.Hour)
			run.Status.Traffic.RequestsPerSecond = "7"
			if again := Make(o); *again.Status.Forecast.At.DeepCopy() != f.At || again.Status.Forecast.Traffic.RequestsPerSecond != test.rate {
				t.Errorf("made again: %+v", again.Status.Forecast)
			}
			f.Attempt--
			if next := Make(o); next.Status.Forecast.Traffic.RequestsPerSecond != "7" {
				t.Errorf("not made for the next attempt: %+v", next.Status.Forecast)
			}
		})
	}
}
