package repository

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/history"
)

// historyFile is where a copy keeps its history, beside its objects.
const historyFile = "history.jsonl"

// Blame tells which commit last changed a place of a repository's files, as seen from a commit of it, and whether that is
// proven. The first question about a repository fetches and reads its history, up to history.DefaultCommits commits; later ones
// cost what has come since.
func (s *Source) Blame(ctx context.Context, repo *v1alpha1.Repository, commit string, place history.Place) (history.Answer, error) {
	m, err := s.mirror(repo)
	if err != nil {
		return history.Answer{}, err
	}
	m.past.mu.Lock()
	defer m.past.mu.Unlock()
	view, err := s.learn(ctx, repo, m, commit)
	if err != nil {
		return history.Answer{}, err
	}
	answer, err := m.past.index.Blame(pastOf{view}, commit, place)
	if err != nil {
		return history.Answer{}, fmt.Errorf("looking for the commit that declared %s: %w", place.Field, err)
	}
	return answer, nil
}

// learn makes sure that the history up to a commit is known, and returns a view that reads it.
func (s *Source) learn(ctx context.Context, repo *v1alpha1.Repository, m *mirror, commit string) (*git.Repo, error) {
	m.past.open(m.store)
	if view, found := m.store.Repo(commit); found && m.past.index.Has(commit) {
		return view, nil
	}
	depth := history.DefaultCommits
	if m.past.index.Len() > 0 {
		depth = 1 // what is new meets what is known
	}
	view, err := s.at(ctx, repo, commit, depth)
	if err != nil {
		return nil, err
	}
	m.past.open(m.store)
	added, err := m.past.index.Advance(pastOf{view}, commit)
	if err != nil {
		return nil, &Problem{Reason: ReasonCommitGone, err: fmt.Errorf("commit %s: %w", commit, err)}
	}
	if added > 0 {
		m.past.save(m.store)
	}
	return view, nil
}

// open begins a history, with what is on the disk of it. When the store is begun anew, so is its history.
func (p *past) open(store *git.Store) {
	if p.index != nil && p.generation == store.Generation() {
		return
	}
	p.index, p.generation = history.New(0), store.Generation()
	if store.Dir() == "" {
		return
	}
	if raw, err := os.ReadFile(p.file(store)); err == nil {
		_ = p.index.Load(bytes.NewReader(raw)) // what cannot be read is built again
	}
}

func (p *past) file(store *git.Store) string {
	return filepath.Join(store.Dir(), fmt.Sprint(p.generation), historyFile)
}

// save keeps the history for the next process; a failure costs that process the time to build it again.
func (p *past) save(store *git.Store) {
	if store.Dir() == "" {
		return
	}
	var out bytes.Buffer
	if p.index.Save(&out) == nil {
		_ = git.WriteFile(p.file(store), out.Bytes())
	}
}

// pastOf reads history from a local copy.
type pastOf struct{ repo *git.Repo }

// Commit implements history.Source.
func (p pastOf) Commit(sha string) (history.Commit, error) {
	c, err := p.repo.Commit(sha)
	if err != nil {
		return history.Commit{}, err
	}
	return history.Commit{
		SHA: c.SHA, Author: c.Author, AuthorEmail: c.AuthorEmail, Time: c.Time, Subject: c.Subject,
		Parents: c.Parents, Cut: p.repo.Cut(sha),
	}, nil
}

// Tree implements history.Source.
func (p pastOf) Tree(sha string) (git.Tree, error) { return p.repo.Tree(sha) }
