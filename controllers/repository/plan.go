package repository

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Reasons of the condition Ready. All but Ready and the first three under it are also reasons of Stalled.
const (
	ReasonReady                = "Ready"
	ReasonUnreachable          = "Unreachable"
	ReasonGitFailed            = "GitFailed"
	ReasonSecretUnreadable     = "SecretUnreadable"
	ReasonCommitGone           = "CommitGone"
	ReasonSecretNotFound       = "SecretNotFound"
	ReasonCredentialsInvalid   = "CredentialsInvalid"
	ReasonAuthenticationFailed = "AuthenticationFailed"
	ReasonBranchNotFound       = "BranchNotFound"
	ReasonRepositoryNotFound   = "RepositoryNotFound"
	ReasonFileNotAllowed       = "FileNotAllowed"
	ReasonInvalid              = "Invalid"
	ReasonTooLarge             = "TooLarge"

	// ReasonNewCommit is the reason of the Event that tells of a moved branch.
	ReasonNewCommit = "NewCommit"
)

const (
	defaultInterval = time.Minute
	shortestRetry   = 2 * time.Second
	maxMessage      = 1024
)

// Observed is everything that Plan looks at.
type Observed struct {
	Repository *v1alpha1.Repository
	// Head is where the branch is; empty when Problem says why it is not known.
	Head    string
	Problem *Problem
	Now     time.Time
}

// Plan is what follows from an Observed.
type Plan struct {
	Status v1alpha1.RepositoryStatus
	Events []Event
	// After is when to look again.
	After time.Duration
}

// Event is one Event to be told.
type Event struct{ Type, Reason, Action, Note string }

// MakePlan decides the status, the events and the next look.
func MakePlan(o Observed) Plan {
	repo := o.Repository
	p := Plan{Status: *repo.Status.DeepCopy(), After: Interval(repo)}
	p.Status.ObservedGeneration = repo.Generation
	p.Status.Reconciled = repo.Annotations[v1alpha1.AnnotationReconcile]
	if o.Problem != nil {
		p.fail(o)
		return p
	}
	if o.Head != p.Status.Commit {
		at := metav1.NewTime(o.Now)
		p.Status.Commit, p.Status.ChangedAt = o.Head, &at
		p.tell(corev1.EventTypeNormal, ReasonNewCommit, fmt.Sprintf("branch %s is at %s", repo.Spec.Ref.Branch, o.Head))
	}
	p.condition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady,
		fmt.Sprintf("branch %s is at %s", repo.Spec.Ref.Branch, o.Head))
	p.condition(o, v1alpha1.ConditionStalled, metav1.ConditionFalse, ReasonReady, "")
	return p
}

func (p *Plan) fail(o Observed) {
	message := sentence(o.Problem.Error())
	before := v1alpha1.FindCondition(o.Repository.Status.Conditions, v1alpha1.ConditionReady)
	if before == nil || before.Reason != o.Problem.Reason {
		p.tell(corev1.EventTypeWarning, o.Problem.Reason, message)
	}
	p.condition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, o.Problem.Reason, message)
	stalled := metav1.ConditionFalse
	if o.Problem.Stalled {
		stalled = metav1.ConditionTrue
	}
	p.condition(o, v1alpha1.ConditionStalled, stalled, o.Problem.Reason, message)
	ready := v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionReady)
	p.After = Retry(o.Now.Sub(ready.LastTransitionTime.Time), p.After)
}

func (p *Plan) condition(o Observed, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: o.Repository.Generation, LastTransitionTime: metav1.NewTime(o.Now),
	})
}

func (p *Plan) tell(kind, reason, note string) {
	p.Events = append(p.Events, Event{Type: kind, Reason: reason, Action: "Fetch", Note: note})
}

// Interval is how often the branch is looked at.
func Interval(repo *v1alpha1.Repository) time.Duration {
	return max(repo.Spec.Interval.Or(defaultInterval), time.Second)
}

// Retry is when to try again what has failed for a time: after half that time, at least two seconds, at most limit.
// It needs no memory, so a restart does not shorten it.
func Retry(failing, limit time.Duration) time.Duration {
	return min(max(failing/2, shortestRetry), max(limit, time.Second))
}

// localPort is what makes two reports of one network error differ; a status is not written again for it.
var localPort = regexp.MustCompile(`:\d+->`)

func sentence(text string) string {
	text = localPort.ReplaceAllString(text, "->")
	if len(text) > maxMessage {
		return strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}
