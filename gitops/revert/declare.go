package revert

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

// Change is a field that gets another value, or none (nil).
type Change struct {
	Path  fieldpath.Path
	Value any
}

// ErrNotDeclared says that the file which declares an object does not decide these fields: a kustomization does.
var ErrNotDeclared = errors.New("the file does not decide these fields")

// Declare writes values into the file that declares an object, as a splice that keeps everything else of the file, and proves
// it: the folder then renders to this object with these values, and to everything else as before.
func Declare(t tree.Tree, dir string, key render.Key, changes []Change) (map[string]*[]byte, error) {
	before, err := render.Render(t, dir)
	if err != nil {
		return nil, err
	}
	target := -1
	for i, o := range before {
		k := o.Key()
		if k.Group == key.Group && k.Kind == key.Kind && k.Name == key.Name && (k.Namespace == key.Namespace || k.Namespace == "") {
			target = i
		}
	}
	if target < 0 {
		return nil, fmt.Errorf("folder %q does not declare %s", dir, key)
	}
	origin := before[target].Origin
	data, err := t.ReadFile(origin.File)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", origin.File, err)
	}
	out, err := setFields(origin, data, key, changes)
	if err != nil {
		return nil, err
	}
	result := map[string]*[]byte{origin.File: &out}
	after, err := render.Render(tree.Overlay(t, result), dir)
	if err != nil {
		return nil, fmt.Errorf("rendering the changed folder: %w", err)
	}
	if why := proveDeclared(before, after, target, changes); why != "" {
		return nil, fmt.Errorf("%s: %s: %w", origin.File, why, ErrNotDeclared)
	}
	return result, nil
}

// proveDeclared returns why what was rendered is not what it was with the changes.
func proveDeclared(before, after []render.Object, target int, changes []Change) string {
	if len(before) != len(after) {
		return "the folder renders to another number of objects"
	}
	for i := range before {
		want := before[i].Unstructured
		if i == target {
			want = want.DeepCopy()
			for _, c := range changes {
				if !drift.Put(want, c.Path, c.Value) {
					return fmt.Sprintf("there is no place for %s", c.Path)
				}
			}
		}
		if !equality.Semantic.DeepEqual(plain(want), plain(after[i].Unstructured)) {
			return fmt.Sprintf("%s renders otherwise than wanted", before[i].Key())
		}
	}
	return ""
}

// plain makes numbers comparable: they are of different types when they come from the API server and from YAML.
func plain(u *unstructured.Unstructured) any {
	raw, err := u.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(raw); err != nil {
		return err.Error()
	}
	return out.Object
}

// setFields makes the splice: the file with the values is what the file itself is brought to.
func setFields(origin render.Origin, data []byte, key render.Key, changes []Change) ([]byte, error) {
	head, err := newSource(origin.File, data)
	if err != nil {
		return nil, err
	}
	index := -1
	for i, document := range head.documents {
		id := identity(document)
		if i == origin.Doc || origin.Doc < 0 && id.kind == key.Kind && id.name != "" && strings.Contains(key.Name, id.name) {
			index = i
		}
	}
	if index < 0 || body(head.documents[index]) == nil || body(head.documents[index]).Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s does not hold %s as a document of its own: %w", origin.File, key, ErrNotDeclared)
	}
	wanted, err := render.Documents(origin.File, data)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if err := setNode(body(wanted[index]), c.Path, c.Value); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", origin.File, c.Path, err)
		}
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(body(wanted[index])), encoder.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", origin.File, err)
	}
	good, err := newSource(origin.File, text.Bytes())
	if err != nil {
		return nil, err
	}
	at := body(head.documents[index])
	m := merger{good: good, bad: head, head: head}
	edits, err := m.node(three{body(good.documents[0]), at, at}, place{indent: -1}, ":")
	if err != nil {
		return nil, fmt.Errorf("%s%w", origin.File, err)
	}
	return head.apply(edits)
}

var errNoPlace = errors.New("there is no such place in the file")

// setNode sets or removes a value in a document.
func setNode(at *yaml.Node, path fieldpath.Path, value any) error {
	at = resolve(at)
	if len(path) == 0 || at == nil {
		return errNoPlace
	}
	if path[0].Key != nil {
		return setItem(at, path, value)
	}
	if path[0].FieldName == nil || at.Kind != yaml.MappingNode {
		return errNoPlace
	}
	for i := 0; i+1 < len(at.Content); i += 2 {
		if at.Content[i].Value != *path[0].FieldName {
			continue
		}
		switch {
		case len(path) > 1:
			return setNode(at.Content[i+1], path[1:], value)
		case value == nil:
			at.Content = append(at.Content[:i:i], at.Content[i+2:]...)
			return nil
		}
		return encodeInto(at.Content[i+1], value)
	}
	if value == nil {
		return nil
	}
	key, fresh := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: *path[0].FieldName}, &yaml.Node{}
	at.Content = append(at.Content, key, fresh)
	if len(path) == 1 {
		return encodeInto(fresh, value)
	}
	*fresh = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	return setNode(fresh, path[1:], value)
}

func setItem(at *yaml.Node, path fieldpath.Path, value any) error {
	if at.Kind != yaml.SequenceNode {
		return errNoPlace
	}
	for i, node := range at.Content {
		var m map[string]any
		if node.Decode(&m) != nil {
			continue
		}
		if !drift.Names(m, path[0]) {
			continue
		}
		switch {
		case len(path) > 1:
			return setNode(node, path[1:], value)
		case value == nil:
			at.Content = append(at.Content[:i:i], at.Content[i+1:]...)
			return nil
		}
		return encodeInto(node, value)
	}
	if len(path) > 1 {
		return errNoPlace
	}
	if value == nil {
		return nil
	}
	fresh := &yaml.Node{}
	at.Content = append(at.Content, fresh)
	return encodeInto(fresh, value)
}

// encodeInto gives a node a value; a scalar keeps its comment, and its quotes where it is text.
func encodeInto(node *yaml.Node, value any) error {
	var fresh yaml.Node
	if err := fresh.Encode(value); err != nil {
		return err
	}
	fresh.HeadComment, fresh.LineComment, fresh.FootComment = node.HeadComment, node.LineComment, node.FootComment
	if fresh.Tag == "!!str" && node.Kind == yaml.ScalarNode && fresh.Style == 0 {
		fresh.Style = node.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	}
	*node = fresh
	return nil
}
