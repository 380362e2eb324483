package trust

import (
	"errors"
	"fmt"
	"strings"

	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/gitops/signature"
	"github.com/belay-delivery/belay/gitops/tree"
)

const (
	// DefaultLimit is how many commits of a range are verified at most.
	DefaultLimit = 500
	// maxKnown is how many commits before the one in force are looked at.
	maxKnown = 20_000
	// maxNamed is how many refused commits an error names.
	maxNamed = 5
)

// ErrIncomplete says that the commits of a range are not all known, or are too many.
var ErrIncomplete = errors.New("the history since the commit in force is not complete")

// Source is where raw commits and their files are read from. A commit that it does not have is an error.
type Source interface {
	// Raw is the commit object without its header "commit <size>\0".
	Raw(sha string) ([]byte, error)
	// Cut says that the parents of a commit were left out of the fetch.
	Cut(sha string) bool
	Tree(sha string) (tree.Tree, error)
}

// Policy is who may sign what.
type Policy struct {
	Signers signature.Signers
	// Folders are what a bot may bring back an earlier state of.
	Folders []string
	// Values are the places in other files that a bot may bring back.
	Values []revert.Value
	// Declared are Rollouts of others. What is reverted for them a bot may bring back only as far as Git itself says so.
	Declared []Declared
	// Limit is how many commits of a range are verified at most; 0 is DefaultLimit.
	Limit int
}

// Declared is a Rollout that is said to be reverted in a folder. That counts where the folder, as it was before a bot's commit, declares
// this very Rollout, in this namespace, with this folder as the path of its revert: so whoever may edit the Rollout in the cluster,
// but may not commit, widens nothing.
type Declared struct{ Folder, Namespace, Name string }

// Result is what was verified.
type Result struct {
	// Signer of the head.
	Signer signature.Signer
	// Commits that were verified, the head among them.
	Commits int
}

// Refusal is one commit that does not count, and why.
type Refusal struct {
	SHA, Subject string
	Err          error
}

// Error names the commits that were refused.
type Error struct {
	// Refusals are the newest ones, newest first; Total counts all.
	Refusals []Refusal
	Total    int
}

func (e *Error) Error() string {
	var parts []string
	for _, r := range e.Refusals {
		parts = append(parts, fmt.Sprintf("commit %s (%q): %v", r.SHA, r.Subject, r.Err))
	}
	text := strings.Join(parts, "; ")
	if more := e.Total - len(e.Refusals); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Unwrap returns the reasons.
func (e *Error) Unwrap() []error {
	out := make([]error, 0, len(e.Refusals))
	for _, r := range e.Refusals {
		out = append(out, r.Err)
	}
	return out
}

func (e *Error) add(sha string, c signature.Commit, err error) {
	e.Total++
	if len(e.Refusals) < maxNamed {
		e.Refusals = append(e.Refusals, Refusal{SHA: sha, Subject: subject(c.Message), Err: err})
	}
}

const maxSubject = 80

func subject(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	if len(line) > maxSubject {
		line = strings.ToValidUTF8(line[:maxSubject], "") + "…"
	}
	return line
}

// Head verifies one commit. What it refuses is an *Error.
func Head(p Policy, source Source, sha string) (Result, error) {
	refused := &Error{}
	signer, _, err := p.one(source, sha, refused)
	switch {
	case err != nil:
		return Result{}, err
	case refused.Total > 0:
		return Result{}, refused
	}
	return Result{Signer: signer, Commits: 1}, nil
}

// Range verifies a commit and those before it, along first parents, up to what the commit base was made of. It refuses with
// an *Error that names the commits, or with ErrIncomplete where they cannot all be seen.
func Range(p Policy, source Source, base, head string) (Result, error) {
	if base == "" || base == head {
		return Head(p, source, head)
	}
	before, err := reachable(source, base)
	if err != nil {
		return Result{}, err
	}
	limit := p.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	result, refused := Result{}, &Error{}
	for sha := head; ; {
		signer, commit, err := p.one(source, sha, refused)
		if err != nil {
			return Result{}, err
		}
		result.Commits++
		if sha == head {
			result.Signer = signer
		}
		switch {
		case len(commit.Parents) > 0 && before[commit.Parents[0]], len(commit.Parents) == 0 && !source.Cut(sha):
			if refused.Total > 0 {
				return Result{}, refused
			}
			return result, nil
		case source.Cut(sha) || result.Commits == limit:
			return Result{}, errors.Join(named(refused), fmt.Errorf("%w: %s is not among the %d commits before %s", ErrIncomplete, base, result.Commits, head))
		case before[sha]:
			// The head itself is older than the commit in force: there is nothing in between.
			if refused.Total > 0 {
				return Result{}, refused
			}
			return result, nil
		}
		sha = commit.Parents[0]
	}
}

func named(refused *Error) error {
	if refused.Total == 0 {
		return nil
	}
	return refused
}

// one verifies a commit. A commit that cannot be read is an error; one that does not count is added to refused.
func (p Policy) one(source Source, sha string, refused *Error) (signature.Signer, signature.Commit, error) {
	raw, err := source.Raw(sha)
	if err != nil {
		return signature.Signer{}, signature.Commit{}, fmt.Errorf("verifying commit %s: %w", sha, errors.Join(ErrIncomplete, err))
	}
	commit, err := signature.ParseCommit(raw)
	if err != nil {
		refused.add(sha, commit, err)
		return signature.Signer{}, commit, nil
	}
	signer, err := signature.Verify(p.Signers, raw)
	if err == nil && signer.IsBot() {
		err = p.restores(source, commit, sha)
	}
	if err != nil {
		refused.add(sha, commit, err)
	}
	return signer, commit, nil
}

// reachable are a commit and all known ones before it.
func reachable(source Source, from string) (map[string]bool, error) {
	if _, err := source.Raw(from); err != nil {
		return nil, fmt.Errorf("%w: %s, the commit in force, is not part of what was fetched: the branch was rewritten, or has moved on too far", ErrIncomplete, from)
	}
	seen := map[string]bool{from: true}
	for todo := []string{from}; len(todo) > 0 && len(seen) < maxKnown; {
		sha := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if source.Cut(sha) {
			continue
		}
		raw, err := source.Raw(sha)
		if err != nil {
			continue
		}
		commit, err := signature.ParseCommit(raw)
		if err != nil {
			continue
		}
		for _, parent := range commit.Parents {
			if !seen[parent] {
				seen[parent] = true
				todo = append(todo, parent)
			}
		}
	}
	return seen, nil
}
