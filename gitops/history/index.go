package history

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/belay-delivery/belay/gitops/tree"
)

const (
	// DefaultCommits is how many commits an Index keeps.
	DefaultCommits = 500
	// maxChanged is how many changed files of one commit are kept; a commit that changes more ends the history.
	maxChanged = 20_000
	// maxParents is how many parents of one commit are followed.
	maxParents = 8
)

// Commit is who changed something, when, and what they said.
type Commit struct {
	SHA         string    `json:"sha"`
	Author      string    `json:"author"`
	AuthorEmail string    `json:"email"`
	Time        time.Time `json:"time"`
	Subject     string    `json:"subject"`
	// Parents are the commits before, the first parent first.
	Parents []string `json:"parents,omitempty"`
	// Cut says that the parents are not known although there may be some: the history was fetched only so far.
	Cut bool `json:"cut,omitempty"`
}

// Source is where commits and their files are read from. A commit that it does not have is an error.
type Source interface {
	Commit(sha string) (Commit, error)
	Tree(sha string) (tree.Tree, error)
}

// row is what the Index keeps of one commit.
type row struct {
	Commit
	// Changed holds, for each file that differs from the first parent's, the name of its content at each parent, "" where it
	// was not there. A commit without parents has none: all its files are its own.
	Changed map[string][]string `json:"changed,omitempty"`
}

// Index is the history of a repository as far as it is known.
type Index struct {
	mu     sync.Mutex
	limit  int
	rows   map[string]*row
	parsed parsedFiles
}

// New returns an empty Index of at most limit commits (0: DefaultCommits).
func New(limit int) *Index {
	return &Index{limit: cmp.Or(limit, DefaultCommits), rows: map[string]*row{}}
}

// Len is how many commits are known.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.rows)
}

// Has says whether a commit is known.
func (x *Index) Has(sha string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rows[sha] != nil
}

// Advance takes in a commit and what comes before it, newest first, until everything is known already, the source has no
// more, or the Index is full. It returns how many commits were new. Where several branches are followed, the Index keeps
// those commits that are newest.
func (x *Index) Advance(source Source, to string) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rows[to] != nil {
		return 0, nil
	}
	first, err := source.Commit(to)
	if err != nil {
		return 0, fmt.Errorf("reading history: %w", err)
	}
	waiting, seen, added := []Commit{first}, map[string]bool{to: true}, 0
	for len(waiting) > 0 && added < x.limit {
		newest := 0
		for i, c := range waiting {
			if c.Time.After(waiting[newest].Time) {
				newest = i
			}
		}
		next := waiting[newest]
		waiting = slices.Delete(waiting, newest, newest+1)
		before := x.add(source, next)
		added++
		for _, c := range before {
			if !seen[c.SHA] && x.rows[c.SHA] == nil {
				seen[c.SHA] = true
				waiting = append(waiting, c)
			}
		}
	}
	x.trim(to)
	return added, nil
}

// add makes a commit's row and returns its parents. What cannot be compared, because the source does not have it or it is
// above a limit, is where the history ends: the row is marked as cut.
func (x *Index) add(source Source, c Commit) []Commit {
	entry := &row{Commit: c}
	x.rows[c.SHA] = entry
	if c.Cut || len(c.Parents) == 0 {
		return nil
	}
	if len(c.Parents) > maxParents {
		entry.Cut = true
		return nil
	}
	parents := make([]Commit, 0, len(c.Parents))
	for _, sha := range c.Parents {
		parent, err := source.Commit(sha)
		if err != nil {
			entry.Cut = true
			return nil
		}
		parents = append(parents, parent)
	}
	changed, err := changes(source, c)
	if err != nil {
		entry.Cut = true
		return nil
	}
	entry.Changed = changed
	return parents
}

// trim drops the oldest commits above the limit, but never the one that was asked for.
func (x *Index) trim(keep string) {
	if len(x.rows) <= x.limit {
		return
	}
	all := make([]*row, 0, len(x.rows))
	for _, r := range x.rows {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *row) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.SHA, b.SHA)) })
	for _, r := range all[x.limit:] {
		if r.SHA != keep {
			delete(x.rows, r.SHA)
		}
	}
}

// changes compares a commit with its first parent, and looks up the files that differ in the others.
func changes(source Source, c Commit) (map[string][]string, error) {
	now, err := source.Tree(c.SHA)
	if err != nil {
		return nil, err
	}
	trees := make([]tree.Tree, len(c.Parents))
	for i, sha := range c.Parents {
		if trees[i], err = source.Tree(sha); err != nil {
			return nil, err
		}
	}
	different, err := tree.Diff(trees[0], now, maxChanged)
	if err != nil {
		return nil, err
	}
	changed := make(map[string][]string, len(different))
	for name, old := range different {
		changed[name] = []string{old}
		for _, other := range trees[1:] {
			blob, _ := other.BlobID(name)
			changed[name] = append(changed[name], blob)
		}
	}
	return changed, nil
}
