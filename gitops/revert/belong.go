package revert

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/belay-delivery/belay/gitops/render"
)

// reference is an object that a pod names, in its own namespace.
type reference struct{ kind, name string }

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// namedBy are the fields under which Kubernetes, and most who follow its habits, name a ConfigMap or a Secret.
var namedBy = map[string]string{
	"configMapRef": kindConfigMap, "configMapKeyRef": kindConfigMap, "configMap": kindConfigMap, "configMapName": kindConfigMap,
	"secretRef": kindSecret, "secretKeyRef": kindSecret, "secret": kindSecret, "secretName": kindSecret, "imagePullSecrets": kindSecret,
}

// references finds the ConfigMaps and Secrets that are named anywhere in a value.
func references(value any, found map[reference]bool) {
	switch typed := value.(type) {
	case []any:
		for _, item := range typed {
			references(item, found)
		}
	case map[string]any:
		for key, inner := range typed {
			if kind := namedBy[key]; kind != "" {
				for _, name := range names(inner) {
					found[reference{kind, name}] = true
				}
			}
			references(inner, found)
		}
	}
}

// names are the names in what stands under such a field: a string, an object with a name, or a list of those.
func names(value any) []string {
	switch typed := value.(type) {
	case string:
		return []string{typed}
	case []any:
		var out []string
		for _, item := range typed {
			out = append(out, names(item)...)
		}
		return out
	case map[string]any:
		var out []string
		for _, key := range []string{"name", "secretName"} {
			if name, ok := typed[key].(string); ok {
				out = append(out, name)
			}
		}
		return out
	}
	return nil
}

// belongings are the ConfigMaps and Secrets that go back with the workload's template, and what each is to be then (nil:
// absent).
type belongings struct {
	wanted map[render.Key]map[string]any
	// restored are those that head does not have: their metadata is whatever head's transformations make of it.
	restored map[render.Key]bool
	// shared are named by others too, and left as they are at head.
	shared []string
	// problem is the first place at which head says neither good nor bad.
	problem error
}

// belonging compares the objects that the good and the bad template name on all three sides.
func belonging(good, bad, head sight) belongings {
	out := belongings{wanted: map[render.Key]map[string]any{}, restored: map[render.Key]bool{}}
	named := map[reference]bool{}
	references(good.template, named)
	needed := maps.Clone(named)
	references(bad.template, named)
	keys := map[render.Key]bool{}
	for _, side := range []sight{good, bad, head} {
		for key := range side.others {
			keys[key] = key.Group == "" && named[reference{key.Kind, key.Name}] && (key.Kind == kindConfigMap || key.Kind == kindSecret)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(keys), compareKeys) {
		if !keys[key] || key.Namespace != head.namespace && key.Namespace != good.namespace {
			continue
		}
		g, b, h := good.others[key], bad.others[key], head.others[key]
		want, err := wanted(g, b, h, needed[reference{key.Kind, key.Name}])
		switch {
		case err != nil:
			out.problem = fmt.Errorf("%s: %w", key, err)
		case reflect.DeepEqual(want, h):
			continue
		case h != nil && head.named(key):
			out.shared = append(out.shared, key.String())
			continue
		}
		out.wanted[key] = want
		out.restored[key] = h == nil
	}
	return out
}

func compareKeys(a, b render.Key) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

// named says that an object other than the workload names this one.
func (s sight) named(wanted render.Key) bool {
	for key, object := range s.others {
		found := map[reference]bool{}
		if key != wanted && key.Namespace == wanted.Namespace {
			references(object, found)
		}
		if found[reference{wanted.Kind, wanted.Name}] {
			return true
		}
	}
	return false
}

// wanted is what an object is to be: good where bad changed it and head still says bad, else as at head.
func wanted(good, bad, head map[string]any, needed bool) (map[string]any, error) {
	switch {
	case good == nil && bad == nil:
		return head, nil
	case good == nil: // the bad side added it
		if reflect.DeepEqual(content(head), content(bad)) {
			return nil, nil
		}
		return head, nil
	case bad == nil || head == nil:
		if head != nil || !needed {
			return head, nil // it is there again, or nothing asks for it
		}
		if bad != nil && !reflect.DeepEqual(content(good), content(bad)) {
			return nil, fmt.Errorf("it was changed and then deleted, and the known-good revision needs it")
		}
		return good, nil
	}
	merged, err := merge3(content(good), content(bad), content(head), "")
	if err != nil {
		return nil, err
	}
	out := maps.Clone(head)
	for _, field := range contentFields {
		delete(out, field)
	}
	maps.Copy(out, merged)
	return out, nil
}

// contentFields are the fields of a ConfigMap or Secret that its pods can see, and what decides how they may change.
var contentFields = []string{"data", "binaryData", "stringData", "immutable", "type"}

// content is what of a ConfigMap or Secret counts.
func content(object map[string]any) map[string]any {
	if object == nil {
		return nil
	}
	out := map[string]any{}
	for _, field := range contentFields {
		if value, found := object[field]; found {
			out[field] = value
		}
	}
	return out
}

// merge3 takes good's value where bad's is another and head still has bad's.
func merge3(good, bad, head map[string]any, at string) (map[string]any, error) {
	out := map[string]any{}
	keys := maps.Clone(good)
	maps.Copy(keys, bad)
	maps.Copy(keys, head)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		g, inGood := good[key]
		b, inBad := bad[key]
		h, inHead := head[key]
		take, has := h, inHead
		switch {
		case inGood == inBad && reflect.DeepEqual(g, b):
		case inHead == inBad && reflect.DeepEqual(h, b), inHead == inGood && reflect.DeepEqual(h, g):
			take, has = g, inGood
		default:
			gm, ok1 := g.(map[string]any)
			bm, ok2 := b.(map[string]any)
			hm, ok3 := h.(map[string]any)
			if !ok1 || !ok2 || !ok3 {
				return nil, fmt.Errorf("%s%s: %w", at, key, errConflict)
			}
			merged, err := merge3(gm, bm, hm, at+key+".")
			if err != nil {
				return nil, err
			}
			take = merged
		}
		if has {
			out[key] = take
		}
	}
	return out, nil
}

// is says whether an object is as it is to be after the revert.
func (b belongings) is(key render.Key, object map[string]any) bool {
	want := b.wanted[key]
	if b.restored[key] {
		return want == nil && object == nil || object != nil && want != nil && reflect.DeepEqual(content(object), content(want))
	}
	return reflect.DeepEqual(object, want)
}
