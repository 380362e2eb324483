package git

import (
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

const (
	// wideDir is from how many entries on a directory is kept by name: decoding thousands for each file below it costs more
	// than everything else.
	wideDir = 64
	// maxWide bounds how many are kept.
	maxWide = 8
)

// wide keeps the entries of a few large directories by name.
type wide struct {
	mu   sync.Mutex
	dirs map[plumbing.Hash]map[string]object.TreeEntry
}

func (w *wide) get(dir plumbing.Hash) map[string]object.TreeEntry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dirs[dir]
}

func (w *wide) put(dir plumbing.Hash, entries map[string]object.TreeEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dirs == nil || len(w.dirs) >= maxWide {
		w.dirs = map[plumbing.Hash]map[string]object.TreeEntry{}
	}
	w.dirs[dir] = entries
}

// entry finds a name in a directory.
func (r *Repo) entry(dir plumbing.Hash, name string) (entry object.TreeEntry, found bool, err error) {
	if known := r.wide.get(dir); known != nil {
		entry, found = known[name]
		return entry, found, nil
	}
	stored, err := r.folder(dir)
	if err != nil {
		return object.TreeEntry{}, false, err
	}
	if len(stored.Entries) < wideDir {
		for _, e := range stored.Entries {
			if e.Name == name {
				return e, true, nil
			}
		}
		return object.TreeEntry{}, false, nil
	}
	byName := make(map[string]object.TreeEntry, len(stored.Entries))
	for _, e := range stored.Entries {
		byName[e.Name] = e
	}
	r.wide.put(dir, byName)
	entry, found = byName[name]
	return entry, found, nil
}
