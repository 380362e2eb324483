package gittest

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server serves bare repositories of one folder over HTTP.
type Server struct {
	t      testing.TB
	dir    string
	handle http.Handler
	http   *httptest.Server
	// user and password are checked when user is set.
	user, password string
	// bearer is checked when it is set.
	bearer string
	// losing counts pushes whose answer is still to be lost.
	losing atomic.Int32
	// requests counts all requests.
	requests atomic.Int32
	// onPush runs before a push is handed to git.
	mutex   sync.Mutex
	onPush  func()
	serving sync.WaitGroup
	// down drops every connection.
	down atomic.Bool
	// pushes counts what was handed to git.
	pushes atomic.Int32
	// at is the time of commits made from now on; zero: the clock's.
	at time.Time
}

// New starts a server; it stops with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir()}
	exec := strings.TrimSpace(s.run("", nil, "--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(exec, "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=tester",
			"GIT_CONFIG_NOSYSTEM=1", "HOME=" + s.dir,
		},
		Stderr: &strings.Builder{},
	}
	s.handle = s.handler(backend)
	s.http = httptest.NewServer(s.handle)
	t.Cleanup(s.http.Close)
	return s
}

// RequireBasicAuth makes the server answer 401 without these credentials.
func (s *Server) RequireBasicAuth(user, password string) {
	s.user, s.password, s.bearer = user, password, ""
}

// RequireBearer makes the server answer 401 without this token.
func (s *Server) RequireBearer(token string) { s.user, s.password, s.bearer = "", "", token }

// LoseAnswers drops the connection, after git has done its work, for the next n
// pushes.
func (s *Server) LoseAnswers(n int) { s.losing.Store(int32(n)) } //nolint:gosec // small numbers in tests

// Requests is how many requests there were.
func (s *Server) Requests() int { return int(s.requests.Load()) }

// OnPush runs a function before the next push reaches git, once.
func (s *Server) OnPush(do func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.onPush = do
}

// Down drops every connection, until it is up again.
func (s *Server) Down(down bool) { s.down.Store(down) }

// Pushes are how many pushes git has been given.
func (s *Server) Pushes() int { return int(s.pushes.Load()) }

// Settle waits until no request is being served.
func (s *Server) Settle() { s.serving.Wait() }

// At makes commits as if at that time.
func (s *Server) At(when time.Time) { s.at = when }

func (s *Server) handler(backend http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.serving.Add(1)
		defer s.serving.Done()
		if s.down.Load() {
			panic(http.ErrAbortHandler)
		}
		user, password, _ := r.BasicAuth()
		if s.user != "" && (user != s.user || password != s.password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if s.bearer != "" && r.Header.Get("Authorization") != "Bearer "+s.bearer {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if !strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			backend.ServeHTTP(w, r)
			return
		}
		s.mutex.Lock()
		before := s.onPush
		s.onPush = nil
		s.mutex.Unlock()
		if before != nil {
			before()
		}
		s.pushes.Add(1)
		if s.losing.Add(-1) >= 0 {
			backend.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		backend.ServeHTTP(w, r)
	})
}

// URL is where a repository is served over HTTP.
func (s *Server) URL(repository string) string { return s.http.URL + "/" + repository + ".git" }

// FileURL is the same repository as a file URL.
func (s *Server) FileURL(repository string) string { return "file://" + s.Dir(repository) }

// Dir is the bare repository's folder.
func (s *Server) Dir(repository string) string { return filepath.Join(s.dir, repository+".git") }

// Create makes an empty bare repository with the default branch main.
func (s *Server) Create(repository string) {
	s.t.Helper()
	s.run("", nil, "init", "--quiet", "--bare", "--initial-branch=main", s.Dir(repository))
	s.Git(repository, "config", "http.receivepack", "true")
	s.Git(repository, "config", "uploadpack.allowAnySHA1InWant", "false")
}

// Protect refuses pushes to a branch with a text, through a pre-receive hook.
func (s *Server) Protect(repository, branch, text string) {
	s.t.Helper()
	s.hook(repository, "refs/heads/"+branch, text)
}

// ProtectAll refuses pushes to every branch.
func (s *Server) ProtectAll(repository, text string) {
	s.t.Helper()
	s.hook(repository, "*", text)
}

func (s *Server) hook(repository, pattern, text string) {
	s.t.Helper()
	hook := "#!/bin/sh\nwhile read old new ref; do\n  case \"$ref\" in " + pattern + ")\n" +
		"    cat >&2 <<'TEXT'\n" + text + "\nTEXT\n    exit 1\n  esac\ndone\n"
	path := filepath.Join(s.Dir(repository), "hooks", "pre-receive")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(hook), 0o755); err != nil { //nolint:gosec // a hook is executable
		s.t.Fatal(err)
	}
}

// Unprotect takes the hook away.
func (s *Server) Unprotect(repository string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.Dir(repository), "hooks", "pre-receive")); err != nil {
		s.t.Fatal(err)
	}
}

// Commit adds one commit to a branch (made when missing) with the files written,
// those with an empty string deleted, and returns its name.
func (s *Server) Commit(repository, branch, message string, files map[string]string) string {
	s.t.Helper()
	commit, update := s.compose(repository, branch, message, files)
	if out, err := update.CombinedOutput(); err != nil {
		s.t.Fatalf("moving %s: %v\n%s", branch, err, out)
	}
	return commit
}

// TryCommit is Commit by somebody who begins anew as long as others are quicker.
func (s *Server) TryCommit(repository, branch, message string, files map[string]string) {
	s.t.Helper()
	for {
		if _, update := s.compose(repository, branch, message, files); update.Run() == nil || s.t.Context().Err() != nil {
			return
		}
	}
}

// compose makes a commit, and the command that moves the branch to it from where it was.
func (s *Server) compose(repository, branch, message string, files map[string]string) (string, *exec.Cmd) {
	s.t.Helper()
	index, err := os.CreateTemp(s.t.TempDir(), "index")
	if err != nil {
		s.t.Fatal(err)
	}
	_ = index.Close()
	_ = os.Remove(index.Name())
	env := []string{"GIT_INDEX_FILE=" + index.Name()}
	parent := s.Head(repository, branch)
	args := []string{"commit-tree", "-m", message}
	if parent != "" {
		s.git(repository, env, "", "read-tree", parent)
		args = append(args, "-p", parent)
	}
	for name, content := range files {
		if content == "" {
			s.git(repository, env, "", "update-index", "--force-remove", name)
			continue
		}
		blob := strings.TrimSpace(s.git(repository, env, content, "hash-object", "-w", "--stdin"))
		s.git(repository, env, "", "update-index", "--add", "--cacheinfo", "100644,"+blob+","+name)
	}
	tree := strings.TrimSpace(s.git(repository, env, "", "write-tree"))
	commit := strings.TrimSpace(s.git(repository, env, "", append(args, tree)...))
	update := []string{"update-ref", "refs/heads/" + branch, commit}
	if parent != "" {
		update = append(update, parent)
	}
	return commit, s.command("", nil, append([]string{"--git-dir", s.Dir(repository)}, update...)...)
}

// Replace puts a raw commit object in place of the head of a branch, and returns its name.
func (s *Server) Replace(repository, branch string, raw []byte) string {
	s.t.Helper()
	commit := strings.TrimSpace(s.git(repository, nil, string(raw), "hash-object", "-t", "commit", "-w", "--stdin"))
	s.Git(repository, "update-ref", "refs/heads/"+branch, commit)
	return commit
}

// Head is the commit a branch is at, "" when there is none.
func (s *Server) Head(repository, branch string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Git(repository, "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch))
}

// File reads a file at a revision.
func (s *Server) File(repository, revision, name string) string {
	s.t.Helper()
	return s.Git(repository, "show", revision+":"+name)
}

// Git runs git in a repository and returns what it printed.
func (s *Server) Git(repository string, args ...string) string {
	s.t.Helper()
	return s.git(repository, nil, "", args...)
}

func (s *Server) git(repository string, env []string, input string, args ...string) string {
	s.t.Helper()
	return s.run(input, env, append([]string{"--git-dir", s.Dir(repository)}, args...)...)
}

func (s *Server) run(input string, env []string, args ...string) string {
	s.t.Helper()
	command := s.command(input, env, args...)
	out, err := command.Output()
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, errorText(err))
	}
	return string(out)
}

func (s *Server) command(input string, env []string, args ...string) *exec.Cmd {
	command := exec.Command("git", args...)
	command.Env = append(os.Environ(), append(env,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")...)
	if !s.at.IsZero() {
		date := s.at.UTC().Format(time.RFC3339)
		command.Env = append(command.Env, "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	}
	command.Stdin = strings.NewReader(input)
	return command
}

func errorText(err error) string {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // straight from Output
		return string(exit.Stderr)
	}
	return ""
}
