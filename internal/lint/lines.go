package lint

import (
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// lineOf is the line of the field at path, or of the nearest thing above it that is in the file.
func lineOf(node *yamlv3.Node, path string) int {
	line := node.Line
	for _, element := range splitPath(path) {
		key, value := step(node, element)
		if value == nil {
			return line
		}
		line, node = key.Line, value
	}
	return line
}

// step goes one element down: key is the node to point at, value the one to go on from.
func step(node *yamlv3.Node, element string) (key, value *yamlv3.Node) {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == element {
				return node.Content[i], node.Content[i+1]
			}
		}
	case yamlv3.SequenceNode:
		i, err := strconv.Atoi(element)
		if err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	}
	return nil, nil
}

func child(node *yamlv3.Node, key string) *yamlv3.Node {
	_, value := step(node, key)
	return value
}

// splitPath splits a field path: spec.steps[1].weight, metadata.labels[app.kubernetes.io/name].
func splitPath(path string) []string {
	var out []string
	for path != "" {
		if path[0] == '[' {
			inside, rest, _ := strings.Cut(path[1:], "]")
			out = append(out, strings.Trim(inside, `"'`))
			path = strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		out = append(out, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return out
}
