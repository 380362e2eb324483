package git_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/tree"
)

var when = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func options(message string) git.CommitOptions {
	return git.CommitOptions{Message: message, AuthorName: "Belay", AuthorEmail: "belay@example.com", When: when}
}

func content(text string) *[]byte {
	data := []byte(text)
	return &data
}

// fleet is a server with one repository of three commits.
func fleet(t *testing.T) (*gittest.Server, git.Remote) {
	t.Helper()
	server := gittest.New(t)
	server.Create("fleet")
	server.Commit("fleet", "main", "first", map[string]string{"app/a.yaml": "a: 1\n", "app/deep/er/b.yaml": "b: 1\n", "README": "read\n"})
	server.Commit("fleet", "main", "second", map[string]string{"app/a.yaml": "a: 2\n"})
	server.Commit("fleet", "main", "third\n\nwith a body\n\nTrailer: x", map[string]string{"other/c.yaml": "c: 1\n"})
	return server, git.Remote{URL: server.URL("fleet"), Branch: "main"}
}

func fetch(t *testing.T, remote git.Remote, depth int) *git.Repo {
	t.Helper()
	repo, err := remote.Fetch(t.Context(), depth)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// TestTransports runs the whole way over each transport.
func TestTransports(t *testing.T) {
	server, http := fleet(t)
	shell := server.SSH()
	keys := map[string][]byte{git.KeyIdentity: shell.Identity, git.KeyKnownHosts: shell.KnownHosts}
	auth, err := git.AuthFromSecret(shell.URL("fleet"), keys)
	if err != nil {
		t.Fatal(err)
	}
	for name, remote := range map[string]git.Remote{
		"http": http,
		"ssh":  {URL: shell.URL("fleet"), Branch: "main", Auth: auth},
		"file": {URL: server.FileURL("fleet"), Branch: "main"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			head, err := remote.Head(ctx)
			if err != nil || head != server.Head("fleet", "main") {
				t.Fatalf("head %q, %v", head, err)
			}
			for _, depth := range []int{1, 2, 0} {
				repo := fetch(t, remote, depth)
				log, truncated, err := repo.Log(repo.Head(), 100)
				if err != nil || repo.Head() != head || truncated != (depth > 0) || depth > 0 && len(log) != depth {
					t.Fatalf("depth %d: %d commits, truncated %v, %v", depth, len(log), truncated, err)
				}
			}
			repo := fetch(t, remote, 1)
			commit, err := repo.Write(head, map[string]*[]byte{"app/" + name: content(name), "app/deep/er/b.yaml": content(name)}, options("by "+name))
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Push(ctx, repo, head, commit); err != nil {
				t.Fatal(err)
			}
			if err := remote.Push(ctx, repo, head, commit); err != nil {
				t.Errorf("pushing the same again: %v", err)
			}
			if server.Head("fleet", "main") != commit || server.File("fleet", commit, "app/"+name) != name {
				t.Error("the commit did not arrive")
			}
			if got := server.Git("fleet", "diff", "--name-only", head, commit); got != "app/deep/er/b.yaml\napp/"+name+"\n" {
				t.Errorf("changed files: %q", got)
			}
			server.Git("fleet", "fsck", "--strict")
			side := remote
			side.Branch = "rollback/" + name
			if err := side.Push(ctx, repo, "", commit); err != nil || server.Head("fleet", side.Branch) != commit {
				t.Errorf("creating a branch: %v", err)
			}
			if err := remote.Push(ctx, repo, strings.Repeat("1", 40), head); !errors.Is(err, git.ErrStale) {
				t.Errorf("stale base: %v", err)
			}
			missing := remote
			missing.Branch = "nowhere"
			if _, err := missing.Head(ctx); !errors.Is(err, git.ErrBranchNotFound) {
				t.Errorf("missing branch: %v", err)
			}
			missing = remote
			missing.URL = strings.Replace(remote.URL, "fleet", "flee", 1)
			if _, err := missing.Fetch(ctx, 1); !errors.Is(err, git.ErrRepositoryNotFound) {
				t.Errorf("missing repository: %v", err)
			}
		})
	}
}

func TestCommit(t *testing.T) {
	server, remote := fleet(t)
	repo := fetch(t, remote, 0)
	commit, err := repo.Commit(repo.Head())
	if err != nil {
		t.Fatal(err)
	}
	want := git.Commit{
		SHA: server.Head("fleet", "main"), Subject: "third", Message: "third\n\nwith a body\n\nTrailer: x\n",
		Author: "Ann", AuthorEmail: "ann@example.com", CommitterEmail: "ann@example.com", Time: commit.Time, Parents: []string{strings.TrimSpace(server.Git("fleet", "rev-parse", "main^"))},
	}
	if diff := cmp.Diff(want, commit); diff != "" {
		t.Error(diff)
	}
	if _, err := repo.Commit(strings.Repeat("0", 40)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing commit: %v", err)
	}
	if _, err := repo.Commit("main"); err == nil {
		t.Error("a branch name is not a commit")
	}
}

func TestWrite(t *testing.T) {
	server, remote := fleet(t)
	repo := fetch(t, remote, 1)
	changes := map[string]*[]byte{"app/deep/er/b.yaml": nil, "new/x/y.yaml": content("y"), "app/a.yaml": content("a: 3\n")}
	first, err := repo.Write(repo.Head(), changes, options("change"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := fetch(t, remote, 0).Write(repo.Head(), changes, options("change"))
	if err != nil || again != first {
		t.Errorf("not deterministic: %s and %s, %v", first, again, err)
	}
	if err := remote.Push(t.Context(), repo, repo.Head(), first); err != nil {
		t.Fatal(err)
	}
	server.Git("fleet", "fsck", "--strict")
	if got := server.Git("fleet", "ls-tree", "-r", "--name-only", "main"); got != "README\napp/a.yaml\nnew/x/y.yaml\nother/c.yaml\n" {
		t.Errorf("files: %q", got)
	}
	read, err := repo.Tree(first)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := read.ReadFile("app/a.yaml"); err != nil || string(data) != "a: 3\n" {
		t.Errorf("%q, %v", data, err)
	}
	refused := map[string]map[string]*[]byte{
		"traversal":          {"../x": content("x")},
		"git folder":         {"app/.GIT/config": content("x")},
		"absolute":           {"/x": content("x")},
		"through a file":     {"README/x": content("x")},
		"over a folder":      {"app": content("x")},
		"delete the missing": {"nothing": nil},
		"no change":          {"README": content("read\n")},
	}
	for name, changes := range refused {
		if _, err := repo.Write(repo.Head(), changes, options("x")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, bad := range []git.CommitOptions{
		{Message: "", AuthorName: "a", AuthorEmail: "b", When: when},
		{Message: "m", AuthorName: "a\nparent x", AuthorEmail: "b", When: when},
		{Message: "m", AuthorName: "a", AuthorEmail: "b>", When: when},
		{Message: "m", AuthorName: "a", AuthorEmail: "b"},
	} {
		if _, err := repo.Write(repo.Head(), map[string]*[]byte{"z": content("z")}, bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

func TestTreeFollowsNoLinks(t *testing.T) {
	server, remote := fleet(t)
	index := []string{"GIT_INDEX_FILE=" + t.TempDir() + "/index"}
	run := func(input string, args ...string) string {
		command := exec.Command("git", append([]string{"--git-dir", server.Dir("fleet")}, args...)...)
		command.Env = append(command.Environ(), append(index, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")...)
		command.Stdin = strings.NewReader(input)
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", args, out)
		}
		return strings.TrimSpace(string(out))
	}
	link := run("/etc/passwd", "hash-object", "-w", "--stdin")
	large := run(strings.Repeat("x", tree.MaxFileBytes+1), "hash-object", "-w", "--stdin")
	run("", "update-index", "--add", "--cacheinfo", "120000,"+link+",link",
		"--cacheinfo", "100644,"+large+",large.yaml", "--cacheinfo", "160000,"+server.Head("fleet", "main")+",module")
	run("", "update-ref", "refs/heads/main", run("", "commit-tree", "-m", "links", run("", "write-tree")))
	repo := fetch(t, remote, 1)
	files, err := repo.Tree(repo.Head())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"link": tree.ErrSymlink, "link/x": tree.ErrSymlink, "module": tree.ErrSubmodule, "module/x": tree.ErrSubmodule,
		"large.yaml": git.ErrTooLarge, "../x": tree.ErrPath, "a/../../x": tree.ErrPath, "/etc/passwd": tree.ErrPath,
		".git/config": tree.ErrPath, "missing": fs.ErrNotExist, "large.yaml/x": fs.ErrNotExist,
	} {
		if _, err := files.ReadFile(name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"link", "module"} {
		if _, err := files.List(name); err == nil {
			t.Errorf("listing %s: no error", name)
		}
		if _, found := files.BlobID(name); found {
			t.Errorf("%s has a blob", name)
		}
		if _, err := repo.Write(repo.Head(), map[string]*[]byte{name + "/x": content("x")}, options("x")); err == nil {
			t.Errorf("wrote through %s", name)
		}
	}
	entries, err := files.List("")
	if err != nil || len(entries) != 3 || entries[0].Name != "large.yaml" {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestFetchLimits(t *testing.T) {
	server, remote := fleet(t)
	server.Commit("fleet", "main", "zeros", map[string]string{"zeros": strings.Repeat("\x00", 1<<20)})
	for name, limits := range map[string]git.Limits{
		"pack": {PackBytes: 200}, "object": {ObjectBytes: 1 << 19}, "all": {InflatedBytes: 1 << 20},
	} {
		remote.Limits = limits
		if _, err := remote.Fetch(t.Context(), 1); !errors.Is(err, git.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	remote.Limits = git.Limits{}
	fetch(t, remote, 1)
}

// TestSilentServer accepts and says nothing: the context ends it.
func TestSilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, identity := gittest.NewKey(t)
	host, _ := gittest.NewKey(t)
	known := fmt.Sprintf("%s %s %s", "127.0.0.1", host.PublicKey().Type(), "AAAAC3NzaC1lZDI1NTE5AAAAIGT0lBVkQmW1cPZV5BmOJpYcSVqdj3Hk0tL4dF9F2V0r")
	for _, url := range []string{"http://" + listener.Addr().String() + "/x", "ssh://git@" + listener.Addr().String() + "/x"} {
		remote := git.Remote{URL: url, Branch: "main"}
		if strings.HasPrefix(url, "ssh") {
			if remote.Auth, err = git.AuthFromSecret(url, map[string][]byte{git.KeyIdentity: identity, git.KeyKnownHosts: []byte(known)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := remote.Head(ctx)
		cancel()
		if !errors.Is(err, git.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", url, err)
		}
	}
	_ = listener.Close()
	if _, err := (git.Remote{URL: "http://" + listener.Addr().String() + "/x", Branch: "main"}).Head(t.Context()); !errors.Is(err, git.ErrUnreachable) {
		t.Errorf("closed port: %v", err)
	}
}

func TestAuth(t *testing.T) {
	server, remote := fleet(t)
	server.RequireBasicAuth("bot", "s3cret")
	shell := server.SSH()
	_, stranger := gittest.NewKey(t)
	otherHost := strings.Replace(string(shell.KnownHosts), "127.0.0.1", "127.0.0.2", 1)
	tests := map[string]struct {
		url  string
		data map[string]string
		want error
	}{
		"right":           {remote.URL, map[string]string{"username": "bot", "password": "s3cret\n"}, nil},
		"wrong password":  {remote.URL, map[string]string{"username": "bot", "password": "guess3d"}, git.ErrAuth},
		"token":           {remote.URL, map[string]string{"bearerToken": "t0ken"}, git.ErrAuth},
		"ssh":             {shell.URL("fleet"), map[string]string{"identity": string(shell.Identity), "known_hosts": string(shell.KnownHosts)}, nil},
		"ssh, wrong key":  {shell.URL("fleet"), map[string]string{"identity": string(stranger), "known_hosts": string(shell.KnownHosts)}, git.ErrAuth},
		"ssh, wrong host": {shell.URL("fleet"), map[string]string{"identity": string(shell.Identity), "known_hosts": otherHost}, git.ErrAuth},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for key, value := range test.data {
				data[key] = []byte(value)
			}
			auth, err := git.AuthFromSecret(test.url, data)
			if err != nil {
				t.Fatal(err)
			}
			encoded, _ := json.Marshal(map[string]any{"auth": auth})
			_, err = git.Remote{URL: test.url, Branch: "main", Auth: auth}.Head(t.Context())
			if !errors.Is(err, test.want) {
				t.Errorf("got %v", err)
			}
			shown := fmt.Sprintf("%v %+v %#v %s %q %x %s %v", auth, auth, auth, auth, auth, auth, encoded, err)
			for _, secret := range []string{"s3cret", "guess3d", "t0ken", "PRIVATE"} {
				if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
					t.Errorf("secret shown: %s", shown)
				}
			}
		})
	}
	if _, err := remote.Head(t.Context()); !errors.Is(err, git.ErrAuth) {
		t.Errorf("anonymous: %v", err)
	}
}

// TestCredentialsThatAServerRepeats stand in no error: not of a fetch, and not in a push's refusal.
func TestCredentialsThatAServerRepeats(t *testing.T) {
	_, remote := fleet(t)
	base, err := remote.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	repo, err := remote.Fetch(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		user, password, _ := r.BasicAuth()
		hidden := strings.Replace(password, "r", "r\u200b", 1) + strings.Replace(r.Header.Get("Authorization"), "t0k", "t0\x01k", 1)
		_, _ = fmt.Fprintf(w, "no: %s, %s %s %s %s", r.Header.Get("Authorization"), user, password, url.QueryEscape(password), hidden)
	}))
	defer echo.Close()
	for _, data := range []map[string][]byte{{"username": []byte("bot"), "password": []byte("s3cr/t+&")}, {"bearerToken": []byte("t0ken12345")}} {
		auth, err := git.AuthFromSecret(echo.URL+"/fleet", data)
		if err != nil {
			t.Fatal(err)
		}
		r := git.Remote{URL: echo.URL + "/fleet", Branch: "main", Auth: auth}
		for _, status = range []int{200, 400, 401, 403, 404, 418, 500} {
			_, head := r.Head(t.Context())
			push := r.Push(t.Context(), repo, base, base)
			for _, err := range []error{head, push} {
				if err == nil {
					t.Fatalf("status %d: no error", status)
				}
				text := err.Error()
				for _, secret := range []string{"s3cr", "t0ken", base64.StdEncoding.EncodeToString([]byte("bot:s3cr/t+&"))} {
					if strings.Contains(text, secret) {
						t.Errorf("status %d: %s", status, text)
					}
				}
			}
		}
	}
}

func TestAuthFromSecretNamesTheKey(t *testing.T) {
	_, identity := gittest.NewKey(t)
	tests := map[string]struct {
		url  string
		data map[string]string
		want string
	}{
		"nothing":            {"https://h/x", nil, `"username"`},
		"no password":        {"https://h/x", map[string]string{"username": "u"}, `"password" is missing`},
		"no username":        {"https://h/x", map[string]string{"password": "hidden"}, `"username" is missing`},
		"both":               {"https://h/x", map[string]string{"username": "u", "password": "hidden", "bearerToken": "hidden"}, "exclude"},
		"bad ca":             {"https://h/x", map[string]string{"ca.crt": "hidden"}, `"ca.crt"`},
		"no identity":        {"ssh://git@h/x", map[string]string{"known_hosts": "h ssh-ed25519 AAAA"}, `"identity" is missing`},
		"no known_hosts":     {"git@h:x", map[string]string{"identity": string(identity)}, `"known_hosts" is missing`},
		"bad identity":       {"ssh://git@h/x", map[string]string{"identity": "hidden", "known_hosts": "h"}, `"identity"`},
		"bad known_hosts":    {"ssh://git@h/x", map[string]string{"identity": string(identity), "known_hosts": "hidden"}, `"known_hosts"`},
		"password in url":    {"https://u:hidden@h/x", nil, "Secret"},
		"user in url":        {"https://hidden@h/x", nil, "Secret"},
		"scheme":             {"ftp://h/x", nil, `"ftp"`},
		"option as host":     {"ssh://-oProxyCommand=x/y", nil, "host"},
		"no path":            {"https://h", nil, "path"},
		"value out of bound": {"https://h/x", map[string]string{"password": strings.Repeat("h", 1<<17)}, "limit"},
	}
	for name, test := range tests {
		data := map[string][]byte{}
		for key, value := range test.data {
			data[key] = []byte(value)
		}
		_, err := git.AuthFromSecret(test.url, data)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLostRace pushes while somebody else gets in between: after the server has
// listed its branches (the server's own check) and before (ours).
func TestLostRace(t *testing.T) {
	server, remote := fleet(t)
	for name, arrange := range map[string]func(func()){"before": func(f func()) { f() }, "between": server.OnPush} {
		repo := fetch(t, remote, 1)
		commit, err := repo.Write(repo.Head(), map[string]*[]byte{"mine": content(name)}, options("mine"))
		if err != nil {
			t.Fatal(err)
		}
		var theirs string
		arrange(func() { theirs = server.Commit("fleet", "main", "theirs", map[string]string{"theirs": name}) })
		if err := remote.Push(t.Context(), repo, repo.Head(), commit); !errors.Is(err, git.ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
		if server.Head("fleet", "main") != theirs {
			t.Errorf("%s: the other's commit was overwritten", name)
		}
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	server, remote := fleet(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			name := fmt.Sprintf("writer-%d", i)
			for range 50 {
				repo, err := remote.Fetch(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				commit, err := repo.Write(repo.Head(), map[string]*[]byte{name: content(name)}, options(name))
				if err != nil {
					t.Error(err)
					return
				}
				if err = remote.Push(t.Context(), repo, repo.Head(), commit); err == nil {
					return
				}
				if !errors.Is(err, git.ErrStale) {
					t.Error(err)
					return
				}
			}
			t.Errorf("%s never got through", name)
		})
	}
	wait.Wait()
	if got := strings.Count(server.Git("fleet", "ls-tree", "--name-only", "main"), "writer-"); got != 8 {
		t.Errorf("%d of 8 files", got)
	}
	if got := strings.TrimSpace(server.Git("fleet", "rev-list", "--count", "main")); got != "11" {
		t.Errorf("%s commits, want 11", got)
	}
	server.Git("fleet", "fsck", "--strict")
}

func TestProtectedBranch(t *testing.T) {
	server, remote := fleet(t)
	server.Protect("fleet", "main", "GH006: Protected branch update failed.\n\x1b[31mchanges must be made through a pull request\n"+strings.Repeat("z", 10<<10))
	before := server.Head("fleet", "main")
	repo := fetch(t, remote, 1)
	commit, err := repo.Write(before, map[string]*[]byte{"x": content("x")}, options("x"))
	if err != nil {
		t.Fatal(err)
	}
	err = remote.Push(t.Context(), repo, before, commit)
	var rejected *git.RejectedError
	if !errors.As(err, &rejected) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(rejected.Reason, "pre-receive hook declined") || len(rejected.Reason) > 4<<10+8 || strings.Contains(rejected.Reason, "\x1b") {
		t.Errorf("reason of %d bytes: %.200q", len(rejected.Reason), rejected.Reason)
	}
	server.Protect("fleet", "main", "GH006: Protected branch update failed")
	if err := remote.Push(t.Context(), repo, before, commit); !errors.As(err, &rejected) || !strings.Contains(rejected.Reason, "GH006") {
		t.Errorf("got %v", err)
	}
	remote.Branch = "rollback/x"
	if err := remote.Push(t.Context(), repo, "", commit); err != nil {
		t.Errorf("another branch: %v", err)
	}
	if server.Head("fleet", "main") != before {
		t.Error("the protected branch moved")
	}
}

func TestUnknownOutcome(t *testing.T) {
	server, remote := fleet(t)
	repo := fetch(t, remote, 1)
	commit, err := repo.Write(repo.Head(), map[string]*[]byte{"x": content("x")}, options("x"))
	if err != nil {
		t.Fatal(err)
	}
	server.LoseAnswers(1)
	if err := remote.Push(t.Context(), repo, repo.Head(), commit); !errors.Is(err, git.ErrOutcomeUnknown) {
		t.Fatalf("got %v", err)
	}
	if server.Head("fleet", "main") != commit {
		t.Fatal("the fixture did not carry the push out")
	}
	if err := remote.Push(t.Context(), repo, repo.Head(), commit); err != nil {
		t.Errorf("trying again: %v", err)
	}
}

// TestBetween: merged branches count, what was there before does not, and what the fetch cut off makes it incomplete.
func TestBetween(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	first := server.Commit("fleet", "main", "first", map[string]string{"a": "1"})
	server.Git("fleet", "branch", "side", "main")
	side := server.Commit("fleet", "side", "on a branch", map[string]string{"b": "1"})
	second := server.Commit("fleet", "main", "second", map[string]string{"a": "2"})
	tree := strings.TrimSpace(server.Git("fleet", "rev-parse", "main^{tree}"))
	merge := strings.TrimSpace(server.Git("fleet", "-c", "user.name=Forge", "-c", "user.email=forge@example.com", "commit-tree", tree, "-p", second, "-p", side, "-m", "merge"))
	server.Git("fleet", "update-ref", "refs/heads/main", merge)
	remote := git.Remote{URL: server.URL("fleet"), Branch: "main"}
	repo := fetch(t, remote, 0)
	commits, complete := repo.Between(first, merge)
	found := map[string]bool{}
	for _, c := range commits {
		found[c.SHA] = true
	}
	if !complete || len(found) != 3 || !found[side] || !found[second] || !found[merge] {
		t.Errorf("%v, complete %t", found, complete)
	}
	if commits, complete = repo.Between(merge, merge); !complete || len(commits) != 0 {
		t.Errorf("nothing in between: %v, %t", commits, complete)
	}
	if _, complete = repo.Between(strings.Repeat("1", 40), merge); complete {
		t.Error("a commit that was rewritten away")
	}
	if _, complete = fetch(t, remote, 2).Between(first, merge); complete {
		t.Error("the fetch has cut off what is in between, or where it begins")
	}
}

func TestProtectedBranchesAreRecognised(t *testing.T) {
	for text, want := range map[string]bool{
		"pre-receive hook declined\nNot allowed to push to protected branch main":                      true, // Gitea
		"protected branch hook declined\nerror: GH006: Protected branch update failed":                 true, // GitHub
		"push declined due to repository rule violations\nremote: error: GH013: Repository rule":       true, // GitHub rulesets
		"pre-receive hook declined\nYou are not allowed to push code to protected branches on this":    true, // GitLab
		"HTTP status 403: You are not allowed to push code to this project.":                           true,
		"pre-receive hook declined\nBranch refs/heads/main can only be modified through pull requests": true, // Bitbucket
		"HTTP status 403: Write access to repository not granted":                                      false,
		"unpack error": false,
	} {
		if got := (&git.RejectedError{Reason: text}).Protected(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestSignedCommitsKeepTheirName(t *testing.T) {
	server, remote := fleet(t)
	repo := fetch(t, remote, 1)
	changes := map[string]*[]byte{"app/a.yaml": content("a: 3\n")}
	o := options("change")
	var objects []string
	o.Sign = func(object []byte) (string, error) {
		objects = append(objects, string(object))
		return "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n", nil
	}
	first, err := repo.Write(repo.Head(), changes, o)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := fetch(t, remote, 1).Write(repo.Head(), changes, o); err != nil || again != first || objects[0] != objects[1] {
		t.Errorf("not deterministic: %s and %s, %v", first, again, err)
	}
	if err := remote.Push(t.Context(), repo, repo.Head(), first); err != nil {
		t.Fatal(err)
	}
	server.Git("fleet", "fsck", "--strict")
	raw := server.Git("fleet", "cat-file", "commit", "main")
	if want := "\ngpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n\nchange"; !strings.Contains(raw, want) {
		t.Errorf("commit %q", raw)
	}
	if signed := strings.Replace(raw, "gpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n", "", 1); signed != objects[0] {
		t.Errorf("what was signed is not the commit without its signature:\n%q\n%q", objects[0], signed)
	}
	o.Sign = func([]byte) (string, error) { return "", errors.New("no key") }
	if _, err := repo.Write(repo.Head(), changes, o); err == nil {
		t.Error("a commit without its signature was made")
	}
}

func TestSameRepository(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"https://git.example.com/shop/fleet.git", "https://GIT.example.com/shop/fleet/", true},
		{"https://git.example.com/shop/fleet.git", "git@git.example.com:shop/fleet.git", true},
		{"https://git.example.com/shop/fleet", "ssh://git@git.example.com:22/shop/fleet.git", true},
		{"https://git.example.com:443/shop/fleet", "https://git.example.com/shop/fleet", true},
		{"https://git.example.com:8443/shop/fleet", "https://git.example.com/shop/fleet", false},
		{"https://git.example.com/shop/fleet", "https://git.example.com/shop/Fleet", false},
		{"https://git.example.com/shop/fleet", "https://git.example.org/shop/fleet", false},
		{"https://git.example.com/shop/fleet", "https://git.example.com/fleet", false},
		{"file:///srv/fleet.git", "file:///srv/fleet", true},
		{"file:///srv/fleet.git", "https://srv/fleet", false},
		{"nonsense", "nonsense", true},
		{"nonsense", "https://git.example.com/shop/fleet", false},
	} {
		if got := git.SameRepository(test.a, test.b); got != test.same {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}
