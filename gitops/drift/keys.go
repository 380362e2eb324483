package drift

import (
	"slices"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// keys says by which fields the items of a list are told apart, as the sets of managedFields know it; nil: the list is
// one value.
type keys struct{ sets []*fieldpath.Set }

func keysOf(owners ...[]Owner) keys {
	var k keys
	for _, list := range owners {
		for _, o := range list {
			k.sets = append(k.sets, o.fields)
		}
	}
	return k
}

func (k keys) at(path fieldpath.Path) []string {
	for _, set := range k.sets {
		at := set
		for _, element := range path {
			below, has := at.Children.Get(element)
			if !has {
				at = nil
				break
			}
			at = below
		}
		if at == nil {
			continue
		}
		if names := keyNames(at); names != nil {
			return names
		}
	}
	return nil
}

func keyNames(set *fieldpath.Set) []string {
	var names []string
	take := func(e fieldpath.PathElement) {
		if e.Key != nil && names == nil {
			for _, field := range *e.Key {
				names = append(names, field.Name)
			}
		}
	}
	set.Members.Iterate(take)
	set.Children.Iterate(take)
	return names
}

// item is an entry of a list with the element that names it.
type item struct {
	element fieldpath.PathElement
	value   any
}

// itemsOf names the items of a list by their keys. Not ok: it is not such a list, or two items have the same keys.
func itemsOf(list []any, names []string) ([]item, bool) {
	out := make([]item, 0, len(list))
	for _, entry := range list {
		m, isMap := entry.(map[string]any)
		if !isMap {
			return nil, false
		}
		var fields value.FieldList
		for _, name := range names {
			v, has := m[name]
			if !has {
				v = defaultKey(name)
			}
			if v == nil {
				return nil, false
			}
			fields = append(fields, value.Field{Name: name, Value: value.NewValueInterface(v)})
		}
		fields.Sort()
		element := fieldpath.PathElement{Key: &fields}
		if slices.ContainsFunc(out, func(i item) bool { return i.element.Equals(element) }) {
			return nil, false
		}
		out = append(out, item{element: element, value: entry})
	}
	return out, true
}

// defaultKey is the default of the one key of Kubernetes' own lists that has one.
func defaultKey(name string) any {
	if name == "protocol" {
		return "TCP"
	}
	return nil
}
