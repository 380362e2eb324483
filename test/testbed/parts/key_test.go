package parts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestKey(t *testing.T) {
	base := map[string]string{"m/go.mod": "module m\n", "m/go.sum": "", "m/cmd/main.go": "package main\n", "other/x.go": "package x\n"}
	p := Part{Name: "m", Module: "m", Package: "./cmd", Sources: []string{"cmd"}}
	want, err := Key(tree(t, base), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		file string
		text string
		edit func(*Part)
		same bool
	}{
		{name: "nothing", same: true},
		{name: "another module's file", file: "other/x.go", text: "package y\n", same: true},
		{name: "a test", file: "m/cmd/main_test.go", text: "package main\n", same: true},
		{name: "a source", file: "m/cmd/main.go", text: "package main // changed\n"},
		{name: "a new source", file: "m/cmd/more.go", text: "package main\n"},
		{name: "go.mod", file: "m/go.mod", text: "module m2\n"},
		{name: "go.sum", file: "m/go.sum", text: "x v1.0.0 h1:=\n"},
		{name: "tags", edit: func(p *Part) { p.Tags = "x" }},
		{name: "linker flags", edit: func(p *Part) { p.LDFlags = "-s" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{}
			for k, v := range base {
				files[k] = v
			}
			if tc.file != "" {
				files[tc.file] = tc.text
			}
			q := p
			if tc.edit != nil {
				tc.edit(&q)
			}
			got, err := Key(tree(t, files), q)
			if err != nil {
				t.Fatal(err)
			}
			if (got == want) != tc.same {
				t.Errorf("key %s against %s, want same: %v", got, want, tc.same)
			}
		})
	}
	if _, err := Key(t.TempDir(), p); err == nil {
		t.Error("a part without sources has a key")
	}
}

func TestEnsureBuildsOnceAndRepairs(t *testing.T) {
	root := tree(t, map[string]string{"go.mod": "module github.com/belay-delivery/belay/test/testbed\n\ngo 1.26.0\n", "go.sum": "",
		"app/main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"sample\") }\n"})
	var out strings.Builder
	b := &Builder{Root: root, Cache: t.TempDir(), Out: &out}
	first, err := b.Ensure(t.Context(), Sample)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if _, err := b.Ensure(t.Context(), Sample); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "built in"); n != 1 {
		t.Errorf("built %d times, want once:\n%s", n, &out)
	}
	if err := os.WriteFile(first[Sample], []byte("broken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Ensure(t.Context(), Sample); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "built in"); n != 2 {
		t.Errorf("a broken program was built anew %d times, want once:\n%s", n-1, &out)
	}
}

func TestEnsureTellsCompileErrors(t *testing.T) {
	root := tree(t, map[string]string{"go.mod": "module github.com/belay-delivery/belay/test/testbed\n\ngo 1.26.0\n", "go.sum": "",
		"app/main.go": "package main\n\nfunc main() { undefinedThing() }\n"})
	b := &Builder{Root: root, Cache: t.TempDir(), Out: &strings.Builder{}}
	if _, err := b.Ensure(t.Context(), Sample); err == nil || !strings.Contains(err.Error(), "undefinedThing") {
		t.Errorf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(b.Cache, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
