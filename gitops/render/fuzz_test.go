package render

import (
	"testing"

	"github.com/belay-delivery/belay/gitops/tree"
)

// FuzzRender: a folder of a repository that nobody trusts makes nothing panic, and renders to the same again.
func FuzzRender(f *testing.F) {
	f.Add("resources: [a.yaml]\nnamePrefix: x-\nimages: [{name: i, newTag: v2}]\n", named("a"))
	f.Add("resources: [a.yaml]\npatches: [{target: {kind: ConfigMap}, patch: '[{op: add, path: /data/x, value: y}]'}]\n", named("a"))
	f.Add("configMapGenerator: [{name: c, files: [a.yaml]}]\nreplacements: [{source: {kind: ConfigMap}, targets: []}]\n", "x")
	f.Add("resources: [a.yaml, https://example.com/x, ../..]\n", "---\n---\n")
	f.Add("", "kind: List\napiVersion: v1\nitems: [{kind: List, apiVersion: v1, items: [null]}]\n")
	f.Fuzz(func(t *testing.T, kustomization, file string) {
		files := map[string]string{"app/a.yaml": file}
		if kustomization != "" {
			files["app/kustomization.yaml"] = kustomization
		}
		one, err := Render(tree.FromMap(files), "app")
		if err != nil {
			return
		}
		two, err := Render(tree.FromMap(files), "app")
		if err != nil || Digest(one) != Digest(two) {
			t.Errorf("rendered twice, it is not the same: %v", err)
		}
	})
}
