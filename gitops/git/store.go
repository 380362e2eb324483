package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

const (
	// storeCache is how much of a store on disk is kept in memory.
	storeCache = 4 << 20
	// maxHaves is how many known commits a fetch tells the server of.
	maxHaves = 16
	// maxPacks and maxStoreBytes are when a store is begun anew: every fetch adds a pack.
	maxPacks      = 48
	maxStoreBytes = 256 << 20
)

// objects is what a Repo reads from and writes to.
type objects = storer.EncodedObjectStorer

// Store keeps what was fetched from one repository, on disk or in memory, so that the next fetch brings only what is new. Its
// history is as deep as was asked for. It may be used by several goroutines. What it holds can always be fetched again: a
// store that cannot be read, or has grown too large, is begun anew.
type Store struct {
	mu      sync.Mutex
	dir     string
	now     *generation
	numbers int
	// before is the generation before, whose trees may be in use still.
	before *generation
}

// generation is one attempt at a store.
type generation struct {
	dir     string
	objects objects
	disk    *filesystem.ObjectStorage
	shallow map[plumbing.Hash]bool
	// haves are commits whose files are all there, the last one fetched last; depths says with how much history.
	haves  []plumbing.Hash
	depths map[plumbing.Hash]int
	packs  int
	bytes  int64
	// folders are those decoded last.
	folders folders
}

// NewStore opens the store in a folder of its own; without one it is in memory. What is in the folder and cannot be used is
// removed.
func NewStore(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if dir != "" && s.reopen() == nil {
		return s, nil
	}
	if dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("emptying the store: %w", err)
		}
	}
	var err error
	s.now, err = s.begin()
	return s, err
}

func (s *Store) begin() (*generation, error) {
	g := &generation{shallow: map[plumbing.Hash]bool{}, depths: map[plumbing.Hash]int{}}
	if s.dir == "" {
		g.objects = &locked{EncodedObjectStorer: memory.NewStorage()}
		return g, nil
	}
	s.numbers++
	g.dir = filepath.Join(s.dir, fmt.Sprint(s.numbers))
	if err := os.MkdirAll(filepath.Join(g.dir, "objects", "pack"), 0o700); err != nil {
		return nil, fmt.Errorf("making the store: %w", err)
	}
	g.open()
	return g, nil
}

func (g *generation) open() {
	disk := filesystem.NewStorageWithOptions(osfs.New(g.dir), cache.NewObjectLRU(storeCache), filesystem.Options{ExclusiveAccess: true})
	g.disk = &disk.ObjectStorage
	g.objects = &locked{EncodedObjectStorer: disk}
}

// Generation counts how often the store was begun anew: what was read from one may be gone in the next.
func (s *Store) Generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.numbers
}

// Dir is the store's folder, "" where it is in memory.
func (s *Store) Dir() string { return s.dir }

// Close removes the store from the disk.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// Bytes is how much was fetched into what the store holds.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		return s.now.bytes + s.before.bytes
	}
	return s.now.bytes
}

// Repo is a view of the store at a commit that it has; one that it does not have is not ok. The view stays as it is when
// the store goes on, and can be read until the store has been begun anew twice.
func (s *Store) Repo(commit string) (*Repo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !plumbing.IsHash(commit) {
		return nil, false
	}
	hash := plumbing.NewHash(commit)
	if _, err := object.GetCommit(s.now.objects, hash); err != nil {
		return nil, false
	}
	repo := &Repo{storage: s.now.objects, head: hash, shallow: map[plumbing.Hash]bool{}, fresh: map[plumbing.Hash]bool{}, folders: &s.now.folders}
	for h := range s.now.shallow {
		repo.shallow[h] = true
	}
	return repo, true
}

// state is what a fetch tells the server of what is there.
func (s *Store) state() (haves, shallow []plumbing.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	haves = slices.Clone(s.now.haves)
	for h := range s.now.shallow {
		shallow = append(shallow, h)
	}
	plumbing.HashesSort(shallow)
	return haves, shallow
}

// has says whether a commit is there with so much history, or with all that there is.
func (s *Store) has(hash plumbing.Hash, depth int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.now.haves, hash) {
		return false
	}
	return s.now.depths[hash] >= depth || len(s.now.shallow) == 0
}

// fetched is a pack that has arrived and been found small enough.
type fetched struct {
	file                io.ReadSeeker
	size                int64
	count               uint32
	want                plumbing.Hash
	depth               int
	shallows, unshallow []plumbing.Hash
}

// add takes a pack in. Where the commit is not there afterwards, nothing of what the store says of itself changes.
func (s *Store) add(f fetched) (commit plumbing.Hash, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.packs >= maxPacks || s.now.bytes+f.size > maxStoreBytes && s.now.bytes > 0 {
		return plumbing.ZeroHash, errStoreFull
	}
	if f.count > 0 {
		if err := s.now.write(f.file); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("storing pack: %w", err)
		}
		s.now.packs++
		s.now.bytes += f.size
	}
	if commit, err = peel(s.now.objects, f.want); err != nil {
		return plumbing.ZeroHash, err
	}
	for _, h := range f.shallows {
		s.now.shallow[h] = true
	}
	for _, h := range f.unshallow {
		delete(s.now.shallow, h)
	}
	s.now.depths[commit] = max(s.now.depths[commit], f.depth)
	s.now.haves = append(slices.DeleteFunc(s.now.haves, func(h plumbing.Hash) bool { return h == commit }), commit)
	if extra := len(s.now.haves) - maxHaves; extra > 0 {
		for _, h := range s.now.haves[:extra] {
			delete(s.now.depths, h)
		}
		s.now.haves = s.now.haves[extra:]
	}
	return commit, s.save()
}

// errStoreFull says that the store is to be begun anew before the pack fits.
var errStoreFull = errors.New("the store is full")

// renew begins anew; the generation before can be read until the next time.
func (s *Store) renew() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh, err := s.begin()
	if err != nil {
		return err
	}
	old := s.before
	s.before, s.now = s.now, fresh
	if old != nil && old.dir != "" {
		return os.RemoveAll(old.dir)
	}
	return nil
}

func (g *generation) write(pack io.Reader) error {
	if g.disk == nil {
		raw, err := io.ReadAll(pack)
		if err != nil {
			return err
		}
		parser, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(raw)), g.objects)
		if err == nil {
			_, err = parser.Parse()
		}
		return err
	}
	writer, err := g.disk.PackfileWriter()
	if err != nil {
		return err
	}
	_, err = io.Copy(writer, pack)
	return errors.Join(err, writer.Close())
}

// peel follows annotated tags to a commit.
func peel(from objects, hash plumbing.Hash) (plumbing.Hash, error) {
	const deepest = 8
	for range deepest {
		stored, err := from.EncodedObject(plumbing.AnyObject, hash)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("the server did not send %s: %w", hash, err)
		}
		switch stored.Type() {
		case plumbing.CommitObject:
			return hash, nil
		case plumbing.TagObject:
			tag, err := object.DecodeTag(from, stored)
			if err != nil {
				return plumbing.ZeroHash, fmt.Errorf("reading tag %s: %w", hash, err)
			}
			hash = tag.Target
		default:
			return plumbing.ZeroHash, fmt.Errorf("%w: %s is a %s, not a commit", ErrRefNotFound, hash, stored.Type())
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("%w: %s is a tag of tags without end", ErrRefNotFound, hash)
}

// locked lets several goroutines read one storage. An error of the disk must never look like a file that is not in the tree:
// only ErrObjectNotFound keeps its identity.
type locked struct {
	mu sync.Mutex
	storer.EncodedObjectStorer
}

func opaque(err error) error {
	if err == nil || errors.Is(err, plumbing.ErrObjectNotFound) {
		return err
	}
	return errors.New("reading the local copy: " + strings.ToValidUTF8(err.Error(), "?"))
}

// EncodedObject reads one object.
func (l *locked) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, err := l.EncodedObjectStorer.EncodedObject(kind, hash)
	return found, opaque(err)
}

// SetEncodedObject writes one object.
func (l *locked) SetEncodedObject(o plumbing.EncodedObject) (plumbing.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hash, err := l.EncodedObjectStorer.SetEncodedObject(o)
	return hash, opaque(err)
}

// HasEncodedObject says whether an object is there.
func (l *locked) HasEncodedObject(hash plumbing.Hash) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return opaque(l.EncodedObjectStorer.HasEncodedObject(hash))
}

// EncodedObjectSize is the size of an object.
func (l *locked) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, err := l.EncodedObjectStorer.EncodedObjectSize(hash)
	return size, opaque(err)
}
