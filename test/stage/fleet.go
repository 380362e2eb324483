package stage

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/gitops/tree"
)

// Fleet is a private repository on the testbed's Git server, and a clone of it in which people work, by the git command.
type Fleet struct {
	URL    string // without credentials
	Bare   string // folder of the repository on the server
	clone  string
	env    []string
	mu     sync.Mutex
	commit int
}

// Commit is what a person commits.
type Commit struct {
	Author, Message string
	Files           map[string]string                      // contents by path
	Edit            map[string]func(content string) string // or changes to what is there
}

// NewFleet makes a repository with the files in it.
func (b *Bed) NewFleet(ctx context.Context, name string, first Commit) (*Fleet, error) {
	out, err := exec.CommandContext(ctx, b.Program("testbed"), "repo", "--dir", b.Dir, "private/"+name).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("making repository %s: %w: %s", name, err, out)
	}
	credentials := base64.StdEncoding.EncodeToString([]byte(b.GitUser + ":" + b.GitPassword))
	f := &Fleet{URL: strings.TrimSpace(string(out)), Bare: filepath.Join(b.GitRoot, "private", name+".git"),
		clone: filepath.Join(b.Work, "clones", name), env: append(os.Environ(),
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic "+credentials)}
	if err := os.RemoveAll(f.clone); err != nil {
		return nil, fmt.Errorf("removing an earlier clone: %w", err)
	}
	if err := os.MkdirAll(f.clone, 0o755); err != nil {
		return nil, fmt.Errorf("making the clone: %w", err)
	}
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch=main"}, {"remote", "add", "origin", f.URL}} {
		if _, err := f.git(ctx, args...); err != nil {
			return nil, err
		}
	}
	_, err = f.Commit(ctx, first)
	return f, err
}

func (f *Fleet) git(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = f.clone, f.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Commit commits on top of the branch's head and pushes; when somebody else was faster, it does so again. It returns the commit.
func (f *Fleet) Commit(ctx context.Context, c Commit) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	for range 20 {
		if f.commit > 0 {
			if err := f.sync(ctx); err != nil {
				return "", err
			}
		}
		var sha string
		if sha, err = f.write(ctx, c); err != nil {
			return "", err
		}
		if _, err = f.git(ctx, "push", "--quiet", "origin", "main"); err == nil {
			f.commit++
			return sha, nil
		}
	}
	return "", fmt.Errorf("pushing %q: %w", c.Message, err)
}

func (f *Fleet) sync(ctx context.Context) error {
	if _, err := f.git(ctx, "fetch", "--quiet", "origin", "main"); err != nil {
		return err
	}
	_, err := f.git(ctx, "reset", "--quiet", "--hard", "FETCH_HEAD")
	return err
}

func (f *Fleet) write(ctx context.Context, c Commit) (string, error) {
	files := maps.Clone(c.Files)
	if files == nil {
		files = map[string]string{}
	}
	for name, edit := range c.Edit {
		old, err := os.ReadFile(filepath.Join(f.clone, name))
		if err != nil {
			return "", fmt.Errorf("editing %s: %w", name, err)
		}
		if files[name] = edit(string(old)); files[name] == string(old) {
			return "", fmt.Errorf("editing %s for %q: nothing changed", name, c.Message)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(f.clone, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if _, err := f.git(ctx, "add", "--all"); err != nil {
		return "", err
	}
	_, err := f.git(ctx, "-c", "user.name="+c.Author, "-c", "user.email="+strings.ToLower(strings.Fields(c.Author)[0])+"@example.com",
		"-c", "commit.gpgsign=false", "commit", "--quiet", "-m", c.Message)
	if err != nil {
		return "", err
	}
	return f.line(ctx, "rev-parse", "HEAD")
}

func (f *Fleet) line(ctx context.Context, args ...string) (string, error) {
	out, err := f.git(ctx, args...)
	return strings.TrimSpace(out), err
}

// Protect makes the server refuse every push to main.
func (f *Fleet) Protect() error {
	if err := os.WriteFile(filepath.Join(f.Bare, "protected"), []byte("main\n"), 0o644); err != nil {
		return fmt.Errorf("protecting main: %w", err)
	}
	return nil
}

// raceHook lets somebody else's commit win over the first push of a commit by the author given: it lands after the push was sent and
// before the server moves the branch.
const raceHook = `#!/bin/sh
if [ "$(git log -1 --format=%%an "$3")" = %q ] && [ -e race ]; then
  other=$(GIT_AUTHOR_NAME=Linus GIT_AUTHOR_EMAIL=linus@example.com GIT_COMMITTER_NAME=Linus GIT_COMMITTER_EMAIL=linus@example.com \
    git commit-tree "$2^{tree}" -p "$2" -m "other: just before") && git update-ref "$1" "$other" "$2" && rm -f race
fi
exit 0 # where the branch had moved already, somebody else has won this race: the next push has to lose again
`

// Race makes the next push of an author lose against somebody else's, once.
func (f *Fleet) Race(author string) error {
	if err := os.WriteFile(filepath.Join(f.Bare, "hooks", "update"), fmt.Appendf(nil, raceHook, author), 0o755); err != nil {
		return fmt.Errorf("preparing a race: %w", err)
	}
	if err := os.WriteFile(filepath.Join(f.Bare, "race"), nil, 0o644); err != nil {
		return fmt.Errorf("preparing a race: %w", err)
	}
	return nil
}

// History is the branch as the server has it.
type History struct {
	Commits []Logged // newest first
	Files   map[string]string
}

// Logged is a commit of the branch.
type Logged struct {
	SHA, Author, Message string
	Files                []string // changed
}

// Head is the first line of a commit's message.
func (l Logged) Head() string { return strings.SplitN(l.Message, "\n", 2)[0] }

// History fetches the branch and reads it.
func (f *Fleet) History(ctx context.Context) (History, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var h History
	if err := f.sync(ctx); err != nil {
		return h, err
	}
	out, err := f.git(ctx, "log", "--format=%H%x00%an%x00%B%x01", "main")
	if err != nil {
		return h, err
	}
	for _, entry := range strings.Split(strings.TrimSuffix(strings.TrimSpace(out), "\x01"), "\x01\n") {
		part := strings.SplitN(strings.TrimSpace(entry), "\x00", 3)
		if len(part) != 3 {
			return h, fmt.Errorf("reading git log: %q", entry)
		}
		h.Commits = append(h.Commits, Logged{SHA: part[0], Author: part[1], Message: strings.TrimSpace(part[2])})
	}
	for i := range h.Commits {
		names, err := f.line(ctx, "diff-tree", "--root", "--no-commit-id", "--name-only", "-r", h.Commits[i].SHA)
		if err != nil {
			return h, err
		}
		h.Commits[i].Files = strings.Fields(names)
	}
	h.Files, err = FilesBelow(f.clone, ".")
	return h, err
}

// Find returns the commit.
func (h History) Find(sha string) (Logged, bool) {
	i := slices.IndexFunc(h.Commits, func(l Logged) bool { return l.SHA == sha })
	if i < 0 {
		return Logged{}, false
	}
	return h.Commits[i], true
}

// Reverts are the commits that say in a trailer that they are a rollback.
func (h History) Reverts() []Logged {
	return slices.DeleteFunc(slices.Clone(h.Commits), func(l Logged) bool { return revert.ParseTrailers(l.Message)[revert.TrailerID] == nil })
}

// Revision renders the folder as the branch has it and returns the revision of a Rollout's template.
func (h History) Revision(folder string, w revert.Workload) (string, error) {
	r, err := revert.RevisionAt(tree.FromMap(h.Files), folder, w)
	if err != nil {
		return "", fmt.Errorf("rendering %s: %w", folder, err)
	}
	if r == "" {
		return "", fmt.Errorf("rendering %s: %s: %w", folder, w, errors.Join(fs.ErrNotExist))
	}
	return r, nil
}
