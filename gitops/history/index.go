package history

import (
	"cmp"
	"errors"
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

// errTooMany says that a commit changes more files than are kept.
var errTooMany = errors.New("too many changed files")

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
	d := diff{changed: map[string][]string{}}
	if err := d.folders(trees[0], now, ""); err != nil {
		return nil, err
	}
	for name := range d.changed {
		for _, other := range trees[1:] {
			blob, _ := other.BlobID(name)
			d.changed[name] = append(d.changed[name], blob)
		}
	}
	return d.changed, nil
}

// diff collects the files that differ between two trees, with the old content's name.
type diff struct{ changed map[string][]string }

func (d *diff) folders(old, now tree.Tree, dir string) error {
	before, err := entriesOf(old, dir)
	if err != nil {
		return err
	}
	after, err := entriesOf(now, dir)
	if err != nil {
		return err
	}
	for name, b := range before {
		if err := d.entry(old, now, pair{join(dir, name), b, after[name]}); err != nil {
			return err
		}
	}
	for name, a := range after {
		if _, both := before[name]; !both {
			if err := d.entry(old, now, pair{join(dir, name), tree.Entry{}, a}); err != nil {
				return err
			}
		}
	}
	return nil
}

// pair is one name in both trees; a zero Entry is none.
type pair struct {
	name       string
	old, fresh tree.Entry
}

func (d *diff) entry(old, now tree.Tree, p pair) error {
	// A folder of a tree that is not stored has no name, and is looked into.
	if p.old.Blob == p.fresh.Blob && p.old.Mode == p.fresh.Mode && p.old.Blob != "" {
		return nil
	}
	if isFile(p.old) || isFile(p.fresh) {
		blob := ""
		if isFile(p.old) {
			blob = p.old.Blob
		}
		if len(d.changed) == maxChanged {
			return errTooMany
		}
		d.changed[p.name] = []string{blob}
	}
	if p.old.Dir || p.fresh.Dir {
		return d.folders(old, now, p.name)
	}
	return nil
}

func isFile(e tree.Entry) bool { return e.Mode == tree.ModeFile || e.Mode == tree.ModeExecutable }

// entriesOf lists a folder; one that is not there is empty.
func entriesOf(t tree.Tree, dir string) (map[string]tree.Entry, error) {
	if dir != "" && !tree.IsDir(t, dir) {
		return nil, nil
	}
	listed, err := t.List(dir)
	if err != nil {
		return nil, err
	}
	out := make(map[string]tree.Entry, len(listed))
	for _, e := range listed {
		out[e.Name] = e
	}
	return out, nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
