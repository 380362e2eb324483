package repository

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/history"
)

// generate fills a repository with apps of three files each, and commits that change the image of one app each.
func generate(b *testing.B, server *gittest.Server, apps, commits int) {
	b.Helper()
	var in bytes.Buffer
	file := func(name, content string) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
	}
	commit := func(n int) {
		message := fmt.Sprintf("commit %d", n)
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata %d\n%s\n", 1_700_000_000+n*60, len(message), message)
	}
	app := func(a, n int) {
		padding := strings.Repeat(fmt.Sprintf("        - {name: VARIABLE_%d, value: \"%x\"}\n", a, a*7919), 40)
		file(fmt.Sprintf("apps/app-%d/deployment.yaml", a), fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-%d}\nspec:\n  replicas: 2\n"+
			"  template:\n    spec:\n      containers:\n      - name: app\n        image: app:%d\n        env:\n%s", a, n, padding))
	}
	commit(0)
	for a := range apps {
		app(a, 0)
		file(fmt.Sprintf("apps/app-%d/service.yaml", a), fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: app-%d}\n", a))
		file(fmt.Sprintf("apps/app-%d/kustomization.yaml", a), "resources: [deployment.yaml, service.yaml]\n")
	}
	for n := 1; n < commits; n++ {
		commit(n)
		app(n*7919%apps, n)
	}
	command := exec.Command("git", "--git-dir", server.Dir("fleet"), "fast-import", "--quiet")
	command.Stdin = &in
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("git fast-import: %v\n%s", err, out)
	}
	server.Git("fleet", "repack", "-adq")
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkRepository measures, on repositories of two sizes: the first checkout, the next commit, the first question for a
// declaring commit (which reads 500 commits), one after a new commit, and one when nothing is new.
func BenchmarkRepository(b *testing.B) {
	b.Run("900 files, 1000 commits", func(b *testing.B) { measure(b, 300, 1000) })
	b.Run("9000 files, 2000 commits", func(b *testing.B) { measure(b, 3000, 2000) })
}

func measure(b *testing.B, apps, commits int) {
	server := gittest.New(b)
	server.Create("fleet")
	generate(b, server, apps, commits)
	head := server.Head("fleet", "main")
	repo := repositoryAt(server.URL("fleet"), "shop", "")
	place := func(a int) history.Place {
		return history.Place{
			File:     fmt.Sprintf("apps/app-%d/deployment.yaml", a),
			Document: history.Document{Kind: "Deployment", Name: fmt.Sprintf("app-%d", a)}, Field: `.spec.template.spec.containers[name="app"].image`,
		}
	}
	b.ResetTimer()
	for b.Loop() {
		source := NewSource(&secrets{}, false)
		source.Dir = b.TempDir()
		before := live()
		lap := time.Now()
		mark := func(name string) {
			b.ReportMetric(float64(time.Since(lap).Milliseconds()), name+"-ms")
			lap = time.Now()
		}
		if _, err := source.Checkout(b.Context(), repo, head); err != nil {
			b.Fatal(err)
		}
		mark("first")
		b.ReportMetric(float64(int64(live())-int64(before))/(1<<20), "checkout-MiB")
		next := server.Commit("fleet", "main", "next", map[string]string{"apps/app-1/service.yaml": fmt.Sprint("x: ", time.Now().UnixNano())})
		lap = time.Now()
		tree, err := source.Checkout(b.Context(), repo, next)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tree.ReadFile("apps/app-1/service.yaml"); err != nil {
			b.Fatal(err)
		}
		mark("next")
		if answer, err := source.Blame(b.Context(), repo, next, place((commits-1)*7919%apps)); err != nil || !answer.Exact {
			b.Fatal(answer, err)
		}
		mark("history")
		last := server.Commit("fleet", "main", "last", map[string]string{"apps/app-1/service.yaml": "x: y"})
		lap = time.Now()
		if _, err := source.Blame(b.Context(), repo, last, place((commits-2)*7919%apps)); err != nil {
			b.Fatal(err)
		}
		mark("blame-new")
		if _, err := source.Blame(b.Context(), repo, last, place((commits-3)*7919%apps)); err != nil {
			b.Fatal(err)
		}
		mark("blame")
		b.ReportMetric(float64(int64(live())-int64(before))/(1<<20), "all-MiB")
		head = last
	}
}
