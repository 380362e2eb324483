package drift

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Wanted says which of the fields that differ are asked for.
type Wanted struct {
	// Paths as text, whoever has the fields.
	Paths []string
	// Manager as which objects are applied: what is declared, and no longer this manager's, is asked for too. A field that still
	// is was not changed by others; it differs where the declaration is newer, or by defaults and admission.
	Manager string
	// Removed: what is declared and absent was there, and somebody took it away; otherwise it may not have been applied yet.
	Removed bool
}

// Between finds where an object differs from what is declared of it, by path, as far as that is asked for. It knows nothing of
// defaults.
func Between(declared, live *unstructured.Unstructured, wanted Wanted) ([]Field, error) {
	owners, err := OwnersOf(live.GetManagedFields())
	if err != nil {
		return nil, err
	}
	c := comparison{keys: keysOf(owners)}
	c.maps(nil, content(declared), content(live))
	own := ownOf(owners, wanted.Manager)
	return slices.DeleteFunc(c.found, func(f Field) bool {
		taken := own == nil || !own.Owns(f.Path)
		gone := f.Live == nil && !wanted.Removed
		as := isScalar(f.Declared) && f.Live != nil && same(f.Declared, f.Live)
		return !slices.Contains(wanted.Paths, f.Path.String()) && (f.Declared == nil || !taken || gone || as)
	}), nil
}

// Put sets the value at a path of an object, or takes it out (nil). It says whether there was a place for it.
func Put(u *unstructured.Unstructured, path fieldpath.Path, value any) bool {
	if len(path) == 0 {
		return false
	}
	out, ok := put(u.Object, path, value)
	if m, isMap := out.(map[string]any); ok && isMap {
		u.Object = m
	}
	return ok
}

func put(at any, path fieldpath.Path, value any) (any, bool) {
	if len(path) == 0 {
		return value, true
	}
	switch element := path[0]; {
	case element.FieldName != nil:
		m, ok := at.(map[string]any)
		if !ok && at != nil {
			return nil, false
		}
		m = maps.Clone(m)
		if m == nil {
			m = map[string]any{}
		}
		below, ok := put(m[*element.FieldName], path[1:], value)
		if !ok {
			return nil, false
		}
		if m[*element.FieldName] = below; below == nil {
			delete(m, *element.FieldName)
		}
		return m, true
	case element.Key != nil:
		list, _ := at.([]any)
		index := indexOf(list, element)
		switch {
		case index < 0 && len(path) > 1:
			return nil, false
		case index < 0 && value == nil:
			return at, true
		case index < 0:
			return append(slices.Clone(list), value), true
		}
		below, ok := put(list[index], path[1:], value)
		list = slices.Clone(list)
		if below == nil {
			return slices.Delete(list, index, index+1), ok
		}
		list[index] = below
		return list, ok
	}
	return nil, false
}
