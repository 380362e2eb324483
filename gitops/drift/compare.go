package drift

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Field is a place at which an object differs.
type Field struct {
	Path fieldpath.Path
	// Declared is what an apply would make of it, Live what it is; nil: it would be, or is, absent.
	Declared, Live any
	// Class of this field.
	Class Class
	// Owner is who is behind the live value; nil: it cannot be told. Guess: it only wrote last.
	Owner *Owner
	Guess bool
}

// Observed is one object of a Sync as it was read.
type Observed struct {
	// Manager is our name as a field manager.
	Manager string
	// Desired is what would be applied, Live what is there (nil: nothing), Dry what the API server would make of it.
	Desired, Live, Dry *unstructured.Unstructured
	// Same: Desired is what was applied last. Otherwise Git has changed the object since.
	Same bool
}

// Compare finds what differs, by path. Nothing differs where only the ownership would change: see Lost.
func Compare(o Observed) ([]Field, error) {
	if o.Live == nil || o.Dry == nil {
		return nil, nil
	}
	owners, err := OwnersOf(o.Live.GetManagedFields())
	if err != nil {
		return nil, err
	}
	after, err := OwnersOf(o.Dry.GetManagedFields())
	if err != nil {
		return nil, err
	}
	c := comparison{keys: keysOf(owners, after)}
	c.maps(nil, content(o.Dry), content(o.Live))
	for i := range c.found {
		Classify(&c.found[i], o, owners)
	}
	return c.found, nil
}

// content is an object without the API server's bookkeeping and without its status.
func content(u *unstructured.Unstructured) map[string]any {
	out := maps.Clone(u.Object)
	delete(out, "status")
	metadata, _ := u.Object["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	for _, key := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"} {
		delete(metadata, key)
	}
	out["metadata"] = metadata
	return out
}

type comparison struct {
	keys  keys
	found []Field
}

func (c *comparison) values(path fieldpath.Path, declared, live any) {
	if equality.Semantic.DeepEqual(declared, live) {
		return
	}
	switch d := declared.(type) {
	case map[string]any:
		if l, ok := live.(map[string]any); ok && len(d)+len(l) > 0 {
			c.maps(path, d, l)
			return
		}
	case []any:
		if l, ok := live.([]any); ok && c.lists(path, d, l) {
			return
		}
	}
	c.found = append(c.found, Field{Path: path.Copy(), Declared: declared, Live: live})
}

func (c *comparison) maps(path fieldpath.Path, declared, live map[string]any) {
	names := slices.Sorted(maps.Keys(declared))
	for name := range live {
		if _, has := declared[name]; !has {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c.values(append(path[:len(path):len(path)], fieldpath.FieldNameElement(name)), declared[name], live[name])
	}
}

func (c *comparison) lists(path fieldpath.Path, declared, live []any) bool {
	names := c.keys.at(path)
	if names == nil {
		return false
	}
	left, ok := itemsOf(declared, names)
	right, both := itemsOf(live, names)
	if !ok || !both {
		return false
	}
	before := len(c.found)
	for _, l := range left {
		c.values(append(path[:len(path):len(path)], l.element), l.value, valueOf(right, l.element))
	}
	for _, r := range right {
		if valueOf(left, r.element) == nil {
			c.values(append(path[:len(path):len(path)], r.element), nil, r.value)
		}
	}
	return len(c.found) > before // else only the order differs: the list as a whole
}

func valueOf(items []item, element fieldpath.PathElement) any {
	for _, i := range items {
		if i.element.Equals(element) {
			return i.value
		}
	}
	return nil
}

// Lost says that applying would change whose the fields are and nothing else: somebody set what we declare, too.
func Lost(o Observed) bool {
	return o.Live != nil && o.Dry != nil && !equality.Semantic.DeepEqual(ownFields(o.Live, o.Manager), ownFields(o.Dry, o.Manager))
}

func ownFields(u *unstructured.Unstructured, manager string) string {
	for _, e := range u.GetManagedFields() {
		if e.Manager == manager && e.Operation == "Apply" && e.Subresource == "" && e.FieldsV1 != nil {
			return string(e.FieldsV1.GetRawBytes())
		}
	}
	return ""
}

// At is the value at a path of an object; lists are followed by their keys.
func At(u *unstructured.Unstructured, path fieldpath.Path) (any, bool) {
	var at any = u.Object
	for _, element := range path {
		switch {
		case element.FieldName != nil:
			m, _ := at.(map[string]any)
			var ok bool
			if at, ok = m[*element.FieldName]; !ok {
				return nil, false
			}
		case element.Key != nil:
			list, _ := at.([]any)
			index := indexOf(list, element)
			if index < 0 {
				return nil, false
			}
			at = list[index]
		default:
			return nil, false
		}
	}
	return at, true
}

func indexOf(list []any, element fieldpath.PathElement) int {
	var names []string
	for _, field := range *element.Key {
		names = append(names, field.Name)
	}
	for i, entry := range list {
		if found, ok := itemsOf([]any{entry}, names); ok && found[0].element.Equals(element) {
			return i
		}
	}
	return -1
}

// Names says that an item of a list is the one that a path's element names.
func Names(m map[string]any, element fieldpath.PathElement) bool {
	return element.Key != nil && indexOf([]any{m}, element) == 0
}
