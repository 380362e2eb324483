package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/tree"
)

// ways are how the repository of a test server is reached.
func ways(t *testing.T, server *gittest.Server, repository string) map[string]Remote {
	t.Helper()
	over := server.SSH()
	auth, err := AuthFromSecret(over.URL(repository), map[string][]byte{KeyIdentity: over.Identity, KeyKnownHosts: over.KnownHosts})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Remote{
		"http": {URL: server.URL(repository)}, "file": {URL: server.FileURL(repository)}, "ssh": {URL: over.URL(repository), Auth: auth},
	}
}

func read(t *testing.T, store *Store, commit, name string) string {
	t.Helper()
	repo, found := store.Repo(commit)
	if !found {
		t.Fatalf("commit %s is not in the store", commit)
	}
	files, err := repo.Tree(commit)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestG02_OneStoreGrowsByWhatIsNew: over every transport, on disk and in memory, a fetch brings only what the store lacks,
// what was there stays readable, and history is deepened when it is asked for.
func TestG02_OneStoreGrowsByWhatIsNew(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	big := map[string]string{}
	for i := range 200 {
		big[fmt.Sprintf("apps/%d/app.yaml", i)] = strings.Repeat(fmt.Sprintf("%x", 7*i), 200)
	}
	var commits []string
	commits = append(commits, server.Commit("fleet", "main", "all", big))
	for i := range 9 {
		commits = append(commits, server.Commit("fleet", "main", fmt.Sprint(i), map[string]string{"a.yaml": fmt.Sprintf("a: %d\n", i)}))
	}
	for name, remote := range ways(t, server, "fleet") {
		for _, dir := range []string{"", filepath.Join(t.TempDir(), name)} {
			t.Run(name+" "+map[bool]string{true: "memory", false: "disk"}[dir == ""], func(t *testing.T) {
				store, err := NewStore(dir)
				if err != nil {
					t.Fatal(err)
				}
				first, err := remote.FetchInto(t.Context(), store, Ref{Branch: "main"}, 1)
				if err != nil || first.Commit != server.Head("fleet", "main") || first.Name != "refs/heads/main" {
					t.Fatalf("FetchInto: %+v, %v", first, err)
				}
				if _, found := store.Repo(commits[8]); found {
					t.Error("the history was fetched though nobody asked")
				}
				before := store.Bytes()
				next := server.Commit("fleet", "main", "next "+t.Name(), map[string]string{"b.yaml": t.Name()})
				if _, err := remote.FetchInto(t.Context(), store, Ref{Branch: "main"}, 1); err != nil {
					t.Fatal(err)
				}
				if grown := store.Bytes() - before; grown > 6000 {
					t.Errorf("a commit of one file cost %d bytes; the first fetch cost %d", grown, before)
				}
				if got := read(t, store, next, "b.yaml"); got != t.Name() {
					t.Errorf("b.yaml: %q", got)
				}
				if got := read(t, store, first.Commit, "a.yaml"); got != "a: 8\n" {
					t.Errorf("a.yaml of the commit before: %q", got)
				}
				if _, err := remote.FetchInto(t.Context(), store, Ref{Branch: "main"}, 100); err != nil {
					t.Fatal(err)
				}
				repo, _ := store.Repo(next)
				log, truncated, err := repo.Log(next, 100)
				if err != nil || truncated || log[len(log)-1].SHA != commits[0] {
					t.Errorf("deepened: %d commits, truncated %v, %v", len(log), truncated, err)
				}
				if got := read(t, store, commits[5], "a.yaml"); got != "a: 4\n" {
					t.Errorf("a.yaml of an old commit: %q", got)
				}
				if err := store.Close(); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(dir); dir != "" && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the closed store is still on the disk: %v", err)
				}
			})
		}
	}
}

// TestG01_G39_RefsAreResolved: branches, tags light and annotated, versions and commits, over every transport.
func TestG01_G39_RefsAreResolved(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	var commits []string
	for i, tag := range []string{"v1.0.0", "1.2.0", "v1.10.0", "v2.0.0-rc.1", "nightly"} {
		commits = append(commits, server.Commit("fleet", "main", tag, map[string]string{"a": tag}))
		if i%2 == 0 {
			server.Git("fleet", "tag", tag, commits[i])
		} else {
			server.Git("fleet", "tag", "-a", "-m", tag, tag, commits[i])
		}
	}
	server.Commit("fleet", "side", "side", map[string]string{"a": "side"})
	server.Git("fleet", "tag", "blob", server.Git("fleet", "rev-parse", "main:a")[:40])
	for name, remote := range ways(t, server, "fleet") {
		for _, test := range []struct {
			ref          Ref
			commit       string
			name, number string
			want         error
		}{
			{Ref{Branch: "main"}, commits[4], "refs/heads/main", "", nil},
			{Ref{Tag: "nightly"}, commits[4], "refs/tags/nightly", "", nil},
			{Ref{Tag: "1.2.0"}, commits[1], "refs/tags/1.2.0", "", nil},
			{Ref{SemVer: "1.x"}, commits[2], "refs/tags/v1.10.0", "1.10.0", nil},
			{Ref{SemVer: "~1.2"}, commits[1], "refs/tags/1.2.0", "1.2.0", nil},
			{Ref{SemVer: ">=1.0.0-0"}, commits[3], "refs/tags/v2.0.0-rc.1", "2.0.0-rc.1", nil},
			{Ref{Commit: commits[4]}, commits[4], "", "", nil},
			{Ref{Commit: commits[2]}, commits[2], "", "", nil},
			{Ref{SemVer: ">=3"}, "", "", "", ErrRefNotFound},
			{Ref{Tag: "blob"}, "", "", "", ErrRefNotFound},
			{Ref{Tag: "none"}, "", "", "", ErrRefNotFound},
			{Ref{Branch: "none"}, "", "", "", ErrBranchNotFound},
			{Ref{Commit: strings.Repeat("ab", 20)}, "", "", "", ErrRefNotFound},
		} {
			store, err := NewStore("")
			if err != nil {
				t.Fatal(err)
			}
			got, err := remote.FetchInto(t.Context(), store, test.ref, 10)
			if !errors.Is(err, test.want) || got.Commit != test.commit || got.Name != test.name || got.Version != test.number {
				t.Errorf("%s: %s: %+v, %v, want %s %s %s %v", name, test.ref, got, err, test.commit, test.name, test.number, test.want)
			}
			if err == nil {
				read(t, store, got.Commit, "a")
				listing, err := remote.List(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if listed, err := listing.Resolve(test.ref); err != nil || listed.Commit != got.Commit || listed.Version != got.Version {
					t.Errorf("%s: %s: listed as %+v, %v", name, test.ref, listed, err)
				}
			}
		}
	}
}

func TestRefsAreChecked(t *testing.T) {
	for want, ref := range map[string]Ref{
		"has 0 of": {}, "has 2 of": {Branch: "a", Tag: "b"}, "range of versions": {SemVer: "newest"}, "40 hexadecimal": {Commit: "abc"},
		"branch a..b": {Branch: "a..b"}, "tag a b": {Tag: "a b"},
	} {
		if err := ref.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", ref, err, want)
		}
	}
	if !LowerVersion("1.9.0", "1.10.0") || LowerVersion("1.10.0", "1.9.0") || LowerVersion("x", "1.0.0") {
		t.Error("versions are not compared as versions")
	}
}

// TestAFullStoreIsBegunAnew: after many fetches the store stays bounded, the head is there, and trees handed out before can be
// read still.
func TestAFullStoreIsBegunAnew(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	remote := Remote{URL: server.URL("fleet")}
	dir := filepath.Join(t.TempDir(), "store")
	store, err := NewStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	var before tree.Tree
	for i := range maxPacks + 5 {
		head := server.Commit("fleet", "main", fmt.Sprint(i), map[string]string{"a": fmt.Sprint(i)})
		if _, err := remote.FetchInto(t.Context(), store, Ref{Branch: "main"}, 1); err != nil {
			t.Fatal(err)
		}
		if got := read(t, store, head, "a"); got != fmt.Sprint(i) {
			t.Fatalf("a: %q, want %d", got, i)
		}
		if i == maxPacks-1 {
			repo, _ := store.Repo(head)
			if before, err = repo.Tree(head); err != nil {
				t.Fatal(err)
			}
		}
	}
	if store.now.packs > maxPacks || store.numbers != 2 {
		t.Errorf("%d packs in generation %d", store.now.packs, store.numbers)
	}
	if raw, err := before.ReadFile("a"); err != nil || string(raw) != fmt.Sprint(maxPacks-1) {
		t.Errorf("the tree from before: %q, %v", raw, err)
	}
}

// TestALostStoreIsAnErrorNotAnEmptyTree: files removed under a store never look like files that are not in Git.
func TestALostStoreIsAnErrorNotAnEmptyTree(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	head := server.Commit("fleet", "main", "one", map[string]string{"dir/a": "1"})
	dir := filepath.Join(t.TempDir(), "store")
	store, err := NewStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Remote{URL: server.URL("fleet")}).FetchInto(t.Context(), store, Ref{Branch: "main"}, 1); err != nil {
		t.Fatal(err)
	}
	repo, _ := store.Repo(head)
	files, err := repo.Tree(head)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"ReadFile": second(files.ReadFile("dir/a")), "List": second(files.List("dir")),
	} {
		if err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, found := files.BlobID("dir/a"); !found || !tree.IsDir(files, "dir") {
		t.Error("what cannot be read seems not to be there")
	}
}

func second[T any](_ T, err error) error { return err }

func TestTooManyObjectsAreRefused(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	server.Commit("fleet", "main", "one", map[string]string{"a": "1", "b": "2", "c": "3"})
	for name, limits := range map[string]Limits{"objects": {Objects: 4}, "pack": {PackBytes: 100}, "inflated": {InflatedBytes: 100}, "object": {ObjectBytes: 20}} {
		store, err := NewStore("")
		if err != nil {
			t.Fatal(err)
		}
		remote := Remote{URL: server.URL("fleet"), Limits: limits}
		if _, err := remote.FetchInto(t.Context(), store, Ref{Branch: "main"}, 1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		if len(store.now.haves) != 0 || store.Bytes() != 0 {
			t.Errorf("%s: the store took it in", name)
		}
	}
}

// TestAStoreIsTakenUpAgain: after a restart nothing is fetched twice; a store that was damaged is begun anew.
func TestAStoreIsTakenUpAgain(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	head := server.Commit("fleet", "main", "one", map[string]string{"dir/a": "1"})
	remote, dir := Remote{URL: server.URL("fleet")}, filepath.Join(t.TempDir(), "store")
	open := func() *Store {
		t.Helper()
		store, err := NewStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	if _, err := remote.FetchInto(t.Context(), open(), Ref{Branch: "main"}, 1); err != nil {
		t.Fatal(err)
	}
	again := open()
	if got := read(t, again, head, "dir/a"); got != "1" {
		t.Errorf("after a restart: %q", got)
	}
	next := server.Commit("fleet", "main", "two", map[string]string{"dir/a": "2"})
	if _, err := remote.FetchInto(t.Context(), again, Ref{Branch: "main"}, 1); err != nil {
		t.Fatal(err)
	}
	if got := read(t, again, next, "dir/a"); got != "2" {
		t.Errorf("after the next fetch: %q", got)
	}
	packs, err := filepath.Glob(filepath.Join(dir, "*", "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 2 {
		t.Fatalf("packs %v, %v", packs, err)
	}
	for _, pack := range packs {
		if err := os.Remove(pack); err != nil {
			t.Fatal(err)
		}
	}
	damaged := open()
	if _, found := damaged.Repo(head); found || damaged.Bytes() != 0 {
		t.Error("a damaged store was taken up")
	}
	if _, err := remote.FetchInto(t.Context(), damaged, Ref{Branch: "main"}, 1); err != nil {
		t.Fatal(err)
	}
	if got := read(t, damaged, next, "dir/a"); got != "2" {
		t.Errorf("begun anew: %q", got)
	}
}
