package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// crashLoopRestarts is how often a container may have restarted before waiting in CrashLoopBackOff is a failure.
	crashLoopRestarts = 2
	// startTrouble is how long a container may wait for its image or configuration before that is a failure.
	startTrouble = 30 * time.Second
)

// startTroubles are the reasons of a waiting container that do not go away by waiting.
var startTroubles = map[string]bool{"ImagePullBackOff": true, "ErrImagePull": true, "InvalidImageName": true,
	"ErrImageNeverPull": true, "CreateContainerConfigError": true, "CreateContainerError": true, "RunContainerError": true}

// judge looks for what speaks against the attempt, and ends it, or pauses it where onFailure says so.
func (d *draft) judge() {
	if d.templateChanged() {
		return
	}
	a := d.s.Attempt
	if a.Stage == v1alpha1.StageInitial || a.Stage == v1alpha1.StageWithdrawing {
		return
	}
	for _, look := range []func() *v1alpha1.Verdict{d.podsFailed, d.failure, d.canaryLost} {
		v := look()
		if v == nil || a.Full != nil && v.Reason == ReasonAnalysisFailed {
			continue
		}
		if d.fail(*v); a.Verdict != nil {
			return // what only pauses hides no lost canary
		}
	}
	if a.Full == nil {
		d.providerPause()
	}
}

// fail ends the attempt, or pauses it for a person. A canary that lost its pods while it has traffic is never left so
// (T3). A person who promoted fully has overruled the analysis for the rest of the attempt: where stable itself is broken,
// a fix must get out whatever is measured. Nobody overrules pods that do not come up.
func (d *draft) fail(v v1alpha1.Verdict) {
	v.Outcome, v.Actor = v1alpha1.OutcomeRolledBack, ActorBelay
	if d.Rollout.Spec.OnFailure.Action != v1alpha1.FailurePause || v.Reason == ReasonCanaryLost {
		d.verdict(v)
		return
	}
	d.pause(v.Message)
}

func (d *draft) pause(why string) {
	a := d.s.Attempt
	if a.Pause != nil {
		return
	}
	a.Pause = &v1alpha1.Actor{Name: ActorBelay, Reason: bounded(why), At: d.now()}
	d.tell("Warning", "Paused", fmt.Sprintf("attempt %d: %s", a.Number, why))
}

// templateChanged handles a template that is no longer the attempt's.
func (d *draft) templateChanged() bool {
	a := d.s.Attempt
	zero := d.replicas() == 0 && (a.Stage == v1alpha1.StageStepping || a.Stage == v1alpha1.StageSwitching)
	if d.Revision == a.Revision && !zero {
		return false
	}
	v := v1alpha1.Verdict{Outcome: v1alpha1.OutcomeSuperseded, Actor: ActorBelay, Reason: ReasonNewTemplate,
		Message: fmt.Sprintf("the template changed to revision %s", d.Revision)}
	back := d.Revision == revisionOf(d.s.Stable) || (a.Stage == v1alpha1.StageBaking && d.Revision == revisionOf(d.s.Previous))
	switch {
	case zero && d.Revision == a.Revision:
		v.Reason, v.Message = ReasonScaledToZero, "spec.replicas is 0"
	case back:
		v.Reason, v.Message = ReasonTemplateReverted, fmt.Sprintf("the template went back to revision %s", d.Revision)
	}
	switch a.Stage {
	case v1alpha1.StageInitial:
		d.finish(v)
	case v1alpha1.StageStepping:
		d.verdict(v)
	case v1alpha1.StageBaking:
		if back {
			d.verdict(v)
			return true
		}
		if d.hasFailed() {
			return false // what has failed must not become the baseline of the next attempt
		}
		d.finish(v1alpha1.Verdict{Outcome: v1alpha1.OutcomePromoted, Reason: "StepsPassed", Actor: ActorBelay,
			Message: "every step was passed" + d.unproven() + "; the bake was cut short by a new template"})
	default:
		if !back && !zero {
			return false // the switch is finished first
		}
		d.verdict(v)
	}
	return true
}

// hasFailed says whether something speaks against the attempt that nobody has overruled.
func (d *draft) hasFailed() bool {
	return d.podsFailed() != nil || d.canaryLost() != nil || d.s.Attempt.Full == nil && d.failure() != nil
}

// podsFailed finds a pod of the revision that will not come up by waiting.
func (d *draft) podsFailed() *v1alpha1.Verdict {
	a := d.s.Attempt
	for _, p := range d.Pods {
		if p.Revision != a.Revision {
			continue
		}
		switch {
		case p.Waiting == "CrashLoopBackOff" && p.Restarts >= crashLoopRestarts:
			return &v1alpha1.Verdict{Reason: ReasonPodsFailed, Message: fmt.Sprintf("pod %s is in a crash loop (%d restarts)", p.Name, p.Restarts)}
		case startTroubles[p.Waiting] && d.passed(metav1.NewTime(p.Created), startTrouble):
			return &v1alpha1.Verdict{Reason: ReasonPodsFailed, Message: fmt.Sprintf("pod %s cannot start: %s: %s", p.Name, p.Waiting, p.Message)}
		}
	}
	return nil
}

// podTrouble names what keeps a pod of the revision from coming up, for the sentence that says what is waited for.
func (d *draft) podTrouble() string {
	for _, p := range d.Pods {
		if p.Revision != d.s.Attempt.Revision {
			continue
		}
		switch {
		case p.Unschedulable != "":
			return fmt.Sprintf(" (pod %s is unschedulable: %s)", p.Name, p.Unschedulable)
		case p.Waiting != "" && p.Waiting != "ContainerCreating" && p.Waiting != "PodInitializing":
			return fmt.Sprintf(" (pod %s: %s)", p.Name, p.Waiting)
		}
	}
	if rs := d.replicaSet(d.s.Attempt.Revision); rs != nil && rs.Problem != "" {
		return " (" + rs.Problem + ")"
	}
	return ""
}

func (d *draft) backgroundName() string {
	return fmt.Sprintf("%s-%d", d.Rollout.Name, d.s.Attempt.Number)
}

func (d *draft) checksName() string {
	return fmt.Sprintf("%s-%d-s%d", d.Rollout.Name, d.s.Attempt.Number, d.s.Attempt.Step)
}

// failure is the verdict of an AnalysisRun of this attempt that has failed, or nil.
func (d *draft) failure() *v1alpha1.Verdict {
	for _, name := range []string{d.backgroundName(), d.checksName()} {
		run := d.Runs[name]
		if run == nil || run.Status.Verdict != v1alpha1.VerdictFail || d.disregarded(run) {
			continue
		}
		v := &v1alpha1.Verdict{Reason: ReasonAnalysisFailed, Message: run.Status.Message, Run: name}
		for _, m := range run.Status.Metrics {
			if m.Verdict == v1alpha1.VerdictFail && m.Mode != v1alpha1.MetricDryRun {
				v.Metric = m.Name
				v.Value = lastValue(m)
				break
			}
		}
		return v
	}
	return nil
}

func lastValue(m v1alpha1.MetricStatus) string {
	for _, r := range m.Recent {
		if r.Value != "" {
			return r.Value
		}
	}
	return ""
}

func (d *draft) providerPause() {
	for _, name := range []string{d.backgroundName(), d.checksName()} {
		if run := d.Runs[name]; run != nil && run.Status.Verdict == v1alpha1.VerdictPause {
			d.pause(run.Status.Message)
		}
	}
}

// canaryLost is the verdict when too little of the revision is left for the traffic it gets (T3).
func (d *draft) canaryLost() *v1alpha1.Verdict {
	a := d.s.Attempt
	if a.ExposedAt == nil || d.replicas() == 0 {
		return nil
	}
	if a.Stage == v1alpha1.StageBaking || a.Stage == v1alpha1.StageReturning && !d.reached() {
		return d.promotedLost()
	}
	if !d.reached() && (a.Available == 0 || !d.reachable()) {
		return nil // nothing is sent to it; or nobody knows, and it has had no endpoints to lose
	}
	have, need := d.Canary.Endpoints[a.Revision], d.enough()
	if have >= need {
		return nil
	}
	return &v1alpha1.Verdict{Reason: ReasonCanaryLost,
		Message: fmt.Sprintf("only %d ready endpoints of the canary are left, %d are needed for its traffic%s", have, need, d.podTrouble())}
}

// promotedLost is the verdict when fewer than half of the pods are ready of a revision that has all of the traffic by the stable
// Service, and the old ones, which are kept warm, could do better. A bake may be long, and nodes that are drained take pods
// meanwhile: that is no reason to go back.
func (d *draft) promotedLost() *v1alpha1.Verdict {
	a, old := d.s.Attempt, d.s.Previous
	if a.Stage == v1alpha1.StageReturning {
		old = d.s.Stable
	}
	have, need, warm := d.ready(a.Revision), max(1, (min(d.canaryTarget(), a.Available)+1)/2), d.ready(revisionOf(old))
	if have >= need || warm <= have {
		return nil
	}
	return &v1alpha1.Verdict{Reason: ReasonCanaryLost, Message: fmt.Sprintf("only %d pods of the new revision are ready, %d are needed, and %d of revision %s are%s",
		have, need, warm, revisionOf(old), d.podTrouble())}
}

// ready counts the pods of a revision that are ready.
func (d *draft) ready(revision string) int32 {
	var n int32
	for _, p := range d.Pods {
		if p.Revision == revision && p.Ready {
			n++
		}
	}
	return n
}

// newlyLost says whether this plan ends the attempt for lost endpoints.
func (d *draft) newlyLost() bool {
	before, after := d.Rollout.Status.Attempt, d.s.Attempt
	return before != nil && before.Verdict == nil && after != nil && after.Verdict != nil && after.Verdict.Reason == ReasonCanaryLost
}

// enough is how many endpoints an exposed canary must keep: three quarters of what it has had, at least one.
func (d *draft) enough() int32 {
	had := min(d.canaryTarget(), d.s.Attempt.Available)
	return max(1, (3*had+3)/4)
}

// gates says what keeps the current step closed; empty when all gates are open.
func (d *draft) gates() string {
	a := d.s.Attempt
	step := d.step(a.Step)
	if why := d.paused(); why != "" {
		d.stalled = "Paused"
		return why
	}
	if a.Full != nil {
		return ""
	}
	if hold := step.Hold.Or(0); !d.passed(*a.ConfirmedAt, hold) {
		return fmt.Sprintf("step %s holds until %s", a.StepName, clock(a.ConfirmedAt.Add(hold)))
	}
	if why := d.owed(step); why == "" {
		d.proven()
	} else if why = d.overMaxHold(step, why); why != "" {
		return why
	}
	if names, missing := d.approvals(); step.Approval == v1alpha1.ApprovalRequired && missing > 0 {
		d.stalled = "ApprovalRequired"
		return fmt.Sprintf("step %s needs approval%s: `kubectl belay approve %s`", a.StepName, byWhom(names, missing), d.Rollout.Name)
	}
	return ""
}

func byWhom(names []string, missing int) string {
	switch {
	case len(names) == 0 && missing == 1:
		return ""
	case len(names) == 0:
		return fmt.Sprintf(" by %d people", missing)
	}
	return fmt.Sprintf(" by %d more (so far: %s)", missing, strings.Join(names, ", "))
}

// owed is the evidence that a step still owes.
func (d *draft) owed(step v1alpha1.Step) string {
	a := d.s.Attempt
	if d.Rollout.Spec.Analysis != nil && a.Exposes() {
		if why := d.evidence(d.backgroundName(), *a.ConfirmedAt); why != "" {
			return why
		}
	}
	if step.Checks != nil {
		return d.evidence(d.checksName(), *a.ConfirmedAt)
	}
	return ""
}

// proven takes the step off the record: its evidence has come while it waited for something else.
func (d *draft) proven() {
	a := d.s.Attempt
	a.InconclusiveAt = nil
	a.Unproven = slices.DeleteFunc(a.Unproven, func(name string) bool { return name == a.StepName })
}

// overMaxHold applies onInconclusive to a step that owes evidence past maxHold. It returns what the step goes on waiting
// for; nothing where it is left without the evidence.
func (d *draft) overMaxHold(step v1alpha1.Step, owed string) string {
	a, since, limit := d.s.Attempt, *d.s.Attempt.ConfirmedAt, step.MaxHold.Or(0)
	if a.HeldSince != nil && since.Before(a.HeldSince) {
		since = *a.HeldSince
	}
	if limit == 0 || !d.passed(since, limit) {
		return owed
	}
	message := fmt.Sprintf("step %s is inconclusive after %s: %s", a.StepName, limit, owed)
	if a.InconclusiveAt == nil || a.InconclusiveAt.Before(&since) { // told once for each maxHold
		a.InconclusiveAt = d.nowPtr()
		d.tell("Warning", ReasonInconclusive, fmt.Sprintf("attempt %d: %s", a.Number, message))
	}
	switch step.OnInconclusive {
	case v1alpha1.InconclusiveExtend:
	case v1alpha1.InconclusiveProceed:
		if !slices.Contains(a.Unproven, a.StepName) {
			a.Unproven = append(a.Unproven, a.StepName)
		}
		return ""
	case v1alpha1.InconclusiveRollback:
		d.verdict(v1alpha1.Verdict{Outcome: v1alpha1.OutcomeRolledBack, Actor: ActorBelay, Reason: ReasonInconclusive, Message: message})
	default:
		d.stalled = "Paused"
		d.pause(message)
	}
	return message
}

func (d *draft) paused() string {
	a := d.s.Attempt
	switch {
	case a.Pause != nil:
		return fmt.Sprintf("paused by %s: %s", a.Pause.Name, orNone(a.Pause.Reason))
	case d.Rollout.Spec.Paused:
		return "spec.paused is true"
	}
	return d.workloadTrouble()
}

// evidence says what a run still owes: every metric that decides must have passed on a measurement taken since the
// traffic was confirmed. No measurement speaks neither for nor against (A2).
func (d *draft) evidence(name string, since metav1.Time) string {
	run := d.Runs[name]
	if run == nil {
		if d.AnalysisProblem != "" {
			return d.AnalysisProblem
		}
		return fmt.Sprintf("AnalysisRun %s has not started", name)
	}
	if run.Status.Verdict == v1alpha1.VerdictHold || run.Status.Verdict == v1alpha1.VerdictPause {
		return cmp.Or(run.Status.Message, fmt.Sprintf("AnalysisRun %s: the provider does not answer", name))
	}
	for _, m := range run.Spec.Metrics {
		if !m.Decides() {
			continue
		}
		why := ""
		if m.Compare != nil {
			why = d.owesProof(run, m, since)
		} else {
			why = owes(run, m, since)
		}
		if why != "" {
			return why
		}
	}
	return ""
}

func owes(run *v1alpha1.AnalysisRun, m v1alpha1.Metric, since metav1.Time) string {
	for _, s := range run.Status.Metrics {
		if s.Name != m.Name {
			continue
		}
		if count := m.PassCount(); count > 0 {
			if s.Verdict == v1alpha1.VerdictPass && s.Passed >= count {
				return ""
			}
			return fmt.Sprintf("metric %s: %d of %d good measurements", m.Name, s.Passed, count)
		}
		if s.Verdict == v1alpha1.VerdictPass && s.LastPassedAt != nil && since.Before(s.LastPassedAt) {
			return ""
		}
		if s.Message != "" && s.Verdict != v1alpha1.VerdictPass {
			return s.Message
		}
	}
	return fmt.Sprintf("metric %s has no good measurement at this weight yet", m.Name)
}

// waitForPods blocks on pods.
func (d *draft) waitForPods(why string) {
	d.block(why)
	d.waiting = true
}

// watchPods remembers the most pods that were available and in the canary Service, of those that the step asks for. What
// was not yet an endpoint cannot be lost, and neither can what was scaled down.
func (d *draft) watchPods() {
	a := d.s.Attempt
	target := d.canaryTarget()
	have := min(d.available(a.Revision), target)
	if a.Stage != v1alpha1.StageInitial {
		have = min(have, d.Canary.Endpoints[a.Revision])
	}
	if have > a.Available {
		a.ProgressAt = d.nowPtr()
	}
	a.Available = min(max(a.Available, have), target)
	switch {
	case d.Canary.Revision != a.Revision || d.Canary.Endpoints[a.Revision] == 0 || d.growing():
		a.EndpointsAt = nil
	case a.EndpointsAt == nil:
		a.EndpointsAt = d.nowPtr()
	}
}

// growing says whether endpoints are still to come before the first exposure: the switch of a blue-green attempt may bring
// more pods than the preview had, and gateways must have learned of all of them before they get all of the traffic.
func (d *draft) growing() bool {
	a := d.s.Attempt
	return a.Stage == v1alpha1.StageStepping && d.Canary.Endpoints[a.Revision] < d.canaryNeed() && d.liveWeight() == 0
}

// watchProgress fails an attempt that has waited for pods or routes longer than progressDeadline.
func (d *draft) watchProgress() {
	a := d.s.Attempt
	if a == nil || a.Stage == v1alpha1.StageWithdrawing {
		return
	}
	if !d.waiting {
		a.ProgressAt = nil
		return
	}
	if a.ProgressAt == nil {
		a.ProgressAt = d.nowPtr()
	}
	if !d.passed(*a.ProgressAt, d.deadline()) {
		return
	}
	message := fmt.Sprintf("no progress for %s: %s", d.deadline(), d.blocked)
	switch a.Stage {
	case v1alpha1.StageInitial:
		d.stalled = "ProgressDeadline"
		d.blocked = message
	case v1alpha1.StageStepping, v1alpha1.StageSwitching:
		d.fail(v1alpha1.Verdict{Reason: ReasonProgressDeadline, Message: message})
	}
}
