package gitserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Private is the folder below the root whose repositories need a password.
const Private = "private"

// maxBody bounds one request; a push of a testbed's repository is far smaller.
const maxBody = 256 << 20

// protectHook refuses every push to a branch that the repository's file "protected" names, one to a line.
const protectHook = `#!/bin/sh
while read -r old new ref; do
  if [ -f protected ] && grep -qxF "${ref#refs/heads/}" protected; then
    echo "protected branch: ${ref#refs/heads/} takes changes by pull request only" >&2
    exit 1
  fi
done
`

// Options say what is served, and the credentials for what is private.
type Options struct {
	Root           string // folder of bare repositories
	User, Password string
	Log            io.Writer // git's complaints
}

// Handler serves the repositories below o.Root.
func Handler(ctx context.Context, o Options) (http.Handler, error) {
	out, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("asking git for its programs: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, fmt.Errorf("finding git-http-backend: %w", err)
	}
	git := &cgi.Handler{
		Path: backend, Dir: o.Root, Stderr: o.Log,
		Env: []string{
			"GIT_PROJECT_ROOT=" + o.Root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true",
			"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
		},
		InheritEnv: []string{"PATH"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if isPrivate(r.URL.Path) && !allowed(r, o) {
			w.Header().Set("WWW-Authenticate", `Basic realm="testbed"`)
			http.Error(w, "this repository needs a user and a password", http.StatusUnauthorized)
			return
		}
		if err := unchunk(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		git.ServeHTTP(w, r)
	})
	return mux, nil
}

// isPrivate looks at the path as Git will: cleaned of "." and "..".
func isPrivate(path string) bool {
	clean := filepath.ToSlash(filepath.Clean("/" + path))
	return clean == "/"+Private || strings.HasPrefix(clean, "/"+Private+"/")
}

func allowed(r *http.Request, o Options) bool {
	user, password, ok := r.BasicAuth()
	return ok && o.Password != "" && same(user, o.User) && same(password, o.Password)
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// unchunk gives a body of unknown length a length, which CGI needs; git sends large pushes in chunks.
func unchunk(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.ContentLength >= 0 && len(r.TransferEncoding) == 0 {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return nil
}

// Serve serves on address until ctx ends.
func Serve(ctx context.Context, address string, o Options) error {
	handler, err := Handler(ctx, o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(bounded); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// Create makes an empty bare repository NAME.git below root, with main as its branch, and protects the given branches from pushes.
func Create(ctx context.Context, root, name string, protect ...string) (string, error) {
	if !filepath.IsLocal(name) || slices.Contains(protect, "") {
		return "", fmt.Errorf("creating repository %q: bad name", name)
	}
	dir := filepath.Join(root, strings.TrimSuffix(name, ".git")+".git")
	if out, err := exec.CommandContext(ctx, "git", "init", "--quiet", "--bare", "--initial-branch=main", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("creating repository %q: %w: %s", name, err, out)
	}
	return dir, Protect(dir, protect...)
}

// Protect makes exactly the given branches of the bare repository in dir refuse pushes.
func Protect(dir string, branches ...string) error {
	if err := os.WriteFile(filepath.Join(dir, "protected"), []byte(strings.Join(branches, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("protecting branches: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "hooks"), 0o755); err != nil {
		return fmt.Errorf("protecting branches: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hooks", "pre-receive"), []byte(protectHook), 0o755); err != nil {
		return fmt.Errorf("protecting branches: %w", err)
	}
	return nil
}
