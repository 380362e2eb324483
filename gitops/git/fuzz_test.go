package git

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/belay-delivery/belay/gitops/git/gittest"
)

// FuzzUnpack: whatever a server sends as a pack is taken in or refused within the limits, and panics nobody. The checksum at the
// end of a pack keeps most changes out, so the first pass, before it is looked at, is what this reaches best.
func FuzzUnpack(f *testing.F) {
	server := gittest.New(f)
	server.Create("fleet")
	for _, content := range []string{"a: 1\n", "a: 2\n"} {
		server.Commit("fleet", "main", content, map[string]string{"dir/a.yaml": content, "b": string(bytes.Repeat([]byte(content), 200))})
	}
	command := exec.Command("git", "--git-dir", server.Dir("fleet"), "pack-objects", "--all", "--stdout", "--quiet")
	pack, err := command.Output()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pack)
	f.Add(pack[:len(pack)/2])
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"))
	limits := Limits{InflatedBytes: 1 << 20, ObjectBytes: 1 << 16, Objects: 1000}
	f.Fuzz(func(t *testing.T, raw []byte) {
		count, err := inspect(bytes.NewReader(raw), limits)
		if err != nil {
			return
		}
		store, err := NewStore("")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = store.add(fetched{file: bytes.NewReader(raw), size: int64(len(raw)), count: count})
	})
}
