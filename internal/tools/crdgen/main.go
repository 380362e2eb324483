// Command crdgen makes the generated CRDs fit for use: it takes the descriptions and defaults out of the embedded pod
// template (two thirds of the size, and defaults there would change the revision hash with every Kubernetes release),
// and leaves everything else as controller-gen wrote it.
//
// Usage: crdgen FOLDER
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: crdgen FOLDER")
		os.Exit(2)
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no CRDs in %s", os.Args[1])
	}
	for _, f := range files {
		if err == nil {
			err = rewrite(f)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func rewrite(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading CRD: %w", err)
	}
	var crd map[string]any
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		return fmt.Errorf("decoding %s: %w", file, err)
	}
	if template := podTemplate(crd); template != nil {
		for _, v := range template["properties"].(map[string]any) {
			trim(v)
		}
		bound(template)
	}
	out, err := yaml.Marshal(crd)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", file, err)
	}
	return os.WriteFile(file, append([]byte("---\n"), out...), 0o644)
}

// podTemplate finds spec.template of the first version, or nil.
func podTemplate(crd map[string]any) map[string]any {
	versions, _ := dig(crd, "spec")["versions"].([]any)
	if len(versions) == 0 {
		return nil
	}
	first, _ := versions[0].(map[string]any)
	properties := dig(first, "schema", "openAPIV3Schema", "properties", "spec", "properties")
	template, _ := properties["template"].(map[string]any)
	return template
}

func dig(m map[string]any, path ...string) map[string]any {
	for _, p := range path {
		m, _ = m[p].(map[string]any)
	}
	return m
}

// trim removes descriptions everywhere, and defaults everywhere but on the keys of list maps, which must keep theirs.
func trim(v any, keys ...any) {
	switch t := v.(type) {
	case []any:
		for _, e := range t {
			trim(e)
		}
	case map[string]any:
		if _, ok := t["description"].(string); ok {
			delete(t, "description")
		}
		if properties, ok := t["properties"].(map[string]any); ok {
			dropDefaults(properties, keys)
		}
		listKeys, _ := t["x-kubernetes-list-map-keys"].([]any)
		for name, e := range t {
			if name == "items" {
				trim(e, listKeys...)
				continue
			}
			trim(e)
		}
	}
}

func dropDefaults(properties map[string]any, keys []any) {
	for name, p := range properties {
		if schema, ok := p.(map[string]any); ok && !slices.Contains(keys, any(name)) {
			delete(schema, "default")
		}
	}
}

// bound gives the template's labels a greatest size, which CEL needs to estimate the cost of comparing them.
func bound(template map[string]any) {
	labels := dig(template, "properties", "metadata", "properties", "labels")
	if labels == nil {
		return
	}
	labels["maxProperties"] = 64
	dig(labels, "additionalProperties")["maxLength"] = 63
}
