package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RolloutStatus is what runs and where the current attempt stands.
type RolloutStatus struct {
	// conditions are Ready, Progressing, Stalled, TrafficReady, AnalysisHealthy, Provable, Reverted.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// phase is for people and print columns: Healthy, Progressing, Paused, Baking, RollingBack, Degraded. Nothing reads it.
	// +optional
	Phase string `json:"phase,omitempty"`
	// blockedBy says in one sentence what the Rollout is waiting for; empty when it waits for nothing.
	// +optional
	BlockedBy string `json:"blockedBy,omitempty"`
	// replicas counts the pods of all revisions.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// updatedReplicas counts the pods of the template's revision.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas,omitempty"`
	// readyReplicas counts the ready pods of all revisions.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// availableReplicas counts the available pods of all revisions.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas,omitempty"`
	// selector of the pods in string form, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// stable is the last known-good revision: all users get it when no attempt runs.
	// +optional
	Stable *RevisionRecord `json:"stable,omitempty"`
	// previous is the revision that was stable before and whose pods are still kept.
	// +optional
	Previous *RevisionRecord `json:"previous,omitempty"`
	// attempt is the current attempt, or the last one while its traffic is being taken back. Unset at rest.
	// +optional
	Attempt *Attempt `json:"attempt,omitempty"`
	// attempts counts the attempts so far; the current one has this number.
	// +optional
	Attempts int64 `json:"attempts,omitempty"`
	// quarantine lists revisions that failed: they are not started again until a Decision with action Retry.
	// +optional
	// +listType=map
	// +listMapKey=revision
	// +kubebuilder:validation:MaxItems=20
	Quarantine []Quarantined `json:"quarantine,omitempty"`
	// history holds the last attempts, newest first.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=10
	History []AttemptRecord `json:"history,omitempty"`
	// decisions are the UIDs of the last Decisions that were applied, newest first, so that none is applied twice.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Decisions []string `json:"decisions,omitempty"`
	// forecast is how long the steps take to be proven at the traffic that was observed when the last attempt began.
	// +optional
	Forecast *Forecast `json:"forecast,omitempty"`
	// revert is the last intended revert and how far it got.
	// +optional
	Revert *RevertStatus `json:"revert,omitempty"`
}

// RevisionRecord is a revision and where it came from.
type RevisionRecord struct {
	// revision is the hash of the template.
	Revision string `json:"revision"`
	// commit that brought it, where known.
	// +optional
	Commit string `json:"commit,omitempty"`
	// since when it has had this role.
	Since metav1.Time `json:"since"`
	// idleAt is since when no traffic has reached it; unset while it may be used.
	// +optional
	IdleAt *metav1.Time `json:"idleAt,omitempty"`
}

// Stage is where an attempt stands. The planner reads it; it is stored before it is acted on.
type Stage string

// The stages of an attempt, in the order of a good one. Withdrawing is entered from any of them.
const (
	// StageInitial: the first revision ever comes up; there is nothing to go back to.
	StageInitial Stage = "Initial"
	// StageStepping: the canary gets the weight of the current step.
	StageStepping Stage = "Stepping"
	// StageSwitching: all traffic is on the canary Service while the new pods join the stable Service.
	StageSwitching Stage = "Switching"
	// StageRetiring: the old pods leave the stable Service.
	StageRetiring Stage = "Retiring"
	// StageReturning: the traffic goes back from the canary Service to the stable Service.
	StageReturning Stage = "Returning"
	// StageBaking: promoted; still judged, old pods warm.
	StageBaking Stage = "Baking"
	// StageWithdrawing: the traffic is taken back and the canary drained.
	StageWithdrawing Stage = "Withdrawing"
)

// Outcome is how an attempt ended.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomePromoted   Outcome = "Promoted"
	OutcomeRolledBack Outcome = "RolledBack"
	OutcomeSuperseded Outcome = "Superseded"
	OutcomeAborted    Outcome = "Aborted"
)

// Attempt is one try to bring out one revision.
type Attempt struct {
	// number of the attempt, from 1.
	Number int64 `json:"number"`
	// revision that is tried.
	Revision string `json:"revision"`
	// commit that brought it, where known.
	// +optional
	Commit string `json:"commit,omitempty"`
	// stage of the attempt.
	Stage Stage `json:"stage"`
	// stageSince is when the stage was entered.
	StageSince metav1.Time `json:"stageSince"`
	// startedAt is when the attempt began.
	StartedAt metav1.Time `json:"startedAt"`
	// step is the index of the current step, from 0.
	// +optional
	Step int32 `json:"step"`
	// stepName is the name of the current step.
	// +optional
	StepName string `json:"stepName,omitempty"`
	// stepSince is when the current step was entered.
	// +optional
	StepSince *metav1.Time `json:"stepSince,omitempty"`
	// progress is "step/steps", for print columns.
	// +optional
	Progress string `json:"progress,omitempty"`
	// weight wanted for the canary, in units of 1/totalWeight.
	// +optional
	Weight int32 `json:"weight"`
	// match says which requests are wanted on the canary whatever its weight; unset: none.
	// +optional
	Match *Match `json:"match,omitempty"`
	// mirror says of which requests copies are wanted on the canary; unset: none.
	// +optional
	Mirror *Mirror `json:"mirror,omitempty"`
	// authors of the commits that brought the revision, where approvals.notTheAuthor asks for them.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Authors string `json:"authors,omitempty"`
	// bypass says through which other routes requests go past the split, as found when the attempt began; empty: none.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Bypass string `json:"bypass,omitempty"`
	// replicas is the highest spec.replicas while this attempt has run: stable keeps as many pods until the attempt is over,
	// also where an HPA asks for fewer because a part of the load is on the canary, or because a bad canary does less work.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// endpointsAt is since when the canary Service has had ready endpoints of the revision. Gateways learn of endpoints on a
	// watch of their own, so no request is sent to the canary before traffic.settle has passed from here.
	// +optional
	EndpointsAt *metav1.Time `json:"endpointsAt,omitempty"`
	// carriedAt is when every route was first seen to carry the wanted weight and match, accepted or not: what differs later
	// was written by somebody else.
	// +optional
	CarriedAt *metav1.Time `json:"carriedAt,omitempty"`
	// contest is what others have written into the routes while this attempt ran. Unset: nothing.
	// +optional
	Contest *Contest `json:"contest,omitempty"`
	// acceptedAt is when every route was first seen accepted with the wanted weight and match.
	// +optional
	AcceptedAt *metav1.Time `json:"acceptedAt,omitempty"`
	// confirmedAt is when the wanted weight and match had also settled: hold and evidence count from here.
	// +optional
	ConfirmedAt *metav1.Time `json:"confirmedAt,omitempty"`
	// confirmedWeight is the last confirmed weight of the canary.
	// +optional
	ConfirmedWeight int32 `json:"confirmedWeight"`
	// heldSince is since when the step's maxHold counts, where that is not confirmedAt: the attempt was resumed then.
	// +optional
	HeldSince *metav1.Time `json:"heldSince,omitempty"`
	// inconclusiveAt is when maxHold of the current step was over without its evidence.
	// +optional
	InconclusiveAt *metav1.Time `json:"inconclusiveAt,omitempty"`
	// unproven are the steps that were left without evidence, by onInconclusive Proceed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Unproven []string `json:"unproven,omitempty"`
	// maxWeight is the highest weight that was wanted so far.
	// +optional
	MaxWeight int32 `json:"maxWeight,omitempty"`
	// exposedAt is when the first weight above 0, or the first match, was wanted.
	// +optional
	ExposedAt *metav1.Time `json:"exposedAt,omitempty"`
	// progressAt is when the attempt last came closer to what it is waiting for; progressDeadline counts from here.
	// Unset while it waits for neither pods nor routes.
	// +optional
	ProgressAt *metav1.Time `json:"progressAt,omitempty"`
	// available is the highest number of this revision's pods that were available, and endpoints of the canary Service,
	// in the current step; no more than the step asks for.
	// +optional
	Available int32 `json:"available,omitempty"`
	// pause is set while a person or onFailure has paused the attempt.
	// +optional
	Pause *Actor `json:"pause,omitempty"`
	// approvals given, by step.
	// +optional
	// +listType=map
	// +listMapKey=step
	// +kubebuilder:validation:MaxItems=32
	Approvals []StepApproval `json:"approvals,omitempty"`
	// full is set once a person has asked for promotion without further steps, or by belay where the revision was stable
	// before, within rollbackWindow.
	// +optional
	Full *Actor `json:"full,omitempty"`
	// verdict is set once the attempt has failed or been called off, before anything else is done about it.
	// +optional
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Contest is what others have written into the routes of an attempt.
type Contest struct {
	// changes is how often a route that carried what was wanted was found changed. The first is put right at once, each
	// later one after a wait that doubles, from 2s to 5m; traffic is taken from the canary without a wait. After more than 5
	// the condition TrafficReady is False with reason RouteContested.
	Changes int32 `json:"changes"`
	// route that was changed last.
	Route string `json:"route"`
	// by is the field manager that wrote the rules of that route last, where it says so.
	// +optional
	By string `json:"by,omitempty"`
	// at is when the last change was seen.
	At metav1.Time `json:"at"`
	// since is when routes were found changed that had been right until then. What a metric without compare finds bad from then
	// until they are right again is no failure: it is measured again.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// until is when they were right again, and traffic had followed; unset while they are not.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// Count is the number of changes; 0 for nil.
func (c *Contest) Count() int32 {
	if c == nil {
		return 0
	}
	return c.Changes
}

// Actor is who asked for something, why and when.
type Actor struct {
	// name of the actor.
	Name string `json:"name"`
	// reason given.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// at is when.
	At metav1.Time `json:"at"`
}

// StepApproval is a person's approval of a step.
type StepApproval struct {
	// step that was approved, from 0.
	Step int32 `json:"step"`
	// by whom, why and when.
	By Actor `json:"by"`
	// others who approved it after them, where approvals.required asks for several.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4
	Others []Actor `json:"others,omitempty"`
}

// Verdict says why an attempt ends otherwise than promoted.
type Verdict struct {
	// outcome the attempt will end with.
	Outcome Outcome `json:"outcome"`
	// reason in one word: AnalysisFailed, PodsFailed, ProgressDeadline, CanaryLost, Manual, NewTemplate, TemplateReverted, RouteLost.
	Reason string `json:"reason"`
	// message in one sentence, with the evidence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// actor is who decided: belay, or a person.
	Actor string `json:"actor"`
	// at is when.
	At metav1.Time `json:"at"`
	// metric that failed, where one did.
	// +optional
	Metric string `json:"metric,omitempty"`
	// value that was measured, as text.
	// +optional
	Value string `json:"value,omitempty"`
	// run is the AnalysisRun that holds the evidence, where there is one.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Run string `json:"run,omitempty"`
	// weight that was wanted when the verdict fell.
	// +optional
	Weight int32 `json:"weight,omitempty"`
}

// Quarantined is a revision that failed.
type Quarantined struct {
	// revision that failed.
	Revision string `json:"revision"`
	// attempt it failed in.
	Attempt int64 `json:"attempt"`
	// reason in one word.
	Reason string `json:"reason"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// at is when.
	At metav1.Time `json:"at"`
}

// AttemptRecord is an attempt that is over.
type AttemptRecord struct {
	// number of the attempt.
	Number int64 `json:"number"`
	// revision that was tried.
	Revision string `json:"revision"`
	// commit that brought it, where known.
	// +optional
	Commit string `json:"commit,omitempty"`
	// outcome of the attempt.
	Outcome Outcome `json:"outcome"`
	// reason in one word.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// actor is who decided.
	// +optional
	Actor string `json:"actor,omitempty"`
	// metric that failed, where one did.
	// +optional
	Metric string `json:"metric,omitempty"`
	// value that was measured of it, as text.
	// +optional
	Value string `json:"value,omitempty"`
	// run is the AnalysisRun that held the evidence, where there was one.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Run string `json:"run,omitempty"`
	// startedAt is when the attempt began.
	StartedAt metav1.Time `json:"startedAt"`
	// endedAt is when it ended.
	EndedAt metav1.Time `json:"endedAt"`
	// maxWeight is the highest weight the attempt had wanted, in units of 1/totalWeight.
	// +optional
	MaxWeight int32 `json:"maxWeight,omitempty"`
}

// RevertState is how far a revert got.
type RevertState string

// The states of a revert.
const (
	// RevertPending: to be composed and pushed; retried with back-off.
	RevertPending RevertState = "Pending"
	// RevertPushed: the commit is in Git.
	RevertPushed RevertState = "Pushed"
	// RevertNotNeeded: Git no longer said bad when looked at.
	RevertNotNeeded RevertState = "NotNeeded"
	// RevertProposed: a pull request is open; people merge it.
	RevertProposed RevertState = "Proposed"
	// RevertDeclined: the pull request was closed without a merge. That is respected: nothing more is written, and the bad
	// revision stays held back.
	RevertDeclined RevertState = "Declined"
	// RevertSuspended: too many reverts of this workload within an hour; it goes on when the hour is over.
	RevertSuspended RevertState = "Suspended"
	// RevertConflict: the revert cannot be made without touching something else; a person must look.
	RevertConflict RevertState = "Conflict"
	// RevertRejected: the Git server refuses the push, e.g. a protected branch; a person must look. It is tried again when what it
	// is pushed with changes, and ever more rarely in any case.
	RevertRejected RevertState = "Rejected"
)

// RevertStatus is an intended revert and how far it got. It is stored before Git is touched.
type RevertStatus struct {
	// id is made from the repository, branch, workload, attempt, bad and good revision: one failure has one id.
	ID string `json:"id"`
	// attempt that failed.
	Attempt int64 `json:"attempt"`
	// state of the revert.
	State RevertState `json:"state"`
	// bad revision that is taken out of Git.
	Bad string `json:"bad"`
	// good revision that is put back.
	Good string `json:"good"`
	// badCommit that brought the bad revision, once known.
	// +optional
	BadCommit string `json:"badCommit,omitempty"`
	// goodCommit whose content is restored, once known.
	// +optional
	GoodCommit string `json:"goodCommit,omitempty"`
	// commit that reverts, once pushed or merged.
	// +optional
	Commit string `json:"commit,omitempty"`
	// pullRequest that proposes the revert, where there is one.
	// +optional
	PullRequest *PullRequest `json:"pullRequest,omitempty"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// requestedBy is the person who asked for it with a Decision (Undo); unset where an attempt failed.
	// +optional
	RequestedBy *Actor `json:"requestedBy,omitempty"`
	// requestedAt is when the verdict fell.
	RequestedAt metav1.Time `json:"requestedAt"`
	// finishedAt is when the revert reached a final state.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// refusals is how often in a row the server has refused it.
	// +optional
	Refusals int32 `json:"refusals,omitempty"`
	// nextTryAt is when a revert in state Rejected is tried again, if nothing changes before.
	// +optional
	NextTryAt *metav1.Time `json:"nextTryAt,omitempty"`
	// triedWith stands for what the last try that a person must look at was made with: the generation of the Repository and the
	// versions of the Secrets in its spec.write. When that changes it is tried again at once.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TriedWith string `json:"triedWith,omitempty"`
}
