package render

import (
	"strings"
	"testing"

	"github.com/belay-delivery/belay/gitops/tree"
)

// TestG18_ErrorsOfRenderingTellNoSecrets: each folder is refused, says where and why, and repeats nothing of a Secret.
func TestG18_ErrorsOfRenderingTellNoSecrets(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"an alias":               {map[string]string{"a.yaml": secret + "stringData: {password: *planted}\n"}, "reading a.yaml: document 0"},
		"a tag":                  {map[string]string{"a.yaml": secret + "stringData: {password: !!int planted}\n"}, "reading a.yaml: document 0"},
		"a key that is none":     {map[string]string{"a.yaml": secret + "stringData: {{x: y}: planted}\n"}, "reading a.yaml: document 0"},
		"a null key":             {map[string]string{"a.yaml": secret + "stringData: {~: 471147114711}\n"}, "reading a.yaml: document 0"},
		"a kind that is empty":   {map[string]string{"a.yaml": strings.Replace(secret, "kind: Secret", "kind: \"\"", 1) + "stringData: {password: planted}\n"}, "apiVersion or kind is missing"},
		"an item without a kind": {map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, metadata: {name: a}, stringData: {password: planted}}\n"}, "item 0: apiVersion or kind is missing"},
		"a literal": {map[string]string{"kustomization.yaml": "secretGenerator:\n- name: a\n  literals:\n  - a=b\n  - planted\n"},
			"kustomization.yaml: line 5: secretGenerator: a literal is KEY=VALUE"},
		"a literal without a key": {map[string]string{"kustomization.yaml": "secretGenerator: [{name: a, literals: [=planted]}]\n"}, "a literal is KEY=VALUE"},
		"a file of variables":     {map[string]string{"kustomization.yaml": "secretGenerator: [{name: a, envs: [x.env]}]\n", "x.env": "a=planted\xff\n"}, "building kustomization.yaml"},
		"a number": {map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "a.yaml": secret + "stringData: {password: planted}\n",
			"p.yaml": secret + "stringData: [planted]\n"}, "building kustomization.yaml"},
		"no name": {map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {}\nstringData: {password: planted}\n"},
			"building kustomization.yaml"},
		"no kind": {map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": "apiVersion: v1\nmetadata: {name: a}\nstringData: {password: planted}\n"}, "building kustomization.yaml"},
		"a patch": {map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |-\n    - op: replace\n      path: /no/such\n      value: planted\n",
			"a.yaml": secret + "stringData: {password: planted}\n"}, "building kustomization.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(tree.FromMap(c.files), "")
			if err == nil {
				t.Fatal("it is rendered")
			}
			if text := err.Error(); strings.Contains(text, "planted") || strings.Contains(text, "4711") || !strings.Contains(text, c.want) {
				t.Errorf("error %q, want %q and no secret", text, c.want)
			}
			t.Log(err)
		})
	}
}

// TestErrorsOfYAMLAreKept where they are of fixed words.
func TestErrorsOfYAMLAreKept(t *testing.T) {
	for text, want := range map[string]string{
		"a: b: c\n":                       "mapping values are not allowed in this context",
		"apiVersion: v1\na: 1\na: 2\n":    `key "a" is there twice`,
		"a: [b\n":                         "did not find expected ',' or ']'",
		"a: *b\n":                         "text that begins with *",
		"apiVersion: v1\nkind: K\n1: x\n": "metadata.name is missing",
	} {
		if _, err := Parse("a.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
