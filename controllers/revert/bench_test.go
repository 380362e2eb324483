package revert

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/internal/testenv"
)

const (
	benchApps    = 3000 // of three files each
	benchCommits = 20_000
	// benchKey changes with what the generator writes.
	benchKey = "bench-repo-1"
)

// largeRepository is a bare repository of 9,000 files and 20,000 commits, made once and kept in the cache folder.
func largeRepository(b *testing.B) string {
	b.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(cache, "belay", benchKey+".git")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), benchKey)
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, args := range [][]string{{"init", "-q", "--bare", "--initial-branch=main"}, {"fast-import", "--quiet"}, {"config", "http.receivepack", "true"}} {
		command := exec.Command("git", append([]string{"--git-dir", fresh}, args...)...)
		command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
		if args[0] == "fast-import" {
			command.Stdin = bytes.NewReader(largeHistory())
		}
		if out, err := command.CombinedOutput(); err != nil {
			b.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if err := os.Rename(fresh, dir); err != nil && !os.IsExist(err) {
		b.Fatal(err)
	}
	return dir
}

// largeHistory is a stream for git fast-import: every commit after the first bumps one app's image; the one before the
// last but ten makes app-0 bad.
func largeHistory() []byte {
	var out bytes.Buffer
	write := func(name, content string) {
		fmt.Fprintf(&out, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
	}
	for n := range benchCommits {
		message := fmt.Sprintf("commit %d", n)
		fmt.Fprintf(&out, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata %d\n%s\n", 1_700_000_000+n*60, len(message), message)
		switch {
		case n == 0:
			for i := range benchApps {
				folder := fmt.Sprintf("apps/app-%d/", i)
				write(folder+"kustomization.yaml", "resources: [rollout.yaml, service.yaml]\n")
				write(folder+"rollout.yaml", app(i, "checkout:1"))
				write(folder+"service.yaml", fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: app-%d}\nspec: {ports: [{port: 80}]}\n", i))
			}
		case n == benchCommits-10:
			write(appFile(0), app(0, "checkout:2"))
		default:
			write(appFile(1+n%(benchApps-1)), app(1+n%(benchApps-1), fmt.Sprintf("checkout:%d", n)))
		}
	}
	return out.Bytes()
}

// BenchmarkRevertOnLargeRepository is one revert from the fetch to the push, with a Git server on loopback: 9,000 files,
// 20,000 commits. MiB-peak is how much the resident memory of the process grew at most.
func BenchmarkRevertOnLargeRepository(b *testing.B) {
	server := gittest.New(b)
	if out, err := exec.Command("git", "clone", "-q", "--bare", largeRepository(b), server.Dir("fleet")).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	server.Git("fleet", "config", "http.receivepack", "true")
	head := server.Head("fleet", "main")
	remote := git.Remote{URL: server.URL("fleet"), Branch: "main"}
	way := access{source: repository.NewSource(fake.NewClientBuilder().WithScheme(testenv.Scheme()).Build(), false), read: remote, write: remote, timeout: 5 * time.Minute}
	due := request{id: "bench", attempt: 1, where: revert.Where{Path: "apps/app-0", Workload: revert.Workload{Namespace: "shop", Kind: "Rollout", Name: "app-0"}},
		bad: benchRevision(b, "checkout:2"), good: benchRevision(b, "checkout:1"), at: time.Unix(1_800_000_000, 0), now: time.Unix(1_800_000_000, 0), perHour: 3,
		author: v1alpha1.GitAuthor{Name: "Belay", Email: "belay@example.com"}}
	due.message = revert.MessageInput{Workload: due.where.Workload, ID: due.id, Attempt: 1}
	peak := 0.0
	for b.Loop() {
		b.StopTimer()
		server.Git("fleet", "update-ref", "refs/heads/main", head)
		runtime.GC()
		debug.FreeOSMemory()
		before := resetPeak(b)
		b.StartTimer()
		found, err := way.try(b.Context(), due)
		b.StopTimer()
		if err != nil || found.state != v1alpha1.RevertPushed {
			b.Fatalf("%+v, %v", found, err)
		}
		peak = max(peak, resident(b, "VmHWM")-before)
		b.StartTimer()
	}
	b.ReportMetric(peak, "MiB-peak")
}

func benchRevision(b *testing.B, image string) string {
	b.Helper()
	hash, err := hashText(app(0, image))
	if err != nil {
		b.Fatal(err)
	}
	return hash
}

// resetPeak starts the count of the highest resident memory anew, and returns what there is.
func resetPeak(b *testing.B) float64 {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skipf("SKIPPED: memory cannot be measured here: %v", err)
	}
	return resident(b, "VmRSS")
}

// resident reads a line of /proc/self/status, in MiB.
func resident(b *testing.B, name string) float64 {
	b.Helper()
	file, err := os.Open("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if rest, found := strings.CutPrefix(scanner.Text(), name+":"); found {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatalf("no %s", name)
	return 0
}
