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
	"github.com/belay-delivery/belay/gitops/git"
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
	ReasonRefNotFound          = "RefNotFound"
	ReasonRepositoryNotFound   = "RepositoryNotFound"
	ReasonFileNotAllowed       = "FileNotAllowed"
	ReasonInvalid              = "Invalid"
	ReasonTooLarge             = "TooLarge"
	ReasonSignersInvalid       = "SignersInvalid"
	ReasonSignatureRefused     = "SignatureRefused"
	ReasonHistoryIncomplete    = "HistoryIncomplete"

	// ReasonNewCommit is the reason of the Event that tells of a ref that has moved on, ReasonDowngrade of a range of versions
	// whose highest is lower than before, ReasonTagMoved of a tag that is of another commit than before.
	ReasonNewCommit = "NewCommit"
	ReasonDowngrade = "Downgrade"
	ReasonTagMoved  = "TagMoved"
)

const (
	defaultInterval = time.Minute
	shortestRetry   = 2 * time.Second
	maxMessage      = 1024
)

// Observed is everything that Plan looks at.
type Observed struct {
	Repository *v1alpha1.Repository
	// Head is what the ref points to; without a commit when Problem says why it is not known.
	Head    git.Resolved
	Problem *Problem
	// Verified says whose signature the head carries; nil where none is asked for.
	Verified *v1alpha1.VerifiedCommit
	Now      time.Time
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
	if o.Head.Commit != p.Status.Commit {
		p.moved(o)
	}
	p.Status.Resolved, p.Status.Verified = nil, o.Verified
	if o.Head.Name != "" {
		p.Status.Resolved = &v1alpha1.ResolvedRef{Name: o.Head.Name, Version: o.Head.Version}
	}
	p.condition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, whereabouts(o))
	p.condition(o, v1alpha1.ConditionStalled, metav1.ConditionFalse, ReasonReady, "")
	return p
}

// moved notes another commit, and tells of it what a person should know.
func (p *Plan) moved(o Observed) {
	at, before := metav1.NewTime(o.Now), p.Status.Resolved
	p.tell(corev1.EventTypeNormal, ReasonNewCommit, whereabouts(o))
	switch {
	case p.Status.Commit == "" || before == nil:
	case git.LowerVersion(o.Head.Version, before.Version):
		p.tell(corev1.EventTypeWarning, ReasonDowngrade, fmt.Sprintf(
			"the highest version in %q is now %s, lower than %s before: a tag was removed, or the range was changed", o.Repository.Spec.Ref.SemVer, o.Head.Version, before.Version))
	case before.Name == o.Head.Name && strings.HasPrefix(o.Head.Name, "refs/tags/"):
		p.tell(corev1.EventTypeWarning, ReasonTagMoved, fmt.Sprintf("%s was at %s and is now at %s", o.Head.Name, p.Status.Commit, o.Head.Commit))
	}
	p.Status.Commit, p.Status.ChangedAt = o.Head.Commit, &at
}

// whereabouts says what the ref points to.
func whereabouts(o Observed) string {
	ref := o.Repository.Spec.Ref
	switch {
	case ref.SemVer != "":
		return fmt.Sprintf("version %s of %q (%s) is at %s", o.Head.Version, ref.SemVer, strings.TrimPrefix(o.Head.Name, "refs/tags/"), o.Head.Commit)
	case ref.Tag != "":
		return fmt.Sprintf("tag %s is at %s", ref.Tag, o.Head.Commit)
	case ref.Commit != "":
		return fmt.Sprintf("commit %s is there", ref.Commit)
	}
	return fmt.Sprintf("branch %s is at %s", ref.Branch, o.Head.Commit)
}

func (p *Plan) fail(o Observed) {
	message := sentence(o.Problem.Error())
	before := v1alpha1.FindCondition(o.Repository.Status.Conditions, v1alpha1.ConditionReady)
	// Another commit that is refused is news, though the reason is the same.
	news := o.Problem.Reason == ReasonSignatureRefused && before != nil && before.Message != message
	if before == nil || before.Reason != o.Problem.Reason || news {
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
