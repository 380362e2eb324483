package drift

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"
)

const us = "belay-sync"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// object reads YAML; each manager is "name operation subresource minutes: fieldsV1".
func object(t *testing.T, text string, managers ...string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	var entries []metav1.ManagedFieldsEntry
	for _, m := range managers {
		head, fields, _ := strings.Cut(m, ": ")
		parts := strings.Split(head, " ")
		var minutes int
		if _, err := fmt.Sscan(parts[3], &minutes); err != nil {
			t.Fatal(err)
		}
		at := metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
		if !json.Valid([]byte(fields)) {
			t.Fatalf("%s is no JSON", fields)
		}
		entries = append(entries, metav1.ManagedFieldsEntry{Manager: parts[0], Operation: metav1.ManagedFieldsOperationType(parts[1]),
			Subresource: strings.Trim(parts[2], "-"), APIVersion: u.GetAPIVersion(), Time: &at, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)})
	}
	u.SetManagedFields(entries)
	return u
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: n, labels: {belay.dev/sync: s}}
spec:
  replicas: %d
  template:
    spec:
      containers:
      - {name: app, image: %s}
`

const (
	ownsAll  = `{"f:metadata":{"f:labels":{"f:belay.dev/sync":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
	ownsRest = `{"f:metadata":{"f:labels":{"f:belay.dev/sync":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
	ownsRepl = `{"f:spec":{"f:replicas":{}}}`
)

// TestG38_ClassOfADrift tells code, people and controllers apart.
func TestG38_ClassOfADrift(t *testing.T) {
	declared := fmt.Sprintf(deployment, 3, "app:1")
	for name, c := range map[string]struct {
		live, dry *unstructured.Unstructured
		changed   bool
		want      string
	}{
		"kubectl scale": {live: object(t, fmt.Sprintf(deployment, 5, "app:1"), us+" Apply - 0: "+ownsRest, "kubectl Update scale 5: "+ownsRepl),
			want: ".spec.replicas ManualEdit kubectl 3 5"},
		"an HPA": {live: object(t, fmt.Sprintf(deployment, 5, "app:1"), us+" Apply - 0: "+ownsRest, "kube-controller-manager Update scale 5: "+ownsRepl),
			want: ".spec.replicas ControllerWrite kube-controller-manager 3 5"},
		"a commit": {live: object(t, fmt.Sprintf(deployment, 5, "app:1"), us+" Apply - 0: "+ownsAll), changed: true,
			want: ".spec.replicas NewCommit - 3 5"},
		"a commit, and an edit": {live: object(t, fmt.Sprintf(deployment, 5, "app:0"), us+" Apply - 0: "+ownsRest, "kubectl-edit Update - 5: "+ownsRepl), changed: true,
			want: `.spec.replicas ManualEdit kubectl-edit 3 5, .spec.template.spec.containers[name="app"].image NewCommit - app:1 app:0`},
		"admission": {live: object(t, fmt.Sprintf(deployment, 5, "app:1"), us+" Apply - 0: "+ownsRest, us+" Update - 0: "+ownsRepl),
			want: ".spec.replicas AdmissionMutation - 3 5"},
		"admission makes something else of it": {live: object(t, fmt.Sprintf(deployment, 3, "app:1"), us+" Apply - 0: "+ownsAll),
			dry: object(t, fmt.Sprintf(deployment, 3, "mirror/app:1"), us+" Apply - 0: "+ownsAll), want: `.spec.template.spec.containers[name="app"].image AdmissionMutation - mirror/app:1 app:1`},
		"a default of a new version": {live: object(t, declared, us+" Apply - 0: "+ownsAll),
			dry: object(t, declared+"  paused: false\n", us+" Apply - 0: "+ownsAll), want: ".spec.paused VersionSkew - false <nil>"},
		"a container taken away": {live: object(t, strings.Split(declared, "      containers:")[0]+"      containers: [{name: other, image: x}]\n",
			us+` Apply - 0: {"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{}}}}}`, `kubectl-edit Update - 5: {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"other\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`),
			dry:  object(t, declared+"      - {name: other, image: x}\n", us+" Apply - 9: "+ownsAll),
			want: `.metadata.labels <none>`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.dry == nil {
				c.dry = object(t, declared, us+" Apply - 9: "+ownsAll)
			}
			fields, err := Compare(Observed{Manager: us, Desired: object(t, declared), Live: c.live, Dry: c.dry, Same: !c.changed})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range fields {
				by := "-"
				if f.Owner != nil {
					by = f.Owner.Manager
				}
				if f.Guess {
					by += "?"
				}
				if name == "a container taken away" {
					if f.Class != ManualEdit || by != "kubectl-edit?" || f.Live != nil || f.Path.String() != `.spec.template.spec.containers[name="app"]` {
						t.Errorf("got %s %s %s", f.Path, f.Class, by)
					}
					return
				}
				got = append(got, fmt.Sprintf("%s %s %s %v %v", f.Path, f.Class, by, f.Declared, f.Live))
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
		})
	}
}

// TestG08_StampIsOfOneManager: a user's name counts only for the manager that it wrote with.
func TestG08_StampIsOfOneManager(t *testing.T) {
	for _, c := range []struct{ with, managers, want string }{
		{"kubectl-edit", "kubectl-edit Update - 5: " + ownsRepl, "jane"},
		{"\"\"", "kubectl-edit Update - 5: " + ownsRepl, "jane"},
		{"kubectl-edit", "kubectl Update scale 5: " + ownsRepl, ""},
		{"kubectl-edit", "kubectl-patch Update - 5: " + ownsRepl, ""},
	} {
		o := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, annotations: {belay.dev/changed-by: jane, belay.dev/changed-with: "+c.with+"}}\n", c.managers)
		owners, err := OwnersOf(o.GetManagedFields())
		if err != nil {
			t.Fatal(err)
		}
		if got := StampOf(o, owners[0]); got != c.want {
			t.Errorf("%s with %s: user %q, want %q", c.managers, c.with, got, c.want)
		}
	}
	for user, want := range map[string]Class{"jane": ManualEdit, "system:serviceaccount:keda:keda": ControllerWrite} {
		if got := classOfWriter("kubectl-edit", user); got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	path := fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "app"), "resources", "limits")
	annotation := fieldpath.MakePathOrDie("metadata", "annotations", "example.com/a.b")
	for pattern, want := range map[string]bool{
		".spec": true, ".spec.template.spec.containers": true, `.spec.template.spec.containers[name="app"]`: true,
		`.spec.template.spec.containers[name="app"].resources`: true, ".spec.template.spec.containers[*].resources.limits": true,
		`.spec.template.spec.containers[name="other"]`: false, ".spec.temp": false, ".spec.template.spec.containers[*].resources.limits.cpu": false, ".spec[*]": false, "spec": false,
	} {
		if got := Match(pattern, path); got != want {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
	}
	if !Match(".metadata.annotations.example.com/a.b", annotation) || Match(".metadata.annotations.example.com/a", annotation) {
		t.Error("a key with dots is matched as a whole")
	}
}

// TestWithout: a field that somebody else owns is left out; one that nobody else owns is kept as it is, lest it vanish.
func TestWithout(t *testing.T) {
	desired := object(t, fmt.Sprintf(deployment, 3, "app:1"))
	others := object(t, fmt.Sprintf(deployment, 5, "app:2"), us+" Apply - 0: "+ownsRest, "vpa-updater Update scale 5: "+ownsRepl)
	alone := object(t, fmt.Sprintf(deployment, 5, "app:2"), us+" Apply - 0: "+ownsAll)
	for name, c := range map[string]struct {
		live *unstructured.Unstructured
		rule Ignore
		want string
	}{
		"another owner":     {others, Ignore{Paths: []string{".spec.replicas"}}, "<nil> app:1"},
		"nobody else":       {alone, Ignore{Paths: []string{".spec.replicas"}}, "5 app:1"},
		"by manager":        {others, Ignore{Managers: []string{"vpa-updater"}}, "<nil> app:1"},
		"in a list":         {alone, Ignore{Paths: []string{".spec.template.spec.containers[*].image"}}, "3 app:2"},
		"another kind":      {others, Ignore{Kind: "StatefulSet", Paths: []string{".spec.replicas"}}, "3 app:1"},
		"another name":      {others, Ignore{Name: "b", Paths: []string{".spec.replicas"}}, "3 app:1"},
		"nothing there yet": {nil, Ignore{Paths: []string{".spec.replicas"}}, "3 app:1"},
		"the label stays":   {others, Ignore{Paths: []string{".metadata"}}, "3 app:1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Without(desired, c.live, us, []Ignore{c.rule})
			if err != nil {
				t.Fatal(err)
			}
			replicas, _ := At(got, fieldpath.MakePathOrDie("spec", "replicas"))
			image, _ := At(got, fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "app"), "image"))
			if text := fmt.Sprintf("%v %v", replicas, image); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
			if got.GetLabels()["belay.dev/sync"] != "s" || got.GetName() != "a" {
				t.Errorf("label or name is gone: %v", got.Object["metadata"])
			}
		})
	}
	if n, _ := At(desired, fieldpath.MakePathOrDie("spec", "replicas")); n != int64(3) {
		t.Error("the argument was changed")
	}
}

// TestSecretsAreNotShown: neither a Secret's values, nor what is called a password elsewhere.
func TestSecretsAreNotShown(t *testing.T) {
	secret, pod := schema.GroupKind{Kind: "Secret"}, schema.GroupKind{Group: "apps", Kind: "Deployment"}
	for _, c := range []struct {
		kind  schema.GroupKind
		path  fieldpath.Path
		value any
	}{
		{secret, fieldpath.MakePathOrDie("data", "x"), "planted"},
		{secret, fieldpath.MakePathOrDie("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"), "planted"},
		{pod, fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "a"), "env", fieldpath.KeyByFields("name", "DB_PASSWORD"), "value"), "planted"},
		{pod, fieldpath.MakePathOrDie("spec", "template", "spec", "containers"), []any{map[string]any{"env": []any{map[string]any{"name": "API_TOKEN", "value": "planted"}}}}},
		{pod, fieldpath.MakePathOrDie("spec", "x"), map[string]any{"apiKey": "planted"}},
	} {
		got := Shown(c.kind, c.path, c.value)
		if strings.Contains(got, "planted") || !strings.Contains(got, "hidden") {
			t.Errorf("%s: %s", c.path, got)
		}
		if got != Shown(c.kind, c.path, c.value) || got == Shown(c.kind, c.path, "another") {
			t.Errorf("%s: the digest does not tell values apart", c.path)
		}
	}
	if got := Shown(pod, fieldpath.MakePathOrDie("spec", "x"), strings.Repeat("é", 400)); len(got) > maxShown+2 {
		t.Errorf("a long value takes %d bytes", len(got))
	}
	if got := Shown(secret, fieldpath.MakePathOrDie("type"), "Opaque"); got != "Opaque" {
		t.Errorf("the type is %s", got)
	}
}

// TestG10_SafestRemedy rates what correcting would do.
func TestG10_SafestRemedy(t *testing.T) {
	kind := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	by := func(minutes int) *Owner {
		return &Owner{Manager: "kubectl-edit", Time: noon.Add(-time.Duration(minutes) * time.Minute)}
	}
	replicas := func(declared any) []Field {
		return []Field{{Path: fieldpath.MakePathOrDie("spec", "replicas"), Declared: declared, Live: int64(3), Class: ManualEdit, Owner: by(5)}}
	}
	image := []Field{{Path: fieldpath.MakePathOrDie("spec", "template", "spec"), Class: ManualEdit, Owner: by(5)}}
	for name, c := range map[string]struct {
		kind   schema.GroupKind
		class  Class
		fields []Field
		want   string
	}{
		"label":          {kind, ManualEdit, []Field{{Path: fieldpath.MakePathOrDie("metadata", "labels", "a")}}, "Reapply Low"},
		"replicas":       {kind, ManualEdit, replicas(int64(5)), "Reapply Medium"},
		"to zero":        {kind, ManualEdit, replicas(int64(0)), "Reapply High"},
		"a fresh repair": {kind, ManualEdit, image, "Reapply Medium"},
		"controller":     {kind, ControllerWrite, replicas(int64(5)), "Ignore Medium"},
		"admission":      {kind, AdmissionMutation, nil, "ChangeGit Low"},
		"deleted":        {kind, Deleted, nil, "Recreate Medium"},
		"deleted volume": {schema.GroupKind{Kind: "PersistentVolumeClaim"}, Deleted, nil, "Recreate High"},
	} {
		r := RemedyOf(c.kind, c.class, c.fields, noon)
		if got := fmt.Sprintf("%s %s", r.Action, r.Risk); got != c.want || r.Reason == "" {
			t.Errorf("%s: %s (%s), want %s", name, got, r.Reason, c.want)
		}
	}
}

func BenchmarkMark(b *testing.B) {
	o := &metav1.ObjectMeta{Generation: 3, Labels: map[string]string{"belay.dev/sync": "s"}, ManagedFields: []metav1.ManagedFieldsEntry{
		{Manager: us, Operation: "Apply", FieldsV1: metav1.NewFieldsV1(ownsAll)}, {Manager: "kube-controller-manager", Operation: "Update", Subresource: "status", FieldsV1: metav1.NewFieldsV1(ownsAll)}}}
	b.ReportAllocs()
	for b.Loop() {
		MarkOf(o, us)
	}
}

// TestG08_BetweenFindsWhatOthersHaveTaken, and nothing that only the API server writes in another way, or that Git has changed since.
func TestG08_BetweenFindsWhatOthersHaveTaken(t *testing.T) {
	declared := object(t, "apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: {taken: 1, gone: 1, newer: 2, cpu: 1000m, shown: 1}\n")
	live := object(t, "apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: {taken: 2, newer: 1, cpu: \"1\", shown: 2, extra: 1}\n",
		us+` Apply - 0: {"f:spec":{"f:newer":{},"f:shown":{}}}`, `kubectl Update - 5: {"f:spec":{"f:taken":{},"f:cpu":{},"f:extra":{}}}`)
	for _, c := range []struct {
		wanted Wanted
		want   string
	}{
		{Wanted{Manager: us}, ".spec.taken"},
		{Wanted{Manager: us, Removed: true}, ".spec.gone .spec.taken"},
		{Wanted{Manager: us, Paths: []string{".spec.shown", ".spec.extra"}}, ".spec.extra .spec.shown .spec.taken"},
		{Wanted{Manager: "nobody", Removed: true}, ".spec.gone .spec.newer .spec.shown .spec.taken"},
	} {
		fields, err := Between(declared, live, c.wanted)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range fields {
			got = append(got, f.Path.String())
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%+v: got %s, want %s", c.wanted, text, c.want)
		}
	}
}
