package tree

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	old := FromMap(map[string]string{"same/a": "1", "dir/x": "1", "dir/y": "1", "gone/z": "1", "file": "1", "folder/in": "1"})
	now := FromMap(map[string]string{"same/a": "1", "dir/x": "2", "dir/y": "1", "new/z": "1", "file/inside": "1", "folder": "1"})
	one := BlobName([]byte("1"))
	got, err := Diff(old, now, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"dir/x": one, "gone/z": one, "new/z": "", "file": one, "file/inside": "", "folder/in": one, "folder": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Diff(old, now, 3); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

// bomb is a tree whose folders hold ten folders each, so many levels deep, and no file.
type bomb struct {
	Tree
	levels int
}

func (b bomb) List(dir string) ([]Entry, error) {
	if b.levels > 0 && strings.Count(dir, "/") >= b.levels {
		return nil, nil
	}
	var out []Entry
	for i := range 10 {
		out = append(out, Entry{Name: fmt.Sprint(i), Dir: true, Mode: ModeDir, Blob: "of " + dir})
	}
	return out, nil
}

// TestG26_ATreeOfFoldersWithoutEndIsRefused: a few objects can make a tree of any width and depth.
func TestG26_ATreeOfFoldersWithoutEndIsRefused(t *testing.T) {
	for name, b := range map[string]bomb{"wide": {levels: 5}, "deep": {}} {
		if _, err := Diff(FromMap(map[string]string{"a": "1"}), b, 100); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: Diff: %v", name, err)
		}
		err := Walk(b, "", 100, func(string, Entry) error { return nil })
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: Walk: %v", name, err)
		}
	}
}
