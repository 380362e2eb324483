// Package registrytest is an OCI registry in the process of a test, which misbehaves on demand.
package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	typeSimple = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeBundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Server is a registry.
type Server struct {
	*httptest.Server
	t testing.TB
	// Host is its name, with the port.
	Host  string
	inner http.Handler
	mu    sync.Mutex
	asked []string
	// intercept, where it returns true, has answered.
	intercept func(http.ResponseWriter, *http.Request) bool
}

// New starts a registry without TLS.
func New(t testing.TB, options ...registry.Option) *Server { return start(t, false, options...) }

// NewTLS starts one with TLS, whose certificate nobody knows.
func NewTLS(t testing.TB, options ...registry.Option) *Server { return start(t, true, options...) }

func start(t testing.TB, secure bool, options ...registry.Option) *Server {
	t.Helper()
	options = append([]registry.Option{registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)}, options...)
	s := &Server{t: t, inner: registry.New(options...)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	_, s.Host, _ = strings.Cut(s.URL, "://")
	return s
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	intercept := s.intercept
	s.mu.Unlock()
	if intercept == nil || !intercept(w, r) {
		s.inner.ServeHTTP(w, r)
	}
}

// Intercept has f see each request first; where f returns true it has answered. nil ends that.
func (s *Server) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Asked are the requests since the last call.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

// Push puts an image into a repository and returns its digest.
func (s *Server) Push(repository string) string {
	s.t.Helper()
	image, err := random.Image(64, 1)
	s.must(err)
	digest, err := image.Digest()
	s.must(err)
	s.must(remote.Write(s.repository(repository).Digest(digest.String()), image, s.options()...))
	s.Asked()
	return digest.String()
}

// Layer is one signature of the older form.
type Layer struct {
	Payload   []byte
	Signature string
}

// Sign puts signatures of the older form where cosign puts them.
func (s *Server) Sign(repository, digest string, layers ...Layer) {
	s.t.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, l := range layers {
		var err error
		image, err = mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(l.Payload, typeSimple), MediaType: typeSimple,
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": l.Signature}})
		s.must(err)
	}
	s.must(remote.Write(s.repository(repository).Tag(strings.Replace(digest, ":", "-", 1)+".sig"), image, s.options()...))
	s.Asked()
}

// Refer puts a Sigstore bundle beside an image, as one that refers to it.
func (s *Server) Refer(repository, digest, predicate string, bundle []byte) {
	s.t.Helper()
	repo := s.repository(repository)
	layer, config := static.NewLayer(bundle, typeBundle), static.NewLayer([]byte("{}"), "application/vnd.oci.empty.v1+json")
	s.must(remote.WriteLayer(repo, layer, s.options()...))
	s.must(remote.WriteLayer(repo, config, s.options()...))
	hash, err := v1.NewHash(digest)
	s.must(err)
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: s.describe(config), Layers: []v1.Descriptor{s.describe(layer)},
		Subject:     &v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hash},
		Annotations: map[string]string{"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate}}
	encoded, err := json.Marshal(manifest)
	s.must(err)
	encoded = bytes.Replace(encoded, []byte("{"), fmt.Appendf(nil, `{"artifactType":%q,`, typeBundle), 1)
	at, _, err := v1.SHA256(bytes.NewReader(encoded))
	s.must(err)
	s.must(remote.Put(repo.Digest(at.String()), raw(encoded), s.options()...))
	s.Asked()
}

func (s *Server) describe(l v1.Layer) v1.Descriptor {
	digest, err := l.Digest()
	s.must(err)
	size, err := l.Size()
	s.must(err)
	kind, err := l.MediaType()
	s.must(err)
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}

// raw is a manifest as it is.
type raw []byte

// RawManifest implements remote.Taggable.
func (r raw) RawManifest() ([]byte, error) { return r, nil }

// MediaType is that of a manifest of the OCI.
func (r raw) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (s *Server) repository(of string) name.Repository {
	repository, err := name.NewRepository(s.Host + "/" + of)
	s.must(err)
	return repository
}

func (s *Server) options() []remote.Option {
	return []remote.Option{remote.WithTransport(s.Client().Transport)}
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Count says how many of the requests begin so.
func Count(asked []string, prefix string) int {
	return len(slices.DeleteFunc(slices.Clone(asked), func(a string) bool { return !strings.HasPrefix(a, prefix) }))
}
