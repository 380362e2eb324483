package revert

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

const declared = `# owned by the shop team
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {a: "1"}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop   # the shop
spec:
  replicas: 3 # enough
  template:
    spec:
      containers:
      # the application
      - name: app
        image: 'app:1'
        env:
        - {name: A, value: "1"}
`

// TestG28_DriftIsDeclared: what is live goes into the file that declares it, and every other byte stays.
func TestG28_DriftIsDeclared(t *testing.T) {
	container := fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "app"))
	key := render.Key{Group: "apps", Kind: "Deployment", Namespace: "n", Name: "shop"}
	for name, c := range map[string]struct {
		change   Change
		from, to string
	}{
		"a number": {Change{fieldpath.MakePathOrDie("spec", "replicas"), int64(5)}, "replicas: 3 # enough", "replicas: 5 # enough"},
		"a quoted text in a list": {Change{append(container[:len(container):len(container)], fieldpath.FieldNameElement("image")), "app:2"},
			"image: 'app:1'", "image: 'app:2'"},
		"in a flow collection": {Change{append(container[:len(container):len(container)], fieldpath.MakePathOrDie("env", fieldpath.KeyByFields("name", "A"), "value")...), "2"},
			`{name: A, value: "1"}`, `{name: A, value: "2"}`},
		"removed": {Change{fieldpath.MakePathOrDie("spec", "replicas"), nil}, "  replicas: 3 # enough\n", ""},
	} {
		for eol, text := range map[string]string{"lf": declared, "crlf": strings.ReplaceAll(declared, "\n", "\r\n")} {
			t.Run(name+" "+eol, func(t *testing.T) {
				from, to := c.from, c.to
				if eol == "crlf" {
					from, to = strings.ReplaceAll(from, "\n", "\r\n"), strings.ReplaceAll(to, "\n", "\r\n")
				}
				out, err := Declare(tree.FromMap(map[string]string{"apps/a.yaml": text}), "apps", key, []Change{c.change})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := string(*out["apps/a.yaml"]), strings.Replace(text, from, to, 1); got != want {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
			})
		}
	}
}

// TestG28_WhatAKustomizationDecides is not written into a file that does not decide it.
func TestG28_WhatAKustomizationDecides(t *testing.T) {
	files := map[string]string{"apps/a.yaml": declared, "apps/kustomization.yaml": "resources: [a.yaml]\nreplicas: [{name: shop, count: 7}]\n"}
	key := render.Key{Group: "apps", Kind: "Deployment", Name: "shop"}
	_, err := Declare(tree.FromMap(files), "apps", key, []Change{{fieldpath.MakePathOrDie("spec", "replicas"), int64(5)}})
	if !errors.Is(err, ErrNotDeclared) {
		t.Errorf("got %v", err)
	}
}
