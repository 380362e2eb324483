package parts

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/gateway-api/pkg/consts"
)

// report is how often a running build says how far it is.
const report = 10 * time.Second

// goCommand returns a go command in p's module, with the settings that all builds share: the same ones give the same build cache.
func (b *Builder) goCommand(ctx context.Context, p Part, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.Root, p.Module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-trimpath -buildvcs=false")
	return cmd
}

// compile builds p's program into out, telling what it does and how far it is.
func (b *Builder) compile(ctx context.Context, p Part, out string) error {
	fmt.Fprintf(b.Out, "%s: building it from source, once for this machine; from nothing that usually takes %s\n", p.Name, p.Usual)
	total, err := b.countPackages(ctx, p)
	if err != nil {
		return err
	}
	cmd := b.goCommand(ctx, p, "build", "-v", "-tags", p.Tags, "-ldflags", p.LDFlags, "-o", out, p.Package)
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting go build: %w", err)
	}
	progress := newProgress(b.Out, p, total)
	tail := progress.follow(output)
	progress.stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, tail)
	}
	fmt.Fprintf(b.Out, "%s: built in %s\n", p.Name, time.Since(progress.since).Round(time.Second))
	return nil
}

// countPackages downloads what p needs and counts the packages that go into it.
func (b *Builder) countPackages(ctx context.Context, p Part) (int, error) {
	list := b.goCommand(ctx, p, "list", "-deps", "-tags", p.Tags, "-f", "{{.ImportPath}}", p.Package)
	var errs bytes.Buffer
	list.Stderr = &errs
	out, err := list.Output()
	if err != nil {
		return 0, fmt.Errorf("go list: %w\n%.2000s", err, errs.String())
	}
	return bytes.Count(out, []byte("\n")), nil
}

// progress counts the packages that go build -v names and prints now and then where it stands.
type progress struct {
	out   io.Writer
	part  Part
	total int
	since time.Time
	done  chan struct{}
	ended sync.WaitGroup

	mu       sync.Mutex
	compiled int
	last     string
}

func newProgress(out io.Writer, p Part, total int) *progress {
	g := &progress{out: out, part: p, total: total, since: time.Now(), done: make(chan struct{})}
	g.ended.Go(g.loop)
	return g
}

func (g *progress) loop() {
	tick := time.NewTicker(report)
	defer tick.Stop()
	for {
		select {
		case <-g.done:
			return
		case <-tick.C:
			g.mu.Lock()
			fmt.Fprintf(g.out, "%s: %s, compiled %d packages (of at most %d; the rest comes from Go's cache), now %s\n",
				g.part.Name, time.Since(g.since).Round(time.Second), g.compiled, g.total, cmp.Or(g.last, "linking"))
			g.mu.Unlock()
		}
	}
}

// follow reads go build's output to its end and returns the last lines that are no package names: its errors.
func (g *progress) follow(r io.Reader) string {
	var tail []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.ContainsAny(line, " :") {
			if tail = append(tail, line); len(tail) > 40 {
				tail = tail[1:]
			}
			continue
		}
		g.mu.Lock()
		g.compiled, g.last = g.compiled+1, line
		g.mu.Unlock()
	}
	return strings.Join(tail, "\n")
}

func (g *progress) stop() {
	close(g.done)
	g.ended.Wait()
}

// module downloads a module version and returns the folder in which it lies.
func (b *Builder) module(ctx context.Context, p Part, version string) (string, error) {
	cmd := b.goCommand(ctx, p, "mod", "download", "-json", version)
	out, err := cmd.Output()
	var found struct{ Dir, Error string }
	if json.Unmarshal(out, &found) == nil && found.Dir != "" {
		return found.Dir, nil
	}
	return "", fmt.Errorf("downloading %s: %v %s", version, err, found.Error)
}

// fetchCRDs copies the standard channel of the Gateway API's definitions out of its module.
func fetchCRDs(ctx context.Context, b *Builder, p Part, out string) error {
	dir, err := b.module(ctx, p, "sigs.k8s.io/gateway-api@"+consts.BundleVersion)
	if err != nil {
		return err
	}
	return copyTree(filepath.Join(dir, "config", "crd", "standard"), out)
}

// prepareLego puts the copy of lego in its place that traefik's go.mod refers to: the module as it is, except for its list of DNS
// providers, some of whose cloud libraries cannot be downloaded.
func prepareLego(ctx context.Context, b *Builder, p Part) error {
	src, err := b.module(ctx, p, "github.com/go-acme/lego/v5@"+legoVersion)
	if err != nil {
		return err
	}
	build := filepath.Join(b.Root, p.Module, "build")
	fresh, final := filepath.Join(build, "lego.new"), filepath.Join(build, "lego")
	for _, dir := range []string{fresh, final} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing an old copy of lego: %w", err)
		}
	}
	if err := copyTree(src, fresh); err != nil {
		return fmt.Errorf("copying lego: %w", err)
	}
	dns := filepath.Join(fresh, "providers", "dns")
	if err := os.Remove(filepath.Join(dns, "zz_gen_dns_providers_test.go")); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("removing lego's test of its providers: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(b.Root, p.Module, "nodns.go.txt"))
	if err != nil {
		return fmt.Errorf("reading lego's stand-in: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dns, "zz_gen_dns_providers.go"), text, 0o644); err != nil {
		return fmt.Errorf("replacing lego's list of providers: %w", err)
	}
	return os.Rename(fresh, final)
}

// copyTree copies the regular files of folder src to dst, writable.
func copyTree(src, dst string) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, name)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
}
