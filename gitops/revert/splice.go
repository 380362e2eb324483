package revert

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/belay-delivery/belay/gitops/render"
)

// unit is a set of edits of one file that can be tried on its own, or a file as
// a whole.
type unit struct {
	file  string
	edits []edit
	whole bool
	to    *[]byte // with whole; nil deletes
}

// maxUnits bounds how many units are tried one by one: each costs a rendering.
const maxUnits = 32

// splice merges the differing files field by field and returns the first set of
// units that is proved: all, each kustomization's or document's alone.
func (c *composer) splice(files []string) map[string]*[]byte {
	var units []unit
	sources := map[string]*source{}
	for _, name := range files {
		found, head, err := c.units(name)
		if err != nil {
			c.tried = append(c.tried, err.Error())
		}
		units = append(units, found...)
		sources[name] = head
	}
	if len(units) == 0 {
		return nil
	}
	if found := c.try(units, sources); found != nil {
		return found
	}
	if len(units) == 1 || len(units) > maxUnits {
		return nil
	}
	if kept := c.without(units, sources); len(kept) > 0 && len(kept) < len(units) {
		if found := c.try(kept, sources); found != nil {
			return found
		}
	}
	for i := range units {
		if found := c.try(units[i:i+1], sources); found != nil {
			return found
		}
	}
	return nil
}

// without leaves out, one after the other, the units whose absence makes the result better.
func (c *composer) without(units []unit, sources map[string]*source) []unit {
	badness := func(units []unit) int {
		changes := c.changes(units, sources)
		if len(changes) == 0 {
			return math.MaxInt
		}
		result := c.weigh(changes)
		switch {
		case result.err != nil && len(result.besides) == 0:
			return math.MaxInt - 1
		case result.err != nil:
			return len(result.besides) + 1
		}
		return len(result.besides)
	}
	least := badness(units)
	for again := true; again && least > 0; {
		again = false
		for i := 0; i < len(units) && least > 0; {
			fewer := slices.Delete(slices.Clone(units), i, i+1)
			if now := badness(fewer); now < least {
				units, least, again = fewer, now, true
				continue
			}
			i++
		}
	}
	return units
}

func (c *composer) try(units []unit, sources map[string]*source) map[string]*[]byte {
	if changes := c.changes(units, sources); changes != nil && c.proved(changes) {
		return changes
	}
	return nil
}

// changes are the files that a set of units makes; nil where they do not go together.
func (c *composer) changes(units []unit, sources map[string]*source) map[string]*[]byte {
	changes := map[string]*[]byte{}
	edits := map[string][]edit{}
	for _, u := range units {
		if u.whole {
			changes[u.file] = u.to
			continue
		}
		edits[u.file] = append(edits[u.file], u.edits...)
	}
	for name, list := range edits {
		content, err := sources[name].apply(list)
		if err != nil {
			c.tried = append(c.tried, err.Error())
			return nil
		}
		changes[name] = &content
	}
	return changes
}

// units finds what can be set back in one file.
func (c *composer) units(name string) ([]unit, *source, error) {
	good, err := readOptional(c.in.Good, name)
	if err != nil {
		return nil, nil, err
	}
	bad, err := readOptional(c.in.Bad, name)
	if err != nil {
		return nil, nil, err
	}
	head, err := readOptional(c.in.Head, name)
	if err != nil {
		return nil, nil, err
	}
	if good == nil || bad == nil || head == nil {
		before, _ := c.in.Bad.BlobID(name)
		now, _ := c.in.Head.BlobID(name)
		if before != now {
			return nil, nil, fmt.Errorf("%s: %w", name, errConflict)
		}
		return []unit{{file: name, whole: true, to: good}}, nil, nil
	}
	if !isManifest(name) {
		merged, err := mergeLines(name, *good, *bad, *head)
		if err != nil {
			return nil, nil, err
		}
		return []unit{{file: name, whole: true, to: &merged}}, nil, nil
	}
	m := merger{expand: c.expand, skipped: &c.skipped}
	for _, side := range []struct {
		to   **source
		data []byte
	}{{&m.good, *good}, {&m.bad, *bad}, {&m.head, *head}} {
		if *side.to, err = newSource(name, side.data); err != nil {
			return nil, nil, err
		}
	}
	var units []unit
	var problems error
	for _, find := range c.roots(m) {
		edits, err := find()
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("%s%w", name, err))
			continue
		}
		if len(edits) > 0 {
			units = append(units, unit{file: name, edits: edits})
		}
	}
	return units, m.head, problems
}

// isManifest says that a file is YAML; what else is read is text that kustomize makes ConfigMaps and Secrets from.
func isManifest(name string) bool {
	return render.IsKustomization(name) || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".json")
}

// roots lists the places of a file from which merging starts.
func (c *composer) roots(m merger) []func() ([]edit, error) {
	name := m.head.name
	if render.IsKustomization(path.Base(name)) {
		return m.kustomizationRoots()
	}
	var roots []func() ([]edit, error)
	kustomize := render.IsKustomize(c.in.Head, c.in.Path)
	for _, head := range m.head.documents {
		document := identity(head)
		if c.goesBack(document, kustomize) {
			roots = append(roots, m.contentRoots(document)...)
			continue
		}
		if !c.concerns(document, kustomize) {
			continue
		}
		good, bad := m.good.find(document), m.bad.find(document)
		if good == nil || bad == nil {
			roots = append(roots, func() ([]edit, error) {
				return nil, fmt.Errorf(": %s %s: %w", document.kind, document.name, errConflict)
			})
			continue
		}
		n := three{body(good), body(bad), body(head)}
		if document.sequence {
			roots = append(roots, func() ([]edit, error) { return m.node(n, place{indent: -1}, ":") })
			continue
		}
		roots = append(roots, func() ([]edit, error) { return m.template(n) })
	}
	for _, good := range m.good.documents { // what the bad side took away
		if document := identity(good); c.goesBack(document, kustomize) && m.head.find(document) == nil && m.bad.find(document) == nil {
			roots = append(roots, func() ([]edit, error) { return m.insertDocument(good) })
		}
	}
	return roots
}

// contentRoots are the fields of a ConfigMap or Secret that its pods see, or the document as a whole where the bad side
// added it.
func (m merger) contentRoots(document named) []func() ([]edit, error) {
	good, bad, head := m.good.find(document), m.bad.find(document), m.head.find(document)
	switch {
	case good == nil && bad == nil:
		return nil
	case good == nil && same(body(bad), body(head)):
		return []func() ([]edit, error){func() ([]edit, error) { return m.removeDocument(head) }}
	case good == nil || bad == nil:
		return nil
	}
	var roots []func() ([]edit, error)
	g, b, h := pairs(body(good)), pairs(body(bad)), pairs(body(head))
	for _, field := range contentFields {
		roots = append(roots, func() ([]edit, error) { return m.one(g, b, h, field, ": "+document.name) })
	}
	return roots
}

// goesBack says whether a document may declare something that goes back with the workload.
func (c *composer) goesBack(document named, kustomize bool) bool {
	if document.kind != kindConfigMap && document.kind != kindSecret || document.name == "" {
		return false
	}
	for key := range c.goes.wanted {
		if key.Kind != document.kind {
			continue
		}
		if kustomize && strings.Contains(key.Name, document.name) ||
			key.Name == document.name && (document.namespace == "" || document.namespace == key.Namespace) {
			return true
		}
	}
	return false
}

// kustomizationRoots are the top-level fields that differ; each image is one of
// its own.
func (m merger) kustomizationRoots() []func() ([]edit, error) {
	var roots []func() ([]edit, error)
	good, bad, head := first(m.good), first(m.bad), first(m.head)
	if good == nil || bad == nil || head == nil {
		return nil
	}
	for _, key := range union(pairs(good), pairs(bad)) {
		g, b, h := only(good, key), only(bad, key), only(head, key)
		if slices.Contains(itemised, key) && len(g) == 1 && len(b) == 1 && len(h) == 1 {
			roots = append(roots, m.itemRoots(key, three{g[0].value, b[0].value, h[0].value})...)
			continue
		}
		roots = append(roots, func() ([]edit, error) { return m.one(pairs(good), pairs(bad), pairs(head), key, "") })
	}
	return roots
}

// itemised are the fields of a kustomization whose items go back one by one.
var itemised = []string{"images", "configMapGenerator", "secretGenerator"}

func (m merger) itemRoots(field string, n three) []func() ([]edit, error) {
	n = three{resolve(n.good), resolve(n.bad), resolve(n.head)}
	good, ok1 := items(n.good, "name")
	bad, ok2 := items(n.bad, "name")
	head, ok3 := items(n.head, "name")
	if !ok1 || !ok2 || !ok3 || n.head.Style&yaml.FlowStyle != 0 {
		return []func() ([]edit, error){func() ([]edit, error) { return m.node(n, place{}, ": "+field) }}
	}
	var roots []func() ([]edit, error)
	for _, id := range union(good, bad) {
		roots = append(roots, func() ([]edit, error) { return m.one(good, bad, head, id, ": "+field) })
	}
	return roots
}

func (m merger) template(n three) ([]edit, error) {
	n = three{child(n.good, "spec"), child(n.bad, "spec"), child(n.head, "spec")}
	if n.good == nil || n.bad == nil || n.head == nil || n.head.Style&yaml.FlowStyle != 0 {
		return nil, fmt.Errorf(": spec: %w", errShape)
	}
	return m.one(pairs(n.good), pairs(n.bad), pairs(n.head), "template", ": spec")
}

// named identifies a document within a file.
type named struct {
	kind, name, namespace string
	sequence              bool
}

func identity(document *yaml.Node) named {
	root := body(document)
	if root == nil {
		return named{}
	}
	if root.Kind == yaml.SequenceNode {
		return named{sequence: true}
	}
	metadata := child(root, "metadata")
	return named{kind: text(child(root, "kind")), name: text(child(metadata, "name")), namespace: text(child(metadata, "namespace"))}
}

// concerns says whether a document may declare the workload; with kustomize its
// name may get a prefix or a suffix and a namespace, or be a patch's.
func (c *composer) concerns(document named, kustomize bool) bool {
	if document.sequence {
		return kustomize
	}
	if document.kind != c.in.Workload.Kind {
		return false
	}
	if kustomize {
		return document.name != "" && strings.Contains(c.in.Workload.Name, document.name)
	}
	return document.name == c.in.Workload.Name &&
		(document.namespace == "" || c.in.Workload.Namespace == "" || document.namespace == c.in.Workload.Namespace)
}

func (s *source) find(wanted named) *yaml.Node {
	for _, document := range s.documents {
		if identity(document) == wanted {
			return document
		}
	}
	return nil
}

func body(document *yaml.Node) *yaml.Node {
	if document == nil || len(document.Content) == 0 {
		return nil
	}
	return resolve(document.Content[0])
}

func first(s *source) *yaml.Node {
	if len(s.documents) != 1 {
		return nil
	}
	return body(s.documents[0])
}

func child(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	found, _ := byID(pairs(mapping), key)
	return resolve(found.value)
}

func text(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode {
		return ""
	}
	return node.Value
}

func only(mapping *yaml.Node, key string) []entry {
	if found, ok := byID(pairs(mapping), key); ok {
		return []entry{found}
	}
	return nil
}
