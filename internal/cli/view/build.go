package view

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/revision"
)

// maxRuns is how many runs are shown when no attempt is under way.
const maxRuns = 2

// Objects are what a View is made from. ReplicaSets, Pods and Runs may hold more than the Rollout's own.
type Objects struct {
	Rollout     *v1alpha1.Rollout
	ReplicaSets []appsv1.ReplicaSet
	Pods        []corev1.Pod
	Runs        []v1alpha1.AnalysisRun
	// Unread names what could not be read, and why.
	Unread []string
}

// Build makes the View of a Rollout.
func Build(o Objects) View {
	r := o.Rollout
	v := View{
		APIVersion: APIVersion, Kind: KindRollout, Namespace: r.Namespace, Name: r.Name,
		Health: HealthOf(r), Phase: r.Status.Phase, Observed: observed(r), BlockedBy: r.Status.BlockedBy, Paused: r.Spec.Paused,
		Replicas: Replicas{Desired: asked(r), Current: r.Status.Replicas, Updated: r.Status.UpdatedReplicas,
			Ready: r.Status.ReadyReplicas, Available: r.Status.AvailableReplicas},
		Stable: r.Status.Stable, Previous: r.Status.Previous, Revert: r.Status.Revert, Quarantine: r.Status.Quarantine,
		Conditions: r.Status.Conditions, Unread: o.Unread, Created: r.CreationTimestamp,
		Attempt: attempt(r),
	}
	if len(r.Status.History) > 0 {
		v.Last = &r.Status.History[0]
	}
	v.Revisions = revisions(o)
	v.Runs = runs(o)
	return v
}

// HealthOf says in one word how a Rollout is.
func HealthOf(r *v1alpha1.Rollout) Health {
	if a := r.Status.Attempt; a != nil && observed(r) {
		if pausedByBelay(a) || overdue(r) || a.Verdict != nil && a.Verdict.Outcome != v1alpha1.OutcomeSuperseded {
			return Degraded
		}
		return Progressing
	}
	ready := v1alpha1.FindCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case !observed(r) || ready == nil:
		return Progressing
	case isTrue(r, v1alpha1.ConditionStalled) || quarantined(r):
		return Degraded
	case ready.Status == metav1.ConditionTrue:
		return Healthy
	case ready.Status == metav1.ConditionUnknown || isTrue(r, v1alpha1.ConditionProgressing):
		return Progressing
	}
	return Degraded
}

// pausedByBelay says whether onFailure has paused the attempt, which only a person ends.
func pausedByBelay(a *v1alpha1.Attempt) bool {
	return a.Pause != nil && a.Pause.Name == v1alpha1.FieldManager
}

// overdue says whether the first revision ever does not come up: there is nothing to go back to, so no verdict falls.
func overdue(r *v1alpha1.Rollout) bool {
	c := v1alpha1.FindCondition(r.Status.Conditions, v1alpha1.ConditionStalled)
	return c != nil && c.Status == metav1.ConditionTrue && c.Reason == "ProgressDeadline"
}

// quarantined says whether the spec asks for a revision that failed.
func quarantined(r *v1alpha1.Rollout) bool {
	if len(r.Status.Quarantine) == 0 || r.Spec.WorkloadRef != nil { // condition Stalled tells it where the template is a Deployment's
		return false
	}
	wanted, err := revision.Hash(&r.Spec.Template)
	return err == nil && slices.ContainsFunc(r.Status.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == wanted })
}

func observed(r *v1alpha1.Rollout) bool { return r.Status.ObservedGeneration >= r.Generation }

func isTrue(r *v1alpha1.Rollout, condition string) bool {
	c := v1alpha1.FindCondition(r.Status.Conditions, condition)
	return c != nil && c.Status == metav1.ConditionTrue
}

// asked is how many pods are wanted; with workloadRef and no number of its own, what runs is what the Deployment asked for.
func asked(r *v1alpha1.Rollout) int32 {
	if r.Spec.WorkloadRef != nil && r.Spec.Replicas == nil {
		return r.Status.Replicas
	}
	return desired(r.Spec.Replicas)
}

func desired(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

func attempt(r *v1alpha1.Rollout) *Attempt {
	a := r.Status.Attempt
	if a == nil {
		return nil
	}
	steps := len(r.Spec.Steps())
	out := &Attempt{
		Number: a.Number, Revision: a.Revision, Commit: a.Commit, Stage: a.Stage, StartedAt: a.StartedAt, Since: a.StageSince,
		Step: min(int(a.Step)+1, steps), Steps: steps, StepName: a.StepName, Weight: a.Weight, ConfirmedWeight: a.ConfirmedWeight,
		TotalWeight: cmp.Or(r.Spec.Traffic.TotalWeight, 100), Match: a.Match, Mirror: a.Mirror, Bypass: a.Bypass, Authors: a.Authors, Contest: a.Contest, Pause: a.Pause, Full: a.Full, Verdict: a.Verdict,
	}
	if a.Stage == v1alpha1.StageStepping && a.StepSince != nil {
		out.Since = *a.StepSince
	}
	for i := range a.Approvals {
		if a.Approvals[i].Step == a.Step {
			out.Approved = &a.Approvals[i].By
			out.ApprovedToo = a.Approvals[i].Others
		}
	}
	return out
}

// revisions are the Rollout's ReplicaSets that have pods or a role: canary first, then stable, then the rest.
func revisions(o Objects) []Revision {
	var out []Revision
	for i := range o.ReplicaSets {
		rs := &o.ReplicaSets[i]
		if !metav1.IsControlledBy(rs, o.Rollout) {
			continue
		}
		rev := Revision{Revision: rs.Labels[v1alpha1.LabelRevision], ReplicaSet: rs.Name, Desired: desired(rs.Spec.Replicas),
			Ready: rs.Status.ReadyReplicas, Created: rs.CreationTimestamp, Pods: pods(rs, o.Pods)}
		rev.Role = role(o.Rollout, rs, rev.Revision)
		if rev.Role == "" && rev.Desired == 0 && len(rev.Pods) == 0 {
			continue
		}
		out = append(out, rev)
	}
	slices.SortFunc(out, func(a, b Revision) int {
		return cmp.Or(cmp.Compare(rank(a.Role), rank(b.Role)), b.Created.Compare(a.Created.Time), cmp.Compare(a.Revision, b.Revision))
	})
	return out
}

func role(r *v1alpha1.Rollout, rs *appsv1.ReplicaSet, rev string) v1alpha1.Role {
	switch {
	case r.Status.Stable != nil && r.Status.Stable.Revision == rev:
		return v1alpha1.RoleStable
	case r.Status.Attempt != nil && r.Status.Attempt.Revision == rev:
		return v1alpha1.RoleCanary
	case r.Status.Previous != nil && r.Status.Previous.Revision == rev:
		return v1alpha1.RolePrevious
	case desired(rs.Spec.Replicas) > 0:
		return v1alpha1.Role(rs.Labels[v1alpha1.LabelRole])
	}
	return ""
}

func rank(role v1alpha1.Role) int {
	return slices.Index([]v1alpha1.Role{v1alpha1.RoleCanary, v1alpha1.RoleStable, v1alpha1.RolePrevious, role}, role)
}

func pods(rs *appsv1.ReplicaSet, all []corev1.Pod) []Pod {
	var out []Pod
	for i := range all {
		if metav1.IsControlledBy(&all[i], rs) {
			out = append(out, pod(&all[i]))
		}
	}
	slices.SortFunc(out, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func pod(p *corev1.Pod) Pod {
	out := Pod{Name: p.Name, State: string(p.Status.Phase), Created: p.CreationTimestamp}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodReady:
			out.Ready = c.Status == corev1.ConditionTrue
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			out.Reason = c.Reason
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		out.Restarts += c.RestartCount
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			out.Reason = c.State.Waiting.Reason
		case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
			out.Reason = cmp.Or(c.State.Terminated.Reason, "Error")
		}
	}
	if p.Status.Reason != "" {
		out.Reason = p.Status.Reason
	}
	if p.DeletionTimestamp != nil {
		out.State = "Terminating"
	}
	return out
}

// runs are those of the current attempt, or the newest ones.
func runs(o Objects) []Run {
	all := slices.Clone(o.Runs)
	slices.SortFunc(all, func(a, b v1alpha1.AnalysisRun) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var out []Run
	for i := range all {
		arms := all[i].Spec.Arms
		if arms == nil || arms.Rollout != o.Rollout.Name {
			continue
		}
		if a := o.Rollout.Status.Attempt; a != nil && arms.CanaryRevision != a.Revision {
			continue
		}
		if o.Rollout.Status.Attempt == nil && len(out) == maxRuns {
			break
		}
		out = append(out, run(&all[i]))
	}
	return out
}

func run(r *v1alpha1.AnalysisRun) Run {
	out := Run{Name: r.Name, Verdict: cmp.Or(r.Status.Verdict, v1alpha1.VerdictPending), Message: r.Status.Message, Finished: r.Status.FinishedAt != nil}
	bounds := map[string]string{}
	for i := range r.Spec.Metrics {
		if r.Spec.Metrics[i].Compare == nil {
			bounds[r.Spec.Metrics[i].Name] = boundsOf(&r.Spec.Metrics[i].Threshold)
		}
	}
	for i := range r.Status.Metrics {
		m := &r.Status.Metrics[i]
		metric := Metric{Name: m.Name, Mode: m.Mode, Verdict: m.Verdict, Bounds: bounds[m.Name], Passed: m.Passed, Measured: m.Measured, Message: m.Message}
		if len(m.Recent) > 0 {
			metric.Last = cmp.Or(m.Recent[0].Value, m.Recent[0].Result)
		}
		out.Metrics = append(out.Metrics, metric)
	}
	return out
}

func boundsOf(t *v1alpha1.Threshold) string {
	switch {
	case t.Min != nil && t.Max != nil:
		return *t.Min + " to " + *t.Max
	case t.Min != nil:
		return "at least " + *t.Min
	case t.Max != nil:
		return "at most " + *t.Max
	}
	return ""
}
