package lint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/gitops/render"
)

// Bounds on what is read.
const (
	maxFileBytes = 8 << 20
	maxFiles     = 5000
	maxDocuments = 20000
)

// Source is one file: its name as it is shown, and its content.
type Source struct {
	Name    string
	Content []byte
}

// document is one object of a file.
type document struct {
	file   string
	node   *yamlv3.Node
	object *unstructured.Unstructured
	// defaulted is the object as the API server would store it; the object itself where it is not one of Belay's.
	defaulted map[string]any
	// invalid is set where the schema refused it: semantic rules then leave it alone.
	invalid bool
}

func (d *document) gvk() schema.GroupVersionKind { return d.object.GroupVersionKind() }

func (d *document) is(group, kind string) bool {
	gvk := d.gvk()
	return gvk.Group == group && gvk.Kind == kind
}

// ReadSources reads files, all *.yaml, *.yml and *.json below folders, and in where a path is "-".
func ReadSources(paths []string, in io.Reader) ([]Source, error) {
	var out []Source
	for _, p := range paths {
		if p == "-" {
			raw, err := readBounded(in, "standard input")
			if err != nil {
				return nil, err
			}
			out = append(out, Source{Name: "<stdin>", Content: raw})
			continue
		}
		names, err := filesBelow(p)
		if err != nil {
			return nil, err
		}
		if len(out)+len(names) > maxFiles {
			return nil, fmt.Errorf("reading %s: more than %d files", p, maxFiles)
		}
		for _, name := range names {
			raw, err := readFile(name)
			if err != nil {
				return nil, err
			}
			out = append(out, Source{Name: name, Content: raw})
		}
	}
	return out, nil
}

func filesBelow(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != path && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.Type().IsRegular() && hasManifestExtension(name):
			out = append(out, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", path, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no .yaml, .yml or .json file is in this folder", path)
	}
	return out, nil
}

func hasManifestExtension(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close()
	return readBounded(f, name)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(raw) > maxFileBytes {
		return nil, fmt.Errorf("reading %s: larger than %d MiB", name, maxFileBytes>>20)
	}
	return raw, nil
}

// parse splits a source into objects. What is not a Kubernetes object (a values file, say) is left out.
func parse(src Source) ([]*document, []Finding) {
	var docs []*document
	var findings []Finding
	decoder := yamlv3.NewDecoder(bytes.NewReader(src.Content))
	for len(docs) < maxDocuments {
		var root yamlv3.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return docs, append(findings, syntaxFinding(src.Name, err))
		}
		if len(root.Content) == 0 || root.Content[0].Kind != yamlv3.MappingNode {
			continue
		}
		more, problems := documentsOf(src.Name, root.Content[0])
		docs, findings = append(docs, more...), append(findings, problems...)
	}
	return docs, findings
}

// documentsOf turns one mapping into an object, or a List into its items.
func documentsOf(file string, node *yamlv3.Node) ([]*document, []Finding) {
	if child(node, "apiVersion") == nil || child(node, "kind") == nil {
		return nil, nil
	}
	if items := child(node, "items"); items != nil && items.Kind == yamlv3.SequenceNode && strings.HasSuffix(child(node, "kind").Value, "List") {
		var docs []*document
		var findings []Finding
		for _, item := range items.Content {
			more, problems := documentsOf(file, item)
			docs, findings = append(docs, more...), append(findings, problems...)
		}
		return docs, findings
	}
	if findings := duplicateKeys(file, node, nil); len(findings) > 0 {
		return nil, findings
	}
	doc, err := decode(file, node)
	if err != nil {
		return nil, []Finding{{File: file, Line: node.Line, Severity: SeverityError, Message: err.Error()}}
	}
	return []*document{doc}, nil
}

func decode(file string, node *yamlv3.Node) (*document, error) {
	raw, err := yamlv3.Marshal(node)
	if err != nil {
		return nil, fmt.Errorf("reading YAML: %w", render.NotYAML(err))
	}
	asJSON, err := yaml.YAMLToJSON(raw) // as kubectl reads it
	if err != nil {
		return nil, fmt.Errorf("reading YAML: %w", render.NotYAML(err))
	}
	object := map[string]any{}
	if err := json.Unmarshal(asJSON, &object); err != nil {
		return nil, fmt.Errorf("reading object: %w", err)
	}
	return &document{file: file, node: node, object: &unstructured.Unstructured{Object: object}, defaulted: object}, nil
}

var yamlErrorLine = regexp.MustCompile(`line (\d+): `)

func syntaxFinding(file string, err error) Finding {
	line := 1
	message := strings.TrimPrefix(render.NotYAML(err).Error(), "yaml: ")
	if m := yamlErrorLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.Replace(message, m[0], "", 1)
	}
	return Finding{File: file, Line: line, Severity: SeverityError, Message: "this is not valid YAML: " + message,
		Remedy: "the rest of the file was not read; correct this first"}
}

func duplicateKeys(file string, node *yamlv3.Node, path []string) []Finding {
	var out []Finding
	switch node.Kind {
	case yamlv3.MappingNode:
		seen := map[string]int{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			at := append(path[:len(path):len(path)], key.Value)
			if first, dup := seen[key.Value]; dup {
				out = append(out, Finding{File: file, Line: key.Line, Field: strings.Join(at, "."), Severity: SeverityError,
					Message: fmt.Sprintf("the key was given before, in line %d", first), Remedy: "keep one of the two"})
			}
			seen[key.Value] = key.Line
			out = append(out, duplicateKeys(file, node.Content[i+1], at)...)
		}
	case yamlv3.SequenceNode:
		for i, item := range node.Content {
			at := append(path[:len(path):len(path)], strconv.Itoa(i))
			out = append(out, duplicateKeys(file, item, at)...)
		}
	}
	return out
}
