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

	// limit is in a ConfigMap that the template names, and goes back with it; theirs is a key that others edit there after
	// the bad commit.
	limit, theirs int
}

// layout is how the files are written; it does not change within a history.
type layout struct {
	crlf, bom, flowEnv, oneFile, firstCart, quoted bool
	// kustomize has the images and the ConfigMap in a kustomization.
	kustomize bool
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
	image, cartImage := fmt.Sprintf("registry/checkout:1.%d", w.tag), fmt.Sprintf("registry/cart:1.%d", w.cart)
	if l.kustomize {
		image, cartImage = "registry/checkout", "registry/cart"
	}
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
	b.WriteString("        envFrom: [{configMapRef: {name: settings}}]\n")
	fmt.Fprintf(&b, "        command:\n        - sh\n        - -c\n        - |\n          echo %d\n\n          exec app\n", w.script)
	fmt.Fprintf(&b, "        resources: {requests: {cpu: 1, memory: %dMi}, limits: {cpu: 2}}\n", w.memory)
	fmt.Fprintf(&b, "  # after the template %d\n  minReadySeconds: %d\n", w.comment, w.port)
	checkout := b.String()
	cart := fmt.Sprintf("# cart %d\napiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: cart, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - name: app\n        image: %s\n", w.comment, cartImage)
	settings := fmt.Sprintf("# settings %d\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata:\n  limit: \"%d\" # at most %d\n  theirs: '%d'\n", w.comment, w.limit, w.inline, w.theirs)
	service := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: checkout, namespace: shop}\nspec:\n  ports:\n  - port: %d\n", w.port)
	files := map[string]string{"app/checkout.yaml": checkout, "app/cart.yaml": cart, "app/service.yaml": service}
	switch {
	case l.oneFile && l.firstCart:
		files = map[string]string{"app/all.yaml": cart + "---\n" + checkout + "---\n" + service}
	case l.oneFile:
		files = map[string]string{"app/all.yaml": checkout + "---\n" + cart + "---\n" + service}
	}
	if !l.kustomize {
		files["app/settings.yaml"] = settings
	} else {
		names := make([]string, 0, len(files))
		for name := range files {
			names = append(names, name[len("app/"):])
		}
		slices.Sort(names)
		files["app/kustomization.yaml"] = fmt.Sprintf("# %d\nresources: [%s]\nnamespace: shop\ngeneratorOptions: {disableNameSuffixHash: true}\nimages:\n- name: registry/cart\n  newTag: \"1.%d\"\n"+
			"- {name: registry/checkout, newTag: \"1.%d\"} # %d\nconfigMapGenerator:\n- name: settings\n  literals:\n  - limit=%d # %d\n  - theirs=%d\n",
			w.comment, strings.Join(names, ", "), w.cart, w.tag, w.inline, w.limit, w.inline, w.theirs)
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
	switch rapid.IntRange(0, 6).Draw(t, "template field") {
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
	case 6:
		w.limit++
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
		l := layout{flag("crlf"), flag("bom"), flag("flow env"), flag("one file"), flag("cart first"), flag("quoted"), flag("kustomize")}
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
		if flag("config edited since") {
			now.theirs++
		}
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
		want.tag, want.memory, want.script, want.env, want.extra, want.limit = good.tag, good.memory, good.script, good.env, good.extra, good.limit
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
