package render

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

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

// small is a document that expands to 3,000 nodes or so, a share that the YAML library lets pass.
func small(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\na: &a [" + strings.Repeat("x,", 60) + "]\nb: [" + strings.Repeat("*a,", 50) + "]\n"
}

// TestG26_ManySmallBombsAreRefused: each document, file or base is within its bound, and all of them are not. The memory that it
// takes to find that out is told, not judged.
func TestG26_ManySmallBombsAreRefused(t *testing.T) {
	many := func(one string) string { return strings.Repeat(one+"---\n", (tree.MaxFileBytes-8)/(len(one)+4)) }
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\na: &a " + strings.Repeat("x", 1<<19) + "\nb: [" + strings.Repeat("*a, ", 100_000) + "]\n"
	bases := map[string]string{"app/kustomization.yaml": "resources: [../b0/l, ../b0/r]\n"}
	for i := range 24 {
		for _, side := range []string{"l", "r"} {
			resources := fmt.Sprintf("[../../b%d/l, ../../b%d/r]", i+1, i+1)
			if i == 23 {
				resources = "[cm.yaml]"
				bases[fmt.Sprintf("b%d/%s/cm.yaml", i, side)] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a" + side + "}\n"
			}
			bases[fmt.Sprintf("b%d/%s/kustomization.yaml", i, side)] = fmt.Sprintf("namePrefix: %s%d-\nresources: %s\n", side, i, resources)
		}
	}
	several := map[string]string{}
	for i := range 400 {
		several[fmt.Sprintf("app/%d.yaml", i)] = small(fmt.Sprint("b", i))
	}
	for name, test := range map[string]struct {
		files map[string]string
		names string
	}{
		"documents of one file":        {map[string]string{"app/bad.yaml": many(small("a"))}, "app/bad.yaml"},
		"files":                        {several, "app/"},
		"a text":                       {map[string]string{"app/bad.yaml": text}, "app/bad.yaml"},
		"resources of a kustomization": {map[string]string{"app/kustomization.yaml": "resources: [bad.yaml]\n", "app/bad.yaml": many(small("a"))}, "app/bad.yaml"},
		"an inline patch": {map[string]string{"app/kustomization.yaml": "resources: [good.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(bomb(6), "\n", "\n    ") + "\n",
			"app/good.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\n"}, "app/kustomization.yaml"},
		"bases upon bases": {bases, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			allocated, peak := measured(func() {
				_, err := Render(tree.FromMap(test.files), "app")
				if err == nil || !strings.Contains(err.Error(), test.names) || !errors.Is(err, tree.ErrTooLarge) || !strings.Contains(err.Error(), "nodes") {
					t.Errorf("got %.300v, want one that names %s and the bound", err, test.names)
				}
			})
			t.Logf("allocated %d MiB, at most %d MiB at once", allocated>>20, peak>>20)
		})
	}
}

// TestG26_WhatIsWithinTheBoundIsRendered, and the memory that it takes is told.
func TestG26_WhatIsWithinTheBoundIsRendered(t *testing.T) {
	files := map[string]string{}
	for i := range 310 {
		files[fmt.Sprintf("app/%d.yaml", i)] = small(fmt.Sprint("b", i))
	}
	allocated, peak := measured(func() {
		if objects, err := Render(tree.FromMap(files), "app"); err != nil || len(objects) != len(files) {
			t.Errorf("%d objects: %v", len(objects), err)
		}
	})
	t.Logf("allocated %d MiB, at most %d MiB at once", allocated>>20, peak>>20)
}

// measured tells what a function allocates, and the most that is in use meanwhile as often as it is looked at.
func measured(do func()) (allocated, peak uint64) {
	runtime.GC()
	var before, m runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			runtime.ReadMemStats(&m)
			return m.TotalAlloc - before.TotalAlloc, peak
		case <-ticker.C:
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
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
			if one := (spent{}); !one.count(document, maxDepth) {
				panic("above the limit")
			}
		}
		_, _ = Parse("file.yaml", raw)
	})
}
