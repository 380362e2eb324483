package planner

import (
	"fmt"
	"math"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// ReasonTooLittleTraffic is of the condition Provable, and of the event beside it.
const ReasonTooLittleTraffic = "TooLittleTraffic"

// forecast tells how long the steps take to be proven, once per attempt: when its run has read what stable did before. Nothing
// waits for it, and it changes nothing else.
func (d *draft) forecast() {
	a := d.s.Attempt
	if a == nil || a.Stage == v1alpha1.StageInitial || d.s.Forecast != nil && d.s.Forecast.Attempt == a.Number {
		return
	}
	for _, name := range []string{d.backgroundName(), d.checksName()} {
		run := d.Runs[name]
		if run == nil || run.Status.Traffic == nil {
			continue
		}
		cfg, _, err := analysis.CompareConfig(run.Spec.Metrics)
		assumed, err2 := analysis.AssumedOf(*run.Status.Traffic)
		if err != nil || err2 != nil || analysis.Demand(&cfg, d.Rollout.Spec.Evidence) != nil {
			continue // the run says so itself
		}
		d.tellForecast(*run.Status.Traffic, cfg, assumed)
		return
	}
}

func (d *draft) tellForecast(traffic v1alpha1.ObservedTraffic, cfg compare.Config, assumed analysis.Assumed) {
	f := &v1alpha1.Forecast{Attempt: d.s.Attempt.Number, At: d.now(), Traffic: traffic}
	var late []string
	for _, s := range analysis.Forecast(&d.Rollout.Spec, cfg, assumed) {
		step := v1alpha1.StepForecast{Name: s.Name, Weight: s.Weight, NextWeight: s.Next}
		if !math.IsInf(s.Requests, 0) {
			step.CanaryRequests = int64(math.Ceil(s.Requests))
		}
		if s.Takes < analysis.Never {
			step.Takes = v1alpha1.Duration(fmt.Sprintf("%ds", int64(s.Takes.Seconds()+0.5)))
		}
		f.Steps = append(f.Steps, step)
		if why := s.Late(); why != "" {
			late = append(late, why)
		}
	}
	d.s.Forecast = f
	at := fmt.Sprintf("at %s requests per second, %s of them bad, as before attempt %d", traffic.RequestsPerSecond, traffic.BadRatio, f.Attempt)
	if len(late) == 0 {
		d.condition(v1alpha1.ConditionProvable, metav1.ConditionTrue, "EnoughTraffic", at)
		return
	}
	why := fmt.Sprintf("%s: %s", at, strings.Join(late, "; "))
	d.condition(v1alpha1.ConditionProvable, metav1.ConditionFalse, ReasonTooLittleTraffic, why)
	d.tell("Warning", ReasonTooLittleTraffic, why)
}
