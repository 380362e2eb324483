package revert

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/gitops/tree"
)

var checkout = Workload{Namespace: "shop", Kind: "Rollout", Name: "checkout"}

// input builds an Input whose revisions are those that good and bad declare.
func input(t *testing.T, good, bad, head map[string]string) Input {
	t.Helper()
	return inputAt(t, "app", good, bad, head)
}

func inputAt(t *testing.T, path string, good, bad, head map[string]string) Input {
	t.Helper()
	in := Input{Good: tree.FromMap(good), Bad: tree.FromMap(bad), Head: tree.FromMap(head), Path: path, Workload: checkout}
	var err error
	if in.GoodRevision, err = RevisionAt(in.Good, in.Path, checkout); err != nil {
		t.Fatal(err)
	}
	if in.BadRevision, err = RevisionAt(in.Bad, in.Path, checkout); err != nil {
		t.Fatal(err)
	}
	return in
}

// replace returns files with old replaced by new in one of them, once.
func replace(t *testing.T, files map[string]string, name, old, new string) map[string]string {
	t.Helper()
	if strings.Count(files[name], old) != 1 {
		t.Fatalf("%q occurs %d times in %s", old, strings.Count(files[name], old), name)
	}
	out := map[string]string{}
	for k, v := range files {
		out[k] = v
	}
	out[name] = strings.Replace(out[name], old, new, 1)
	return out
}

func with(files map[string]string, name, content string) map[string]string {
	out := map[string]string{name: content}
	for k, v := range files {
		if k != name {
			out[k] = v
		}
	}
	return out
}

const rollout = `# the shop's checkout
apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata:
  name: checkout
  namespace: shop
spec:
  replicas: 3 # sized for Mondays
  template:
    metadata:
      labels: {app: checkout}
    spec:
      containers:
      # the only container
      - name: app
        image: "registry/checkout:1.0" # bumped by the bot
        args: ["--port=8080", '--level=info']
        env:
        - name: GREETING
          value: hello
        - name: LIMIT
          value: "10"
        command:
        - /bin/sh
        - -c
        - |
          echo start

          exec app
        resources:
          requests: {cpu: 100m, memory: 64Mi}
  strategy: {}
`

const other = `apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - {name: app, image: "registry/cart:1.0"}
`

const service = `apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {selector: {app: checkout}, ports: [{port: 80}]}
`

const (
	goodImage = `"registry/checkout:1.0"`
	badImage  = `"registry/checkout:1.1"`
)

type change struct{ file, old, new string }

// TestCompose makes a bad commit from good, later commits on top of it, and
// expects head's text with exactly the bad change taken back.
func TestCompose(t *testing.T) {
	plain := map[string]string{"app/rollout.yaml": rollout, "app/service.yaml": service}
	shared := map[string]string{"app/all.yaml": service + "---\n" + rollout + "---\n" + other}
	crlf := map[string]string{"app/rollout.yaml": strings.ReplaceAll(rollout, "\n", "\r\n")}
	bom := map[string]string{"app/rollout.yaml": "\ufeff" + rollout}
	file := "app/rollout.yaml"
	image := change{file, goodImage, badImage}
	note := change{file, "# sized for Mondays", "# sized for Tuesdays, see #42"}
	replicas := change{file, "replicas: 3", "replicas: 5"}
	tests := map[string]struct {
		good  map[string]string
		bad   []change // the bad commit
		later []change // commits after it
		want  []change // on top of good; default: later
	}{
		"image, untouched since":                  {good: plain, bad: []change{image}},
		"image, then a comment":                   {good: plain, bad: []change{image}, later: []change{note}},
		"image, then replicas":                    {good: plain, bad: []change{image}, later: []change{replicas}},
		"image, then another file":                {good: plain, bad: []change{image}, later: []change{{"app/service.yaml", "80", "81"}}},
		"image and replicas in one commit":        {good: plain, bad: []change{image, replicas}, want: []change{replicas}},
		"crlf":                                    {good: crlf, bad: []change{image}, later: []change{note}},
		"byte order mark":                         {good: bom, bad: []change{image}, later: []change{note}},
		"two workloads in one file":               {good: shared, bad: []change{{"app/all.yaml", goodImage, badImage}, {"app/all.yaml", "cart:1.0", "cart:2.0"}}, want: []change{{"app/all.yaml", "cart:1.0", "cart:2.0"}}},
		"workload and service in one file, later": {good: shared, bad: []change{{"app/all.yaml", goodImage, badImage}}, later: []change{{"app/all.yaml", "port: 80}", "port: 8080}"}}},
		"env value":                               {good: plain, bad: []change{{file, "value: hello", "value: 'bye: bye' # rude"}}, later: []change{note}, want: []change{note, {file, "value: hello", "value: hello # rude"}}},
		"env added at the end":                    {good: plain, bad: []change{{file, "value: \"10\"\n", "value: \"10\"\n        # makes it slow\n        - name: SLOW\n          value: \"1\"\n"}}, later: []change{note}},
		"env added at the start":                  {good: plain, bad: []change{{file, "        - name: GREETING\n", "        - name: SLOW\n          value: \"1\" # ms\n        - name: GREETING\n"}}, later: []change{note}},
		"env removed at the end":                  {good: plain, bad: []change{{file, "        - name: LIMIT\n          value: \"10\"\n", ""}}, later: []change{note}},
		"env removed at the start":                {good: plain, bad: []change{{file, "        - name: GREETING\n          value: hello\n", ""}}, later: []change{note}},
		"all env removed":                         {good: plain, bad: []change{{file, "        env:\n        - name: GREETING\n          value: hello\n        - name: LIMIT\n          value: \"10\"\n", ""}}, later: []change{note}},
		"field added":                             {good: plain, bad: []change{{file, "        command:\n", "        workingDir: /tmp\n        command:\n"}}, later: []change{note}},
		"first field of an item added":            {good: plain, bad: []change{{file, "      - name: app\n", "      - tty: true\n        name: app\n"}}, later: []change{note}},
		"flow map value":                          {good: plain, bad: []change{{file, "cpu: 100m", "cpu: 1m"}}, later: []change{note}},
		"flow map value, then its neighbour":      {good: plain, bad: []change{{file, "cpu: 100m", "cpu: 1m"}, image}, later: []change{note}},
		"flow map entry added":                    {good: plain, bad: []change{{file, "{app: checkout}", "{app: checkout, canary: \"yes\"}"}}, later: []change{note}},
		"flow list":                               {good: plain, bad: []change{{file, "'--level=info'", "'--level=info', --fail"}}, later: []change{note}},
		"flow list value, quoted":                 {good: plain, bad: []change{{file, "--port=8080", "--port=1, or 2"}}, later: []change{note}},
		"block scalar":                            {good: plain, bad: []change{{file, "echo start\n\n          exec app", "exit 1"}}, later: []change{note}},
		"list turned into another":                {good: plain, bad: []change{{file, "        - /bin/sh\n        - -c\n        - |\n          echo start\n\n          exec app\n", "        - /bin/false\n"}}, later: []change{note}},
		"quotes changed later":                    {good: plain, bad: []change{image}, later: []change{{file, badImage, "'registry/checkout:1.1'"}}, want: []change{{file, goodImage, "'registry/checkout:1.0'"}}},
		"several fields":                          {good: plain, bad: []change{image, {file, "value: hello", "value: bye"}, {file, "memory: 64Mi", "memory: 1Mi"}, {file, "exec app", "exec app --fast"}}, later: []change{note, replicas}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			at := func(changes ...[]change) map[string]string {
				files := test.good
				for _, list := range changes {
					for _, c := range list {
						if strings.Contains(files[c.file], "\r\n") {
							c.new = strings.ReplaceAll(c.new, "\n", "\r\n")
						}
						files = replace(t, files, c.file, c.old, c.new)
					}
				}
				return files
			}
			want := test.want
			if want == nil {
				want = test.later
			}
			in := input(t, test.good, at(test.bad), at(test.bad, test.later))
			result, err := Compose(in)
			if err != nil {
				t.Fatal(err)
			}
			if result.Outcome != Changes {
				t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
			}
			after := tree.Overlay(in.Head, result.Changes)
			for name, content := range at(want) {
				got, err := after.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(content, string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			again := in
			again.Head = after
			if result, err := Compose(again); err != nil || result.Outcome != AlreadyResolved {
				t.Errorf("the second time: %v, %v", result, err)
			}
		})
	}
}

const overlay = `# production
resources:
- ../base
images:
- name: registry/checkout
  newTag: "1.0" # by the bot
- name: registry/cart
  newTag: "1.0"
`

var kustomized = map[string]string{
	"app/kustomization.yaml":  overlay,
	"base/kustomization.yaml": "namespace: shop\nresources: [all.yaml, service.yaml]\n",
	"base/all.yaml":           strings.ReplaceAll(rollout, goodImage, "registry/checkout") + "---\n" + strings.ReplaceAll(other, `"registry/cart:1.0"`, "registry/cart"),
	"base/service.yaml":       service,
}

func TestComposeKustomize(t *testing.T) {
	file := "app/kustomization.yaml"
	checkoutTag := "registry/checkout\n  newTag: \"1.0\""
	badTag := "registry/checkout\n  newTag: \"1.1\""
	cartTag, newCart := "registry/cart\n  newTag: \"1.0\"", "registry/cart\n  newTag: \"2.0\""
	withPatch := with(kustomized, file, overlay+"patches:\n- path: env.yaml\n")
	withPatch = with(withPatch, "app/env.yaml", "apiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - name: app\n        env:\n        - {name: LIMIT, value: \"20\"} # more\n")
	inline := with(kustomized, file, overlay+"patches:\n- target: {kind: Rollout, name: checkout}\n  patch: |\n    - op: add\n      path: /spec/template/spec/priorityClassName\n      value: high\n")
	json6902 := with(with(kustomized, file, overlay+"patches:\n- target: {kind: Rollout, name: checkout}\n  path: ops.yaml\n"),
		"app/ops.yaml", "- op: add\n  path: /spec/template/spec/priorityClassName\n  value: high # why not\n")
	tests := map[string]struct {
		good      map[string]string
		bad, want []change
		later     []change
	}{
		"tag":                       {good: kustomized, bad: []change{{file, checkoutTag, badTag}}},
		"tag, then the other's":     {good: kustomized, bad: []change{{file, checkoutTag, badTag}}, later: []change{{file, cartTag, newCart}}},
		"both tags in one commit":   {good: kustomized, bad: []change{{file, checkoutTag, badTag}, {file, cartTag, newCart}}, want: []change{{file, cartTag, newCart}}},
		"tag, then a comment":       {good: kustomized, bad: []change{{file, checkoutTag, badTag}}, later: []change{{file, "# production", "# production, EU"}}},
		"base":                      {good: kustomized, bad: []change{{"base/all.yaml", "value: hello", "value: bye"}}, later: []change{{"base/all.yaml", "replicas: 3", "replicas: 4"}}},
		"patch file":                {good: withPatch, bad: []change{{"app/env.yaml", `"20"`, `"0"`}}, later: []change{{"app/env.yaml", "# more", "# much more"}}},
		"patch added by bad commit": {good: kustomized, bad: []change{{file, "\nimages:\n", "\npatches:\n- target: {kind: Rollout, name: checkout}\n  patch: |\n    - {op: add, path: /spec/template/spec/hostNetwork, value: true}\nimages:\n"}}, later: []change{{file, cartTag, newCart}}},
		"inline patch":              {good: inline, bad: []change{{file, "value: high", "value: low"}}, later: []change{{file, cartTag, newCart}}},
		"json patch file":           {good: json6902, bad: []change{{"app/ops.yaml", "value: high", "value: low"}}, later: []change{{"app/ops.yaml", "# why not", "# because"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bad, want := test.good, test.good
			for _, c := range test.bad {
				bad = replace(t, bad, c.file, c.old, c.new)
			}
			head := bad
			for _, c := range test.later {
				head = replace(t, head, c.file, c.old, c.new)
			}
			for _, c := range append(test.want, test.later...) {
				want = replace(t, want, c.file, c.old, c.new)
			}
			in := input(t, test.good, bad, head)
			result, err := Compose(in)
			if err != nil || result.Outcome != Changes {
				t.Fatalf("%v %s: %s", err, result.Outcome, result.Why)
			}
			after := tree.Overlay(in.Head, result.Changes)
			for name, content := range want {
				got, _ := after.ReadFile(name)
				if diff := cmp.Diff(content, string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestComposeNothingToDo(t *testing.T) {
	good := map[string]string{"app/rollout.yaml": rollout, "app/service.yaml": service}
	bad := replace(t, good, "app/rollout.yaml", goodImage, badImage)
	file := "app/rollout.yaml"
	anchored := map[string]string{file: strings.NewReplacer(
		"  name: checkout\n", "  name: checkout\n  annotations: {version: &version \"1.0\"}\n",
		"value: hello", "value: *version").Replace(rollout)}
	shared := with(kustomized, "staging/kustomization.yaml", "resources: [../base]\n")
	greeting, limit := "        - name: GREETING\n          value: hello\n", "        - name: LIMIT\n          value: \"10\"\n"
	swapped := replace(t, bad, file, greeting+limit, limit+greeting)
	tests := map[string]struct {
		good, bad, head map[string]string
		want            Outcome
		why             string
	}{
		"already good":   {good, bad, good, AlreadyResolved, "head declares revision"},
		"fixed forward":  {good, bad, replace(t, bad, file, badImage, `"registry/checkout:1.2"`), AlreadyResolved, "head declares revision"},
		"workload gone":  {good, bad, map[string]string{"app/service.yaml": service}, AlreadyResolved, "no longer declares"},
		"head is broken": {good, bad, with(bad, file, "{"), Conflict, "head cannot be rendered"},
		"folder is gone": {good, bad, map[string]string{"x": ""}, Conflict, "head cannot be rendered"},
		"duplicate":      {good, bad, with(bad, "app/copy.yaml", bad[file]), Conflict, "declared twice"},
		"base is shared": {shared, replace(t, shared, "base/all.yaml", "value: hello", "value: bye"), replace(t, shared, "base/all.yaml", "value: hello", "value: bye"), Conflict, "folder staging"},
		// The order of a list is not spliced: whole files, or a person.
		"order, untouched":     {good, swapped, swapped, Changes, "files untouched"},
		"order, touched since": {good, swapped, replace(t, swapped, file, "replicas: 3", "replicas: 4"), Conflict, "would be revision"},
		"order, with replicas": {good, replace(t, swapped, file, "replicas: 3", "replicas: 4"), replace(t, swapped, file, "replicas: 3", "replicas: 4"), Conflict, ""},
		"moved elsewhere":      {good, bad, with(replace(t, map[string]string{file: service}, file, "80", "80"), "app/moved.yaml", bad[file]), Conflict, ""},
		"anchor outside the template": {
			anchored, replace(t, anchored, file, `&version "1.0"`, `&version "1.1"`),
			replace(t, anchored, file, `&version "1.0"`, `&version "1.1"`), Changes, "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := Compose(input(t, test.good, test.bad, test.head))
			if err != nil {
				t.Fatal(err)
			}
			if result.Outcome != test.want || !strings.Contains(result.Why, test.why) {
				t.Errorf("got %s: %s", result.Outcome, result.Why)
			}
			if (result.Outcome == Changes) != (len(result.Changes) > 0) {
				t.Errorf("%s with %d changes", result.Outcome, len(result.Changes))
			}
		})
	}
}

func TestComposeRefusesUnusableInput(t *testing.T) {
	good := map[string]string{"app/rollout.yaml": rollout}
	bad := replace(t, good, "app/rollout.yaml", goodImage, badImage)
	tests := map[string]func(*Input){
		"no head":        func(in *Input) { in.Head = nil },
		"no revision":    func(in *Input) { in.BadRevision = "" },
		"same revision":  func(in *Input) { in.BadRevision = in.GoodRevision },
		"no name":        func(in *Input) { in.Workload.Name = "" },
		"path traversal": func(in *Input) { in.Path = "../etc" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			in := input(t, good, bad, bad)
			spoil(&in)
			if result, err := Compose(in); err == nil {
				t.Errorf("no error: %+v", result)
			}
		})
	}
	in := input(t, good, bad, bad)
	in.GoodRevision = "other"
	if result, err := Compose(in); err != nil || result.Outcome != Conflict {
		t.Errorf("a good commit without the good revision: %v %v", result, err)
	}
}
