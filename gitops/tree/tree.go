package tree

import (
	"crypto/sha1" //nolint:gosec // Git's own object names
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// MaxFileBytes is the largest file that is read: 1 MiB, far above any manifest.
const MaxFileBytes = 1 << 20

var (
	// ErrPath says that a path is not a clean relative path inside the tree.
	ErrPath = errors.New("not a clean path inside the repository")
	// ErrSymlink says that a path is, or leads through, a symbolic link.
	ErrSymlink = errors.New("symbolic links are not followed")
	// ErrSubmodule says that a path is, or leads into, a submodule.
	ErrSubmodule = errors.New("submodules are not followed")
	// ErrTooLarge says that a file or a number of files is above the limit.
	ErrTooLarge = errors.New("above the limit")
)

// Mode is what an entry is, in Git's own numbers.
type Mode uint32

// The modes Git knows.
const (
	ModeDir        Mode = 0o040000
	ModeFile       Mode = 0o100644
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeSubmodule  Mode = 0o160000
)

// Entry is one name in a directory.
type Entry struct {
	Name string
	Dir  bool
	Mode Mode
	// Blob is the hex object name of the content (of a directory: its tree;
	// empty where a layer above has changed it).
	Blob string
}

// Tree is the content of one commit. A missing path is fs.ErrNotExist.
type Tree interface {
	// ReadFile returns the bytes of a regular file of at most MaxFileBytes.
	ReadFile(path string) ([]byte, error)
	// List returns the entries of a directory ("" or "." is the root) by name.
	List(dir string) ([]Entry, error)
	// BlobID returns the hex object name of a regular file's content.
	BlobID(path string) (string, bool)
}

// Clean checks a path and returns it without "./" and trailing slashes; the
// root is "". A path that is absolute, leaves the tree or enters .git is ErrPath.
func Clean(name string) (string, error) {
	if strings.ContainsAny(name, "\\\x00") || path.IsAbs(name) {
		return "", fmt.Errorf("path %q: %w", name, ErrPath)
	}
	clean := path.Clean(name)
	if clean == "." {
		return "", nil
	}
	for part := range strings.SplitSeq(clean, "/") {
		if part == ".." || strings.EqualFold(part, ".git") {
			return "", fmt.Errorf("path %q: %w", name, ErrPath)
		}
	}
	return clean, nil
}

// BlobName returns Git's object name of a file's content.
func BlobName(content []byte) string {
	hash := sha1.New() //nolint:gosec // Git's own object names
	fmt.Fprintf(hash, "blob %d\x00", len(content))
	hash.Write(content)
	return hex.EncodeToString(hash.Sum(nil))
}

// Walk calls visit for every regular file below dir, in order of path. Symbolic
// links and submodules are passed over. More than limit files, or a tree of
// folders without end, are ErrTooLarge.
func Walk(t Tree, dir string, limit int, visit func(name string, entry Entry) error) error {
	return (&walker{tree: t, files: limit, folders: maxFolders, visit: visit}).folder(dir)
}

type walker struct {
	tree           Tree
	files, folders int
	visit          func(string, Entry) error
}

func (w *walker) folder(dir string) error {
	if w.folders--; w.folders < 0 || tooDeep(dir) {
		return fmt.Errorf("reading %s: number of folders: %w", dir, ErrTooLarge)
	}
	entries, err := w.tree.List(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name)
		switch {
		case entry.Dir:
			err = w.folder(name)
		case entry.Mode == ModeSymlink, entry.Mode == ModeSubmodule:
			continue
		case w.files == 0:
			return fmt.Errorf("reading %s: number of files: %w", name, ErrTooLarge)
		default:
			w.files--
			err = w.visit(name, entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// IsDir says whether a path is a directory of the tree. One that cannot be read
// counts as one, so that whoever reads it next gets the reason.
func IsDir(t Tree, name string) bool {
	_, err := t.List(name)
	return err == nil || !isNotExist(err) && !errors.Is(err, ErrPath) && !errors.Is(err, ErrSymlink) && !errors.Is(err, ErrSubmodule)
}

func notExist(name string) error {
	return fmt.Errorf("reading %s: %w", name, fs.ErrNotExist)
}
