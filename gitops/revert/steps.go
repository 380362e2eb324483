package revert

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// step leads one level down: by key of a mapping, by index of a list, or to the item of a list whose field by is key.
type step struct {
	key, by string
	index   int
}

func (s step) String() string {
	switch {
	case s.by != "" && strings.ContainsAny(s.key, `]"`):
		return fmt.Sprintf("[%s=%q]", s.by, s.key)
	case s.by != "":
		return fmt.Sprintf("[%s=%s]", s.by, s.key)
	case s.key == "":
		return fmt.Sprintf("[%d]", s.index)
	case strings.ContainsAny(s.key, `.[]"`):
		return fmt.Sprintf("[%q]", s.key)
	}
	return "." + s.key
}

func stepsText(steps []step) string {
	var out strings.Builder
	for _, s := range steps {
		out.WriteString(s.String())
	}
	return strings.TrimPrefix(out.String(), ".")
}

// maxSteps bounds a path.
const maxSteps = 64

// parseSteps reads image.tag, list[0].x, list[name=app].x and labels["app.kubernetes.io/name"]; a dot may come first.
func parseSteps(text string) ([]step, error) {
	var out []step
	for rest := text; rest != ""; {
		var next step
		var err error
		if rest[0] == '[' {
			next, rest, err = bracket(rest)
		} else {
			if rest[0] == '.' {
				rest = rest[1:]
			} else if len(out) > 0 {
				err = errors.New("a dot is missing")
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if next.key, rest = rest[:end], rest[end:]; next.key == "" {
				err = errors.New("a key is empty")
			}
		}
		if err == nil && len(out) == maxSteps {
			err = fmt.Errorf("it has more than %d keys", maxSteps)
		}
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", text, err)
		}
		out = append(out, next)
	}
	if len(out) == 0 {
		return nil, errors.New("the path is empty")
	}
	return out, nil
}

// bracket reads [0], [name=app], [name="app"] or ["any.key"]. Quotes are Go's and JSON's: a quote inside is escaped by a backslash.
func bracket(text string) (step, string, error) {
	text = text[1:]
	if strings.HasPrefix(text, `"`) {
		key, rest, err := quoted(text)
		return step{key: key}, rest, err
	}
	end := strings.IndexAny(text, "=]")
	if end < 0 {
		return step{}, "", errNotClosed
	}
	inside, rest := text[:end], text[end+1:]
	if text[end] == '=' {
		next := step{by: inside}
		if strings.HasPrefix(rest, `"`) {
			var err error
			if next.key, rest, err = quoted(rest); err != nil {
				return step{}, "", err
			}
		} else {
			var closed bool
			if next.key, rest, closed = strings.Cut(rest, "]"); !closed {
				return step{}, "", errNotClosed
			}
		}
		if next.by == "" || next.key == "" {
			return step{}, "", fmt.Errorf("[%s=%s] is not of the form [name=value]", next.by, next.key)
		}
		return next, rest, nil
	}
	index, err := strconv.ParseUint(inside, 10, 16)
	if err != nil {
		return step{}, "", fmt.Errorf("[%s] is neither a number, nor name=value, nor a key in quotes", inside)
	}
	return step{index: int(index)}, rest, nil
}

var errNotClosed = errors.New("a bracket does not close")

// quoted reads what stands in quotes up to the bracket that closes.
func quoted(text string) (value, rest string, err error) {
	prefix, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", errors.New("a quote does not close")
	}
	if value, err = strconv.Unquote(prefix); err != nil || value == "" {
		return "", "", fmt.Errorf("%s is not a key in quotes", prefix)
	}
	rest, closed := strings.CutPrefix(text[len(prefix):], "]")
	if !closed {
		return "", "", fmt.Errorf("%s is not followed by a bracket that closes", prefix)
	}
	return value, rest, nil
}

// down follows one step; nil where it leads nowhere.
func (s step) down(node *yaml.Node) *yaml.Node {
	node = resolve(node)
	switch {
	case node == nil:
		return nil
	case s.by == "" && s.key != "":
		if node.Kind != yaml.MappingNode {
			return nil
		}
		found, _ := byID(pairs(node), s.key)
		return found.value
	case node.Kind != yaml.SequenceNode:
		return nil
	case s.by == "":
		if s.index >= len(node.Content) {
			return nil
		}
		return node.Content[s.index]
	}
	for _, item := range node.Content {
		if text(child(resolve(item), s.by)) == s.key {
			return item
		}
	}
	return nil
}

func follow(node *yaml.Node, steps []step) *yaml.Node {
	for _, s := range steps {
		if node = s.down(node); node == nil {
			return nil
		}
	}
	return node
}

// within follows steps in decoded JSON or YAML.
func within(value any, steps []step) (any, bool) {
	for _, s := range steps {
		next, ok := s.within(value)
		if !ok {
			return nil, false
		}
		value = next
	}
	return value, true
}

func (s step) within(value any) (any, bool) {
	if s.by == "" && s.key != "" {
		object, _ := value.(map[string]any)
		found, ok := object[s.key]
		return found, ok
	}
	list, _ := value.([]any)
	if i := s.indexIn(list); i >= 0 {
		return list[i], true
	}
	return nil, false
}

// indexIn is where in a list the step leads to, -1 where to nothing.
func (s step) indexIn(list []any) int {
	if s.by == "" {
		if s.index < len(list) {
			return s.index
		}
		return -1
	}
	for i, item := range list {
		if object, ok := item.(map[string]any); ok && object[s.by] == s.key {
			return i
		}
	}
	return -1
}

// put sets a value that is there, or a key of an object that is; nil takes a key out. It says whether there was a place for it.
func put(at any, steps []step, value any) bool {
	parent, found := within(at, steps[:len(steps)-1])
	last := steps[len(steps)-1]
	if !found {
		return false
	}
	switch typed := parent.(type) {
	case map[string]any:
		if last.key == "" || last.by != "" {
			return false
		}
		if typed[last.key] = value; value == nil {
			delete(typed, last.key)
		}
		return true
	case []any:
		if i := last.indexIn(typed); i >= 0 && (last.by == "" && last.key == "") {
			typed[i] = value
			return true
		}
	}
	return false
}
