package revert

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/belay-delivery/belay/gitops/tree"
)

// world is what a random history edits. The first group of fields is the
// workload's pod template; the rest belongs to others or to the rest of the
// workload.
type world struct {
	tag, memory, script int
	env                 map[string]int
	extra               bool // an optional field of the template

	replicas, cart, port, comment, inline int
}

// layout is how the files are written; it does not change within a history.
type layout struct {
	crlf, bom, flowEnv, oneFile, firstCart, quoted bool
}

func (w world) clone() world {
	env := map[string]int{}
	for k, v := range w.env {
		env[k] = v
	}
	w.env = env
	return w
}

func (w world) files(l layout) map[string]string {
	var b strings.Builder
	fmt.Fprintf(&b, "# checkout %d\napiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: shop}\nspec:\n", w.comment)
	fmt.Fprintf(&b, "  replicas: %d # inline %d\n  template:\n    spec:\n      containers:\n      - name: app # é %d\n", w.replicas, w.inline, w.inline)
	image := fmt.Sprintf("registry/checkout:1.%d", w.tag)
	if l.quoted {
		image = `"` + image + `"`
	}
	fmt.Fprintf(&b, "        image: %s # inline %d\n", image, w.inline)
	names := make([]string, 0, len(w.env))
	for name := range w.env {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > 0 {
		b.WriteString("        env:\n")
	}
	for _, name := range names {
		if l.flowEnv {
			fmt.Fprintf(&b, "        - {name: %s, value: \"%d\"}\n", name, w.env[name])
		} else {
			fmt.Fprintf(&b, "        - name: %s\n          value: '%d'\n", name, w.env[name])
		}
	}
	if w.extra {
		b.WriteString("        workingDir: /tmp\n")
	}
	fmt.Fprintf(&b, "        command:\n        - sh\n        - -c\n        - |\n          echo %d\n\n          exec app\n", w.script)
	fmt.Fprintf(&b, "        resources: {requests: {cpu: 1, memory: %dMi}, limits: {cpu: 2}}\n", w.memory)
	fmt.Fprintf(&b, "  # after the template %d\n  minReadySeconds: %d\n", w.comment, w.port)
	checkout := b.String()
	cart := fmt.Sprintf("# cart %d\napiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: cart, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - name: app\n        image: registry/cart:1.%d\n", w.comment, w.cart)
	service := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: checkout, namespace: shop}\nspec:\n  ports:\n  - port: %d\n", w.port)
	files := map[string]string{"app/checkout.yaml": checkout, "app/cart.yaml": cart, "app/service.yaml": service}
	switch {
	case l.oneFile && l.firstCart:
		files = map[string]string{"app/all.yaml": cart + "---\n" + checkout + "---\n" + service}
	case l.oneFile:
		files = map[string]string{"app/all.yaml": checkout + "---\n" + cart + "---\n" + service}
	}
	for name, content := range files {
		if l.crlf {
			content = strings.ReplaceAll(content, "\n", "\r\n")
		}
		if l.bom {
			content = "\ufeff" + content
		}
		files[name] = content
	}
	return files
}

// editTemplate changes one field of the template.
func (w *world) editTemplate(t *rapid.T) {
	switch rapid.IntRange(0, 5).Draw(t, "template field") {
	case 0:
		w.tag++
	case 1:
		w.memory++
	case 2:
		w.script++
	case 3:
		w.extra = !w.extra
	case 4:
		w.env[rapid.SampledFrom([]string{"A", "B", "C", "D"}).Draw(t, "set")] = rapid.IntRange(0, 9).Draw(t, "value")
	case 5:
		delete(w.env, rapid.SampledFrom([]string{"A", "B", "C", "D"}).Draw(t, "unset"))
	}
}

// editOther changes something that is not the template.
func (w *world) editOther(t *rapid.T) {
	field := rapid.SampledFrom([]*int{&w.replicas, &w.cart, &w.port, &w.comment, &w.inline}).Draw(t, "other field")
	*field += 10
}

// TestRandomHistories: whatever happened before, in and after the bad commit,
// the revert is head's text with the template of good.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
		l := layout{flag("crlf"), flag("bom"), flag("flow env"), flag("one file"), flag("cart first"), flag("quoted")}
		good := world{tag: 1, memory: 64, env: map[string]int{"A": 1, "C": 3}, replicas: 2, port: 80}
		for range rapid.IntRange(0, 4).Draw(t, "setup") {
			good.editTemplate(t)
		}
		now := good.clone()
		others := func(label string) {
			for range rapid.IntRange(0, 3).Draw(t, label) {
				now.editOther(t)
			}
		}
		others("before")
		for range rapid.IntRange(1, 4).Draw(t, "bad edits") {
			now.editTemplate(t)
		}
		others("with")
		bad := now.clone()
		others("after")
		in := Input{
			Good: tree.FromMap(good.files(l)), Bad: tree.FromMap(bad.files(l)), Head: tree.FromMap(now.files(l)),
			Path: "app", Workload: checkout,
		}
		in.GoodRevision, _ = RevisionAt(in.Good, "app", checkout)
		in.BadRevision, _ = RevisionAt(in.Bad, "app", checkout)
		if in.GoodRevision == in.BadRevision {
			t.Skip("the edits cancelled out")
		}
		result, err := Compose(in)
		if err != nil || result.Outcome != Changes {
			t.Fatalf("%v %s: %s", err, result.Outcome, result.Why)
		}
		want := now.clone()
		want.tag, want.memory, want.script, want.env, want.extra = good.tag, good.memory, good.script, good.env, good.extra
		after := tree.Overlay(in.Head, result.Changes)
		for name, content := range want.files(l) {
			got, err := after.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(content, string(got)); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}
