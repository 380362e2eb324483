package view

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// APIVersion of every type that the plugin prints.
const APIVersion = "cli.belay.dev/v1alpha1"

// Kinds of what the plugin prints.
const (
	KindRollout     = "RolloutView"
	KindRolloutList = "RolloutViewList"
)

// Health in one word.
type Health string

// The healths of a Rollout.
const (
	// Healthy: what the spec asks for serves all users.
	Healthy Health = "Healthy"
	// Progressing: on the way, or not looked at yet.
	Progressing Health = "Progressing"
	// Degraded: an attempt failed, or nothing goes on without a person.
	Degraded Health = "Degraded"
)

// View is all that is worth knowing about a Rollout.
type View struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Health     Health `json:"health"`
	Phase      string `json:"phase,omitempty"`
	// Observed is false while the controller has not seen the current spec.
	Observed  bool                     `json:"observed"`
	BlockedBy string                   `json:"blockedBy,omitempty"`
	Paused    bool                     `json:"paused,omitempty"`
	Replicas  Replicas                 `json:"replicas"`
	Stable    *v1alpha1.RevisionRecord `json:"stable,omitempty"`
	Previous  *v1alpha1.RevisionRecord `json:"previous,omitempty"`
	Attempt   *Attempt                 `json:"attempt,omitempty"`
	Last      *v1alpha1.AttemptRecord  `json:"last,omitempty"`
	Revert    *v1alpha1.RevertStatus   `json:"revert,omitempty"`
	// Quarantine lists revisions that are not started again until somebody says retry.
	Quarantine []v1alpha1.Quarantined `json:"quarantine,omitempty"`
	Conditions []metav1.Condition     `json:"conditions,omitempty"`
	Revisions  []Revision             `json:"revisions,omitempty"`
	Runs       []Run                  `json:"runs,omitempty"`
	// Unread names what could not be read, and why: it may exist.
	Unread []string `json:"unread,omitempty"`
	// Created is when the Rollout was made.
	Created metav1.Time `json:"created"`
}

// List is several Views, without their pods and runs.
type List struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []View `json:"items"`
}

// Replicas counts pods.
type Replicas struct {
	Desired   int32 `json:"desired"`
	Current   int32 `json:"current"`
	Updated   int32 `json:"updated"`
	Ready     int32 `json:"ready"`
	Available int32 `json:"available"`
}

// Attempt is where the attempt under way stands.
type Attempt struct {
	Number   int64          `json:"number"`
	Revision string         `json:"revision"`
	Commit   string         `json:"commit,omitempty"`
	Stage    v1alpha1.Stage `json:"stage"`
	// Step counts from 1, Steps is how many there are.
	Step      int         `json:"step"`
	Steps     int         `json:"steps"`
	StepName  string      `json:"stepName,omitempty"`
	StartedAt metav1.Time `json:"startedAt"`
	// Since is when the step, or else the stage, was entered.
	Since           metav1.Time `json:"since"`
	Weight          int32       `json:"weight"`
	ConfirmedWeight int32       `json:"confirmedWeight"`
	TotalWeight     int32       `json:"totalWeight"`
	// Match is which requests are wanted on the canary whatever its weight; unset: none.
	Match *v1alpha1.Match `json:"match,omitempty"`
	// Mirror is of which requests copies are wanted on the canary; unset: none.
	Mirror   *v1alpha1.Mirror `json:"mirror,omitempty"`
	Approved *v1alpha1.Actor  `json:"approved,omitempty"`
	// ApprovedToo are others who approved the step.
	ApprovedToo []v1alpha1.Actor `json:"approvedToo,omitempty"`
	// Bypass says through which other routes requests go past the split; unset: none.
	Bypass string `json:"bypass,omitempty"`
	// Authors of what is tried, where approvals.notTheAuthor asks for them.
	Authors string `json:"authors,omitempty"`
	// Contest is what others have written into the routes; unset: nothing.
	Contest *v1alpha1.Contest `json:"contest,omitempty"`
	Pause   *v1alpha1.Actor   `json:"pause,omitempty"`
	Full    *v1alpha1.Actor   `json:"full,omitempty"`
	Verdict *v1alpha1.Verdict `json:"verdict,omitempty"`
}

// Revision is one revision that has a ReplicaSet.
type Revision struct {
	Revision   string        `json:"revision"`
	Role       v1alpha1.Role `json:"role,omitempty"`
	ReplicaSet string        `json:"replicaSet"`
	Desired    int32         `json:"desired"`
	Ready      int32         `json:"ready"`
	Pods       []Pod         `json:"pods,omitempty"`
	Created    metav1.Time   `json:"created"`
}

// Pod of a revision.
type Pod struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Ready    bool   `json:"ready"`
	Restarts int32  `json:"restarts"`
	// Reason why it is not ready, where it is known.
	Reason  string      `json:"reason,omitempty"`
	Created metav1.Time `json:"created"`
}

// Run is an AnalysisRun.
type Run struct {
	Name     string              `json:"name"`
	Verdict  v1alpha1.RunVerdict `json:"verdict"`
	Message  string              `json:"message,omitempty"`
	Finished bool                `json:"finished,omitempty"`
	Metrics  []Metric            `json:"metrics,omitempty"`
}

// Metric of a run.
type Metric struct {
	Name    string              `json:"name"`
	Mode    v1alpha1.MetricMode `json:"mode,omitempty"`
	Verdict v1alpha1.RunVerdict `json:"verdict"`
	// Last is the value measured last, as text.
	Last   string `json:"last,omitempty"`
	Bounds string `json:"bounds,omitempty"`
	// Passed of Measured measurements were good.
	Passed   int32  `json:"passed"`
	Measured int32  `json:"measured"`
	Message  string `json:"message,omitempty"`
}
