package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/belay-delivery/belay/gitops/cosign"
)

const (
	// MaxCandidates is how many signatures of one image are looked at, and maxReferrers how many manifests that refer to it.
	MaxCandidates = 64
	maxReferrers  = 32
	maxErrorText  = 300
)

const (
	typeSimple       = "application/vnd.dev.cosign.simplesigning.v1+json"
	prefixBundle     = "application/vnd.dev.sigstore.bundle"
	artifactSimple   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	artifactEmpty    = "application/vnd.oci.empty.v1+json"
	artifactConfig   = "application/vnd.oci.image.config.v1+json"
	annotationSig    = "dev.cosignproject.cosign/signature"
	annotationBundle = "dev.sigstore.bundle.predicateType"
)

// Candidate is what may be a signature of an image.
type Candidate struct {
	// Payload with its Signature in base64, or a Bundle.
	Payload   []byte
	Signature string
	Bundle    []byte
	// Problem, unless nil, is why it was not fetched: it is too large, or its registry does not have it.
	Problem error
}

// Client makes sessions.
type Client struct {
	// PlainHTTP are hosts with their port that may be asked without TLS and at any address, loopback too.
	PlainHTTP []string
}

// Session asks registries with the credentials of one tenant. It may be used by several goroutines.
type Session struct {
	client      Client
	credentials Credentials
	transport   *guarded
	mu          sync.Mutex
	pullers     map[string]*remote.Puller
}

// Open begins a session, which must be closed.
func (c Client) Open(credentials Credentials) *Session {
	return &Session{client: c, credentials: credentials, transport: newTransport(c.PlainHTTP, credentials), pullers: map[string]*remote.Puller{}}
}

// Close gives up the connections.
func (s *Session) Close() { s.transport.inner.CloseIdleConnections() }

// Error says that a registry could not be asked; what it has is then not known.
type Error struct {
	// Registry is its host.
	Registry string
	text     string
	cause    error
}

func (e *Error) Error() string { return fmt.Sprintf("registry %s: %s", e.Registry, e.text) }
func (e *Error) Unwrap() error { return e.cause }

// Signatures visits what may be signatures of an image until visit returns true. It returns how many there are that were not
// looked at, since there are too many. No signature at all is no error; an error is an *Error.
func (s *Session) Signatures(ctx context.Context, image cosign.Image, visit func(Candidate) bool) (left int, err error) {
	w := walk{session: s, image: image, visit: visit, most: MaxCandidates}
	if err := w.open(); err != nil {
		return 0, s.explain(ctx, image, err)
	}
	if err := w.byTag(ctx); err != nil {
		return 0, s.explain(ctx, image, err)
	}
	if w.done {
		return 0, nil
	}
	if err := w.referrers(ctx); err != nil {
		return 0, s.explain(ctx, image, err)
	}
	return w.left, nil
}

// walk goes through the candidates of one image.
type walk struct {
	session    *Session
	image      cosign.Image
	visit      func(Candidate) bool
	repository name.Repository
	puller     *remote.Puller
	most       int
	left       int
	done       bool
}

func (w *walk) open() error {
	host, _, _ := strings.Cut(w.image.Repository, "/")
	var options []name.Option
	for _, plain := range w.session.client.PlainHTTP {
		if plain == host || plain == host+":80" {
			options = append(options, name.Insecure)
		}
	}
	repository, err := name.NewRepository(w.image.Repository, options...)
	if err != nil {
		return fmt.Errorf("reading the name of the image: %w", err)
	}
	w.repository = repository
	w.puller, err = w.session.puller(host, repository)
	return err
}

func (s *Session) puller(host string, repository name.Repository) (*remote.Puller, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.pullers[repository.Name()]; found != nil {
		return found, nil
	}
	made, err := remote.NewPuller(remote.WithTransport(s.transport), remote.WithAuth(s.credentials.of(host, repository.RepositoryStr())),
		remote.WithUserAgent("belay"), remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryPredicate(func(error) bool { return false }))
	if err != nil {
		return nil, fmt.Errorf("preparing requests: %w", err)
	}
	s.pullers[repository.Name()] = made
	return made, nil
}

// byTag looks where cosign has put signatures from the beginning.
func (w *walk) byTag(ctx context.Context) error {
	tag := w.repository.Tag(strings.Replace(w.image.Digest, ":", "-", 1) + ".sig")
	found, err := w.puller.Get(ctx, tag)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.layers(ctx, found.Manifest)
}

// referrers looks among the manifests that say that they are about the image.
func (w *walk) referrers(ctx context.Context) error {
	index, err := remote.Referrers(w.repository.Digest(w.image.Digest), remote.WithContext(ctx), remote.Reuse(w.puller))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("reading the list of referrers: %w", err)
	}
	looked := 0
	for _, d := range list.Manifests {
		switch {
		case !relevant(d):
			continue
		case looked == maxReferrers:
			w.left++
			continue
		}
		looked++
		found, err := w.puller.Get(ctx, w.repository.Digest(d.Digest.String()))
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := w.layers(ctx, found.Manifest); err != nil || w.done {
			return err
		}
	}
	return nil
}

// relevant says whether a referrer may be a signature. Some registries tell the type of its configuration for that of the whole.
func relevant(d v1.Descriptor) bool {
	if predicate := d.Annotations[annotationBundle]; predicate != "" && predicate != cosign.PredicateSign {
		return false // an attestation
	}
	switch d.ArtifactType {
	case "", artifactSimple, artifactEmpty, artifactConfig:
		return true
	}
	return strings.HasPrefix(d.ArtifactType, prefixBundle)
}

// layers visits the signatures of a manifest.
func (w *walk) layers(ctx context.Context, raw []byte) error {
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		w.done = w.visit(Candidate{Problem: errors.New("its manifest cannot be read")})
		return nil
	}
	if predicate := manifest.Annotations[annotationBundle]; predicate != "" && predicate != cosign.PredicateSign {
		return nil
	}
	for _, layer := range manifest.Layers {
		simple, bundle := string(layer.MediaType) == typeSimple, strings.HasPrefix(string(layer.MediaType), prefixBundle)
		if !simple && !bundle {
			continue
		}
		if w.most == 0 {
			w.left++
			continue
		}
		w.most--
		limit := int64(cosign.MaxPayload)
		if bundle {
			limit = cosign.MaxBundle
		}
		c := Candidate{Signature: layer.Annotations[annotationSig]}
		content, err := w.blob(ctx, layer, limit)
		var large *sizeError
		switch {
		case errors.As(err, &large) || missing(err):
			c.Problem = large.or(errors.New("the registry does not have its content"))
		case err != nil:
			return err
		case simple:
			c.Payload = content
		default:
			c.Bundle = content
		}
		if w.done = w.visit(c); w.done {
			return nil
		}
	}
	return nil
}

// sizeError says that a signature is larger than is read.
type sizeError struct{ limit int64 }

func (e *sizeError) Error() string { return fmt.Sprintf("it is larger than %d bytes", e.limit) }

func (e *sizeError) or(other error) error {
	if e != nil {
		return e
	}
	return other
}

// blob is the content of a layer, checked against its digest.
func (w *walk) blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, &sizeError{limit: limit}
	}
	layer, err := w.puller.Layer(ctx, w.repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	body, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a signature: %w", err)
	case int64(len(content)) > limit:
		return nil, &sizeError{limit: limit}
	}
	return content, nil
}

func missing(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// explain makes an error for people, without URLs, which may hold what is secret, and without a registry's own words.
func (s *Session) explain(ctx context.Context, image cosign.Image, err error) error {
	host, repository, _ := strings.Cut(image.Repository, "/")
	out := &Error{Registry: host, cause: ctx.Err()}
	var refused *refusal
	var answer *transport.Error
	switch {
	case errors.As(err, &refused):
		out.text = refused.text
	case errors.Is(err, errTooLarge):
		out.text = errTooLarge.Error()
	case ctx.Err() != nil:
		out.text = "it did not answer in time"
	case errors.As(err, &answer):
		out.text = fmt.Sprintf("it answers HTTP status %d", answer.StatusCode)
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			out.text += fmt.Sprintf(" for %s: does a Secret of images.signatures.pullSecrets hold credentials for it, with the right to pull?", repository)
		case http.StatusTooManyRequests:
			out.text += ": it was asked too often"
		}
	default:
		for asked := (*url.Error)(nil); errors.As(err, &asked); { // the rest is the whole URL
			err = asked.Err
		}
		out.text = s.clean(err.Error())
	}
	return out
}

// ownPort is our end of a connection, in an error of it.
var ownPort = regexp.MustCompile(`\S+:\d+->`)

func (s *Session) clean(text string) string {
	text = ownPort.ReplaceAllString(text, "") // another one at every attempt
	text = s.credentials.redact(strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " "))
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}
