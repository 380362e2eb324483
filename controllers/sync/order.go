package sync

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// AnnotationDependsOn names objects of the same bundle that must be up and running before this one is applied, as kpt and
// cli-utils write it: group/namespaces/namespace/Kind/name, or group/Kind/name, separated by commas.
const AnnotationDependsOn = "config.kubernetes.io/depends-on"

// dependsOn are the objects that an item names, as name() writes them.
func dependsOn(item *Item) ([]string, error) {
	text := item.Desired.GetAnnotations()[AnnotationDependsOn]
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out []string
	for _, one := range strings.Split(text, ",") {
		parts := strings.Split(strings.TrimSpace(one), "/")
		switch {
		case len(parts) == 5 && parts[1] == "namespaces":
			out = append(out, name(v1alpha1.InventoryEntry{Group: parts[0], Namespace: parts[2], Kind: parts[3], Name: parts[4]}))
		case len(parts) == 3:
			out = append(out, name(v1alpha1.InventoryEntry{Group: parts[0], Kind: parts[1], Name: parts[2]}))
		default:
			return nil, fmt.Errorf("annotation %s: %q is neither group/namespaces/namespace/Kind/name nor group/Kind/name", AnnotationDependsOn, strings.TrimSpace(one))
		}
	}
	return out, nil
}

// checkOrder refuses a dependency on what is not in the bundle, and a circle.
func checkOrder(items []*Item, w *warnings) {
	edges, byName := map[string][]string{}, map[string]*Item{}
	for _, item := range items {
		byName[name(item.Entry)] = item
		on, err := dependsOn(item)
		if err != nil {
			item.say(v1alpha1.CheckDeny, err.Error(), w)
		}
		edges[name(item.Entry)] = on
	}
	for _, item := range items {
		for _, on := range edges[name(item.Entry)] {
			if byName[on] == nil {
				item.say(v1alpha1.CheckDeny, fmt.Sprintf("annotation %s: %s is not in this bundle", AnnotationDependsOn, on), w)
			}
		}
		if circle := circleIn(edges, name(item.Entry)); circle != nil {
			item.say(v1alpha1.CheckDeny, fmt.Sprintf("annotation %s is a circle: %s", AnnotationDependsOn, strings.Join(circle, " → ")), w)
		}
	}
}

// circleIn is a way from a node back to itself.
func circleIn(edges map[string][]string, start string) []string {
	visited := map[string]bool{}
	var walk func(path []string) []string
	walk = func(path []string) []string {
		at := path[len(path)-1]
		if len(path) > 1 && at == start {
			return path
		}
		if visited[at] {
			return nil
		}
		visited[at] = true
		for _, next := range edges[at] {
			if circle := walk(append(slices.Clone(path), next)); circle != nil {
				return circle
			}
		}
		return nil
	}
	return walk([]string{start})
}

// waitsFor names an object that must be up and running before the item is applied, and is not yet.
func (w *wreck) waitsFor(item *Item) string {
	on, _ := dependsOn(item) // what cannot be read was refused before
	for _, needed := range on {
		d := w.items[needed]
		if d == nil {
			continue
		}
		object := d.Written
		if object == nil && !w.pending[d] {
			object = d.Live
		}
		if object == nil {
			return needed
		}
		if state, _ := stateOf(object); state != status.CurrentStatus {
			return needed
		}
	}
	return ""
}
