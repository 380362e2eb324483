package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Overlay returns a tree that reads as base with the changes made: a path with
// nil is gone, any other has the given bytes. Directories left empty are gone,
// as in Git. The changes are not copied and must not be altered afterwards.
func Overlay(base Tree, changes map[string]*[]byte) Tree {
	return overlay{base: base, changes: changes}
}

// FromMap returns a tree that holds the given files.
func FromMap(files map[string]string) Tree {
	changes := make(map[string]*[]byte, len(files))
	for name, content := range files {
		data := []byte(content)
		changes[name] = &data
	}
	return Overlay(empty{}, changes)
}

type empty struct{}

func (empty) ReadFile(name string) ([]byte, error) { return nil, notExist(name) }
func (empty) BlobID(string) (string, bool)         { return "", false }
func (empty) List(dir string) ([]Entry, error) {
	if clean, err := Clean(dir); err != nil || clean == "" {
		return nil, err
	}
	return nil, notExist(dir)
}

type overlay struct {
	base    Tree
	changes map[string]*[]byte
}

func (o overlay) ReadFile(name string) ([]byte, error) {
	clean, err := Clean(name)
	if err != nil {
		return nil, err
	}
	content, changed := o.changes[clean]
	switch {
	case !changed:
		return o.base.ReadFile(clean)
	case content == nil:
		return nil, notExist(clean)
	case len(*content) > MaxFileBytes:
		return nil, fmt.Errorf("reading %s: %d bytes: %w", clean, len(*content), ErrTooLarge)
	}
	return slices.Clone(*content), nil
}

func (o overlay) BlobID(name string) (string, bool) {
	clean, err := Clean(name)
	if err != nil {
		return "", false
	}
	content, changed := o.changes[clean]
	switch {
	case !changed:
		return o.base.BlobID(clean)
	case content == nil:
		return "", false
	}
	return BlobName(*content), true
}

func (o overlay) List(dir string) ([]Entry, error) {
	clean, err := Clean(dir)
	if err != nil {
		return nil, err
	}
	entries, found, err := o.baseEntries(clean)
	if err != nil {
		return nil, err
	}
	below := o.below(clean)
	for name, change := range below {
		if err := o.lay(entries, clean, name, change); err != nil {
			return nil, err
		}
	}
	if len(entries) == 0 && clean != "" && (!found || len(below) > 0) {
		return nil, notExist(clean)
	}
	return slices.SortedFunc(maps.Values(entries), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }), nil
}

// baseEntries lists the layer below; a missing directory is empty, not an error.
func (o overlay) baseEntries(dir string) (map[string]Entry, bool, error) {
	listed, err := o.base.List(dir)
	if err != nil && !isNotExist(err) {
		return nil, false, err
	}
	entries := make(map[string]Entry, len(listed))
	for _, entry := range listed {
		entries[entry.Name] = entry
	}
	return entries, err == nil, nil
}

// change is what the changes do to one name of a directory.
type change struct {
	nested bool
	file   *[]byte
}

func (o overlay) below(dir string) map[string]change {
	found := map[string]change{}
	for name, content := range o.changes {
		rest := name
		if dir != "" {
			var inside bool
			if rest, inside = strings.CutPrefix(name, dir+"/"); !inside {
				continue
			}
		}
		first, _, nested := strings.Cut(rest, "/")
		if found[first].nested {
			continue // a directory that replaces a file: what is inside decides
		}
		found[first] = change{nested: nested, file: content}
	}
	return found
}

func (o overlay) lay(entries map[string]Entry, dir, name string, made change) error {
	switch {
	case made.nested:
		inner, err := o.List(strings.TrimPrefix(dir+"/"+name, "/"))
		if err != nil && !isNotExist(err) {
			return err
		}
		if len(inner) == 0 {
			delete(entries, name)
			return nil
		}
		entries[name] = Entry{Name: name, Dir: true, Mode: ModeDir}
	case made.file == nil:
		delete(entries, name)
	default:
		mode := ModeFile
		if entries[name].Mode == ModeExecutable {
			mode = ModeExecutable
		}
		entries[name] = Entry{Name: name, Mode: mode, Blob: BlobName(*made.file)}
	}
	return nil
}

func isNotExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist)
}
