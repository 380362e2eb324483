package revert

import (
	"fmt"

	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/tree"
)

// History is what the searches read: commits newest first along first parents,
// and the tree of each.
type History struct {
	Log    []git.Commit
	TreeOf func(sha string) (tree.Tree, error)
	// Max bounds how many commits are rendered; 0 means all of Log.
	Max int
}

// commits returns the part of the log to look at.
func (h History) commits() []git.Commit {
	if h.Max > 0 && len(h.Log) > h.Max {
		return h.Log[:h.Max]
	}
	return h.Log
}

// revisionAt is the workload's revision at a commit; a commit that cannot be
// rendered declares none.
func (h History) revisionAt(sha string, where Where) (string, error) {
	t, err := h.TreeOf(sha)
	if err != nil {
		return "", fmt.Errorf("reading tree of %s: %w", sha, err)
	}
	declared, err := where.RevisionAt(t)
	if err != nil {
		return "", nil //nolint:nilerr // an unrenderable commit is one without the workload
	}
	return declared, nil
}

// Newest returns the newest commit at which the workload has the revision, and its values agree with that if any such commit has it
// so; found is false when none of the commits looked at has the revision.
func (h History) Newest(where Where, wanted string) (commit git.Commit, found bool, err error) {
	for _, candidate := range h.commits() {
		declared, err := h.revisionAt(candidate.SHA, where)
		if err != nil {
			return git.Commit{}, false, err
		}
		if declared != wanted {
			continue
		}
		if t, err := h.TreeOf(candidate.SHA); err == nil && where.agrees(t) {
			return candidate, true, nil
		}
		if !found {
			commit, found = candidate, true
		}
	}
	return commit, found, nil
}

// Introduced returns the commit that brought the revision in: the oldest of the
// newest unbroken run of commits that have it. certain is false when the run
// goes to the end of what was looked at.
func (h History) Introduced(where Where, wanted string) (commit git.Commit, certain bool, err error) {
	var last git.Commit
	for _, candidate := range h.commits() {
		declared, err := h.revisionAt(candidate.SHA, where)
		if err != nil {
			return git.Commit{}, false, err
		}
		switch {
		case declared == wanted:
			last = candidate
		case last.SHA != "":
			return last, true, nil
		}
	}
	if last.SHA != "" && len(last.Parents) == 0 {
		return last, true, nil
	}
	return last, false, nil
}
