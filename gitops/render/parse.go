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
)

// Documents splits a file into its YAML documents, checked for size after the
// expansion of aliases. An empty document keeps its place as a nil.
func Documents(name string, content []byte) ([]*yaml.Node, error) {
	return new(spent).documents(name, content)
}

func (s *spent) documents(name string, content []byte) ([]*yaml.Node, error) {
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
		if err := s.document(name, len(documents), &document); err != nil {
			return nil, err
		}
		documents = append(documents, &document)
	}
}

// Parse returns the objects of one file of plain YAML.
func Parse(name string, content []byte) ([]Object, error) { return new(spent).parse(name, content) }

func (s *spent) parse(name string, content []byte) ([]Object, error) {
	documents, err := s.documents(name, content)
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
