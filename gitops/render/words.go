package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	marksOnly = regexp.MustCompile(`'[^A-Za-z0-9']{1,3}'`)
	keyTwice  = regexp.MustCompile(`^(?:error converting YAML to JSON: )?yaml: (?:unmarshal errors:\n +)?(line \d+: )?(?:mapping )?key "?([A-Za-z0-9_./-]{1,256})"? already (?:set in map|defined at line \d+)$`)
	atLine    = regexp.MustCompile(`line \d+: `)
)

// NotYAML is an error of a YAML library without what stands in the file, which may be a Secret: its fixed words are kept.
func NotYAML(err error) error {
	text := err.Error()
	if m := keyTwice.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%skey %q is there twice", m[1], m[2])
	}
	if !strings.ContainsAny(marksOnly.ReplaceAllString(text, ""), "'\"`{") && !strings.Contains(text, "map key") {
		return err
	}
	return fmt.Errorf("%sit cannot be read as YAML (the text is not shown, since it may be a secret's): text that begins with *, &, !, %% or @ needs quotes, and so do keys that are not text",
		atLine.FindString(text))
}

// secrets are texts of the files that belong to Secrets, as far as they can be told: what they hold, and what is to generate them.
func (r *reach) secrets() map[string]bool {
	s := secretTexts{found: map[string]bool{}, files: r.files}
	for name, content := range r.files {
		if isYAML(name) || IsKustomization(name) {
			s.file(content)
		} else {
			s.lines(string(content)) // of a generator
		}
	}
	return s.found
}

type secretTexts struct {
	found map[string]bool
	files map[string][]byte
}

// shortest is the shortest text that is looked for.
const shortest = 3

func (s secretTexts) lines(text string) {
	for line := range strings.Lines(text) {
		_, value, _ := strings.Cut(line, "=")
		for _, part := range []string{line, value} {
			if part = strings.Trim(part, " \t\r\n\"'"); len(part) >= shortest {
				s.found[part] = true
			}
		}
	}
}

// file takes in what can be read of a file; where it is no YAML, every line of it.
func (s secretTexts) file(content []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document yaml.Node
		if err := decoder.Decode(&document); err != nil {
			if !errors.Is(err, io.EOF) {
				s.lines(string(content))
			}
			return
		}
		if new(spent).document("", 0, &document) == nil {
			s.node(&document, false)
		}
	}
}

// node takes in the scalars of secret nodes: of Secrets but for their metadata, of generators of Secrets, and the values of JSON
// patches.
func (s secretTexts) node(node *yaml.Node, secret bool) {
	node = resolve(node)
	switch node.Kind {
	case yaml.MappingNode:
		s.mapping(node, secret)
	case yaml.ScalarNode:
		if secret {
			s.lines(node.Value)
		}
		if strings.Contains(node.Value, "\n") && !secret { // a patch, perhaps
			var inner yaml.Node
			if yaml.Unmarshal([]byte(node.Value), &inner) == nil && len(inner.Content) > 0 && inner.Content[0].Kind != yaml.ScalarNode {
				s.node(&inner, false)
			}
		}
	default:
		for _, child := range node.Content {
			s.node(child, secret)
		}
	}
}

func (s secretTexts) mapping(node *yaml.Node, secret bool) {
	fields := map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		fields[node.Content[i].Value] = resolve(node.Content[i+1]).Value
	}
	_, patch := fields["op"]
	of := fields["kind"] == "Secret"
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i].Value
		s.node(node.Content[i+1], secret || strings.EqualFold(key, "secretGenerator") || patch && key == "value" ||
			of && key != "kind" && key != "apiVersion" && key != "metadata")
	}
}

// notBuilt is an error of kustomize, unless it repeats what belongs to a Secret.
func (r *reach) notBuilt(root string, err error) error {
	text := err.Error()
	for secret := range r.secrets() {
		if strings.Contains(text, secret) {
			return fmt.Errorf("building %s: kustomize refuses it, and repeats something that belongs to a Secret, so that its words are not shown; `kubectl kustomize` in that folder tells you", root)
		}
	}
	return fmt.Errorf("building %s: %w", root, err)
}

// literals refuses entries of secretGenerator that kustomize would refuse with the value in its words.
func literals(generators *yaml.Node, file string) error {
	for _, generator := range generators.Content {
		generator = resolve(generator)
		for i := 0; i+1 < len(generator.Content); i += 2 {
			if !strings.EqualFold(generator.Content[i].Value, "literals") {
				continue
			}
			for _, literal := range resolve(generator.Content[i+1]).Content {
				if literal = resolve(literal); strings.Index(literal.Value, "=") < 1 {
					return fmt.Errorf("%s: line %d: secretGenerator: a literal is KEY=VALUE, and this one is not (it is not shown)", file, literal.Line)
				}
			}
		}
	}
	return nil
}
