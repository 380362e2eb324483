package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
)

const (
	defaultTimeout = 60 * time.Second
	// maxKept is how many checkouts are kept, maxFetches how many are made at once: together they bound memory.
	maxKept    = 16
	maxFetches = 2
	// deeper is how far back a commit is looked for that is no longer the head.
	deeper = 50
	// deepest is how far back authors are looked for.
	deepest = 200
)

// limits bound one fetch.
var limits = git.Limits{PackBytes: 64 << 20, InflatedBytes: 256 << 20, ObjectBytes: 32 << 20}

// Source is the way from a Repository to its content. It is shared by all controllers of a process and may be used by
// several goroutines.
type Source struct {
	reader    client.Reader
	allowFile bool
	slots     chan struct{}
	kept      cache
	past      histories
}

// NewSource returns a Source that reads Secrets through reader, which must not cache them. allowFile lets file:// URLs
// read the disk of this process.
func NewSource(reader client.Reader, allowFile bool) *Source {
	return &Source{reader: reader, allowFile: allowFile, slots: make(chan struct{}, maxFetches), kept: cache{max: maxKept}}
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

// Timeout is how long one Git operation on the Repository may take.
func Timeout(repo *v1alpha1.Repository) time.Duration {
	if timeout := repo.Spec.Timeout.Or(defaultTimeout); timeout > 0 {
		return timeout
	}
	return defaultTimeout
}

// Remote returns the branch with the credentials of a Secret (nil: none), which is read now. Its errors are Problems.
func (s *Source) Remote(ctx context.Context, repo *v1alpha1.Repository, secret *v1alpha1.LocalReference) (git.Remote, error) {
	remote := git.Remote{URL: repo.Spec.URL, Branch: repo.Spec.Ref.Branch, Limits: limits}
	if err := remote.Validate(); err != nil {
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

// Head asks the server where the branch is.
func (s *Source) Head(ctx context.Context, repo *v1alpha1.Repository) (string, error) {
	remote, err := s.Remote(ctx, repo, repo.Spec.SecretRef)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout(repo))
	defer cancel()
	started := time.Now()
	head, err := remote.Head(ctx)
	observe("head", started, err)
	return head, err
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

// Checkout returns the files of a commit of the branch; one download serves all callers.
func (s *Source) Checkout(ctx context.Context, repo *v1alpha1.Repository, commit string) (git.Tree, error) {
	slot := s.kept.slot(keyOf(repo))
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.commit == commit && slot.tree != nil {
		return slot.tree, nil
	}
	remote, err := s.Remote(ctx, repo, repo.Spec.SecretRef)
	if err != nil {
		return nil, err
	}
	tree, err := s.download(ctx, remote, commit, Timeout(repo))
	if err != nil {
		return nil, err
	}
	slot.commit, slot.tree = commit, tree
	return tree, nil
}

// download fetches the head alone, and some history only if the branch has moved on since commit was seen.
func (s *Source) download(ctx context.Context, remote git.Remote, commit string, timeout time.Duration) (git.Tree, error) {
	for _, depth := range []int{1, deeper} {
		fetched, err := s.Fetch(ctx, remote, depth, timeout)
		if err != nil {
			return nil, err
		}
		tree, err := fetched.Tree(commit)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return tree, err
		}
	}
	return nil, &Problem{Reason: ReasonCommitGone,
		err: fmt.Errorf("commit %s is not among the newest %d of branch %q: it was rewritten, or moved on", commit, deeper, remote.Branch)}
}

// Authors are the mail addresses, in lower case and sorted, of the authors and committers of the commits between two of a
// branch. known is false where not all of them can be found: the branch was rewritten, or there are too many.
func (s *Source) Authors(ctx context.Context, repo *v1alpha1.Repository, from, to string) (authors []string, known bool, err error) {
	remote, err := s.Remote(ctx, repo, repo.Spec.SecretRef)
	if err != nil {
		return nil, false, err
	}
	fetched, err := s.Fetch(ctx, remote, deepest, Timeout(repo))
	if err != nil {
		return nil, false, err
	}
	commits, complete := fetched.Between(from, to)
	for _, c := range commits {
		for _, address := range []string{c.AuthorEmail, c.CommitterEmail} {
			address = strings.ToLower(strings.TrimSpace(address))
			if address == "" || strings.ContainsAny(address, ",\n") {
				return nil, false, nil
			}
			authors = append(authors, address)
		}
	}
	slices.Sort(authors)
	return slices.Compact(authors), complete, nil
}

// branchKey says what a checkout is of, and with whose eyes.
type branchKey struct{ url, branch, secret string }

func keyOf(repo *v1alpha1.Repository) branchKey {
	key := branchKey{url: repo.Spec.URL, branch: repo.Spec.Ref.Branch}
	if repo.Spec.SecretRef != nil {
		key.secret = repo.Namespace + "/" + repo.Spec.SecretRef.Name
	}
	return key
}

// slot holds the newest checkout of a branch.
type slot struct {
	mu     sync.Mutex
	commit string
	tree   git.Tree
}

// cache keeps the slots used last.
type cache struct {
	mu    sync.Mutex
	max   int
	slots map[branchKey]*slot
	used  []branchKey // the last one was used last
}

func (c *cache) slot(key branchKey) *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots == nil {
		c.slots = map[branchKey]*slot{}
	}
	found := c.slots[key]
	if found == nil {
		found = &slot{}
		c.slots[key] = found
	}
	for i, k := range c.used {
		if k == key {
			c.used = append(c.used[:i], c.used[i+1:]...)
			break
		}
	}
	c.used = append(c.used, key)
	if len(c.used) > c.max {
		delete(c.slots, c.used[0])
		c.used = c.used[1:]
	}
	return found
}
