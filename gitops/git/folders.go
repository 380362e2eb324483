package git

import (
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// maxFolderEntries is how many names of decoded folders are kept together. Whoever walks through history, or looks up many
// files, meets the same few folders again and again, and the widest ones cost most to decode.
const maxFolderEntries = 50_000

// folders keeps the decoded folders of one storage that were read last. Its zero value is ready; nil keeps nothing.
type folders struct {
	mu      sync.Mutex
	known   map[plumbing.Hash]*object.Tree
	order   []plumbing.Hash
	entries int
}

func (f *folders) get(hash plumbing.Hash) *object.Tree {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[hash]
}

func (f *folders) put(hash plumbing.Hash, folder *object.Tree) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[plumbing.Hash]*object.Tree{}
	}
	if f.known[hash] != nil {
		return
	}
	f.known[hash], f.order, f.entries = folder, append(f.order, hash), f.entries+len(folder.Entries)
	for f.entries > maxFolderEntries && len(f.order) > 1 {
		oldest := f.order[0]
		f.entries -= len(f.known[oldest].Entries)
		delete(f.known, oldest)
		f.order = f.order[1:]
	}
}

// folder decodes a folder, whose entries must not be altered.
func (r *Repo) folder(hash plumbing.Hash) (*object.Tree, error) {
	if known := r.folders.get(hash); known != nil {
		return known, nil
	}
	decoded, err := object.GetTree(r.storage, hash)
	if err != nil {
		return nil, err
	}
	r.folders.put(hash, decoded)
	return decoded, nil
}
