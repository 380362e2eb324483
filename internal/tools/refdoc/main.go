// Command refdoc writes the reference page of each kind from its CRD.
//
// Usage: refdoc CRD-FOLDER DOCS-FOLDER
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

type schema struct {
	Type        string             `json:"type"`
	Description string             `json:"description"`
	Default     any                `json:"default"`
	Enum        []any              `json:"enum"`
	Pattern     string             `json:"pattern"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	MaxItems    *int64             `json:"maxItems"`
	MaxLength   *int64             `json:"maxLength"`
	Required    []string           `json:"required"`
	Properties  map[string]*schema `json:"properties"`
	Items       *schema            `json:"items"`
	IntOrString bool               `json:"x-kubernetes-int-or-string"`
	Rules       []struct {
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
}

type crd struct {
	Spec struct {
		Names struct {
			Kind       string   `json:"kind"`
			Plural     string   `json:"plural"`
			ShortNames []string `json:"shortNames"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Schema struct {
				Open schema `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: refdoc CRD-FOLDER DOCS-FOLDER")
		os.Exit(2)
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "belay.dev_*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no CRDs in %s", os.Args[1])
	}
	for _, f := range files {
		if err == nil {
			err = write(f, os.Args[2])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refdoc:", err)
		os.Exit(1)
	}
}

func write(file, dir string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading CRD: %w", err)
	}
	var c crd
	if err := yaml.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("decoding %s: %w", file, err)
	}
	v, names := c.Spec.Versions[0], c.Spec.Names
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Written by internal/tools/refdoc from the CRD: edit api/v1alpha1 and run `make generate`. -->\n# %s\n\n", names.Kind)
	fmt.Fprintf(&b, "`belay.dev/%s`, plural `%s`", v.Name, names.Plural)
	if len(names.ShortNames) > 0 {
		fmt.Fprintf(&b, ", short `%s`", strings.Join(names.ShortNames, "`, `"))
	}
	fmt.Fprintf(&b, "\n\n%s\n", v.Schema.Open.Description)
	rules(&b, v.Schema.Open)
	for _, part := range []string{"spec", "status"} {
		if s := v.Schema.Open.Properties[part]; s != nil {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", part, s.Description)
			rules(&b, *s)
			b.WriteString("\n| field | type | description |\n|---|---|---|\n")
			fields(&b, s, "")
		}
	}
	return os.WriteFile(filepath.Join(dir, strings.ToLower(names.Kind)+".md"), b.Bytes(), 0o644)
}

func rules(b *bytes.Buffer, s schema) {
	for i, r := range s.Rules {
		if i == 0 {
			b.WriteString("\nRules:\n")
		}
		fmt.Fprintf(b, "- %s\n", r.Message)
	}
}

func fields(b *bytes.Buffer, s *schema, prefix string) {
	names := make([]string, 0, len(s.Properties))
	for n := range s.Properties {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y string) int {
		if rx, ry := slices.Contains(s.Required, x), slices.Contains(s.Required, y); rx != ry {
			if rx {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
	for _, n := range names {
		p := s.Properties[n]
		path := prefix + n
		text := p.Description
		if text == "" && n == "template" {
			text = "template is the pod template, as in a Deployment. Every change of it starts a numbered attempt."
		}
		notes := notes(p)
		if slices.Contains(s.Required, n) {
			notes = append([]string{"required"}, notes...)
		}
		if len(notes) > 0 {
			text += " (" + strings.Join(notes, "; ") + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", path, kind(p), cell(text))
		switch {
		case n == "template", n == "conditions":
		case p.Items != nil:
			fields(b, p.Items, path+"[].")
		default:
			fields(b, p, path+".")
		}
	}
}

func kind(s *schema) string {
	switch {
	case s.IntOrString:
		return "integer or string"
	case s.Items != nil:
		return "list of " + kind(s.Items)
	case s.Type == "":
		return "any"
	}
	return s.Type
}

func notes(s *schema) []string {
	var out []string
	if s.Default != nil && !strings.Contains(s.Description, "Default") {
		out = append(out, fmt.Sprintf("default `%v`", s.Default))
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, e := range s.Enum {
			values = append(values, fmt.Sprintf("`%v`", e))
		}
		out = append(out, "one of "+strings.Join(values, ", "))
	}
	if s.Minimum != nil {
		out = append(out, fmt.Sprintf("at least %g", *s.Minimum))
	}
	if s.Maximum != nil {
		out = append(out, fmt.Sprintf("at most %g", *s.Maximum))
	}
	if s.MaxItems != nil {
		out = append(out, fmt.Sprintf("at most %d items", *s.MaxItems))
	}
	for _, r := range s.Rules {
		out = append(out, r.Message)
	}
	return out
}

func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
