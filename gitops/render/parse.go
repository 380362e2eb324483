package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/gitops/tree"
)

// maxNodes bounds a document after its aliases are expanded.
const maxNodes = 200_000

// maxDepth bounds nesting.
const maxDepth = 200

// Documents splits a file into its YAML documents, checked for size after the
// expansion of aliases. An empty document keeps its place as a nil.
func Documents(name string, content []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var documents []*yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: document %d: %w", name, len(documents), NotYAML(err))
		}
		left := maxNodes
		if !countNodes(&document, &left, maxDepth) {
			return nil, fmt.Errorf("reading %s: document %d: nodes after expanding aliases: %w", name, len(documents), tree.ErrTooLarge)
		}
		documents = append(documents, &document)
	}
}

func countNodes(node *yaml.Node, left *int, depth int) bool {
	*left--
	if *left < 0 || depth == 0 {
		return false
	}
	if node.Kind == yaml.AliasNode {
		return countNodes(node.Alias, left, depth-1)
	}
	for _, child := range node.Content {
		if !countNodes(child, left, depth-1) {
			return false
		}
	}
	return true
}

// Parse returns the objects of one file of plain YAML.
func Parse(name string, content []byte) ([]Object, error) { return parse(name, content) }

func parse(name string, content []byte) ([]Object, error) {
	documents, err := Documents(name, content)
	if err != nil {
		return nil, err
	}
	var objects []Object
	for index, document := range documents {
		value, err := generic(document)
		if err != nil {
			return nil, fmt.Errorf("reading %s: document %d: %w", name, index, err)
		}
		if value == nil {
			continue
		}
		found, err := flatten(value, Origin{File: name, Doc: index})
		if err != nil {
			return nil, fmt.Errorf("reading %s: document %d: %w", name, index, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// errNoKind stands for what the decoder says, which repeats the whole object.
var errNoKind = errors.New("apiVersion or kind is missing, or is not text")

// generic decodes a document as the API server would: through JSON, strictly,
// so that a duplicate key is an error.
func generic(document *yaml.Node) (map[string]any, error) {
	if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
		return nil, nil
	}
	if document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: not an object", document.Content[0].Line)
	}
	encoded, err := yaml.Marshal(document)
	if err != nil {
		return nil, NotYAML(err)
	}
	raw, err := sigsyaml.YAMLToJSONStrict(encoded)
	if err != nil {
		return nil, NotYAML(err)
	}
	object := &unstructured.Unstructured{}
	var value map[string]any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	if len(value) == 0 {
		return nil, nil
	}
	if value["kind"] == nil || value["apiVersion"] == nil {
		return nil, errNoKind
	}
	if _, isList := value["items"].([]any); isList && strings.HasSuffix(fmt.Sprint(value["kind"]), "List") {
		return value, nil
	}
	// The unstructured decoder keeps integers as int64.
	if err := object.UnmarshalJSON(raw); err != nil {
		return nil, errNoKind
	}
	return object.Object, nil
}

// flatten takes List kinds apart and checks that each object has a name.
func flatten(value map[string]any, origin Origin) ([]Object, error) {
	kind, _ := value["kind"].(string)
	items, isList := value["items"].([]any)
	if !isList || !strings.HasSuffix(kind, "List") {
		object := &unstructured.Unstructured{Object: value}
		if object.GetAPIVersion() == "" || kind == "" || object.GetName() == "" {
			return nil, fmt.Errorf("kind %q: apiVersion, kind or metadata.name is missing", kind)
		}
		// An unquoted "n" or "1" is not text; it must not read as "no namespace".
		if _, _, err := unstructured.NestedString(value, "metadata", "namespace"); err != nil {
			return nil, fmt.Errorf("kind %q: metadata.namespace is not text", kind)
		}
		return []Object{{Unstructured: object, Origin: origin}}, nil
	}
	var objects []Object
	for index, item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", index, err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("item %d: %w", index, errNoKind)
		}
		found, err := flatten(object.Object, origin)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", index, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}
