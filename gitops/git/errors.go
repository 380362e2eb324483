package git

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/belay-delivery/belay/gitops/tree"
)

var (
	// ErrBranchNotFound says that the repository has no such branch.
	ErrBranchNotFound = errors.New("branch not found")
	// ErrRepositoryNotFound says that the server knows no such repository.
	ErrRepositoryNotFound = errors.New("repository not found")
	// ErrAuth says that the credentials are missing, wrong or not enough, or
	// that the server's identity could not be verified.
	ErrAuth = errors.New("authentication refused")
	// ErrUnreachable says that the server could not be talked to.
	ErrUnreachable = errors.New("git server unreachable")
	// ErrStale says that the branch was not at the base when the push arrived.
	ErrStale = errors.New("branch has moved")
	// ErrOutcomeUnknown says that the push was sent and its answer was lost.
	ErrOutcomeUnknown = errors.New("outcome of the push is unknown")
	// ErrTooLarge says that what the server sent is above a limit.
	ErrTooLarge = tree.ErrTooLarge
)

const maxErrorText = 512

// RejectedError says that the server took the push and said no: a hook, a protected branch, missing rights, a disk that is full.
// Trying again at once changes nothing.
type RejectedError struct {
	// Reason is the server's text, at most 4 KiB, without control characters.
	Reason string
}

func (e *RejectedError) Error() string { return "push rejected: " + e.Reason }

// protectedSigns are words of GitHub, GitLab, Gitea, Bitbucket and of hooks for a branch that may only change by a pull
// request; some stand in the report, some only in the text beside it.
var protectedSigns = []string{
	"protected branch", "gh006", "gh013", "repository rule violations", "not allowed to push", "not allowed to update",
	"hook declined", "push declined", "only via pull request", "only be modified through pull request", "changes must be made through",
}

// Protected says that the server's words are those for a protected branch, rather than for missing rights.
func (e *RejectedError) Protected() bool {
	lower := strings.ToLower(e.Reason)
	for _, sign := range protectedSigns {
		if strings.Contains(lower, sign) {
			return true
		}
	}
	return false
}

// remoteError is a failed exchange with a server; its text is bounded and clean.
type remoteError struct {
	what  string
	kind  error
	cause error
	// text of cause, without credentials.
	text string
}

func (e *remoteError) Error() string { return fmt.Sprintf("%s: %v: %s", e.what, e.kind, e.text) }

func (e *remoteError) Unwrap() []error { return []error{e.kind, e.cause} }

// classify turns a transport's error into one that callers can branch on.
func (r Remote) classify(ctx context.Context, doing string, err error) error {
	kind := errorKind(err)
	if cause := context.Cause(ctx); cause != nil {
		err = errors.Join(cause, err)
	}
	return &remoteError{what: doing + " " + r.URL, kind: kind, cause: err, text: r.clean(err.Error(), maxErrorText)}
}

func errorKind(err error) error {
	var certificate *tls.CertificateVerificationError
	var hostKey *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.Is(err, ErrTooLarge):
		return ErrTooLarge
	case errors.Is(err, ErrAuth), errors.As(err, &certificate), errors.As(err, &hostKey), errors.As(err, &revoked),
		errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed),
		errors.Is(err, transport.ErrInvalidAuthMethod), strings.Contains(err.Error(), "unable to authenticate"):
		return ErrAuth
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return ErrRepositoryNotFound
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return ErrBranchNotFound
	}
	return ErrUnreachable
}

// clean is cleanText of a text that the server had a hand in: a server may repeat the credentials that it was sent.
func (r Remote) clean(text string, limit int) string {
	return cut(r.Auth.redact(printable(text)), limit)
}

// cleanText makes a server's text fit for a condition: one line per line, no
// control characters, at most limit bytes.
func cleanText(text string, limit int) string { return cut(printable(text), limit) }

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, "?"))
}

func cut(text string, limit int) string {
	text = strings.TrimSpace(text)
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// tail keeps the last limit bytes written to it.
type tail struct {
	limit int
	mutex sync.Mutex
	data  []byte
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.data = append(t.data, p...)
	if extra := len(t.data) - t.limit; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return string(t.data)
}
