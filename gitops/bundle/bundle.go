package bundle

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "k8s.io/apimachinery/pkg/util/json"

	"github.com/belay-delivery/belay/gitops/render"
)

const (
	// MaxPart is the largest blob: a Secret takes 1 MiB.
	MaxPart = 896 << 10
	// MaxParts is how many blobs one bundle may take.
	MaxParts = 4
	// MaxInflated is how much JSON one bundle may be.
	MaxInflated = 32 << 20
	// form of the packed bytes.
	form = 1
)

// ErrTooLarge says that a bundle does not fit.
var ErrTooLarge = errors.New("too large to be kept")

// Bundle is what a folder renders to.
type Bundle struct {
	// Source says what it was rendered from, see SourceOf.
	Source string
	// Commit it was rendered from first.
	Commit  string
	Objects []render.Object
}

// packed is the form in which a bundle is kept.
type packed struct {
	Form    int      `json:"form"`
	Source  string   `json:"source"`
	Commit  string   `json:"commit"`
	Objects []object `json:"objects"`
}

type object struct {
	File   string          `json:"file"`
	Doc    int             `json:"doc"`
	Object json.RawMessage `json:"object"`
}

// SourceOf names a folder of a repository, without telling its URL.
func SourceOf(url, path string) string {
	sum := sha256.Sum256([]byte(url + "\x00" + path))
	return hex.EncodeToString(sum[:])
}

// Pack returns the blobs of a bundle; ErrTooLarge where it does not fit.
func Pack(b Bundle) ([][]byte, error) {
	out := packed{Form: form, Source: b.Source, Commit: b.Commit}
	for _, o := range b.Objects {
		raw, err := json.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", o.Key(), err)
		}
		out.Objects = append(out.Objects, object{File: o.Origin.File, Doc: o.Origin.Doc, Object: raw})
	}
	plain, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if len(plain) > MaxInflated {
		return nil, fmt.Errorf("%d bytes are more than %d: %w", len(plain), MaxInflated, ErrTooLarge)
	}
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	parts := slices.Collect(slices.Chunk(zipped.Bytes(), MaxPart))
	if len(parts) > MaxParts {
		return nil, fmt.Errorf("%d bytes after compression are more than %d: %w", zipped.Len(), MaxPart*MaxParts, ErrTooLarge)
	}
	return parts, nil
}

// Unpack puts blobs together again. What does not have the digest is an error.
func Unpack(parts [][]byte, digest string) (Bundle, error) {
	if len(parts) > MaxParts {
		return Bundle{}, fmt.Errorf("unpacking bundle %s: %d parts are more than %d", digest, len(parts), MaxParts)
	}
	plain, err := inflate(bytes.Join(parts, nil))
	if err != nil {
		return Bundle{}, fmt.Errorf("unpacking bundle %s: %w", digest, err)
	}
	var in packed
	if err := json.Unmarshal(plain, &in); err != nil {
		return Bundle{}, fmt.Errorf("unpacking bundle %s: %w", digest, err)
	}
	if in.Form != form {
		return Bundle{}, fmt.Errorf("unpacking bundle %s: its form %d is not known to this version, which knows %d", digest, in.Form, form)
	}
	out := Bundle{Source: in.Source, Commit: in.Commit}
	for _, o := range in.Objects {
		content := map[string]any{}
		if err := kjson.Unmarshal(o.Object, &content); err != nil { // whole numbers stay whole
			return Bundle{}, fmt.Errorf("unpacking bundle %s: an object of %s: %w", digest, o.File, err)
		}
		out.Objects = append(out.Objects, render.Object{Unstructured: &unstructured.Unstructured{Object: content}, Origin: render.Origin{File: o.File, Doc: o.Doc}})
	}
	if got := render.Digest(out.Objects); got != digest {
		return Bundle{}, fmt.Errorf("unpacking bundle %s: it has digest %s: somebody has changed it", digest, got)
	}
	return out, nil
}

func inflate(zipped []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxInflated+1))
	switch {
	case err != nil:
		return nil, err
	case len(plain) > MaxInflated:
		return nil, fmt.Errorf("it is more than %d bytes: %w", MaxInflated, ErrTooLarge)
	}
	return plain, r.Close()
}
