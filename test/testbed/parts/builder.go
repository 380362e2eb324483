package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// keepOld is how long a part of another key stays in the cache after it was installed.
const keepOld = 14 * 24 * time.Hour

// Builder finds or builds parts.
type Builder struct {
	Root  string    // the testbed's folder with its modules
	Cache string    // where finished parts are kept
	Out   io.Writer // progress, for people

}

// NewBuilder returns a builder over the testbed's sources, found from the current folder, and the user's cache folder.
func NewBuilder(out io.Writer) (*Builder, error) {
	root, err := FindRoot()
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("finding the cache folder: %w", err)
	}
	return &Builder{Root: root, Cache: filepath.Join(cache, "belay"), Out: out}, nil
}

// Ensure returns the path of each named part (a program, or a folder of files), building those that are not to be had otherwise.
// No names means all parts.
func (b *Builder) Ensure(ctx context.Context, names ...string) (map[string]string, error) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	paths := map[string]string{}
	for _, p := range All() {
		if len(names) > 0 && !wanted[p.Name] {
			continue
		}
		path, err := b.ensure(ctx, p)
		if err != nil {
			return nil, err
		}
		paths[p.Name] = path
	}
	return paths, nil
}

// Find returns where part p is without building it, or an error if it would have to be built.
func (b *Builder) Find(ctx context.Context, p Part) (string, error) {
	key, err := Key(b.Root, p)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir(p, key), p.Name)
	cached := check(ctx, p, path)
	if cached == nil {
		return path, nil
	}
	if path, err := provided(ctx, p); err != nil || path != "" {
		return path, err
	}
	return "", cached
}

func (b *Builder) dir(p Part, key string) string { return filepath.Join(b.Cache, p.Name+"-"+key) }

func (b *Builder) ensure(ctx context.Context, p Part) (string, error) {
	if path, err := b.Find(ctx, p); err == nil {
		return path, nil
	}
	unlock, err := b.lock(ctx, p)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := b.Find(ctx, p); err == nil { // another builder was faster
		return path, nil
	}
	path, err := b.install(ctx, p)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", p.Name, err)
	}
	return path, nil
}

// install builds p into a temporary folder of the cache, checks it there and moves it to its place.
func (b *Builder) install(ctx context.Context, p Part) (string, error) {
	key, err := Key(b.Root, p)
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(b.Cache, ".new-"+p.Name+"-")
	if err != nil {
		return "", fmt.Errorf("making a temporary folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	fresh := filepath.Join(tmp, p.Name)
	if err := b.make(ctx, p, fresh); err != nil {
		return "", err
	}
	if err := check(ctx, p, fresh); err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	final := b.dir(p, key)
	if err := os.RemoveAll(final); err != nil {
		return "", fmt.Errorf("removing what cannot be used: %w", err)
	}
	if err := os.Rename(tmp, final); err != nil {
		return "", fmt.Errorf("installing: %w", err)
	}
	b.prune(p, final)
	return filepath.Join(final, p.Name), nil
}

func (b *Builder) make(ctx context.Context, p Part, out string) error {
	if p.fetch != nil {
		return p.fetch(ctx, b, p, out)
	}
	if p.prepare != nil {
		if err := p.prepare(ctx, b, p); err != nil {
			return err
		}
	}
	return b.compile(ctx, p, out)
}

// prune removes this part's builds of other keys that are long out of use.
func (b *Builder) prune(p Part, keep string) {
	old, err := filepath.Glob(filepath.Join(b.Cache, p.Name+"-*"))
	if err != nil {
		return
	}
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && dir != keep && time.Since(info.ModTime()) > keepOld {
			_ = os.RemoveAll(dir)
		}
	}
}

// check tells whether path holds part p in working order: a program must run and print its version.
func check(ctx context.Context, p Part, path string) error {
	if p.fetch != nil {
		_, err := os.Stat(path)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, p.Version...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s %s: %w", path, strings.Join(p.Version, " "), err)
	}
	if !strings.Contains(string(out), p.Want) {
		return fmt.Errorf("%s is not version %q; it prints: %.200s", path, p.Want, out)
	}
	return nil
}

// provided returns the program that the user points to: in $BELAY_TESTBED_BIN, where it must run, whatever its version, or on PATH
// in exactly the right version. It returns "" if there is none.
func provided(ctx context.Context, p Part) (string, error) {
	if p.fetch != nil {
		return "", nil
	}
	if dir := os.Getenv("BELAY_TESTBED_BIN"); dir != "" {
		path := filepath.Join(dir, p.Name)
		if _, err := os.Stat(path); err == nil {
			any := p
			any.Want = ""
			return path, check(ctx, any, path)
		}
	}
	if !p.OnPath {
		return "", nil
	}
	path, err := exec.LookPath(p.Name)
	if err != nil || check(ctx, p, path) != nil {
		return "", nil
	}
	return path, nil
}

// lock waits for the right to build p and returns how to give it up.
func (b *Builder) lock(ctx context.Context, p Part) (func(), error) {
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(b.Cache, p.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	told := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		if !told {
			fmt.Fprintf(b.Out, "%s: another process is building it; waiting\n", p.Name)
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
