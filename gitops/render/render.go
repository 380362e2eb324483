package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/gitops/tree"
)

const (
	// MaxFiles is how many files one folder may hold.
	MaxFiles = 5000
	// MaxObjects is how many objects one folder may render to.
	MaxObjects = 20000
)

// ErrRefused says that a kustomization asks for what Belay does not do: reading
// outside the tree, or running code.
var ErrRefused = errors.New("refused")

// Object is one rendered object and where it comes from.
type Object struct {
	*unstructured.Unstructured
	Origin Origin
}

// Origin is the place of an object in the tree.
type Origin struct {
	// File is the path from the root of the tree; for an object that kustomize
	// generated, the kustomization that says so.
	File string
	// Doc is the index of the document in the file, from 0; -1 when unknown.
	Doc int
}

// Key identifies an object in a cluster: group, kind, namespace and name.
type Key struct{ Group, Kind, Namespace, Name string }

func (k Key) String() string {
	kind := k.Kind
	if k.Group != "" {
		kind += "." + k.Group
	}
	return strings.Trim(kind+" "+k.Namespace+"/"+k.Name, "/")
}

// Key returns the object's identity.
func (o Object) Key() Key {
	gvk := o.GroupVersionKind()
	return Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Render returns the objects of a folder, sorted by group, kind, namespace and
// name. A folder that is not there is fs.ErrNotExist.
func Render(t tree.Tree, dir string) ([]Object, error) {
	clean, err := tree.Clean(dir)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", err)
	}
	if !tree.IsDir(t, clean) {
		return nil, fmt.Errorf("rendering folder %q: %w", dir, fs.ErrNotExist)
	}
	build := renderPlain
	if _, found, err := kustomizationFile(t, clean); err != nil {
		return nil, fmt.Errorf("rendering folder %q: %w", dir, err)
	} else if found {
		build = renderKustomize
	}
	objects, err := build(t, clean)
	if err != nil {
		return nil, fmt.Errorf("rendering folder %q: %w", dir, err)
	}
	return sorted(objects)
}

// IsKustomize says whether a folder is built by kustomize.
func IsKustomize(t tree.Tree, dir string) bool {
	_, found, err := kustomizationFile(t, dir)
	return found && err == nil
}

func sorted(objects []Object) ([]Object, error) {
	slices.SortStableFunc(objects, func(a, b Object) int {
		return strings.Compare(sortKey(a), sortKey(b))
	})
	for i := 1; i < len(objects); i++ {
		if objects[i].Key() == objects[i-1].Key() {
			return nil, fmt.Errorf("%s is declared twice: in %s and in %s",
				objects[i].Key(), objects[i-1].Origin.File, objects[i].Origin.File)
		}
	}
	return objects, nil
}

func sortKey(o Object) string {
	key := o.Key()
	return strings.Join([]string{key.Group, key.Kind, key.Namespace, key.Name, o.Origin.File}, "\x00")
}

// Digest names the content of a list of objects, whatever its order and its
// origins: hex of SHA-256.
func Digest(objects []Object) string {
	lines := make([]string, 0, len(objects))
	for _, object := range objects {
		// Rendered objects come from JSON-compatible YAML and always encode.
		encoded, err := json.Marshal(object.Object)
		if err != nil {
			encoded = []byte(err.Error())
		}
		sum := sha256.Sum256(encoded)
		lines = append(lines, sortKey(Object{Unstructured: object.Unstructured})+"\x00"+hex.EncodeToString(sum[:]))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

func renderPlain(t tree.Tree, dir string) ([]Object, error) {
	var objects []Object
	var used spent
	err := tree.Walk(t, dir, MaxFiles, func(name string, _ tree.Entry) error {
		if !isYAML(name) || hidden(dir, name) {
			return nil
		}
		content, err := t.ReadFile(name)
		if err != nil {
			return err
		}
		found, err := used.parse(name, content)
		if err != nil {
			return err
		}
		objects = append(objects, found...)
		if len(objects) > MaxObjects {
			return fmt.Errorf("reading %s: more than %d objects: %w", name, MaxObjects, tree.ErrTooLarge)
		}
		return nil
	})
	return objects, err
}

func isYAML(name string) bool {
	ext := path.Ext(name)
	return ext == ".yaml" || ext == ".yml" || ext == ".json"
}

// hidden says whether a part of the path below dir begins with a dot.
func hidden(dir, name string) bool {
	below := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
	return strings.HasPrefix(below, ".") || strings.Contains(below, "/.")
}
