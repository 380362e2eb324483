package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
)

const (
	defaultTimeout = 60 * time.Second
	maxTimeout     = 10 * time.Minute
	// maxFetches is how many downloads are made at once.
	maxFetches = 2
	// deeper and deepest are how far back a commit is looked for that is no longer the head.
	deeper  = 50
	deepest = 500
)

// limits bound one fetch.
var limits = git.Limits{PackBytes: 64 << 20, InflatedBytes: 256 << 20, ObjectBytes: 32 << 20}

// Source is the way from a Repository to its content. It is shared by all controllers of a process and may be used by
// several goroutines.
type Source struct {
	// Dir is where local copies are kept; without one they are in memory. Set it before the first use.
	Dir string
	// MaxBytes is how large local copies may be together, 1 GiB where it is 0: those used longest ago are dropped.
	MaxBytes int64

	reader    client.Reader
	allowFile bool
	slots     chan struct{}
	mirrors   mirrors
}

// NewSource returns a Source that reads Secrets through reader, which must not cache them. allowFile lets file:// URLs
// read the disk of this process.
func NewSource(reader client.Reader, allowFile bool) *Source {
	return &Source{reader: reader, allowFile: allowFile, slots: make(chan struct{}, maxFetches)}
}

// Problem is a reason in one word why a Repository cannot be used, and the sentence to it.
type Problem struct {
	Reason string
	// Stalled says that only a change of an object, or of the server's settings, will help.
	Stalled bool
	err     error
}

func (p *Problem) Error() string { return p.err.Error() }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.err }

func problem(reason string, err error) error {
	return &Problem{Reason: reason, Stalled: true, err: err}
}

// Explain turns an error of Source, or of a git.Remote that it made, into a Problem.
func Explain(err error) *Problem {
	var known *Problem
	if errors.As(err, &known) {
		return known
	}
	p := &Problem{Reason: ReasonGitFailed, err: err}
	for _, kind := range []struct {
		err     error
		reason  string
		stalled bool
	}{
		{git.ErrAuth, ReasonAuthenticationFailed, true},
		{git.ErrBranchNotFound, ReasonBranchNotFound, true},
		{git.ErrRefNotFound, ReasonRefNotFound, true},
		{git.ErrRepositoryNotFound, ReasonRepositoryNotFound, true},
		{git.ErrTooLarge, ReasonTooLarge, true},
		{git.ErrUnreachable, ReasonUnreachable, false},
	} {
		if errors.Is(err, kind.err) {
			p.Reason, p.Stalled = kind.reason, kind.stalled
			break
		}
	}
	return p
}

// Timeout is how long one Git operation on the Repository may take: few run at once, for all Repositories.
func Timeout(repo *v1alpha1.Repository) time.Duration {
	if timeout := repo.Spec.Timeout.Or(defaultTimeout); timeout > 0 {
		return min(timeout, maxTimeout)
	}
	return defaultTimeout
}

// Remote returns the branch with the credentials of a Secret (nil: none), which is read now. Its errors are Problems.
func (s *Source) Remote(ctx context.Context, repo *v1alpha1.Repository, secret *v1alpha1.LocalReference) (git.Remote, error) {
	remote := git.Remote{URL: repo.Spec.URL, Branch: repo.Spec.Ref.Branch, Limits: limits}
	if err := errors.Join(remote.Validate(), refOf(repo).Validate()); err != nil {
		return git.Remote{}, problem(ReasonInvalid, err)
	}
	if strings.HasPrefix(strings.ToLower(repo.Spec.URL), "file:") && !s.allowFile {
		return git.Remote{}, problem(ReasonFileNotAllowed,
			errors.New("file:// URLs read the controller's own disk and are not allowed by its flags"))
	}
	if secret == nil {
		return remote, nil
	}
	var content corev1.Secret
	err := s.reader.Get(ctx, client.ObjectKey{Namespace: repo.Namespace, Name: secret.Name}, &content)
	switch {
	case apierrors.IsNotFound(err):
		return git.Remote{}, problem(ReasonSecretNotFound, fmt.Errorf("Secret %q does not exist", secret.Name))
	case err != nil:
		return git.Remote{}, &Problem{Reason: ReasonSecretUnreadable, err: fmt.Errorf("reading Secret %q: %w", secret.Name, err)}
	}
	if remote.Auth, err = git.AuthFromSecret(repo.Spec.URL, content.Data); err != nil {
		return git.Remote{}, problem(ReasonCredentialsInvalid, fmt.Errorf("Secret %q: %w", secret.Name, err))
	}
	return remote, nil
}

// Fetch downloads the newest depth commits of a branch. At most a few downloads run at once.
func (s *Source) Fetch(ctx context.Context, remote git.Remote, depth int, timeout time.Duration) (*git.Repo, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for other fetches: %w", ctx.Err())
	}
	started := time.Now()
	fetched, err := remote.Fetch(ctx, depth)
	observe("fetch", started, err)
	return fetched, err
}

// refOf is what a Repository follows.
func refOf(repo *v1alpha1.Repository) git.Ref {
	f := repo.Spec.Ref
	return git.Ref{Branch: f.Branch, Tag: f.Tag, SemVer: f.SemVer, Commit: f.Commit}
}
