package render

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/belay-delivery/belay/gitops/tree"
)

// bomb is YAML whose aliases expand to ten to the power of levels items.
func bomb(levels int) string {
	out := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\na0: &a0 [x]\n"
	for i := range levels {
		out += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	return out
}

// TestG26_FilesThatAreBombsAreRefusedByName: wherever a file is read from, what it expands to is bounded, and the error names it.
func TestG26_FilesThatAreBombsAreRefusedByName(t *testing.T) {
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n"
	deep := object + "data: " + strings.Repeat("{a: ", 500) + "1" + strings.Repeat("}", 500) + "\n"
	for name, test := range map[string]struct {
		files map[string]string
		names string
		large bool
	}{
		"aliases":            {map[string]string{"app/good.yaml": object, "app/bad.yaml": bomb(9)}, "app/bad.yaml", true},
		"second document":    {map[string]string{"app/bad.yaml": object + "---\n" + bomb(9)}, "app/bad.yaml", true},
		"an alias of itself": {map[string]string{"app/bad.yaml": "a: &a [*a]\n"}, "app/bad.yaml", false},
		"deep":               {map[string]string{"app/bad.yaml": deep}, "app/bad.yaml", true},
		"huge":               {map[string]string{"app/bad.yaml": object + "# " + strings.Repeat("x", tree.MaxFileBytes)}, "app/bad.yaml", true},
		"kustomization":      {map[string]string{"app/kustomization.yaml": bomb(9)}, "app/kustomization.yaml", true},
		"resource":           {map[string]string{"app/kustomization.yaml": "resources: [../base/bad.yaml]\n", "base/bad.yaml": bomb(9)}, "base/bad.yaml", true},
		"patch": {map[string]string{"app/kustomization.yaml": "resources: [good.yaml]\npatches: [{path: bad.yaml}]\n",
			"app/good.yaml": object, "app/bad.yaml": bomb(9)}, "app/bad.yaml", true},
		"huge generator file": {map[string]string{"app/kustomization.yaml": "configMapGenerator: [{name: c, files: [bad.txt]}]\n",
			"app/bad.txt": strings.Repeat("x", tree.MaxFileBytes+1)}, "app/bad.txt", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(tree.FromMap(test.files), "app")
			if err == nil || !strings.Contains(err.Error(), test.names) || test.large && !errors.Is(err, tree.ErrTooLarge) {
				t.Errorf("got %.300v, want one that names %s", err, test.names)
			}
		})
	}
}

// FuzzDocuments: no file makes the parser panic or expand without end, and what passes can be rendered or refused.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(bomb(3)))
	f.Add([]byte("a: &a {b: 1}\n<<: *a\n---\n- 1\n"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}]\n"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		documents, err := Documents("file.yaml", raw)
		if err != nil {
			return
		}
		for _, document := range documents {
			if left := maxNodes; !countNodes(document, &left, maxDepth) {
				panic("above the limit")
			}
		}
		_, _ = parse("file.yaml", raw)
	})
}
