package tree

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func bytesOf(text string) *[]byte {
	data := []byte(text)
	return &data
}

func names(t *testing.T, tree Tree, dir string) []string {
	t.Helper()
	entries, err := tree.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, entry := range entries {
		name := entry.Name
		if entry.Dir {
			name += "/"
		}
		found = append(found, name)
	}
	return found
}

func TestOverlay(t *testing.T) {
	base := FromMap(map[string]string{"a/x": "1", "a/y": "2", "b/only": "3", "file": "4", "dir/in/z": "5"})
	over := Overlay(base, map[string]*[]byte{
		"a/x": bytesOf("changed"), "a/y": nil, "b/only": nil, "new/deep/n": bytesOf("6"),
		"file": nil, "file/inside": bytesOf("7"),
	})
	for dir, want := range map[string][]string{
		"": {"a/", "dir/", "file/", "new/"}, "a": {"x"}, "b": nil, "new": {"deep/"}, "new/deep/": {"n"},
		"file": {"inside"}, "dir": {"in/"}, "nowhere": nil,
	} {
		if diff := cmp.Diff(want, names(t, over, dir)); diff != "" {
			t.Errorf("%q: %s", dir, diff)
		}
	}
	for name, want := range map[string]string{"a/x": "changed", "./a/../a/x": "changed", "dir/in/z": "5", "file/inside": "7"} {
		got, err := over.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if id, found := over.BlobID(name); !found || id != BlobName([]byte(want)) {
			t.Errorf("%s: blob %q", name, id)
		}
	}
	for _, name := range []string{"a/y", "b/only", "nowhere"} {
		if _, err := over.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if _, found := over.BlobID(name); found {
			t.Errorf("%s has a blob", name)
		}
	}
	if BlobName([]byte("hello\n")) != "ce013625030ba8dba906f756967f9e9ca394464a" {
		t.Error("not git's name of a blob")
	}
}

func TestWalk(t *testing.T) {
	base := FromMap(map[string]string{"b": "", "a/y": "", "a/x": "", "c/d/e": ""})
	var seen []string
	visit := func(name string, _ Entry) error { seen = append(seen, name); return nil }
	if err := Walk(base, "", 4, visit); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/x", "a/y", "b", "c/d/e"}, seen); diff != "" {
		t.Error(diff)
	}
	if err := Walk(base, "", 3, visit); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestClean(t *testing.T) {
	for name, want := range map[string]string{"": "", ".": "", "./a/": "a", "a/../b": "b", "a/./b": "a/b"} {
		if got, err := Clean(name); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"..", "../a", "a/../../b", "/a", ".git", "a/.Git/config", `a\b`, "a\x00"} {
		if got, err := Clean(name); !errors.Is(err, ErrPath) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}
