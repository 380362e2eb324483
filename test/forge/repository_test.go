package forge

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hosted is a repository on the forge, with a clone that people work in.
type hosted struct {
	*testing.T
	*gitea
	name, clone string
}

// repository makes a repository that the bot may write to. It begins with a commit of Gitea's own: after a first push from outside, Gitea
// knows of no pull requests (404) until a queue has told it, some time later, that the repository is no longer empty.
func (g *gitea) repository(t *testing.T) *hosted {
	t.Helper()
	g.repositories++
	h := &hosted{T: t, gitea: g, name: fmt.Sprintf("fleet-%d", g.repositories), clone: t.TempDir()}
	g.call(t, owner, http.MethodPost, "user/repos", map[string]any{"name": h.name, "default_branch": "main", "auto_init": true}, nil)
	g.call(t, owner, http.MethodPut, h.api("collaborators/"+bot), map[string]any{"permission": "write"}, nil)
	h.git("init", "--quiet", "--initial-branch=main")
	h.git("remote", "add", "origin", strings.Replace(h.gitURL(), "://", "://"+owner+":"+g.tokens[owner]+"@", 1))
	return h
}

func (h *hosted) api(path string) string {
	return strings.TrimSuffix("repos/"+owner+"/"+h.name+"/"+path, "/")
}

func (h *hosted) gitURL() string { return h.url + "/" + owner + "/" + h.name + ".git" }

func (h *hosted) git(args ...string) string {
	h.Helper()
	cmd := exec.Command("git", append([]string{"-C", h.clone, "-c", "user.name=Ann", "-c", "user.email=ann@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+h.clone, "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.Fatalf("git %s: %v\n%s", args[0], err, strings.ReplaceAll(string(out), h.tokens[owner], "[token]"))
	}
	return strings.TrimSpace(string(out))
}

// commit has people push a commit to main.
func (h *hosted) commit(message string, files map[string]string) string {
	h.Helper()
	h.git("fetch", "--quiet", "origin", "main")
	h.git("reset", "--quiet", "--hard", "FETCH_HEAD")
	for name, content := range files {
		path := filepath.Join(h.clone, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			h.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			h.Fatal(err)
		}
	}
	h.git("add", "--all")
	h.git("commit", "--quiet", "--message", message)
	h.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
	return h.git("rev-parse", "HEAD")
}

// file is a file as a branch on the forge has it.
func (h *hosted) file(branch, name string) string {
	h.Helper()
	h.git("fetch", "--quiet", "origin", branch)
	return h.git("show", "FETCH_HEAD:"+name) + "\n"
}

func (h *hosted) head(branch string) string {
	h.Helper()
	head, _, _ := strings.Cut(h.git("ls-remote", "origin", "refs/heads/"+branch), "\t")
	return head
}

// asides are the branches of pull requests.
func (h *hosted) asides() []string {
	h.Helper()
	return strings.Fields(h.git("ls-remote", "origin", "refs/heads/rollback/*"))
}

// protect lets only people push to main.
func (h *hosted) protect() {
	h.Helper()
	h.call(h.T, owner, http.MethodPost, h.api("branch_protections"), map[string]any{
		"rule_name": "main", "enable_push": true, "enable_push_whitelist": true, "push_whitelist_usernames": []string{owner},
	}, nil)
}

// pull is a pull request as the API has it.
type pull struct {
	Number int    `json:"number"`
	State  string `json:"state"`
	Merged bool   `json:"merged"`
	Title  string `json:"title"`
	Body   string `json:"body"`
	User   struct {
		Login string `json:"login"`
	} `json:"user"`
	Head, Base struct {
		Ref string `json:"ref"`
	}
	Commit string `json:"merge_commit_sha"`
}

func (h *hosted) pulls() (out []pull) {
	h.Helper()
	h.call(h.T, owner, http.MethodGet, h.api("pulls?state=all"), nil, &out)
	return out
}

// onePull is the only pull request there ever was.
func (h *hosted) onePull() pull {
	h.Helper()
	all := h.pulls()
	if len(all) != 1 {
		h.Fatalf("%d pull requests: %+v", len(all), all)
	}
	return all[0]
}

func (h *hosted) merge(how string) {
	h.Helper()
	path := h.api(fmt.Sprintf("pulls/%d/merge", h.onePull().Number))
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		status, err := h.try(owner, http.MethodPost, path, map[string]any{"do": how}, nil)
		if err == nil {
			return
		}
		// Gitea says so until it has found out whether there is a conflict.
		if status != http.StatusMethodNotAllowed || !strings.Contains(err.Error(), "try again later") || time.Now().After(end) {
			h.Fatalf("merging: %d: %v", status, err)
		}
	}
}

func (h *hosted) setPull(state string) {
	h.Helper()
	h.call(h.T, owner, http.MethodPatch, h.api(fmt.Sprintf("pulls/%d", h.onePull().Number)), map[string]any{"state": state}, nil)
}
