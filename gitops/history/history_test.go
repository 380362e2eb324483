package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

// past is a history in memory.
type past struct {
	commits map[string]Commit
	trees   map[string]tree.Tree
	reads   int
}

func newPast() *past { return &past{commits: map[string]Commit{}, trees: map[string]tree.Tree{}} }

func (p *past) Commit(sha string) (Commit, error) {
	c, found := p.commits[sha]
	if !found {
		return Commit{}, fs.ErrNotExist
	}
	return c, nil
}

func (p *past) Tree(sha string) (tree.Tree, error) {
	p.reads++
	t, found := p.trees[sha]
	if !found {
		return nil, fs.ErrNotExist
	}
	return t, nil
}

// commit adds a commit of the given files; its place in the order is its time.
func (p *past) commit(sha string, files map[string]string, parents ...string) string {
	p.commits[sha] = Commit{SHA: sha, Author: "Ann", Subject: "makes " + sha, Time: time.Unix(int64(len(p.commits)), 0), Parents: parents}
	p.trees[sha] = tree.FromMap(files)
	return sha
}

const deployment = `# the shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  annotations: {app.kubernetes.io/part-of: all}
spec:
  replicas: %d
  template:
    spec:
      containers:
      - {name: log, image: "log:1"}
      - name: app
        image: %s
        args: [a, b]
        ports:
        - {containerPort: 80, name: web}
`

func app(replicas int, image string) map[string]string {
	return map[string]string{"shop/app.yaml": fmt.Sprintf(deployment, replicas, image), "other/readme.md": "x"}
}

var shop = Document{Kind: "Deployment", Namespace: "shop", Name: "shop"}

func ask(t *testing.T, x *Index, p *past, head, field string) string {
	t.Helper()
	a, err := x.Blame(p, head, Place{File: "shop/app.yaml", Document: shop, Field: field})
	if err != nil {
		return "error: " + err.Error()
	}
	exact := ""
	if !a.Exact {
		exact = "?"
	}
	return fmt.Sprintf("%s%s:%d %s", a.Commit.SHA, exact, a.Line, a.Field)
}

// TestG09_ACommitIsFoundForEachField: fields changed by different commits, in different ways, are told apart.
func TestG09_ACommitIsFoundForEachField(t *testing.T) {
	p := newPast()
	p.commit("one", app(1, "app:1"))
	p.commit("two", app(1, "app:2"), "one")
	p.commit("elsewhere", map[string]string{"shop/app.yaml": fmt.Sprintf(deployment, 1, "app:2"), "new": "y"}, "two")
	p.commit("three", app(3, "app:2"), "elsewhere")
	moved := strings.Replace(fmt.Sprintf(deployment, 3, "app:2"), "# the shop", "# the shop\n\n# is moved down", 1)
	p.commit("comment", map[string]string{"shop/app.yaml": moved}, "three")
	x := New(0)
	if n, err := x.Advance(p, "comment"); n != 5 || err != nil {
		t.Fatalf("Advance: %d, %v", n, err)
	}
	for field, want := range map[string]string{
		".spec.replicas": "three:10 .spec.replicas",
		`.spec.template.spec.containers[name="app"].image`:                                  `two:16 .spec.template.spec.containers[name="app"].image`,
		`.spec.template.spec.containers[name="log"].image`:                                  `one:14 .spec.template.spec.containers[name="log"].image`,
		`.spec.template.spec.containers[name="app"].args[1]`:                                `one:17 .spec.template.spec.containers[name="app"].args[1]`,
		`.spec.template.spec.containers[name="app"].args[="b"]`:                             `one:17 .spec.template.spec.containers[name="app"].args[="b"]`,
		`.spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"]`: `one:19 .spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"]`,
		".metadata.annotations.app.kubernetes.io/part-of":                                   "one:8 .metadata.annotations.app.kubernetes.io/part-of",
		".spec.template.spec.nodeName":                                                      "two:12 .spec.template.spec",
		".spec.template.spec.containers[7].image":                                           "two:13 .spec.template.spec.containers",
		"": "three:4 ",
	} {
		if got := ask(t, x, p, "comment", field); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
	_, err := x.Blame(p, "comment", Place{File: "shop/app.yaml", Document: Document{Kind: "Service", Name: "shop"}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a document that is not there: %v", err)
	}
}

func TestG09_SideBranchesAreFollowed(t *testing.T) {
	p := newPast()
	p.commit("base", app(1, "app:1"))
	p.commit("side", app(1, "app:2"), "base")
	p.commit("main", app(5, "app:1"), "base")
	p.commit("merge", app(5, "app:2"), "main", "side")
	p.commit("evil", app(9, "app:3"), "merge", "side")
	x := New(0)
	if _, err := x.Advance(p, "evil"); err != nil {
		t.Fatal(err)
	}
	const image = `.spec.template.spec.containers[name="app"].image`
	for _, test := range []struct{ head, field, want string }{
		{"merge", ".spec.replicas", "main"}, {"merge", image, "side"}, {"evil", image, "evil"}, {"evil", ".spec.replicas", "evil"},
	} {
		if got, _, _ := strings.Cut(ask(t, x, p, test.head, test.field), ":"); got != test.want {
			t.Errorf("%s at %s: %s, want %s", test.field, test.head, got, test.want)
		}
	}
}

func TestWhereTheHistoryEndsTheAnswerSaysSo(t *testing.T) {
	p := newPast()
	for i := range 10 {
		parents := []string{}
		if i > 0 {
			parents = []string{fmt.Sprint(i - 1)}
		}
		p.commit(fmt.Sprint(i), app(i/5, "app:1"), parents...)
	}
	x := New(3)
	if n, err := x.Advance(p, "9"); n != 3 || err != nil {
		t.Fatalf("Advance: %d, %v", n, err)
	}
	if got := ask(t, x, p, "9", ".spec.replicas"); got != "7?:8 .spec.replicas" {
		t.Errorf("past the limit: %s", got)
	}
	p.commit("10", app(4, "app:1"), "9")
	if n, err := x.Advance(p, "10"); n != 1 || err != nil || x.Len() != 3 {
		t.Errorf("Advance by one: %d, %v, %d kept", n, err, x.Len())
	}
	if got := ask(t, x, p, "10", ".spec.replicas"); got != "10:8 .spec.replicas" {
		t.Errorf("the new one: %s", got)
	}
	cut := newPast()
	cut.commit("only", app(1, "app:1"), "unknown")
	c := cut.commits["only"]
	c.Cut = true
	cut.commits["only"] = c
	y := New(0)
	if _, err := y.Advance(cut, "only"); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, y, cut, "only", ".spec.replicas"); got != "only?:8 .spec.replicas" {
		t.Errorf("a shallow commit: %s", got)
	}
	if _, err := y.Advance(cut, "nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown commit: %v", err)
	}
}

// TestAgainstEveryVersion: over random histories the answer is the one found by reading every version of the file.
func TestAgainstEveryVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, x := newPast(), New(0)
		type state struct{ replicas, image int }
		var states []state
		now := state{}
		for i := range rapid.IntRange(1, 15).Draw(t, "commits") {
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				now.replicas = rapid.IntRange(0, 2).Draw(t, "replicas")
			case 1:
				now.image = rapid.IntRange(0, 2).Draw(t, "image")
			}
			states = append(states, now)
			parents := []string{}
			if i > 0 {
				parents = append(parents, fmt.Sprint(i-1))
			}
			files := app(now.replicas, fmt.Sprintf("app:%d", now.image))
			files["other/readme.md"] = fmt.Sprint(rapid.IntRange(0, 1).Draw(t, "other"))
			p.commit(fmt.Sprint(i), files, parents...)
			if rapid.Bool().Draw(t, "advance") {
				if _, err := x.Advance(p, fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		last := len(states) - 1
		if _, err := x.Advance(p, fmt.Sprint(last)); err != nil {
			t.Fatal(err)
		}
		replicas, image := last, last
		for replicas > 0 && states[replicas-1].replicas == states[last].replicas {
			replicas--
		}
		for image > 0 && states[image-1].image == states[last].image {
			image--
		}
		for field, want := range map[string]int{".spec.replicas": replicas, `.spec.template.spec.containers[name="app"].image`: image} {
			a, err := x.Blame(p, fmt.Sprint(last), Place{File: "shop/app.yaml", Document: shop, Field: field})
			if err != nil || a.Commit.SHA != fmt.Sprint(want) || !a.Exact {
				t.Fatalf("%s: %v, %v, want %d", field, a, err, want)
			}
		}
	})
}

func TestSavedAndLoadedItAnswersTheSame(t *testing.T) {
	p := newPast()
	p.commit("one", app(1, "app:1"))
	p.commit("two", app(2, "app:1"), "one")
	x := New(0)
	if _, err := x.Advance(p, "two"); err != nil {
		t.Fatal(err)
	}
	var saved bytes.Buffer
	if err := x.Save(&saved); err != nil {
		t.Fatal(err)
	}
	text := saved.String()
	y := New(0)
	if err := y.Load(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if got, want := ask(t, y, p, "two", ".spec.replicas"), ask(t, x, p, "two", ".spec.replicas"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n, err := y.Advance(p, "two"); n != 0 || err != nil {
		t.Errorf("Advance to what is known: %d, %v", n, err)
	}
	for name, broken := range map[string]string{
		"cut off": text[:len(text)-10], "other": "\"x\"\n" + text, "empty": "",
		"too few": strings.Replace(text, `"parents":["one"]`, `"parents":["one","zero"]`, 1),
	} {
		z := New(0)
		if err := z.Load(strings.NewReader(broken)); err == nil || z.Len() != 0 {
			t.Errorf("%s: loaded %d commits, %v", name, z.Len(), err)
		}
	}
}

func TestQuestionsAreAnsweredWithoutReadingHistory(t *testing.T) {
	p := newPast()
	p.commit("0", app(1, "app:1"))
	for i := 1; i < 200; i++ {
		files := app(1, "app:1")
		files["other/readme.md"] = fmt.Sprint(i)
		p.commit(fmt.Sprint(i), files, fmt.Sprint(i-1))
	}
	x := New(0)
	if _, err := x.Advance(p, "199"); err != nil {
		t.Fatal(err)
	}
	p.reads = 0
	if got := ask(t, x, p, "199", ".spec.replicas"); got != "0:8 .spec.replicas" {
		t.Fatal(got)
	}
	if p.reads > 2 {
		t.Errorf("%d trees were read for a file that never changed, want at most 2", p.reads)
	}
}

// FuzzFind: no path into no file makes it panic, and what is found is a beginning of the path.
func FuzzFind(f *testing.F) {
	f.Add(fmt.Sprintf(deployment, 1, "a"), `.spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"].name`)
	f.Add("a: &a [b]\nc: *a\n<<: {d: e}", `.c[="b"]`)
	f.Add("- 1\n---\nx", `[0]`)
	f.Fuzz(func(t *testing.T, file, field string) {
		documents, err := render.Documents("file.yaml", []byte(file))
		if err != nil {
			return
		}
		for i := range 2 {
			found := find(documents, Place{Document: Document{Index: i}, Field: field})
			if !strings.HasPrefix(field, found.field) {
				t.Errorf("found %q of %q", found.field, field)
			}
		}
		find(documents, Place{Document: shop, Field: field})
	})
}

// FuzzLoad: no file makes an Index that panics.
func FuzzLoad(f *testing.F) {
	p := newPast()
	p.commit("one", app(1, "app:1"))
	x := New(0)
	_, _ = x.Advance(p, "one")
	var saved bytes.Buffer
	_ = x.Save(&saved)
	f.Add(saved.Bytes())
	f.Fuzz(func(_ *testing.T, raw []byte) {
		y := New(0)
		if y.Load(bytes.NewReader(raw)) == nil {
			_, _ = y.Blame(p, "one", Place{File: "shop/app.yaml", Document: shop, Field: ".spec.replicas"})
		}
	})
}
