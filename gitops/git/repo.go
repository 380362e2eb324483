package git

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/belay-delivery/belay/gitops/tree"
)

// Tree is the content of one commit.
type Tree = tree.Tree

// Entry is one name in a directory of a Tree.
type Entry = tree.Entry

// Overlay returns a tree that reads as base with the changes made (nil = gone).
func Overlay(base Tree, changes map[string]*[]byte) Tree { return tree.Overlay(base, changes) }

// Repo is a fetched branch, bare and in memory, perhaps with a cut history. It
// may be read by several goroutines; Write excludes everything else.
type Repo struct {
	storage objects
	head    plumbing.Hash
	shallow map[plumbing.Hash]bool
	fresh   map[plumbing.Hash]bool // written here, unknown to the server
	folders *folders
	wide    wide
}

// Commit is what Belay uses of a commit.
type Commit struct {
	SHA         string
	Subject     string // first line of Message
	Message     string
	Author      string
	AuthorEmail string
	// CommitterEmail is of who made the commit object, e.g. a forge that merged.
	CommitterEmail string
	Time           time.Time // the committer's
	Parents        []string
}

// Head returns the commit the branch was at when it was fetched.
func (r *Repo) Head() string { return r.head.String() }

// Commit reads one commit; one that was not fetched is fs.ErrNotExist.
func (r *Repo) Commit(sha string) (Commit, error) {
	stored, err := r.commit(sha)
	if err != nil {
		return Commit{}, err
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(stored.Message, "\r\n"), "\n")
	commit := Commit{
		SHA:         stored.Hash.String(),
		Subject:     strings.TrimSpace(subject),
		Message:     stored.Message,
		Author:      stored.Author.Name,
		AuthorEmail: stored.Author.Email, CommitterEmail: stored.Committer.Email,
		Time: stored.Committer.When,
	}
	for _, parent := range stored.ParentHashes {
		commit.Parents = append(commit.Parents, parent.String())
	}
	return commit, nil
}

func (r *Repo) commit(sha string) (*object.Commit, error) {
	if !plumbing.IsHash(sha) {
		return nil, fmt.Errorf("reading commit %q: not a full object name", sha)
	}
	stored, err := object.GetCommit(r.storage, plumbing.NewHash(sha))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", sha, err)
	}
	return stored, nil
}

// maxCommit is the largest commit object that is read.
const maxCommit = 4 << 20

// Raw returns a commit's object as Git stores it, without the header "commit <size>\0"; one that was not fetched is
// fs.ErrNotExist.
func (r *Repo) Raw(sha string) ([]byte, error) {
	if !plumbing.IsHash(sha) {
		return nil, fmt.Errorf("reading commit %q: not a full object name", sha)
	}
	stored, err := r.storage.EncodedObject(plumbing.CommitObject, plumbing.NewHash(sha))
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return nil, fmt.Errorf("reading commit %s: %w", sha, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("reading commit %s: %w", sha, err)
	case stored.Size() > maxCommit:
		return nil, fmt.Errorf("reading commit %s: %d bytes: %w", sha, stored.Size(), ErrTooLarge)
	}
	reader, err := stored.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", sha, err)
	}
	defer func() { _ = reader.Close() }()
	return io.ReadAll(reader)
}

// Cut says that the parents of a commit were left out of the fetch.
func (r *Repo) Cut(sha string) bool { return r.shallow[plumbing.NewHash(sha)] }

// Log follows first parents from a commit, newest first, at most max of them.
// truncated says that there is more history than was returned: the fetch was
// shallow, or max was reached.
func (r *Repo) Log(from string, max int) (commits []Commit, truncated bool, err error) {
	for next := from; len(commits) < max; {
		commit, err := r.Commit(next)
		if errors.Is(err, fs.ErrNotExist) && len(commits) > 0 {
			return commits, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		commits = append(commits, commit)
		if len(commit.Parents) == 0 {
			return commits, r.shallow[plumbing.NewHash(commit.SHA)], nil
		}
		next = commit.Parents[0]
	}
	return commits, true, nil
}

// Between are the commits that are reachable from one and not from another, merged branches included, in no particular order.
// complete says that none of them can be missing: both are there, and no history that was cut off hides more.
func (r *Repo) Between(from, to string) (commits []Commit, complete bool) {
	old, _ := r.reach(from, nil)
	if len(old) == 0 {
		return nil, false
	}
	found, cut := r.reach(to, old)
	for _, c := range found {
		commits = append(commits, c)
	}
	return commits, len(found) > 0 && !cut || from == to
}

// Contains says whether a commit is another one, or came after it, as far as history is known.
func (r *Repo) Contains(commit, ancestor string) bool {
	found, _ := r.reach(commit, nil)
	_, has := found[ancestor]
	return has
}

// reach are the commits reachable from one, without those known; cut says that the history ends where the fetch did.
func (r *Repo) reach(from string, known map[string]Commit) (found map[string]Commit, cut bool) {
	found = map[string]Commit{}
	for todo := []string{from}; len(todo) > 0; {
		sha := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, has := known[sha]; has {
			continue
		}
		if _, has := found[sha]; has {
			continue
		}
		commit, err := r.Commit(sha)
		if err != nil {
			cut = true
			continue
		}
		found[sha] = commit
		if r.shallow[plumbing.NewHash(sha)] {
			cut = true
			continue
		}
		todo = append(todo, commit.Parents...)
	}
	return found, cut
}

// Tree returns the files of a commit.
func (r *Repo) Tree(sha string) (Tree, error) {
	stored, err := r.commit(sha)
	if err != nil {
		return nil, err
	}
	return commitTree{repo: r, root: stored.TreeHash}, nil
}

type commitTree struct {
	repo *Repo
	root plumbing.Hash
}

// find walks the path entry by entry: nothing on the way may be a link.
func (t commitTree) find(name string) (object.TreeEntry, error) {
	clean, err := tree.Clean(name)
	if err != nil {
		return object.TreeEntry{}, err
	}
	entry := object.TreeEntry{Mode: filemode.Dir, Hash: t.root}
	if clean == "" {
		return entry, nil
	}
	for part := range strings.SplitSeq(clean, "/") {
		if entry, err = t.step(entry, part); err != nil {
			return object.TreeEntry{}, fmt.Errorf("reading %s: %w", clean, err)
		}
	}
	return entry, nil
}

func (t commitTree) step(parent object.TreeEntry, name string) (object.TreeEntry, error) {
	switch parent.Mode {
	case filemode.Symlink:
		return object.TreeEntry{}, tree.ErrSymlink
	case filemode.Submodule:
		return object.TreeEntry{}, tree.ErrSubmodule
	case filemode.Dir:
	default:
		return object.TreeEntry{}, fs.ErrNotExist
	}
	entry, found, err := t.repo.entry(parent.Hash, name)
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return entry, err
}

func (t commitTree) ReadFile(name string) ([]byte, error) {
	entry, err := t.find(name)
	if err != nil {
		return nil, err
	}
	switch {
	case entry.Mode == filemode.Symlink:
		return nil, fmt.Errorf("reading %s: %w", name, tree.ErrSymlink)
	case entry.Mode == filemode.Submodule:
		return nil, fmt.Errorf("reading %s: %w", name, tree.ErrSubmodule)
	case !entry.Mode.IsFile():
		return nil, fmt.Errorf("reading %s: is a directory", name)
	}
	blob, err := object.GetBlob(t.repo.storage, entry.Hash)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if blob.Size > tree.MaxFileBytes {
		return nil, fmt.Errorf("reading %s: %d bytes: %w", name, blob.Size, ErrTooLarge)
	}
	reader, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer func() { _ = reader.Close() }()
	return io.ReadAll(reader)
}

func (t commitTree) List(dir string) ([]Entry, error) {
	entry, err := t.find(dir)
	if err != nil {
		return nil, err
	}
	switch entry.Mode {
	case filemode.Symlink:
		return nil, fmt.Errorf("listing %s: %w", dir, tree.ErrSymlink)
	case filemode.Submodule:
		return nil, fmt.Errorf("listing %s: %w", dir, tree.ErrSubmodule)
	case filemode.Dir:
	default:
		return nil, fmt.Errorf("listing %s: not a directory: %w", dir, fs.ErrNotExist)
	}
	stored, err := t.repo.folder(entry.Hash)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	entries := make([]Entry, 0, len(stored.Entries))
	for _, e := range stored.Entries {
		if clean, err := tree.Clean(e.Name); err != nil || clean == "" || strings.Contains(e.Name, "/") {
			return nil, fmt.Errorf("listing %s: entry %q: %w", dir, e.Name, tree.ErrPath)
		}
		entries = append(entries, Entry{
			Name: e.Name, Dir: e.Mode == filemode.Dir, Mode: tree.Mode(e.Mode), Blob: e.Hash.String(),
		})
	}
	sortEntries(entries)
	return entries, nil
}

// unreadable stands for the name of a content that could not be looked up. A file must not seem to be missing because the disk
// failed: whoever reads it gets the reason.
const unreadable = "unreadable"

func (t commitTree) BlobID(name string) (string, bool) {
	entry, err := t.find(name)
	if err != nil && !missing(err) {
		return unreadable, true
	}
	if err != nil || !entry.Mode.IsFile() || entry.Mode == filemode.Symlink {
		return "", false
	}
	return entry.Hash.String(), true
}

// missing says that a path leads to no regular file of the tree.
func missing(err error) bool {
	for _, kind := range []error{fs.ErrNotExist, tree.ErrPath, tree.ErrSymlink, tree.ErrSubmodule} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
