package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/history"
)

const (
	// maxMirrors is how many local copies are kept.
	maxMirrors = 64
	// defaultBytes is how large they may be together.
	defaultBytes = 1 << 30
)

// mirrorKey says what a local copy is of, and with whose eyes: whoever may not read a repository does not get it from a copy
// that somebody else may read.
type mirrorKey struct{ url, secret string }

func keyOf(repo *v1alpha1.Repository) mirrorKey {
	key := mirrorKey{url: repo.Spec.URL}
	if repo.Spec.SecretRef != nil {
		key.secret = repo.Namespace + "/" + repo.Spec.SecretRef.Name
	}
	return key
}

// folder is the name of a copy's folder.
func (k mirrorKey) folder() string {
	sum := sha256.Sum256([]byte(k.url + "\x00" + k.secret))
	return hex.EncodeToString(sum[:16])
}

// mirror is the one local copy of a repository, shared by all Repositories and Syncs that see it with the same Secret.
type mirror struct {
	// fetching is held while something is fetched.
	fetching sync.Mutex
	store    *git.Store

	asking sync.Mutex
	listed listed

	past past
}

// listed is what the server said last of its branches and tags, to whom, and who has heard of it.
type listed struct {
	git.Listing
	at    time.Time
	heard map[string]bool
}

// mirrors are the local copies used last.
type mirrors struct {
	mu   sync.Mutex
	all  map[mirrorKey]*mirror
	used []mirrorKey // the last one was used last
}

// mirror returns the local copy of a Repository.
func (s *Source) mirror(repo *v1alpha1.Repository) (*mirror, error) {
	m, key := &s.mirrors, keyOf(repo)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[mirrorKey]*mirror{}
		s.sweep()
	}
	found := m.all[key]
	if found == nil {
		dir := ""
		if s.Dir != "" {
			dir = filepath.Join(s.Dir, key.folder())
		}
		store, err := git.NewStore(dir)
		if err != nil {
			return nil, err
		}
		found = &mirror{store: store, past: past{generation: -1}}
		m.all[key] = found
	}
	m.used = append(slices.DeleteFunc(m.used, func(k mirrorKey) bool { return k == key }), key)
	return found, m.shrink(cmp.Or(s.MaxBytes, defaultBytes))
}

// shrink drops the copies used longest ago, but never the one used last. Whoever reads one gets an error, and fetches again.
func (m *mirrors) shrink(limit int64) error {
	var total int64
	for _, known := range m.all {
		total += known.store.Bytes()
	}
	var errs []error
	for len(m.used) > 1 && (len(m.used) > maxMirrors || total > limit) {
		oldest := m.all[m.used[0]]
		total -= oldest.store.Bytes()
		errs = append(errs, oldest.store.Close())
		delete(m.all, m.used[0])
		m.used = m.used[1:]
	}
	return errors.Join(errs...)
}

// sweep removes copies that an earlier process has left beyond the number that is kept, those changed longest ago first.
func (s *Source) sweep() {
	if s.Dir == "" {
		return
	}
	left, err := os.ReadDir(s.Dir)
	if err != nil {
		return
	}
	changed := func(e fs.DirEntry) time.Time {
		info, err := e.Info()
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	slices.SortFunc(left, func(a, b fs.DirEntry) int { return changed(b).Compare(changed(a)) })
	for _, e := range left[min(len(left), maxMirrors/2):] {
		_ = os.RemoveAll(filepath.Join(s.Dir, e.Name()))
	}
}

// Head says what the ref of a Repository points to now. One request serves all Repositories of the same URL and Secret: what the
// server has told another one is taken, unless it is older than half an interval, was taken before, or fresh is wanted.
func (s *Source) Head(ctx context.Context, repo *v1alpha1.Repository, fresh bool) (git.Resolved, error) {
	if commit := repo.Spec.Ref.Commit; commit != "" {
		_, err := s.at(ctx, repo, commit, 1)
		return git.Resolved{Commit: commit}, err
	}
	remote, err := s.Remote(ctx, repo, repo.Spec.SecretRef)
	if err != nil {
		return git.Resolved{}, err
	}
	m, err := s.mirror(repo)
	if err != nil {
		return git.Resolved{}, err
	}
	m.asking.Lock()
	defer m.asking.Unlock()
	who := repo.Namespace + "/" + repo.Name
	if fresh || m.listed.heard == nil || m.listed.heard[who] || time.Since(m.listed.at) > Interval(repo)/2 {
		ctx, cancel := context.WithTimeout(ctx, Timeout(repo))
		defer cancel()
		started := time.Now()
		listing, err := remote.List(ctx)
		observe("head", started, err)
		if err != nil {
			return git.Resolved{}, err
		}
		m.listed = listed{Listing: listing, at: started, heard: map[string]bool{}}
	}
	m.listed.heard[who] = true
	return m.listed.Resolve(refOf(repo))
}

// Checkout returns the files of a commit of what a Repository follows; one download serves all callers.
func (s *Source) Checkout(ctx context.Context, repo *v1alpha1.Repository, commit string) (git.Tree, error) {
	view, err := s.at(ctx, repo, commit, 1)
	if err != nil {
		return nil, err
	}
	return view.Tree(commit)
}

// at returns a view at a commit with at least so many commits of history, where there are so many. It fetches what is missing:
// the head alone first, and more history only where it is asked for or the ref has moved on since commit was seen.
func (s *Source) at(ctx context.Context, repo *v1alpha1.Repository, commit string, depth int) (*git.Repo, error) {
	m, err := s.mirror(repo)
	if err != nil {
		return nil, err
	}
	if view, found := m.store.Repo(commit); found && enough(view, commit, depth) {
		return view, nil
	}
	m.fetching.Lock()
	defer m.fetching.Unlock()
	if view, found := m.store.Repo(commit); found && enough(view, commit, depth) {
		return view, nil
	}
	remote, err := s.Remote(ctx, repo, repo.Spec.SecretRef)
	if err != nil {
		return nil, err
	}
	for _, try := range slices.Compact([]int{depth, max(depth, deeper), max(depth, deepest)}) {
		if err := s.fetchInto(ctx, remote, m.store, fetchOf{refOf(repo), try, Timeout(repo)}); err != nil {
			return nil, err
		}
		if view, found := m.store.Repo(commit); found {
			return view, nil
		}
	}
	return nil, &Problem{Reason: ReasonCommitGone,
		err: fmt.Errorf("commit %s is not among the newest %d of %s: it was rewritten, or moved on", commit, deepest, refOf(repo))}
}

// enough says whether a view has so much history along first parents, or all there is.
func enough(view *git.Repo, commit string, depth int) bool {
	if depth <= 1 {
		return true
	}
	log, truncated, err := view.Log(commit, depth)
	return err == nil && (len(log) >= depth || !truncated)
}

// fetchOf says what to fetch, with how much history, in how long.
type fetchOf struct {
	ref     git.Ref
	depth   int
	timeout time.Duration
}

func (s *Source) fetchInto(ctx context.Context, remote git.Remote, store *git.Store, f fetchOf) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for other fetches: %w", ctx.Err())
	}
	started := time.Now()
	_, err := remote.FetchInto(ctx, store, f.ref, f.depth)
	observe("fetch", started, err)
	return err
}

// Authors are the mail addresses, in lower case and sorted, of the authors and committers of the commits between two of a
// branch. known is false where not all of them can be found: the branch was rewritten, or there are too many.
func (s *Source) Authors(ctx context.Context, repo *v1alpha1.Repository, from, to string) (authors []string, known bool, err error) {
	view, err := s.at(ctx, repo, to, deepest)
	if err != nil {
		return nil, false, err
	}
	commits, complete := view.Between(from, to)
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

// Contains says whether a commit of what a Repository follows is another one, or came after it, as far as history is known.
func (s *Source) Contains(ctx context.Context, repo *v1alpha1.Repository, commit, ancestor string) (bool, error) {
	view, err := s.at(ctx, repo, commit, deepest)
	if err != nil {
		if Explain(err).Reason == ReasonCommitGone {
			return false, nil
		}
		return false, err
	}
	return view.Contains(commit, ancestor), nil
}

// past is the history of a repository as far as it is known.
type past struct {
	mu         sync.Mutex
	index      *history.Index
	generation int
}
