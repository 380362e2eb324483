package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/storage/memory"
)

// Remote is one branch of one repository and the way in. It holds no
// connection; its methods may be called at the same time.
type Remote struct {
	// URL is https, http, ssh (also user@host:path) or file, without password.
	URL string
	// Branch is the short name, "main".
	Branch string
	Auth   Auth
	// Limits bound a fetch; zero fields mean the defaults.
	Limits Limits
}

// Limits bound what a server can make us hold.
type Limits struct {
	// PackBytes is the size of a fetched pack on the wire. Default 128 MiB.
	PackBytes int64
	// InflatedBytes is the sum of the objects unpacked. Default 512 MiB.
	InflatedBytes int64
	// ObjectBytes is the largest single object. Default 64 MiB.
	ObjectBytes int64
	// Objects is how many objects a pack may hold. Default 500,000.
	Objects int64
}

func (r Remote) limits() Limits {
	return Limits{
		PackBytes:     orDefault(r.Limits.PackBytes, 128<<20),
		InflatedBytes: orDefault(r.Limits.InflatedBytes, 512<<20),
		ObjectBytes:   orDefault(r.Limits.ObjectBytes, 64<<20),
		Objects:       orDefault(r.Limits.Objects, 500_000),
	}
}

func orDefault(value, standard int64) int64 {
	if value > 0 {
		return value
	}
	return standard
}

func (r Remote) reference() (plumbing.ReferenceName, error) {
	name := plumbing.NewBranchReferenceName(r.Branch)
	if err := name.Validate(); r.Branch == "" || err != nil {
		return "", fmt.Errorf("branch name %q is not valid", r.Branch)
	}
	return name, nil
}

// Validate says what is wrong with the URL or the branch, where there is one, without a connection.
func (r Remote) Validate() error {
	if _, err := parseURL(r.URL); err != nil || r.Branch == "" {
		return err
	}
	_, err := r.reference()
	return err
}

// Head asks the server for the commit the branch is at.
func (r Remote) Head(ctx context.Context) (string, error) {
	session, err := r.openUpload(ctx)
	if err != nil {
		return "", err
	}
	defer session.release()
	head, _, err := r.ask(ctx, session)
	if err != nil {
		return "", err
	}
	_ = session.Close()
	return head.String(), nil
}

func (r Remote) ask(ctx context.Context, session *uploader) (plumbing.Hash, *packp.AdvRefs, error) {
	name, err := r.reference()
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	adverts, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return plumbing.ZeroHash, nil, r.classify(ctx, "listing branches of", err)
	}
	head, found := adverts.References[name.String()]
	if !found {
		return plumbing.ZeroHash, nil, fmt.Errorf("listing branches of %s: %w: %q", r.URL, ErrBranchNotFound, r.Branch)
	}
	return head, adverts, nil
}

// Fetch brings the newest depth commits of the branch (0: all of them) with
// their files into memory.
func (r Remote) Fetch(ctx context.Context, depth int) (*Repo, error) {
	session, err := r.openUpload(ctx)
	if err != nil {
		return nil, err
	}
	defer session.release()
	head, adverts, err := r.ask(ctx, session)
	if err != nil {
		return nil, err
	}
	request := packp.NewUploadPackRequestFromCapabilities(adverts.Capabilities)
	request.Wants = []plumbing.Hash{head}
	if depth > 0 {
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, fmt.Errorf("asking for a shallow history: %w", err)
		}
		request.Depth = packp.DepthCommits(depth)
	}
	response, err := session.UploadPack(ctx, request)
	if err != nil {
		return nil, r.classify(ctx, "fetching from", err)
	}
	defer func() { _ = response.Close() }()
	pack, err := r.readPack(response, request.Capabilities)
	if err != nil {
		return nil, r.classify(ctx, "fetching from", err)
	}
	return r.unpack(pack, head, response.Shallows)
}

func (r Remote) readPack(response io.Reader, capabilities *capability.List) ([]byte, error) {
	body := response
	switch {
	case capabilities.Supports(capability.Sideband64k):
		body = sideband.NewDemuxer(sideband.Sideband64k, body)
	case capabilities.Supports(capability.Sideband):
		body = sideband.NewDemuxer(sideband.Sideband, body)
	}
	pack, err := io.ReadAll(&bounded{reader: body, left: r.limits().PackBytes})
	if err != nil {
		return nil, fmt.Errorf("reading pack: %w", err)
	}
	return pack, nil
}

// unpack checks the sizes the pack declares before it lets anything inflate.
func (r Remote) unpack(pack []byte, head plumbing.Hash, shallows []plumbing.Hash) (*Repo, error) {
	if _, err := inspect(bytes.NewReader(pack), r.limits()); err != nil {
		return nil, fmt.Errorf("unpacking what %s sent: %w", r.URL, err)
	}
	storage := memory.NewStorage()
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(pack)), storage)
	if err == nil {
		_, err = parser.Parse()
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking what %s sent: %w", r.URL, err)
	}
	if _, err := storage.EncodedObject(plumbing.CommitObject, head); err != nil {
		return nil, fmt.Errorf("unpacking what %s sent: head %s: %w", r.URL, head, err)
	}
	repo := &Repo{storage: storage, head: head, shallow: map[plumbing.Hash]bool{}, fresh: map[plumbing.Hash]bool{}}
	for _, hash := range shallows {
		repo.shallow[hash] = true
	}
	return repo, nil
}

// deltaTarget reads the second number of a delta: the size of its result.
func deltaTarget(scanner *packfile.Scanner) (int64, error) {
	reader, err := scanner.ReadObject()
	if err != nil {
		return 0, err
	}
	defer func() { _ = reader.Close() }()
	var sizes [2]int64
	for i := range sizes {
		if sizes[i], err = varint(reader); err != nil {
			return 0, fmt.Errorf("reading delta header: %w", err)
		}
	}
	if _, err := io.Copy(io.Discard, reader); err != nil {
		return 0, fmt.Errorf("reading delta: %w", err)
	}
	return sizes[1], nil
}

func varint(reader io.Reader) (int64, error) {
	var value int64
	for shift := 0; shift < 56; shift += 7 {
		var b [1]byte
		if _, err := io.ReadFull(reader, b[:]); err != nil {
			return 0, err
		}
		value |= int64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return value, nil
		}
	}
	return 0, errors.New("number too long")
}
