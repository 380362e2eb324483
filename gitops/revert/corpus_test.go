package revert

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/gitops/tree"
)

var section = regexp.MustCompile(`(?m)^-- (good|bad|head|want)/(\S+)( gone)? --\n`)

// corpus reads a case: a header of "key: value" lines, then files. Each side begins as the one before it (good, bad, head,
// want) and lists only what is other. ␍ stands for a carriage return, ␂ for a byte order mark, and a last line that ends
// with ␄ has no line break.
func corpus(t *testing.T, text string) (header map[string]string, sides map[string]map[string]string) {
	t.Helper()
	header = map[string]string{"path": "app", "outcome": string(Changes)}
	at := section.FindAllStringSubmatchIndex(text, -1)
	for line := range strings.Lines(text[:at[0][0]]) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), ": "); found {
			header[key] = value
		}
	}
	files := map[string]map[string]*string{"good": {}, "bad": {}, "head": {}, "want": {}}
	for i, match := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		content := strings.NewReplacer("␍", "\r", "␂", "\ufeff", "␄\n", "").Replace(text[match[1]:end])
		side, name := files[text[match[2]:match[3]]], text[match[4]:match[5]]
		if side[name] = &content; match[6] >= 0 {
			side[name] = nil
		}
	}
	sides = map[string]map[string]string{}
	now := map[string]string{}
	for _, side := range []string{"good", "bad", "head", "want"} {
		for name, content := range files[side] {
			if content == nil {
				delete(now, name)
				continue
			}
			now[name] = *content
		}
		sides[side] = maps.Clone(now)
	}
	return header, sides
}

// TestCorpus: what is not the workload's stays byte for byte.
func TestCorpus(t *testing.T) {
	names, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d cases, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			header, sides := corpus(t, string(raw))
			in := Input{Good: tree.FromMap(sides["good"]), Bad: tree.FromMap(sides["bad"]), Head: tree.FromMap(sides["head"]), Path: header["path"], Workload: checkout}
			for _, side := range []struct {
				tree     tree.Tree
				revision *string
			}{{in.Good, &in.GoodRevision}, {in.Bad, &in.BadRevision}} {
				if *side.revision, err = RevisionAt(side.tree, in.Path, checkout); err != nil || *side.revision == "" {
					t.Fatalf("revision %q, %v", *side.revision, err)
				}
			}
			result, err := Compose(in)
			if err != nil || string(result.Outcome) != header["outcome"] {
				t.Fatalf("%v, %s: %s", err, result.Outcome, result.Why)
			}
			if !strings.Contains(result.Why, header["why"]) {
				t.Errorf("why %q does not say %q", result.Why, header["why"])
			}
			changes := result.Changes
			if result.Outcome == Conflict {
				changes = result.Proposal
			}
			compare(t, sides["want"], tree.Overlay(in.Head, changes))
			if second, err := Compose(in); err != nil || !cmp.Equal(result, second) {
				t.Error("computed again, it is not the same")
			}
		})
	}
}

func compare(t *testing.T, want map[string]string, got tree.Tree) {
	t.Helper()
	have := map[string]string{}
	err := tree.Walk(got, "", 1000, func(name string, _ tree.Entry) error {
		content, err := got.ReadFile(name)
		have[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := maps.Clone(want)
	maps.Copy(names, have)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if diff := cmp.Diff(want[name], have[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
