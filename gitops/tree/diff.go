package tree

import (
	"fmt"
	"strings"
)

const (
	// maxFolders is how many folders a comparison or a walk looks into: a tree can refer to one folder any number of times.
	maxFolders = 100_000
	// maxDepth is how deep folders may be nested.
	maxDepth = 64
)

// tooDeep says whether a folder is nested too deep.
func tooDeep(dir string) bool { return strings.Count(dir, "/") >= maxDepth }

// Diff returns what is no folder and differs between two trees, links and submodules too, with the name of the old content (""
// where there was none).
// Folders that are the same are passed over by their name. More than limit files, or too many folders, are ErrTooLarge.
func Diff(old, now Tree, limit int) (map[string]string, error) {
	d := differ{old: old, now: now, files: limit, folders: maxFolders, changed: map[string]string{}}
	if err := d.folder("", true, true); err != nil {
		return nil, fmt.Errorf("comparing trees: %w", err)
	}
	return d.changed, nil
}

type differ struct {
	old, now       Tree
	files, folders int
	changed        map[string]string
}

// folder compares a folder that is one in the old tree, in the new one, or in both.
func (d *differ) folder(dir string, inOld, inNow bool) error {
	if d.folders--; d.folders < 0 || tooDeep(dir) {
		return fmt.Errorf("%s: number of folders: %w", dir, ErrTooLarge)
	}
	before, err := entriesOf(d.old, dir, inOld)
	if err != nil {
		return err
	}
	after, err := entriesOf(d.now, dir, inNow)
	if err != nil {
		return err
	}
	for name, entry := range before {
		if err := d.entry(join(dir, name), entry, after[name]); err != nil {
			return err
		}
	}
	for name, entry := range after {
		if _, both := before[name]; !both {
			if err := d.entry(join(dir, name), Entry{}, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry compares one name; a zero Entry is none.
func (d *differ) entry(name string, old, now Entry) error {
	// A folder of a tree that is not stored has no name, and is looked into.
	if old.Blob == now.Blob && old.Mode == now.Mode && old.Blob != "" {
		return nil
	}
	if isLeaf(old) || isLeaf(now) {
		if d.files--; d.files < 0 {
			return fmt.Errorf("%s: number of files: %w", name, ErrTooLarge)
		}
		d.changed[name] = ""
		if isLeaf(old) {
			d.changed[name] = old.Blob
		}
	}
	if old.Dir || now.Dir {
		return d.folder(name, old.Dir, now.Dir)
	}
	return nil
}

func isLeaf(e Entry) bool { return e.Name != "" && !e.Dir }

func entriesOf(t Tree, dir string, there bool) (map[string]Entry, error) {
	if !there {
		return nil, nil
	}
	listed, err := t.List(dir)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Entry, len(listed))
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
