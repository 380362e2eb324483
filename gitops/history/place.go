package history

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/belay-delivery/belay/gitops/render"
)

// maxParsed is how many parsed files are kept.
const maxParsed = 64

// Document names a document of a file: by kind, name and (where the file says one) namespace; or by its place.
type Document struct {
	Kind, Namespace, Name string
	// Index counts the documents of the file from 0; it is used where Kind is empty.
	Index int
}

func (d Document) String() string {
	if d.Kind == "" {
		return fmt.Sprintf("document %d", d.Index)
	}
	return strings.TrimSuffix(d.Kind+" "+d.Namespace, " ") + "/" + d.Name
}

// Place is a field of a document of a file.
type Place struct {
	File string
	Document
	// Field is a path as managedFields and structured-merge-diff print it: .spec.replicas,
	// .spec.template.spec.containers[name="app"].image, .spec.args[0]; "" is the whole document.
	Field string
}

// value is what stands at a place.
type value struct {
	found bool
	// field is the path that was found, a beginning of the one asked for.
	field  string
	digest [sha256.Size]byte
	line   int
}

// errParse says that a content of the file is no YAML, or above a limit.
var errParse = errors.New("the file cannot be parsed")

func parseFile(name string, raw []byte) ([]*yaml.Node, error) {
	documents, err := render.Documents(name, raw)
	if err != nil {
		return nil, errors.Join(errParse, err)
	}
	return documents, nil
}

// find looks a place up; a field that is not there gives the nearest around it.
func find(documents []*yaml.Node, place Place) value {
	document := pick(documents, place.Document)
	if document == nil {
		return value{}
	}
	node, line, rest := document, document.Line, place.Field
	for rest != "" {
		child, at, left := descend(resolve(node), rest)
		if child == nil {
			break
		}
		node, line, rest = child, at, left
	}
	sum := sha256.New()
	digest(sum, node)
	found := value{found: true, field: strings.TrimSuffix(place.Field, rest), line: line}
	sum.Sum(found.digest[:0])
	return found
}

// pick returns the content of a document.
func pick(documents []*yaml.Node, wanted Document) *yaml.Node {
	for i, document := range documents {
		if document == nil || len(document.Content) == 0 {
			continue
		}
		content := resolve(document.Content[0])
		if wanted.Kind == "" {
			if i == wanted.Index {
				return content
			}
			continue
		}
		if matches(content, wanted) {
			return content
		}
	}
	return nil
}

func matches(node *yaml.Node, wanted Document) bool {
	kind, metadata := scalar(child(node, "kind")), resolve(child(node, "metadata"))
	namespace := scalar(child(metadata, "namespace"))
	return kind == wanted.Kind && scalar(child(metadata, "name")) == wanted.Name &&
		(namespace == "" || wanted.Namespace == "" || namespace == wanted.Namespace)
}

// resolve follows aliases; their expansion has been bounded when the file was parsed.
func resolve(node *yaml.Node) *yaml.Node {
	for node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// child is a key's value in a mapping.
func child(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

func scalar(node *yaml.Node) string {
	if node = resolve(node); node != nil && node.Kind == yaml.ScalarNode {
		return node.Value
	}
	return ""
}

// descend takes one element off a path. Keys are not escaped in such paths, so the longest key that fits is taken.
func descend(node *yaml.Node, path string) (found *yaml.Node, line int, rest string) {
	switch {
	case node == nil:
		return nil, 0, path
	case strings.HasPrefix(path, ".") && node.Kind == yaml.MappingNode:
		return descendKey(node, path)
	case strings.HasPrefix(path, "[") && node.Kind == yaml.SequenceNode:
		selector, length := cutSelector(path)
		if length == 0 {
			return nil, 0, path
		}
		for i, item := range node.Content {
			if selects(selector, i, resolve(item)) {
				return item, item.Line, path[length:]
			}
		}
	}
	return nil, 0, path
}

func descendKey(node *yaml.Node, path string) (found *yaml.Node, line int, rest string) {
	longest := -1
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i].Value
		after, fits := strings.CutPrefix(path[1:], key)
		if fits && len(key) > longest && (after == "" || after[0] == '.' || after[0] == '[') {
			longest, found, line, rest = len(key), node.Content[i+1], node.Content[i].Line, after
		}
	}
	return found, line, rest
}

// cutSelector reads "[…]" from the beginning of a path, whose quoted values may hold brackets.
func cutSelector(path string) (inner string, length int) {
	quoted := false
	for i := 1; i < len(path); i++ {
		switch {
		case path[i] == '\\' && quoted:
			i++
		case path[i] == '"':
			quoted = !quoted
		case path[i] == ']' && !quoted:
			return path[1:i], i + 1
		}
	}
	return "", 0
}

// selects says whether an item of a list is meant: by place, by value (="x"), or by its keys (name="app",port=80), of which
// the file may leave out those with a default.
func selects(selector string, index int, item *yaml.Node) bool {
	if n, err := strconv.Atoi(selector); err == nil {
		return n == index
	}
	if wanted, byValue := strings.CutPrefix(selector, "="); byValue {
		return scalar(item) == unquote(wanted)
	}
	matched := false
	for _, part := range splitKeys(selector) {
		key, wanted, ok := strings.Cut(part, "=")
		if !ok {
			return false
		}
		have := child(item, key)
		if have == nil {
			continue
		}
		if scalar(have) != unquote(wanted) {
			return false
		}
		matched = true
	}
	return matched
}

func splitKeys(selector string) []string {
	var parts []string
	quoted, start := false, 0
	for i := 0; i < len(selector); i++ {
		switch {
		case selector[i] == '\\' && quoted:
			i++
		case selector[i] == '"':
			quoted = !quoted
		case selector[i] == ',' && !quoted:
			parts, start = append(parts, selector[start:i]), i+1
		}
	}
	return append(parts, selector[start:])
}

func unquote(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return text
}

// digest writes what a node means: no comments, no style, no order of keys.
func digest(sum hash.Hash, node *yaml.Node) {
	node = resolve(node)
	switch node.Kind {
	case yaml.ScalarNode:
		fmt.Fprintf(sum, "s%s %d:%s", node.ShortTag(), len(node.Value), node.Value)
	case yaml.MappingNode:
		order := make([]int, 0, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			order = append(order, i)
		}
		slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(node.Content[a].Value, node.Content[b].Value) })
		fmt.Fprintf(sum, "m%d", len(order))
		for _, i := range order {
			digest(sum, node.Content[i])
			digest(sum, node.Content[i+1])
		}
	default:
		fmt.Fprintf(sum, "l%d", len(node.Content))
		for _, item := range node.Content {
			digest(sum, item)
		}
	}
}

// parsedFiles keeps the files parsed last, by the name of their content.
type parsedFiles struct {
	files map[string][]*yaml.Node
	used  []string
}

func (p *parsedFiles) get(blob string) ([]*yaml.Node, bool) {
	documents, found := p.files[blob]
	return documents, found
}

func (p *parsedFiles) put(blob string, documents []*yaml.Node) {
	if p.files == nil {
		p.files = map[string][]*yaml.Node{}
	}
	if _, known := p.files[blob]; !known {
		p.used = append(p.used, blob)
	}
	p.files[blob] = documents
	if len(p.used) > maxParsed {
		delete(p.files, p.used[0])
		p.used = p.used[1:]
	}
}
