package render

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/gitops/tree"
)

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {n: \"1\", big: \"x\"}\n"

func named(name string) string { return strings.ReplaceAll(configMap, "NAME", name) }

func summary(objects []Object) map[string]Origin {
	out := map[string]Origin{}
	for _, o := range objects {
		out[o.Key().String()] = o.Origin
	}
	return out
}

func TestPlain(t *testing.T) {
	objects, err := Render(tree.FromMap(map[string]string{
		"app/b.yaml":      "# nothing\n---\n" + named("b") + "---\n---\n" + named("a"),
		"app/sub/l.yml":   "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {k: \"2\"}}\n- {apiVersion: v1, kind: Secret, metadata: {name: c, namespace: ns}}\n",
		"app/j.json":      `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3}}`,
		"app/README.md":   "{",
		"app/.hidden.yml": "{",
		"elsewhere.yaml":  "{",
	}), "app/")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Origin{
		"ConfigMap /a": {"app/b.yaml", 2}, "ConfigMap /b": {"app/b.yaml", 0}, "ConfigMap /c": {"app/sub/l.yml", 0},
		"Secret ns/c": {"app/sub/l.yml", 0}, "Deployment.apps /d": {"app/j.json", 0},
	}
	if diff := cmp.Diff(want, summary(objects)); diff != "" {
		t.Error(diff)
	}
	if replicas := objects[len(objects)-1].Object["spec"].(map[string]any)["replicas"]; replicas != int64(3) {
		t.Errorf("replicas is %T", replicas)
	}
	reversed := []Object{objects[4], objects[2], objects[0], objects[1], objects[3]}
	if Digest(objects) != Digest(reversed) || Digest(objects) == Digest(objects[1:]) {
		t.Error("the digest follows order or misses an object")
	}
}

func TestPlainErrors(t *testing.T) {
	bomb := "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
	for i := 'b'; i < 'k'; i++ {
		p := string(i - 1)
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n"
	}
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"duplicate":     {map[string]string{"app/a.yaml": named("x"), "app/b.yaml": named("x")}, "declared twice: in app/a.yaml and in app/b.yaml"},
		"duplicate key": {map[string]string{"app/a.yaml": named("x") + "kind: Secret\n"}, "app/a.yaml"},
		"syntax":        {map[string]string{"app/a.yaml": "{"}, "app/a.yaml"},
		"no kind":       {map[string]string{"app/a.yaml": "a: 1"}, "kind is missing"},
		"no name":       {map[string]string{"app/a.yaml": "apiVersion: v1\nkind: X\n"}, "name"},
		"no text":       {map[string]string{"app/a.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: x, namespace: n}\n"}, "namespace"},
		"scalar":        {map[string]string{"app/a.yaml": "hello"}, "not an object"},
		"alias bomb":    {map[string]string{"app/a.yaml": bomb}, "above the limit"},
		"nesting":       {map[string]string{"app/a.yaml": strings.Repeat("[", 5000) + strings.Repeat("]", 5000)}, "app/a.yaml"},
		"no folder":     {map[string]string{"b/a.yaml": named("x")}, fs.ErrNotExist.Error()},
	}
	for name, test := range tests {
		if _, err := Render(tree.FromMap(test.files), "app"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Render(tree.FromMap(nil), "../x"); !errors.Is(err, tree.ErrPath) {
		t.Errorf("traversal: %v", err)
	}
}

func TestKustomize(t *testing.T) {
	files := tree.FromMap(map[string]string{
		"app/kustomization.yaml":  "namespace: shop\nnamePrefix: x-\nresources: [../base, own.yaml]\nconfigMapGenerator:\n- name: gen\n  files: [key=data.txt]\n",
		"app/own.yaml":            named("own"),
		"app/data.txt":            "{ not yaml",
		"base/kustomization.yaml": "resources: [b.yaml]\npatches:\n- path: p.yaml\n",
		"base/b.yaml":             named("b"),
		"base/p.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {n: \"2\"}\n",
		"unrelated/z.yaml":        "{",
	})
	objects, err := Render(files, "app")
	if err != nil {
		t.Fatal(err)
	}
	got := summary(objects)
	if len(got) != 3 || got["ConfigMap shop/x-b"].File != "base/b.yaml" || got["ConfigMap shop/x-own"].File != "app/own.yaml" {
		t.Errorf("%v", got)
	}
	for _, o := range objects {
		if len(o.GetAnnotations()) != 0 {
			t.Errorf("annotations left: %v", o.GetAnnotations())
		}
		if strings.HasPrefix(o.GetName(), "x-gen-") && o.Origin.File != "app/kustomization.yaml" {
			t.Errorf("generated: %v", o.Origin)
		}
	}
	reached, err := Reached(files, "app")
	want := []string{"app/data.txt", "app/kustomization.yaml", "app/own.yaml", "base/b.yaml", "base/kustomization.yaml", "base/p.yaml"}
	if diff := cmp.Diff(want, reached); diff != "" || err != nil {
		t.Error(diff, err)
	}
	again, err := Render(files, "app")
	if err != nil || Digest(again) != Digest(objects) {
		t.Errorf("not deterministic: %v", err)
	}
}

func TestKustomizeRefuses(t *testing.T) {
	tests := map[string]struct {
		kustomization string
		want          error
	}{
		"remote base":            {"resources: ['https://example.com/x/y?ref=v1']", ErrRefused},
		"remote base, scp":       {"resources: ['git@example.com:x/y']", ErrRefused},
		"remote base, upper":     {"Resources: ['https://example.com/x/y?ref=v1']", ErrRefused},
		"short form":             {"resources: ['github.com/x/y']", fs.ErrNotExist},
		"short form that exists": {"resources: ['github.com/o/r']", ErrRefused},
		"remote file":            {"resources: ['http://127.0.0.1:1/x.yaml']", ErrRefused},
		"remote patch":           {"patches: [{path: 'http://127.0.0.1:1/x.yaml'}]", ErrRefused},
		"remote old patch":       {"patches: ['http://127.0.0.1:1/x.yaml']", ErrRefused},
		"remote component":       {"components: ['ssh://x/y']", ErrRefused},
		"remote crd":             {"crds: ['http://127.0.0.1:1/x.yaml']", ErrRefused},
		"remote data":            {"configMapGenerator: [{name: x, files: ['k=http://127.0.0.1:1/x']}]", ErrRefused},
		"remote openapi":         {"openapi: {path: 'http://127.0.0.1:1/x'}", ErrRefused},
		"remote in transformer":  {"transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: http://127.0.0.1:1/x\n", ErrRefused},
		"function":               {"transformers:\n- |-\n  apiVersion: x/v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: |\n        exec: {path: /bin/true}\n", ErrRefused},
		"helm":                   {"helmCharts: [{name: x}]", ErrRefused},
		"merge key":              {"<<: {resources: ['https://example.com/x/y?ref=v1']}", ErrRefused},
		"outside":                {"resources: ['../../../etc']", ErrRefused},
		"absolute":               {"resources: ['/etc/passwd']", ErrRefused},
		"missing":                {"resources: [nothing.yaml]", fs.ErrNotExist},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Render(tree.FromMap(map[string]string{
				"app/kustomization.yaml":                "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\n" + test.kustomization,
				"app/github.com/o/r/kustomization.yaml": "resources: []",
			}), "app")
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "app/") {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, files := range map[string]map[string]string{
		"load restriction": {"app/kustomization.yaml": "resources: [../secret.yaml]", "secret.yaml": named("x")},
		"cycle":            {"app/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../app]"},
		"two of them":      {"app/kustomization.yaml": "resources: []", "app/Kustomization": "resources: []"},
		"plugin":           {"app/kustomization.yaml": "generators: [g.yaml]", "app/g.yaml": "apiVersion: evil/v1\nkind: Exec\nmetadata: {name: x}\n"},
		"unknown field":    {"app/kustomization.yaml": "resourses: []"},
	} {
		if objects, err := Render(tree.FromMap(files), "app"); err == nil {
			t.Errorf("%s: no error, %d objects", name, len(objects))
		}
	}
}
