package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// remedy says what would be right: the documentation of the field, where the error does not say it itself.
func (k *kindSchema) remedy(e *field.Error) string {
	switch e.Type {
	case field.ErrorTypeRequired:
		return prefixed("give it: ", k.describe(trimPath(e)))
	case field.ErrorTypeTypeInvalid:
		return k.describe(trimPath(e))
	case field.ErrorTypeDuplicate:
		return "keep one of them"
	case field.ErrorTypeInvalid:
		if strings.Contains(e.Detail, "should match") || strings.Contains(e.Detail, "should be") {
			return k.describe(trimPath(e))
		}
	}
	return ""
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// describe is the documentation of the field at path.
func (k *kindSchema) describe(path string) string {
	props := k.at(splitPath(path))
	if props == nil {
		return ""
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(props.Description), " "), ".")
}

// at is the schema at a path, or nil.
func (k *kindSchema) at(path []string) *apiextensionsv1.JSONSchemaProps {
	props := k.props
	for _, element := range path {
		next, ok := props.Properties[element]
		switch {
		case ok:
			props = &next
		case props.Items != nil && props.Items.Schema != nil:
			props = props.Items.Schema
		case props.AdditionalProperties != nil && props.AdditionalProperties.Schema != nil:
			props = props.AdditionalProperties.Schema
		default:
			return nil
		}
	}
	return props
}

// suggest names the known field that is nearest to an unknown one, or all that are known at that place.
func (k *kindSchema) suggest(path string) string {
	elements := splitPath(path)
	if len(elements) == 0 {
		return ""
	}
	parent := k.at(elements[:len(elements)-1])
	if parent == nil || len(parent.Properties) == 0 {
		return "take it out"
	}
	name := elements[len(elements)-1]
	known := slices.Sorted(maps.Keys(parent.Properties))
	best, distance := "", 3
	for _, candidate := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	if len(known) > 16 {
		return "take it out"
	}
	return "known here are: " + strings.Join(known, ", ")
}

// editDistance is the Levenshtein distance of two short strings; 99 where one is long.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
