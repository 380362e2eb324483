package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// overlap is how deep a fetch into a store that holds something goes at least. A server leaves out what is known only if it
// meets a known commit on the way; a fetch of the head alone meets none, and sends all files again.
const overlap = 50

// FetchInto brings what a ref points to, with depth commits of history, into a store. The server is told what the store has,
// and sends only what is new. A commit that the server does not give out by name is looked for in its default branch. What
// would be too large as an addition is fetched into a store begun anew.
func (r Remote) FetchInto(ctx context.Context, store *Store, f Ref, depth int) (Resolved, error) {
	haves, _ := store.state()
	deep := depth
	if len(haves) > 0 {
		deep = max(depth, overlap)
	}
	resolved, err := r.fetchOnce(ctx, store, f, deep)
	if !errors.Is(err, errStoreFull) && (!errors.Is(err, ErrTooLarge) || deep == depth) {
		return resolved, err
	}
	if err := store.renew(); err != nil {
		return Resolved{}, err
	}
	return r.fetchOnce(ctx, store, f, depth)
}

func (r Remote) fetchOnce(ctx context.Context, store *Store, f Ref, depth int) (Resolved, error) {
	session, err := r.openUpload(ctx)
	if err != nil {
		return Resolved{}, err
	}
	defer session.release()
	adverts, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return Resolved{}, r.classify(ctx, "listing branches of", err)
	}
	listing := Listing{url: r.URL, adverts: adverts}
	resolved, err := listing.Resolve(f)
	if err != nil {
		return Resolved{}, err
	}
	want := resolved.want
	if f.Commit != "" && !listing.gives(want) {
		branch, found := listing.defaultBranch()
		if !found {
			return Resolved{}, r.withholds(f)
		}
		want = branch
	}
	if store.has(plumbing.NewHash(resolved.Commit), depth) {
		_ = session.Close()
		return resolved, nil
	}
	request, err := r.request(adverts, store, want, depth)
	if err != nil {
		return Resolved{}, err
	}
	commit, err := r.exchange(ctx, session, request, store)
	if err != nil {
		return Resolved{}, err
	}
	if f.Commit == "" {
		resolved.Commit = commit.String()
	} else if _, found := store.Repo(f.Commit); !found {
		return Resolved{}, r.withholds(f)
	}
	return resolved, nil
}

func (r Remote) withholds(f Ref) error {
	return fmt.Errorf("fetching from %s: %w: the server does not give out %s by name, and it is not among the newest commits of its default branch",
		r.URL, ErrRefNotFound, f)
}

func (r Remote) request(adverts *packp.AdvRefs, store *Store, want plumbing.Hash, depth int) (*packp.UploadPackRequest, error) {
	request := packp.NewUploadPackRequestFromCapabilities(adverts.Capabilities)
	request.Wants = []plumbing.Hash{want}
	request.Haves, request.Shallows = store.state()
	if err := request.Capabilities.Set(capability.Shallow); err != nil {
		return nil, fmt.Errorf("asking for a shallow history: %w", err)
	}
	request.Depth = packp.DepthCommits(max(depth, 1))
	return request, nil
}

// exchange sends the request, and takes in the pack that comes back once its sizes are known to be within the limits.
func (r Remote) exchange(ctx context.Context, session *uploader, request *packp.UploadPackRequest, store *Store) (plumbing.Hash, error) {
	depth, _ := request.Depth.(packp.DepthCommits)
	response, err := session.UploadPack(ctx, request)
	if err != nil {
		return plumbing.ZeroHash, r.classify(ctx, "fetching from", err)
	}
	defer func() { _ = response.Close() }()
	file, size, err := r.spool(response, request.Capabilities, store.dir)
	if err != nil {
		return plumbing.ZeroHash, r.classify(ctx, "fetching from", err)
	}
	defer file.remove()
	count, err := inspect(file, r.limits())
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("unpacking what %s sent: %w", r.URL, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("unpacking what %s sent: %w", r.URL, err)
	}
	commit, err := store.add(fetched{
		file: file, size: size, count: count, want: request.Wants[0], depth: int(depth),
		shallows: response.Shallows, unshallow: response.Unshallows,
	})
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("unpacking what %s sent: %w", r.URL, err)
	}
	return commit, nil
}

// spooled is a pack that waits to be taken in, on disk or in memory.
type spooled struct {
	io.ReadSeeker
	remove func()
}

func (r Remote) spool(response io.Reader, capabilities *capability.List, dir string) (spooled, int64, error) {
	body := response
	switch {
	case capabilities.Supports(capability.Sideband64k):
		body = sideband.NewDemuxer(sideband.Sideband64k, body)
	case capabilities.Supports(capability.Sideband):
		body = sideband.NewDemuxer(sideband.Sideband, body)
	}
	body = &bounded{reader: body, left: r.limits().PackBytes}
	if dir == "" {
		raw, err := io.ReadAll(body)
		if err != nil {
			return spooled{}, 0, fmt.Errorf("reading pack: %w", err)
		}
		return spooled{bytes.NewReader(raw), func() {}}, int64(len(raw)), nil
	}
	file, err := os.CreateTemp(dir, "pack-")
	if err != nil {
		return spooled{}, 0, fmt.Errorf("storing pack: %w", err)
	}
	remove := func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}
	size, err := io.Copy(file, body)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		remove()
		return spooled{}, 0, fmt.Errorf("reading pack: %w", err)
	}
	return spooled{file, remove}, size, nil
}

// inspect reads the headers of a pack, and of the deltas in it, and adds up how large everything becomes, before anything is
// unpacked. It returns how many objects there are.
func inspect(pack io.Reader, limits Limits) (uint32, error) {
	scanner := packfile.NewScanner(pack)
	_, count, err := scanner.Header()
	if errors.Is(err, packfile.ErrEmptyPackfile) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if int64(count) > limits.Objects {
		return 0, fmt.Errorf("%d objects, more than %d: %w", count, limits.Objects, ErrTooLarge)
	}
	var total int64
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return 0, err
		}
		size := header.Length
		if header.Type.IsDelta() {
			target, err := deltaTarget(scanner)
			if err != nil {
				return 0, err
			}
			size = max(size, target)
		}
		total += size
		if size > limits.ObjectBytes || size < 0 || total > limits.InflatedBytes {
			return 0, fmt.Errorf("object of %d bytes, %d in all: %w", size, total, ErrTooLarge)
		}
	}
	return count, nil
}
