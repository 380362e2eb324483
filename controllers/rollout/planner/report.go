package planner

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// report fills the part of the status that is for readers: counts, conditions, the phase, and what is waited for.
func (d *draft) report() {
	d.s.ObservedGeneration = d.Rollout.Generation
	d.s.Selector = labels.SelectorFromSet(d.Rollout.Spec.Selector.MatchLabels).String()
	d.s.Replicas, d.s.ReadyReplicas, d.s.AvailableReplicas, d.s.UpdatedReplicas = 0, 0, 0, 0
	for _, rs := range d.ReplicaSets {
		d.s.Replicas += rs.Current
		d.s.ReadyReplicas += rs.Ready
		d.s.AvailableReplicas += rs.Available
		if rs.Revision == d.Revision {
			d.s.UpdatedReplicas = rs.Current
		}
	}
	if a := d.s.Attempt; a != nil {
		a.Progress = fmt.Sprintf("%d/%d", min(int(a.Step)+1, len(d.steps())), len(d.steps()))
		if a.Stage == v1alpha1.StageInitial {
			a.Progress = ""
		}
	} else if d.blocked == "" {
		d.block(d.restTrouble())
	}
	if d.blocked == "" {
		d.blocked = d.restarting
	}
	d.s.BlockedBy = d.blocked
	d.conditions()
	d.s.Phase = d.phase()
}

// restTrouble says what is wrong although no attempt runs.
func (d *draft) restTrouble() string {
	if d.s.Stable == nil {
		return ""
	}
	if why := d.workloadTrouble(); why != "" {
		d.stalled = "WorkloadNotUsable"
		return why
	}
	if have := d.available(d.s.Stable.Revision); have < d.replicas() {
		return fmt.Sprintf("%d of %d stable pods are available", have, d.replicas())
	}
	return d.trafficProblem
}

func (d *draft) condition(kind string, ok metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&d.s.Conditions, metav1.Condition{Type: kind, Status: ok, Reason: reason, Message: message,
		ObservedGeneration: d.Rollout.Generation, LastTransitionTime: d.now()})
}

func (d *draft) conditions() {
	a := d.s.Attempt
	switch {
	case a != nil:
		d.condition(v1alpha1.ConditionProgressing, metav1.ConditionTrue, string(a.Stage), fmt.Sprintf("attempt %d of revision %s", a.Number, a.Revision))
		d.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "AttemptRunning", d.blocked)
	case d.restarting != "":
		d.condition(v1alpha1.ConditionProgressing, metav1.ConditionTrue, "Restarting", d.restarting)
		d.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "Restarting", d.blocked)
	case d.blocked != "":
		d.condition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, "NoAttempt", "no attempt runs")
		reason := "NotReady"
		if d.stalled != "" {
			reason = d.stalled
		}
		d.condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, d.blocked)
	default:
		d.condition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, "NoAttempt", "no attempt runs")
		d.condition(v1alpha1.ConditionReady, metav1.ConditionTrue, "Stable", fmt.Sprintf("revision %s is stable and available", revisionOf(d.s.Stable)))
	}
	if d.stalled != "" {
		d.condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, d.stalled, d.blocked)
	} else {
		d.condition(v1alpha1.ConditionStalled, metav1.ConditionFalse, "NotStalled", "")
	}
	d.reportTraffic()
	d.problem(v1alpha1.ConditionAnalysisHealthy, d.analysisTrouble())
}

func (d *draft) reportTraffic() {
	contested := d.contested()
	var reason, bypass string
	if a := d.s.Attempt; a != nil {
		reason, bypass, _ = strings.Cut(a.Bypass, ": ")
	}
	switch {
	case d.trafficProblem != "":
		d.problem(v1alpha1.ConditionTrafficReady, d.trafficProblem)
	case contested != "":
		d.condition(v1alpha1.ConditionTrafficReady, metav1.ConditionFalse, ReasonRouteContested, contested)
	case bypass != "":
		d.condition(v1alpha1.ConditionTrafficReady, metav1.ConditionTrue, reason, bypass)
	default:
		d.problem(v1alpha1.ConditionTrafficReady, "")
	}
}

func (d *draft) problem(kind, why string) {
	if why != "" {
		d.condition(kind, metav1.ConditionFalse, "Problem", why)
		return
	}
	d.condition(kind, metav1.ConditionTrue, "AsWanted", "")
}

func (d *draft) analysisTrouble() string {
	if d.AnalysisProblem != "" || d.s.Attempt == nil {
		return d.AnalysisProblem
	}
	for _, name := range []string{d.backgroundName(), d.checksName()} {
		run := d.Runs[name]
		if run == nil {
			continue
		}
		if c := v1alpha1.FindCondition(run.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status == metav1.ConditionFalse {
			return fmt.Sprintf("AnalysisRun %s: %s", name, c.Message)
		}
	}
	return ""
}

func (d *draft) phase() string {
	a := d.s.Attempt
	switch {
	case a == nil && d.blocked == "":
		return "Healthy"
	case a == nil && d.restarting != "":
		return "Restarting"
	case a == nil:
		return "Degraded"
	case a.Stage == v1alpha1.StageWithdrawing:
		return "RollingBack"
	case a.Stage == v1alpha1.StageBaking:
		return "Baking"
	case d.stalled == "Paused":
		return "Paused"
	}
	return "Progressing"
}
