package lint

import (
	"encoding/json"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemasOf reads CustomResourceDefinitions that are at hand as objects.
func SchemasOf(definitions []*unstructured.Unstructured) (*Schemas, error) {
	out := &Schemas{kinds: map[schema.GroupVersionKind]*kindSchema{}}
	for _, u := range definitions {
		raw, err := json.Marshal(u.Object)
		if err != nil {
			return nil, fmt.Errorf("encoding CRD %s: %w", u.GetName(), err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := json.Unmarshal(raw, definition); err != nil {
			return nil, fmt.Errorf("decoding CRD %s: %w", u.GetName(), err)
		}
		if err := out.add(definition); err != nil {
			return nil, fmt.Errorf("compiling CRD %s: %w", u.GetName(), err)
		}
	}
	return out, nil
}

// Knows says whether a kind can be validated.
func (s *Schemas) Knows(gvk schema.GroupVersionKind) bool {
	_, ok := s.kinds[gvk]
	return ok
}
