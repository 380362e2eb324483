package revert

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/tree"
)

// Part is a part of an image's name: registry/name:tag@digest.
type Part string

// The parts; "" is PartImage.
const (
	PartImage  Part = "Image"
	PartName   Part = "Name"
	PartTag    Part = "Tag"
	PartDigest Part = "Digest"
)

// Value says that a place of a file which is not rendered, such as a Helm chart's values, is where a part of the pod template
// comes from, literally.
type Value struct {
	File string
	// Path as parseSteps reads it.
	Path string
	// Container is whose image it is, and Part what of it; or Field is the path of a field of the template.
	Container string
	Part      Part
	Field     string
}

// ValuesOf are the values of a Rollout's revert.
func ValuesOf(spec *v1alpha1.Revert) []Value {
	var out []Value
	for _, v := range spec.Values {
		out = append(out, Value{File: v.File, Path: v.Path, Container: v.Container, Part: Part(v.Part), Field: v.Field})
	}
	return out
}

func (v Value) String() string { return v.File + " " + v.Path }

// Check says what is wrong with a Value by itself.
func (v Value) Check() error {
	if _, err := tree.Clean(v.File); err != nil {
		return err
	}
	if _, err := parseSteps(v.Path); err != nil {
		return err
	}
	if v.Container != "" {
		return nil
	}
	_, err := parseSteps(v.Field)
	return err
}

// In is what a pod template, as decoded JSON, says in this Value's place: "" where it says nothing.
func (v Value) In(template map[string]any) (string, error) {
	if v.Container == "" {
		steps, err := parseSteps(v.Field)
		if err != nil {
			return "", err
		}
		found, _ := within(template, steps)
		out, ok := plainText(found)
		if !ok {
			return "", fmt.Errorf("field %s of the pod template is neither text, nor a number, nor a boolean", v.Field)
		}
		return out, nil
	}
	image, err := imageOf(template, v.Container)
	if err != nil {
		return "", err
	}
	return v.Part.of(image), nil
}

func imageOf(template map[string]any, container string) (string, error) {
	for _, list := range []string{"containers", "initContainers"} {
		if found, ok := within(template, []step{{key: "spec"}, {key: list}, {by: "name", key: container}, {key: "image"}}); ok {
			if image, isText := found.(string); isText {
				return image, nil
			}
		}
	}
	return "", fmt.Errorf("the pod template has no container %q with an image", container)
}

// split takes an image's name apart.
func split(image string) (name, tag, digest string) {
	name, digest, _ = strings.Cut(image, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name, tag = name[:colon], name[colon+1:]
	}
	return name, tag, digest
}

func (p Part) of(image string) string {
	name, tag, digest := split(image)
	switch p {
	case PartName:
		return name
	case PartTag:
		return tag
	case PartDigest:
		return digest
	}
	return image
}

// into is an image with another part.
func (p Part) into(image, value string) string {
	name, tag, digest := split(image)
	switch p {
	case PartName:
		name = value
	case PartTag:
		tag = value
	case PartDigest:
		digest = value
	default:
		return value
	}
	if tag != "" {
		name += ":" + tag
	}
	if digest != "" {
		name += "@" + digest
	}
	return name
}

// plainText is a scalar as text; nothing is "".
func plainText(value any) (string, bool) {
	switch value.(type) {
	case nil:
		return "", true
	case map[string]any, []any:
		return "", false
	}
	return fmt.Sprint(value), true
}

// set puts what good says in this Value's place into a template.
func (v Value) set(template, good map[string]any) error {
	if v.Container == "" {
		steps, err := parseSteps(v.Field)
		if err != nil {
			return err
		}
		value, _ := within(good, steps)
		if !put(template, steps, value) {
			return fmt.Errorf("the pod template has no place for field %s", v.Field)
		}
		return nil
	}
	part, err := v.In(good)
	if err != nil {
		return err
	}
	image, err := imageOf(template, v.Container)
	if err != nil {
		return err
	}
	for _, list := range []string{"containers", "initContainers"} {
		at := []step{{key: "spec"}, {key: list}, {by: "name", key: v.Container}, {key: "image"}}
		if _, found := within(template, at); found {
			put(template, at, v.Part.into(image, part))
			break
		}
	}
	return nil
}

// says tells whether a value of a file means what the template has.
func (v Value) says(inFile, inTemplate string) bool {
	if inFile == inTemplate {
		return true
	}
	if !strings.Contains(v.Field, "resources") { // the API server writes 1000m as 1
		return false
	}
	a, err := resource.ParseQuantity(inFile)
	b, other := resource.ParseQuantity(inTemplate)
	return err == nil && other == nil && a.Cmp(b) == 0
}

// places are the steps of Values, by file; several Values of one place count once.
func places(values []Value) (map[string][][]step, error) {
	out := map[string][][]step{}
	seen := map[string]bool{}
	for _, v := range values {
		steps, err := parseSteps(v.Path)
		if err != nil {
			return nil, err
		}
		file, err := tree.Clean(v.File)
		if err != nil {
			return nil, err
		}
		if at := file + " " + stepsText(steps); !seen[at] {
			seen[at] = true
			out[file] = append(out[file], steps)
		}
	}
	return out, nil
}

// readSource reads a file of values.
func readSource(t tree.Tree, name string) (*source, error) {
	raw, err := t.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("file %s, which onFailure.revert.values names, does not exist", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return newSource(name, raw)
}

// holder is the one document of a file that has the place; where none has, the one that could have it.
func (s *source) holder(steps []step) (*yaml.Node, error) {
	var has, could []*yaml.Node
	for _, document := range s.documents {
		root := body(document)
		parent := resolve(follow(root, steps[:len(steps)-1]))
		if parent == nil {
			continue
		}
		if could = append(could, root); steps[len(steps)-1].down(parent) != nil {
			has = append(has, root)
		}
	}
	for _, found := range [][]*yaml.Node{has, could} {
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, fmt.Errorf("%s has %s in more than one document", s.name, stepsText(steps))
		}
	}
	return nil, fmt.Errorf("%s has no place for %s", s.name, stepsText(steps))
}

// value is what a file says at a place: "" where it says nothing.
func (s *source) value(steps []step) (string, error) {
	root, err := s.holder(steps)
	if err != nil {
		return "", err
	}
	node := resolve(follow(root, steps))
	switch {
	case node == nil || node.ShortTag() == "!!null":
		return "", nil
	case node.Kind != yaml.ScalarNode:
		return "", fmt.Errorf("%s: %s is not a single value", s.name, stepsText(steps))
	}
	return node.Value, nil
}

// reader reads values, each file once.
type reader struct {
	tree  tree.Tree
	files map[string]*source
}

func (r *reader) read(v Value) (string, error) {
	steps, err := parseSteps(v.Path)
	if err != nil {
		return "", err
	}
	name, err := tree.Clean(v.File)
	if err != nil {
		return "", err
	}
	s := r.files[name]
	if s == nil {
		if s, err = readSource(r.tree, name); err != nil {
			return "", err
		}
		if r.files == nil {
			r.files = map[string]*source{}
		}
		r.files[name] = s
	}
	return s.value(steps)
}

// unlike is the first Value for which a tree does not say what a template has, nil where it says it of all.
func (r *reader) unlike(values []Value, template map[string]any) (*Value, error) {
	for i, v := range values {
		inFile, err := r.read(v)
		if err != nil {
			return nil, err
		}
		inTemplate, err := v.In(template)
		if err != nil {
			return nil, err
		}
		if !v.says(inFile, inTemplate) {
			return &values[i], nil
		}
	}
	return nil, nil
}
