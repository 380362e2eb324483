package gitserver

import (
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := git(t, dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

// commit makes a working copy with one commit.
func commit(t *testing.T, message string) string {
	dir := t.TempDir()
	mustGit(t, dir, "init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("x", 3<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	mustGit(t, dir, "add", ".")
	mustGit(t, dir, "commit", "-qm", message)
	return dir
}

func serve(t *testing.T) (root, base string) {
	root = t.TempDir()
	handler, err := Handler(t.Context(), Options{Root: root, User: "u", Password: "secret", Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return root, server.URL
}

func TestPushAndClone(t *testing.T) {
	root, base := serve(t)
	if _, err := Create(t.Context(), root, "shop/fleet"); err != nil {
		t.Fatal(err)
	}
	work := commit(t, "one")
	mustGit(t, work, "-c", "http.postBuffer=1024", "push", "-q", base+"/shop/fleet.git", "main")
	clone := filepath.Join(t.TempDir(), "clone")
	mustGit(t, work, "clone", "-q", base+"/shop/fleet.git", clone)
	if got, want := mustGit(t, clone, "rev-parse", "HEAD"), mustGit(t, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("cloned %s, pushed %s", got, want)
	}
}

func TestPushOfAStaleHeadIsRefused(t *testing.T) {
	root, base := serve(t)
	if _, err := Create(t.Context(), root, "fleet"); err != nil {
		t.Fatal(err)
	}
	mustGit(t, commit(t, "first"), "push", "-q", base+"/fleet.git", "main")
	if out, err := git(t, commit(t, "second"), "push", base+"/fleet.git", "HEAD:main"); err == nil {
		t.Errorf("a push that is no fast-forward went through: %s", out)
	}
}

func TestProtectedBranch(t *testing.T) {
	root, base := serve(t)
	dir, err := Create(t.Context(), root, "fleet", "main")
	if err != nil {
		t.Fatal(err)
	}
	work := commit(t, "one")
	out, err := git(t, work, "push", base+"/fleet.git", "main")
	if err == nil || !strings.Contains(out, "protected branch: main") {
		t.Errorf("pushing to a protected branch: %v\n%s", err, out)
	}
	mustGit(t, work, "push", "-q", base+"/fleet.git", "main:side")
	if err := Protect(dir); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "push", "-q", base+"/fleet.git", "main")
}

func TestPrivateNeedsPassword(t *testing.T) {
	root, base := serve(t)
	if _, err := Create(t.Context(), root, "private/fleet"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		user *url.Userinfo
		ok   bool
	}{{nil, false}, {url.UserPassword("u", "wrong"), false}, {url.UserPassword("v", "secret"), false}, {url.UserPassword("u", "secret"), true}} {
		u, err := url.Parse(base + "/private/fleet.git")
		if err != nil {
			t.Fatal(err)
		}
		u.User = tc.user
		if _, err := git(t, t.TempDir(), "ls-remote", u.String()); (err == nil) != tc.ok {
			t.Errorf("user %v: %v", tc.user, err)
		}
	}
	for path, want := range map[string]bool{"/private/x.git": true, "/a/../private/x": true, "//private/x": true, "/privateer.git": false, "/x.git": false} {
		if isPrivate(path) != want {
			t.Errorf("isPrivate(%q) = %v", path, !want)
		}
	}
}
