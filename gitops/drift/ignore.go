package drift

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Ignore says which fields of which objects are others' business. Empty Group, Kind, Namespace or Name: of any.
type Ignore struct {
	Group, Kind, Namespace, Name string
	// Paths as they stand in a report, with "[*]" for any item of a list; what is below a path goes with it.
	Paths []string
	// Managers whose fields are theirs, by their names as field managers.
	Managers []string
}

func (i Ignore) concerns(u *unstructured.Unstructured) bool {
	gvk := u.GroupVersionKind()
	return is(i.Group, gvk.Group) && is(i.Kind, gvk.Kind) && is(i.Namespace, u.GetNamespace()) && is(i.Name, u.GetName())
}

func is(wanted, got string) bool { return wanted == "" || wanted == got }

// Match says that a path, or something above it, is what the pattern names.
func Match(pattern string, path fieldpath.Path) bool {
	for _, element := range path {
		text := element.String()
		rest, ok := strings.CutPrefix(pattern, text)
		if ok && rest != "" && rest[0] != '.' && rest[0] != '[' {
			ok = false // the pattern's element only begins like this one
		}
		if !ok && element.FieldName == nil {
			rest, ok = strings.CutPrefix(pattern, "[*]")
		}
		if !ok {
			return false
		}
		if pattern = rest; pattern == "" {
			return true
		}
	}
	return false
}

// Without takes from desired what the rules leave to others: a field that somebody else owns is not declared any more, and
// one that nobody else owns is declared as it is, since it would be removed if nobody declared it. An object that is not
// there yet is declared whole.
func Without(desired, live *unstructured.Unstructured, manager string, rules []Ignore) (*unstructured.Unstructured, error) {
	rules = slices.DeleteFunc(slices.Clone(rules), func(i Ignore) bool { return !i.concerns(desired) })
	if live == nil || len(rules) == 0 {
		return desired, nil
	}
	owners, err := OwnersOf(live.GetManagedFields())
	if err != nil {
		return nil, err
	}
	out := desired.DeepCopy()
	w := stripper{keys: keysOf(owners), owners: owners, manager: manager, rules: rules, live: live}
	w.walk(nil, out.Object)
	return out, nil
}

type stripper struct {
	keys    keys
	owners  []Owner
	manager string
	rules   []Ignore
	live    *unstructured.Unstructured
}

func (s stripper) walk(path fieldpath.Path, m map[string]any) {
	for name, v := range m {
		at := append(path[:len(path):len(path)], fieldpath.FieldNameElement(name))
		if !ignorable(at) {
			continue
		}
		if s.ignored(at) {
			s.leave(at, m, name)
			continue
		}
		switch v := v.(type) {
		case map[string]any:
			s.walk(at, v)
		case []any:
			s.walkList(at, v)
		}
	}
}

func (s stripper) walkList(path fieldpath.Path, list []any) {
	names := s.keys.at(path)
	if names == nil {
		return
	}
	items, _ := itemsOf(list, names)
	for _, i := range items {
		m, _ := i.value.(map[string]any)
		at := append(path[:len(path):len(path)], i.element)
		for name, v := range m {
			if slices.Contains(names, name) {
				continue // an item without its keys is none
			}
			field := append(at[:len(at):len(at)], fieldpath.FieldNameElement(name))
			if s.ignored(field) {
				s.leave(field, m, name)
			} else if below, ok := v.(map[string]any); ok {
				s.walk(field, below)
			} else if below, ok := v.([]any); ok {
				s.walkList(field, below)
			}
		}
	}
}

// ignorable: what an object is, and whose, is never left to others.
func ignorable(path fieldpath.Path) bool {
	switch path.String() {
	case ".apiVersion", ".kind", ".metadata.name", ".metadata.namespace", ".metadata.labels.belay.dev/sync", ".metadata.labels.belay.dev/sync-namespace":
		return false
	}
	return true
}

func (s stripper) ignored(path fieldpath.Path) bool {
	for _, rule := range s.rules {
		for _, pattern := range rule.Paths {
			if Match(pattern, path) {
				return true
			}
		}
		for i := range s.owners {
			o := &s.owners[i]
			if slices.Contains(rule.Managers, o.Manager) && !o.applies(s.manager) && s.leaf(o, path) {
				return true
			}
		}
	}
	return false
}

// leaf says that the manager owns the field itself, and not only something below it.
func (s stripper) leaf(o *Owner, path fieldpath.Path) bool {
	if !o.Owns(path) {
		return false
	}
	set := o.fields
	for _, element := range path {
		below, has := set.Children.Get(element)
		if !has {
			return true
		}
		set = below
	}
	return set.Empty()
}

func (s stripper) leave(path fieldpath.Path, parent map[string]any, name string) {
	value, has := At(s.live, path)
	if !has || holder(s.owners, s.manager, path) != nil {
		delete(parent, name)
		return
	}
	parent[name] = value
}
