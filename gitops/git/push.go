package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// maxReason is how much of a server's explanation is kept.
const maxReason = 4 << 10

// Push moves the branch from base to commit, a commit made by repo.Write, with
// compare-and-swap on the server; base "" creates the branch. It succeeds when
// the branch already is at commit. ErrStale: the branch is elsewhere, nothing
// was changed. *RejectedError: the server refused. ErrOutcomeUnknown: it was
// sent and the answer was lost; fetch and look.
func (r Remote) Push(ctx context.Context, repo *Repo, base, commit string) error {
	name, err := r.reference()
	if err != nil {
		return err
	}
	pack, err := repo.pack(commit)
	if err != nil {
		return err
	}
	session, err := r.openReceive(ctx)
	if err != nil {
		return err
	}
	defer session.release()
	adverts, err := session.AdvertisedReferencesContext(ctx)
	if err != nil && !errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return r.pushRefused(r.classify(ctx, "opening push to", err), err)
	}
	if adverts == nil {
		adverts = packp.NewAdvRefs()
	}
	command := &packp.Command{Name: name, Old: plumbing.NewHash(base), New: plumbing.NewHash(commit)}
	tip := adverts.References[name.String()]
	if tip == command.New {
		return session.Close()
	}
	if tip != command.Old {
		_ = session.Close()
		return fmt.Errorf("pushing to %s: %w: branch %q is at %s, not at %s", r.URL, ErrStale, r.Branch, tip, command.Old)
	}
	request := packp.NewReferenceUpdateRequestFromCapabilities(adverts.Capabilities)
	said := &tail{limit: maxReason}
	if adverts.Capabilities.Supports(capability.Sideband64k) {
		if err := request.Capabilities.Set(capability.Sideband64k); err != nil {
			return fmt.Errorf("preparing push: %w", err)
		}
		request.Progress = said
	}
	request.Commands = []*packp.Command{command}
	request.Packfile = io.NopCloser(bytes.NewReader(pack))
	report, err := session.ReceivePack(ctx, request)
	return r.outcome(ctx, pushed{report: report, said: said.String(), err: err})
}

// pushed is what came back from a push.
type pushed struct {
	report *packp.ReportStatus
	said   string
	err    error
}

// staleSigns are the words of git, JGit and libgit2 servers for a lost race.
var staleSigns = []string{
	"failed to update ref", "fetch first", "non-fast-forward", "stale info", "incorrect old value",
	"cannot lock ref", "unable to lock", "failed to lock", "lock_failure", "already exists", "but expected",
}

func (r Remote) outcome(ctx context.Context, p pushed) error {
	if p.report == nil || len(p.report.CommandStatuses) == 0 && p.err == nil {
		return r.unanswered(ctx, p)
	}
	if p.err == nil {
		return nil
	}
	status := p.report.UnpackStatus
	for _, command := range p.report.CommandStatuses {
		if command.Error() != nil {
			status = command.Status
		}
	}
	lower := strings.ToLower(status)
	for _, sign := range staleSigns {
		if strings.Contains(lower, sign) {
			return fmt.Errorf("pushing to %s: %w: %s", r.URL, ErrStale, r.clean(status, maxErrorText))
		}
	}
	return &RejectedError{Reason: r.clean(status+"\n"+p.said, maxReason)}
}

// unanswered handles a push without a report: an HTTP status that means "no" is
// a refusal, everything else leaves the outcome open.
func (r Remote) unanswered(ctx context.Context, p pushed) error {
	if p.err == nil {
		p.err = errors.New("the server sent no report")
	}
	kind := r.classify(ctx, "pushing to", p.err)
	if refused := r.pushRefused(kind, p.err); !errors.Is(kind, refused) {
		return refused
	}
	if errors.Is(kind, ErrAuth) {
		return kind
	}
	return fmt.Errorf("pushing to %s: %w: %s", r.URL, ErrOutcomeUnknown, r.clean(p.err.Error()+"\n"+p.said, maxErrorText))
}

// pushRefused turns "you may not" (HTTP 403, and other 4xx) into a rejection.
func (r Remote) pushRefused(classified, cause error) error {
	if errors.Is(cause, transport.ErrAuthorizationFailed) {
		return &RejectedError{Reason: r.clean(cause.Error(), maxReason)}
	}
	var unexpected *plumbing.UnexpectedError
	var status *githttp.Err
	if errors.As(cause, &unexpected) && errors.As(unexpected.Err, &status) {
		if code := status.StatusCode(); code >= 400 && code < 500 && code != 408 && code != 429 {
			return &RejectedError{Reason: r.clean(fmt.Sprintf("HTTP status %d: %s", code, status.Reason), maxReason)}
		}
	}
	return classified
}

// pack encodes exactly the objects of a commit that the server does not have:
// those that Write made and that the commit reaches.
func (r *Repo) pack(commit string) ([]byte, error) {
	if _, err := r.commit(commit); err != nil {
		return nil, err
	}
	var hashes []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	if err := r.collect(plumbing.NewHash(commit), seen, &hashes); err != nil {
		return nil, fmt.Errorf("packing commit %s: %w", commit, err)
	}
	var out bytes.Buffer
	if _, err := packfile.NewEncoder(&out, r.storage, false).Encode(hashes, 0); err != nil {
		return nil, fmt.Errorf("packing commit %s: %w", commit, err)
	}
	return out.Bytes(), nil
}

func (r *Repo) collect(hash plumbing.Hash, seen map[plumbing.Hash]bool, hashes *[]plumbing.Hash) error {
	if !r.fresh[hash] || seen[hash] {
		return nil
	}
	seen[hash] = true
	*hashes = append(*hashes, hash)
	stored, err := object.GetObject(r.storage, hash)
	if err != nil {
		return err
	}
	var next []plumbing.Hash
	switch typed := stored.(type) {
	case *object.Commit:
		next = append([]plumbing.Hash{typed.TreeHash}, typed.ParentHashes...)
	case *object.Tree:
		for _, entry := range typed.Entries {
			next = append(next, entry.Hash)
		}
	}
	for _, child := range next {
		if err := r.collect(child, seen, hashes); err != nil {
			return err
		}
	}
	return nil
}
