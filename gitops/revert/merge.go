package revert

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// errConflict says that head holds neither the bad nor the good value.
var errConflict = errors.New("head holds neither the bad nor the good value")

// merger sets head's text back to good where good and bad differ and head still
// says bad.
type merger struct {
	good, bad, head *source
	// expand replaces an alias by the value that good had there. Without it an alias of the same anchor on all sides is left
	// to what its anchor becomes, and skipped says that there was one.
	expand  bool
	skipped *bool
}

// three is one place of a document on the three sides; nil where it is absent.
type three struct{ good, bad, head *yaml.Node }

// node merges two sides' difference into head's node.
func (m merger) node(n three, at place, path string) ([]edit, error) {
	if same(n.good, n.bad) || same(n.good, n.head) {
		return nil, nil
	}
	if !m.expand && alias(n.good) != "" && alias(n.good) == alias(n.bad) && alias(n.bad) == alias(n.head) {
		*m.skipped = true
		return nil, nil
	}
	good, bad, head := resolve(n.good), resolve(n.bad), resolve(n.head)
	if n.head.Kind != yaml.AliasNode && good.Kind == bad.Kind && bad.Kind == head.Kind && head.Kind != yaml.ScalarNode {
		edits, err := m.inside(three{good, bad, head}, at, path)
		if !errors.Is(err, errShape) {
			return edits, err
		}
	}
	if !same(n.head, n.bad) {
		return nil, fmt.Errorf("%s: %w", path, errConflict)
	}
	return m.replace(n, at, path)
}

// alias is the anchor's name that a node stands for, "" where it is no alias.
func alias(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.AliasNode {
		return ""
	}
	return node.Value
}

// inside merges the children of three collections of one kind; errShape says
// that only the whole can be replaced.
func (m merger) inside(n three, at place, path string) ([]edit, error) {
	flow := at.flow || n.head.Style&yaml.FlowStyle != 0
	switch {
	case flow:
		return m.flow(n, at, path)
	case n.head.Kind == yaml.MappingNode:
		return m.entries(pairs(n.good), pairs(n.bad), pairs(n.head), path)
	}
	return m.sequence(n, path)
}

// flow merges values of a flow collection of the same shape on all sides.
func (m merger) flow(n three, at place, path string) ([]edit, error) {
	length := len(n.head.Content)
	if len(n.good.Content) != length || len(n.bad.Content) != length {
		return nil, fmt.Errorf("%s: %w", path, errShape)
	}
	at.flow = true
	var edits []edit
	for i, value := range n.head.Content {
		inner := three{n.good.Content[i], n.bad.Content[i], value}
		if n.head.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			key := n.head.Content[i-1].Value
			good, ok1 := byID(pairs(n.good), key)
			bad, ok2 := byID(pairs(n.bad), key)
			if !ok1 || !ok2 {
				return nil, fmt.Errorf("%s.%s: %w", path, key, errShape)
			}
			inner = three{good.value, bad.value, value}
		}
		more, err := m.node(inner, at, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	return edits, nil
}

// replace puts good's text in the place of head's node.
func (m merger) replace(n three, at place, path string) ([]edit, error) {
	good := resolve(n.good)
	if good.Kind != yaml.ScalarNode && good.Style&yaml.FlowStyle == 0 && len(good.Content) > 0 {
		return nil, fmt.Errorf("%s: %w", path, errShape)
	}
	end, err := m.head.end(n.head, at)
	if err != nil {
		return nil, err
	}
	text, err := m.text(n, at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	start := m.head.start(n.head)
	if start == end && start > 0 && m.head.data[start-1] == ':' {
		text = " " + text // the value was empty
	}
	return []edit{{start, end, text}}, nil
}

// text is good's value as it is to stand in head: in head's quotes where those
// are newer than bad's, else in good's own words.
func (m merger) text(n three, at place) (string, error) {
	good := resolve(n.good)
	const quotes = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle
	if good.Kind == yaml.ScalarNode && !strings.ContainsAny(good.Value, "\n\\\t") && n.head.Kind == yaml.ScalarNode {
		switch style := n.head.Style & quotes; {
		case style == resolve(n.bad).Style&quotes || good.ShortTag() != "!!str":
		case style == yaml.DoubleQuotedStyle && !strings.Contains(good.Value, `"`):
			return `"` + good.Value + `"`, nil
		case style == yaml.SingleQuotedStyle:
			return "'" + strings.ReplaceAll(good.Value, "'", "''") + "'", nil
		}
	}
	if at.flow && good.Kind == yaml.ScalarNode && good.Style&quotes == 0 && strings.ContainsAny(good.Value, ",[]{}\n") {
		return strconv.Quote(good.Value), nil
	}
	goodAt, err := m.goodPlace(good)
	if err != nil {
		return "", err
	}
	end, err := m.good.end(good, goodAt)
	if err != nil {
		return "", err
	}
	return reindent(string(m.good.data[m.good.start(good):end]), at.indent-goodAt.indent, m.head.eol)
}

// goodPlace finds the owner of a node of good by walking its documents.
func (m merger) goodPlace(node *yaml.Node) (place, error) {
	for _, document := range m.good.documents {
		if at, found := m.good.locate(document, node, place{indent: -1}); found {
			return at, nil
		}
	}
	return place{}, fmt.Errorf("%s: %w", m.good.name, errShape)
}

func (s *source) locate(within, node *yaml.Node, at place) (place, bool) {
	if within == node {
		return at, true
	}
	at.flow = at.flow || within.Style&yaml.FlowStyle != 0
	for i, child := range within.Content {
		inner := at
		if !at.flow {
			switch {
			case within.Kind == yaml.MappingNode && i%2 == 1:
				inner.indent = s.column(s.keyStart(within.Content[i-1]))
			case within.Kind == yaml.SequenceNode:
				inner.indent = s.column(s.start(within))
			}
		}
		if found, ok := s.locate(child, node, inner); ok {
			return found, true
		}
	}
	return place{}, false
}

// entry is one entry of a block mapping or one item of a block sequence: its
// identity among its siblings, its first byte and its value.
type entry struct {
	id    string
	first *yaml.Node // the key; for an item, the item itself
	item  bool
	value *yaml.Node
}

func pairs(mapping *yaml.Node) []entry {
	entries := make([]entry, 0, len(mapping.Content)/2)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		entries = append(entries, entry{id: mapping.Content[i].Value, first: mapping.Content[i], value: mapping.Content[i+1]})
	}
	return entries
}

// itemKeys name the items of the lists that Kubernetes and kustomize know.
var itemKeys = []string{"name", "mountPath", "containerPort", "devicePath", "topologyKey", "key", "ip", "uid"}

// items gives the items of a sequence an identity: a field that all of them
// have and in which they differ.
func items(sequence *yaml.Node, key string) ([]entry, bool) {
	entries := make([]entry, 0, len(sequence.Content))
	seen := map[string]bool{}
	for _, item := range sequence.Content {
		id := ""
		for _, field := range pairs(resolve(item)) {
			if field.id == key && field.value.Kind == yaml.ScalarNode {
				id = field.value.Value
			}
		}
		if resolve(item).Kind != yaml.MappingNode || id == "" || seen[id] {
			return nil, false
		}
		seen[id] = true
		entries = append(entries, entry{id: id, first: item, item: true, value: item})
	}
	return entries, true
}

// scalars are the items of a list of plain values that all differ, each its own identity: nil for any other list.
func scalars(sequence *yaml.Node) []entry {
	entries := []entry{}
	seen := map[string]bool{}
	for _, item := range sequence.Content {
		value := resolve(item)
		if value.Kind != yaml.ScalarNode || seen[value.Value] {
			return nil
		}
		seen[value.Value] = true
		entries = append(entries, entry{id: value.Value, first: item, item: true, value: item})
	}
	return entries
}

func (m merger) sequence(n three, path string) ([]edit, error) {
	for _, key := range itemKeys {
		good, ok1 := items(n.good, key)
		bad, ok2 := items(n.bad, key)
		head, ok3 := items(n.head, key)
		if ok1 && ok2 && ok3 {
			return m.entries(good, bad, head, path)
		}
	}
	edits, err := m.positions(n, path)
	if err == nil || same(n.bad, n.head) {
		return edits, err
	}
	if good, bad, head := scalars(n.good), scalars(n.bad), scalars(n.head); good != nil && bad != nil && head != nil {
		return m.entries(good, bad, head, path)
	}
	return nil, err
}

// positions merges lists of one length item by item.
func (m merger) positions(n three, path string) ([]edit, error) {
	if len(n.good.Content) != len(n.bad.Content) || len(n.bad.Content) != len(n.head.Content) {
		return nil, fmt.Errorf("%s: %w", path, errShape)
	}
	var edits []edit
	for i := range n.head.Content {
		at := place{indent: m.head.column(m.head.start(n.head))}
		more, err := m.node(three{n.good.Content[i], n.bad.Content[i], n.head.Content[i]}, at, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	return edits, nil
}

// entries merges siblings by identity.
func (m merger) entries(good, bad, head []entry, path string) ([]edit, error) {
	var edits []edit
	for _, id := range union(good, bad) {
		more, err := m.one(good, bad, head, id, path)
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	kept := 0
	for _, h := range head {
		_, inGood := byID(good, h.id)
		if _, inBad := byID(bad, h.id); inGood || !inBad {
			kept++
		}
	}
	if kept == 0 {
		return nil, fmt.Errorf("%s: nothing would be left: %w", path, errShape)
	}
	return edits, nil
}

// one merges one entry among its siblings.
func (m merger) one(good, bad, head []entry, id, path string) ([]edit, error) {
	g, inGood := byID(good, id)
	b, inBad := byID(bad, id)
	h, inHead := byID(head, id)
	at := path + "." + id
	switch {
	case inGood && inBad && inHead:
		return m.common(g, b, h, at)
	case inGood && inBad && same(g.value, b.value):
		return nil, nil
	case inGood && inBad:
		return nil, fmt.Errorf("%s: %w", at, errConflict)
	case inGood && inHead && same(g.value, h.value), !inGood && !inHead:
		return nil, nil
	case inGood && !inHead:
		return m.insert(g, good, head)
	case inBad && same(h.value, b.value):
		return m.remove(h, head)
	}
	return nil, fmt.Errorf("%s: %w", at, errConflict)
}

func union(a, b []entry) []string {
	var ids []string
	seen := map[string]bool{}
	for _, list := range [][]entry{a, b} {
		for _, e := range list {
			if !seen[e.id] {
				seen[e.id] = true
				ids = append(ids, e.id)
			}
		}
	}
	return ids
}

// common merges an entry that all three sides have, as a whole where its inside
// cannot be edited.
func (m merger) common(g, b, h entry, path string) ([]edit, error) {
	at := place{indent: m.head.column(m.first(m.head, h))}
	edits, err := m.node(three{g.value, b.value, h.value}, at, path)
	if !errors.Is(err, errShape) || !same(h.value, b.value) {
		return edits, err
	}
	text, err := m.entryText(g, at.indent)
	if err != nil {
		return nil, err
	}
	end, err := m.entryEnd(m.head, h)
	if err != nil {
		return nil, err
	}
	return []edit{{m.first(m.head, h), end, text}}, nil
}

func byID(entries []entry, id string) (entry, bool) {
	for _, e := range entries {
		if e.id == id {
			return e, true
		}
	}
	return entry{}, false
}

func resolve(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// same compares two nodes by meaning: style, comments, anchors and the order of
// mappings do not count.
func same(a, b *yaml.Node) bool {
	a, b = resolve(a), resolve(b)
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	switch a.Kind {
	case yaml.ScalarNode:
		return a.ShortTag() == b.ShortTag() && a.Value == b.Value
	case yaml.MappingNode:
		other := pairs(b)
		for _, field := range pairs(a) {
			match, found := byID(other, field.id)
			if !found || !same(field.value, match.value) {
				return false
			}
		}
		return true
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
