package git

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/belay-delivery/belay/gitops/tree"
)

// CommitOptions say who commits what and when. They determine the commit's name
// together with its base and its changes: use the time of the verdict, not now.
type CommitOptions struct {
	Message     string
	AuthorName  string
	AuthorEmail string
	When        time.Time
	// Sign returns the armored signature of a commit object; nil: not signed. Where the same object is signed the same
	// way each time, so that its name stays, the commit is still a function of base, changes and options.
	Sign func(object []byte) (armored string, err error)
}

// Write makes a commit on top of base without a worktree: a path with nil is
// deleted, any other gets the bytes and keeps its mode. It returns the commit's
// name; the same arguments always make the same commit. Nothing leaves this
// process before Push. Deleting what is not there, or writing through a file,
// a link or a submodule, is an error.
func (r *Repo) Write(base string, changes map[string]*[]byte, options CommitOptions) (string, error) {
	parent, err := r.commit(base)
	if err != nil {
		return "", err
	}
	if err := options.check(); err != nil {
		return "", err
	}
	root := &node{}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if err := root.add(name, changes[name]); err != nil {
			return "", err
		}
	}
	written, err := r.writeTree(parent.TreeHash, root, "")
	if err != nil {
		return "", fmt.Errorf("writing tree: %w", err)
	}
	if written == parent.TreeHash {
		return "", fmt.Errorf("writing commit on %s: the changes change nothing", base)
	}
	who := object.Signature{Name: options.AuthorName, Email: options.AuthorEmail, When: options.When.UTC().Truncate(time.Second)}
	commit := &object.Commit{
		Author: who, Committer: who, Message: options.Message,
		TreeHash: written, ParentHashes: []plumbing.Hash{parent.Hash},
	}
	if options.Sign != nil {
		if err := sign(commit, options.Sign); err != nil {
			return "", fmt.Errorf("signing commit: %w", err)
		}
	}
	hash, err := r.put(commit)
	if err != nil {
		return "", fmt.Errorf("writing commit: %w", err)
	}
	return hash.String(), nil
}

// sign puts a signature of the object's bytes into its gpgsig header, which is of SSH signatures as well.
func sign(commit *object.Commit, by func([]byte) (string, error)) error {
	encoded := &plumbing.MemoryObject{}
	if err := commit.EncodeWithoutSignature(encoded); err != nil {
		return err
	}
	reader, err := encoded.Reader()
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	commit.PGPSignature, err = by(raw)
	return err
}

func (o CommitOptions) check() error {
	for field, value := range map[string]string{"name": o.AuthorName, "email": o.AuthorEmail} {
		if strings.TrimSpace(value) == "" || strings.ContainsAny(value, "<>\n\r\x00") {
			return fmt.Errorf("writing commit: author %s %q is not valid", field, value)
		}
	}
	switch {
	case strings.TrimSpace(o.Message) == "" || strings.Contains(o.Message, "\x00"):
		return errors.New("writing commit: message is empty or holds a NUL")
	case o.When.IsZero():
		return errors.New("writing commit: time is missing")
	}
	return nil
}

// node is one directory level of the changes.
type node struct {
	files map[string]*[]byte
	dirs  map[string]*node
}

func (n *node) add(name string, content *[]byte) error {
	clean, err := tree.Clean(name)
	if err != nil {
		return err
	}
	if clean == "" {
		return fmt.Errorf("path %q: %w", name, tree.ErrPath)
	}
	parts := strings.Split(clean, "/")
	for _, part := range parts[:len(parts)-1] {
		if n.dirs == nil {
			n.dirs = map[string]*node{}
		}
		if n.dirs[part] == nil {
			n.dirs[part] = &node{}
		}
		n = n.dirs[part]
	}
	if n.files == nil {
		n.files = map[string]*[]byte{}
	}
	n.files[parts[len(parts)-1]] = content
	return nil
}

// writeTree rewrites one directory; the zero hash in or out is "no directory".
func (r *Repo) writeTree(old plumbing.Hash, changes *node, at string) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if !old.IsZero() {
		stored, err := object.GetTree(r.storage, old)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("reading directory %s: %w", at, err)
		}
		for _, entry := range stored.Entries {
			entries[entry.Name] = entry
		}
	}
	for name, content := range changes.files {
		if err := r.writeFile(entries, name, content); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%s%s: %w", at, name, err)
		}
	}
	for name, inner := range changes.dirs {
		if err := r.writeDir(entries, name, inner, at); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	if len(entries) == 0 && at != "" {
		return plumbing.ZeroHash, nil
	}
	list := slices.Collect(maps.Values(entries))
	sort.Sort(object.TreeEntrySorter(list))
	return r.put(&object.Tree{Entries: list})
}

func (r *Repo) writeFile(entries map[string]object.TreeEntry, name string, content *[]byte) error {
	entry, found := entries[name]
	if found && (entry.Mode == filemode.Dir || entry.Mode == filemode.Submodule || entry.Mode == filemode.Symlink) {
		return fmt.Errorf("mode %s: not a regular file", entry.Mode)
	}
	if content == nil {
		if !found {
			return fmt.Errorf("deleting: %w", fs.ErrNotExist)
		}
		delete(entries, name)
		return nil
	}
	if !found {
		entry = object.TreeEntry{Name: name, Mode: filemode.Regular}
	}
	blob := r.storage.NewEncodedObject()
	blob.SetType(plumbing.BlobObject)
	writer, err := blob.Writer()
	if err != nil {
		return err
	}
	if _, err = writer.Write(*content); err != nil {
		return err
	}
	if entry.Hash, err = r.store(blob); err != nil {
		return err
	}
	entries[name] = entry
	return nil
}

func (r *Repo) writeDir(entries map[string]object.TreeEntry, name string, changes *node, at string) error {
	entry, found := entries[name]
	if found && entry.Mode != filemode.Dir {
		return fmt.Errorf("%s%s: mode %s: not a directory", at, name, entry.Mode)
	}
	hash, err := r.writeTree(entry.Hash, changes, at+name+"/")
	if err != nil {
		return err
	}
	if hash.IsZero() {
		delete(entries, name)
		return nil
	}
	entries[name] = object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: hash}
	return nil
}

func (r *Repo) put(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	encoded := r.storage.NewEncodedObject()
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return r.store(encoded)
}

// store keeps an object, and remembers it as ours unless it was fetched.
func (r *Repo) store(encoded plumbing.EncodedObject) (plumbing.Hash, error) {
	hash := encoded.Hash()
	if r.storage.HasEncodedObject(hash) == nil {
		return hash, nil
	}
	r.fresh[hash] = true
	return r.storage.SetEncodedObject(encoded)
}

func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
}
