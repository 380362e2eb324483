package planner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Reasons of verdicts, in one word.
const (
	ReasonAnalysisFailed   = "AnalysisFailed"
	ReasonPodsFailed       = "PodsFailed"
	ReasonProgressDeadline = "ProgressDeadline"
	ReasonCanaryLost       = "CanaryLost"
	ReasonManual           = "Manual"
	ReasonNewTemplate      = "NewTemplate"
	ReasonTemplateReverted = "TemplateReverted"
	ReasonScaledToZero     = "ScaledToZero"
	ReasonInconclusive     = "Inconclusive"
)

// ActorBelay is the actor of what Belay decides itself.
const ActorBelay = "belay"

const (
	maxHistory    = 10
	maxQuarantine = 20
	// fullStep is the name of the step that follows the declared ones where the last of them is below full weight. No
	// declared step can have it.
	fullStep = "(full)"
)

// advance moves the attempt on by at most one stage or step. What speaks for going back is looked at first.
func (d *draft) advance() {
	d.forgetPrevious()
	if d.s.Attempt == nil {
		d.rest()
		return
	}
	d.s.Attempt.Replicas = d.replicas()
	if d.s.Attempt.Verdict == nil {
		d.watchRoutes()
		d.judge()
	}
	if d.s.Attempt == nil {
		return
	}
	d.watchPods()
	d.proceed()
	d.watchProgress()
	if a := d.s.Attempt; a != nil && a.Pause != nil && a.Verdict == nil && d.stalled == "" {
		d.stalled = "Paused"
		d.block(d.paused())
	}
}

func (d *draft) proceed() {
	switch d.s.Attempt.Stage {
	case v1alpha1.StageInitial:
		d.initial()
	case v1alpha1.StageStepping:
		d.stepping()
	case v1alpha1.StageSwitching:
		d.switching()
	case v1alpha1.StageRetiring:
		d.retiring()
	case v1alpha1.StageReturning:
		d.returning()
	case v1alpha1.StageBaking:
		d.baking()
	case v1alpha1.StageWithdrawing:
		d.withdrawing()
	}
}

// forgetPrevious lets go of the old pods once no traffic has reached them for scaleDownDelay and no bake needs them.
func (d *draft) forgetPrevious() {
	p := d.s.Previous
	if p == nil || p.IdleAt == nil || (d.s.Attempt != nil && d.s.Attempt.Stage == v1alpha1.StageBaking) {
		return
	}
	if d.passed(*p.IdleAt, d.Rollout.Spec.ScaleDownDelay()) {
		d.s.Previous = nil
	}
}

// rest starts an attempt when the template asks for another revision than the stable one.
func (d *draft) rest() {
	if d.s.Stable == nil {
		d.begin(v1alpha1.StageInitial)
		return
	}
	if d.Revision == d.s.Stable.Revision {
		return
	}
	if i := d.quarantined(); i >= 0 {
		q := d.s.Quarantine[i]
		d.stalled = "RevisionQuarantined"
		d.block(fmt.Sprintf("revision %s failed in attempt %d and is held back (%s): change the template, or say `kubectl belay retry %s`",
			q.Revision, q.Attempt, q.Message, d.Rollout.Name))
		return
	}
	if why := d.cannotBegin(); why != "" {
		d.block(why)
		return
	}
	d.begin(v1alpha1.StageStepping)
}

func (d *draft) quarantined() int {
	return slices.IndexFunc(d.s.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == d.Revision })
}

// cannotBegin says why no attempt can begin; nothing is exposed, and no pod started, before everything is in place.
func (d *draft) cannotBegin() string {
	switch {
	case d.Rollout.Spec.Paused:
		return "spec.paused is true"
	case d.workloadTrouble() != "":
		d.stalled = "WorkloadNotUsable"
		return d.workloadTrouble()
	case d.replicas() == 0:
		return "spec.replicas is 0: a new revision is tried once there are pods to compare it with"
	case d.unusable() != "":
		return d.trafficProblem
	case d.AnalysisProblem != "" && !d.knownGood(): // a way back is not judged
		return d.AnalysisProblem
	case d.Stable.Role != string(v1alpha1.RoleStable):
		return fmt.Sprintf("Service %s does not yet select %s=stable", d.Stable.Name, v1alpha1.LabelRole)
	case d.reachable():
		return "routes still refer to the canary Service"
	}
	for _, r := range d.Routes {
		if ok, why := d.programmed(r); !ok {
			return fmt.Sprintf("%s: %s", r, why)
		}
	}
	return ""
}

// knownGood says whether the template's revision is one of the last that were promoted, within rollbackWindow, and has not
// failed since. The history says so, not ReplicaSets: they may be gone.
func (d *draft) knownGood() bool {
	window := 3
	if n := d.Rollout.Spec.RollbackWindow.Revisions; n != nil {
		window = int(*n)
	}
	promoted := []string{revisionOf(d.s.Stable)}
	for _, h := range d.s.History {
		if h.Revision == d.Revision && (h.Outcome == v1alpha1.OutcomeRolledBack || h.Outcome == v1alpha1.OutcomeAborted) {
			return false
		}
		if h.Outcome != v1alpha1.OutcomePromoted || slices.Contains(promoted, h.Revision) {
			continue
		}
		if promoted = append(promoted, h.Revision); len(promoted) > window+1 {
			return false
		}
		if h.Revision == d.Revision {
			return true
		}
	}
	return false
}

func (d *draft) begin(stage v1alpha1.Stage) {
	if d.replicas() == 0 && stage == v1alpha1.StageInitial {
		d.block("spec.replicas is 0")
		return
	}
	d.s.Attempts++
	d.s.Attempt = &v1alpha1.Attempt{Number: d.s.Attempts, Revision: d.Revision, Stage: stage, StageSince: d.now(),
		StartedAt: d.now(), ProgressAt: d.nowPtr(), Replicas: d.asked(), Commit: d.Rollout.Annotations[v1alpha1.AnnotationCommit], Authors: d.Rollout.Annotations[v1alpha1.AnnotationAuthors]}
	if revisionOf(d.s.Previous) == d.Revision {
		d.s.Previous = nil
	}
	if stage == v1alpha1.StageStepping {
		first := int32(0)
		if d.knownGood() {
			first = int32(len(d.steps()))
			d.s.Attempt.Full = &v1alpha1.Actor{Name: ActorBelay, At: d.now(),
				Reason: fmt.Sprintf("revision %s was stable before: it goes back without steps", d.Revision)}
		}
		d.enterStep(first)
		if reason, message := d.bypassed(); reason != "" {
			d.s.Attempt.Bypass = reason + ": " + message
			d.tell("Warning", reason, message)
		}
		d.tell("Normal", "AttemptStarted", fmt.Sprintf("attempt %d: revision %s against stable %s", d.s.Attempts, d.Revision, d.s.Stable.Revision))
	}
}

// step i as declared; past the declared ones: full weight, no further gate.
func (d *draft) step(i int32) v1alpha1.Step {
	if steps := d.steps(); int(i) < len(steps) {
		s := steps[i]
		if s.Name == "" {
			s.Name = fmt.Sprintf("step-%d", i+1)
		}
		return s
	}
	total := d.total()
	return v1alpha1.Step{Name: fullStep, Weight: &total}
}

func (d *draft) stepWeight(i int32) int32 {
	if w := d.step(i).Weight; w != nil {
		return min(*w, d.total())
	}
	return 0
}

func (d *draft) enterStep(i int32) {
	a := d.s.Attempt
	a.Step, a.StepName, a.StepSince = i, d.step(i).Name, d.nowPtr()
	a.Weight, a.Match, a.Mirror, a.CarriedAt = d.stepWeight(i), d.step(i).Match, d.step(i).Mirror, nil
	a.MaxWeight = max(a.MaxWeight, a.Weight)
	a.AcceptedAt, a.ConfirmedAt, a.ProgressAt = nil, nil, d.nowPtr()
	a.HeldSince, a.InconclusiveAt = nil, nil
	a.Unproven = slices.DeleteFunc(a.Unproven, func(name string) bool { return name == a.StepName })
	a.Approvals = slices.DeleteFunc(a.Approvals, func(p v1alpha1.StepApproval) bool { return p.Step == i })
	if a.Exposes() && a.ExposedAt == nil {
		a.ExposedAt = d.nowPtr()
	}
	if d.growing() {
		a.EndpointsAt = nil
	}
	d.tell("Normal", "StepEntered", fmt.Sprintf("attempt %d: step %s, %s", a.Number, a.StepName, exposure{a.Weight, a.Match, a.Mirror}.of(d.total())))
}

// nextStep leaves the current step. All traffic must be confirmed on the canary before the pods are switched.
func (d *draft) nextStep() {
	a, declared := d.s.Attempt, int32(len(d.steps()))
	switch {
	case a.Step+1 < declared:
		d.enterStep(a.Step + 1)
	case a.Weight < d.total() || a.ConfirmedAt == nil:
		d.enterStep(declared)
	default:
		d.enterStage(v1alpha1.StageSwitching)
	}
}

func (d *draft) enterStage(s v1alpha1.Stage) {
	a := d.s.Attempt
	a.Stage, a.StageSince, a.CarriedAt = s, d.now(), nil
	a.AcceptedAt, a.ConfirmedAt, a.ProgressAt, a.Match, a.Mirror = nil, nil, d.nowPtr(), nil, nil
}

func (d *draft) initial() {
	a := d.s.Attempt
	if have, want := d.available(a.Revision), d.replicas(); have < want {
		d.waitForPods(fmt.Sprintf("%d of %d pods of the first revision are available", have, want))
		return
	}
	d.s.Stable = &v1alpha1.RevisionRecord{Revision: a.Revision, Commit: a.Commit, Since: d.now()}
	d.finish(v1alpha1.Verdict{Outcome: v1alpha1.OutcomePromoted, Reason: "FirstRevision", Actor: ActorBelay, Message: "the first revision is available"})
}

func (d *draft) stepping() {
	a := d.s.Attempt
	if d.stepsEdited() {
		return
	}
	if have, want := d.available(a.Revision), d.canaryNeed(); have < want {
		d.disturbed()
		d.waitForPods(fmt.Sprintf("%d of %d canary pods are available%s", have, want, d.podTrouble()))
		return
	}
	if have, want := d.Canary.Endpoints[a.Revision], d.canaryNeed(); a.Weight == 0 && have < want {
		d.disturbed()
		d.waitForPods(fmt.Sprintf("%d of %d canary pods are ready endpoints of Service %s", have, want, d.Canary.Name))
		return
	}
	if !d.confirmed() {
		return
	}
	if why := d.gates(); why != "" {
		d.block(why)
		return
	}
	d.nextStep()
}

// stepsEdited follows an edit of the steps while the attempt is in one of them.
func (d *draft) stepsEdited() bool {
	a, declared := d.s.Attempt, int32(len(d.steps()))
	switch {
	case a.Full != nil && a.StepName == fullStep:
		a.Step = declared // full weight stays full weight, whatever is declared before it
		return false
	case d.becameBlueGreen():
		d.enterStep(0)
	case a.Step > declared, a.Step == declared && a.StepName != fullStep:
		d.enterStep(d.lastStepWithin(a.Weight))
	case a.StepName == fullStep && a.Step < declared, !d.asStep(a.Step).same(exposure{a.Weight, a.Match, a.Mirror}):
		d.enterStep(a.Step)
	default:
		return false
	}
	return true
}

// becameBlueGreen says whether the attempt is in a step of the canary that the strategy was before. It goes back to the
// preview: the switch must not come without the gates in front of it. A step for full weight stays what it is.
func (d *draft) becameBlueGreen() bool {
	a := d.s.Attempt
	if d.Rollout.Spec.Strategy.BlueGreen == nil || a.StepName == fullStep {
		return false
	}
	return int(a.Step) >= len(d.steps()) || a.StepName != d.step(a.Step).Name
}

// lastStepWithin is the last declared step that asks for no more than a weight; the first one where all ask for more.
func (d *draft) lastStepWithin(weight int32) int32 {
	for i := int32(len(d.steps())) - 1; i > 0; i-- {
		if d.stepWeight(i) <= weight {
			return i
		}
	}
	return 0
}

func (d *draft) switching() {
	a := d.s.Attempt
	have, want := d.Stable.Endpoints[a.Revision], d.replicas()
	if available := d.available(a.Revision); available < want {
		d.waitForPods(fmt.Sprintf("%d of %d pods of the new revision are available%s", available, want, d.podTrouble()))
		return
	}
	if have < want {
		d.waitForPods(fmt.Sprintf("%d of %d new pods are endpoints of Service %s", have, want, d.Stable.Name))
		return
	}
	if why := d.paused(); why != "" {
		d.stalled = "Paused"
		d.block(why)
		return
	}
	d.enterStage(v1alpha1.StageRetiring)
}

func (d *draft) retiring() {
	a := d.s.Attempt
	if left := d.Stable.Endpoints[d.s.Stable.Revision]; left > 0 {
		a.AcceptedAt = nil
		d.block(fmt.Sprintf("%d old pods are still endpoints of Service %s", left, d.Stable.Name))
		return
	}
	if have, need := d.Stable.Endpoints[a.Revision], d.enough(); have < need && d.replicas() > 0 {
		a.AcceptedAt = nil
		d.block(fmt.Sprintf("only %d new pods are endpoints of Service %s, %d are needed for its traffic", have, d.Stable.Name, need))
		return
	}
	if a.AcceptedAt == nil {
		a.AcceptedAt = d.nowPtr()
	}
	if !d.passed(*a.AcceptedAt, d.settle()) {
		d.block("endpoints of the stable Service settle")
		return
	}
	d.enterStage(v1alpha1.StageReturning)
	a.Weight = 0
}

func (d *draft) returning() {
	if !d.confirmed() {
		return
	}
	a, old := d.s.Attempt, d.s.Stable
	d.s.Previous = &v1alpha1.RevisionRecord{Revision: old.Revision, Commit: old.Commit, Since: d.now(), IdleAt: d.nowPtr()}
	d.s.Stable = &v1alpha1.RevisionRecord{Revision: a.Revision, Commit: a.Commit, Since: d.now()}
	d.tell("Normal", "Promoted", fmt.Sprintf("attempt %d: revision %s is stable", a.Number, a.Revision))
	if d.bake() > 0 {
		d.enterStage(v1alpha1.StageBaking)
		return
	}
	d.finish(v1alpha1.Verdict{Outcome: v1alpha1.OutcomePromoted, Reason: "StepsPassed", Actor: d.promoter(), Message: "every step was passed" + d.unproven()})
}

// unproven names the steps that were passed without evidence.
func (d *draft) unproven() string {
	if steps := d.s.Attempt.Unproven; len(steps) > 0 {
		return "; without evidence: " + strings.Join(steps, ", ")
	}
	return ""
}

func (d *draft) promoter() string {
	if f := d.s.Attempt.Full; f != nil {
		return f.Name
	}
	return ActorBelay
}

func (d *draft) bake() time.Duration { return d.Rollout.Spec.Bake() }

func (d *draft) baking() {
	a := d.s.Attempt
	if why := d.paused(); why != "" {
		d.stalled = "Paused"
		d.block(why)
		return
	}
	if !d.passed(a.StageSince, d.bake()) {
		d.block(fmt.Sprintf("promoted; judged on until %s", clock(a.StageSince.Add(d.bake()))))
		return
	}
	if have, need := d.ready(a.Revision), max(1, min(d.replicas(), a.Available)); have < need && d.replicas() > 0 {
		d.block(fmt.Sprintf("promoted; the old pods stay until %d pods are ready (now %d)%s", need, have, d.podTrouble()))
		return
	}
	if a.Full == nil && d.Rollout.Spec.Analysis != nil {
		if why := d.evidence(d.backgroundName(), a.StageSince); why != "" {
			d.block(why)
			return
		}
	}
	d.finish(v1alpha1.Verdict{Outcome: v1alpha1.OutcomePromoted, Reason: "StepsPassed", Actor: d.promoter(), Message: "every step was passed, and the bake" + d.unproven()})
}

// finish puts the attempt into the history. Git is asked to follow only now, when the cluster is safe (G2).
func (d *draft) finish(v v1alpha1.Verdict) {
	a := d.s.Attempt
	d.s.History = slices.Insert(d.s.History, 0, v1alpha1.AttemptRecord{Number: a.Number, Revision: a.Revision, Commit: a.Commit,
		Outcome: v.Outcome, Reason: v.Reason, Message: v.Message, Actor: v.Actor, Metric: v.Metric, Value: v.Value, Run: v.Run, StartedAt: a.StartedAt, EndedAt: d.now(), MaxWeight: a.MaxWeight})
	d.s.History = d.s.History[:min(len(d.s.History), maxHistory)]
	failed := v.Outcome == v1alpha1.OutcomeRolledBack || v.Outcome == v1alpha1.OutcomeAborted
	retried := !slices.ContainsFunc(d.s.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == a.Revision })
	if failed && !retried && d.Rollout.Spec.OnFailure.Revert != nil && d.s.Stable != nil {
		d.s.Revert = &v1alpha1.RevertStatus{Attempt: a.Number, State: v1alpha1.RevertPending, Bad: a.Revision, Good: d.s.Stable.Revision,
			BadCommit: a.Commit, GoodCommit: d.s.Stable.Commit, RequestedAt: v.At}
	}
	d.tell("Normal", "AttemptFinished", fmt.Sprintf("attempt %d of revision %s: %s", a.Number, a.Revision, v.Outcome))
	d.s.Attempt = nil
}

func bounded(s string) string {
	if len(s) > 1024 {
		return s[:1021] + "..."
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
