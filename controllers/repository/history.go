package repository

import (
	"context"
	"fmt"
	"sync"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/history"
)

// Blame tells which commit last changed a place of a repository's files, as seen from a commit of it, and whether that is
// proven. The first question about a repository fetches and reads its history, up to history.DefaultCommits commits; later ones
// cost what has come since.
func (s *Source) Blame(ctx context.Context, repo *v1alpha1.Repository, commit string, place history.Place) (history.Answer, error) {
	past := s.past.of(keyOf(repo))
	past.mu.Lock()
	defer past.mu.Unlock()
	if err := s.learn(ctx, repo, past, commit); err != nil {
		return history.Answer{}, err
	}
	answer, err := past.index.Blame(pastOf{past.repo}, commit, place)
	if err != nil {
		return history.Answer{}, fmt.Errorf("looking for the commit that declared %s: %w", place.Field, err)
	}
	return answer, nil
}

// learn makes sure that the history up to a commit is known.
func (s *Source) learn(ctx context.Context, repo *v1alpha1.Repository, past *past, commit string) error {
	if past.repo != nil && past.index.Has(commit) {
		return nil
	}
	remote, err := s.Remote(ctx, repo, repo.Spec.SecretRef)
	if err != nil {
		return err
	}
	fetched, err := s.Fetch(ctx, remote, history.DefaultCommits, Timeout(repo))
	if err != nil {
		return err
	}
	past.repo = fetched
	if _, err := past.index.Advance(pastOf{fetched}, commit); err != nil {
		return &Problem{Reason: ReasonCommitGone, err: fmt.Errorf("commit %s: %w", commit, err)}
	}
	return nil
}

// past is what is known of the history of a branch.
type past struct {
	mu    sync.Mutex
	index *history.Index
	repo  *git.Repo
}

type histories struct {
	mu  sync.Mutex
	all map[branchKey]*past
}

func (h *histories) of(key branchKey) *past {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[branchKey]*past{}
	}
	if h.all[key] == nil {
		h.all[key] = &past{index: history.New(0)}
	}
	return h.all[key]
}

// pastOf reads history from a fetched repository.
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
