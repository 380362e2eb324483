package sync

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	driftpkg "github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/internal/testenv"
)

const fieldsDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %s
  labels: {belay.dev/sync: s, tier: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
      - {name: app, image: "app:1", env: [{name: A, value: "1"}]}
`

// kubectl is the testbed's.
func kubectl(t *testing.T, env *testenv.Env, input string, args ...string) {
	t.Helper()
	config := os.Getenv("BELAY_TEST_KUBECONFIG")
	program := filepath.Join(filepath.Dir(config), "..", "..", "assets", "kubectl")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("the testbed's kubectl: %v", err)
	}
	editor := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\nexec sed -i 's/replicas: 3/replicas: 5/' \"$1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"--kubeconfig", config, "-n", env.Namespace}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		cmd.Env = append(os.Environ(), "KUBE_EDITOR="+editor, "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err == nil {
			return
		}
		if try == 10 || !strings.Contains(string(out), "object has been modified") { // the Deployment's own controller writes too
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
}

// TestG04_ManagedFields records what the API server writes into metadata.managedFields for every way of writing an object,
// and that our own entry alone tells of every change of a declared field.
func TestG04_ManagedFields(t *testing.T) {
	env := testenv.New(t)
	replicas := fieldpath.MakePathOrDie("spec", "replicas")
	image := fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "app"), "image")
	container := image[:len(image)-1]
	variable := append(slices.Clone(container), fieldpath.MakePathOrDie("env", fieldpath.KeyByFields("name", "A"), "value")...)
	label := fieldpath.MakePathOrDie("metadata", "labels", "tier")
	manifest := func(name, from, to string) string {
		return strings.Replace(fmt.Sprintf(fieldsDeployment, name), from, to, 1)
	}
	for _, c := range []struct {
		name  string
		write func(t *testing.T, name string)
		path  fieldpath.Path
		// owner is who owns the path afterwards, beside or instead of us; ours: we do; seen: our mark has changed.
		owner      string
		ours, seen bool
	}{
		{name: "edit", path: replicas, owner: "kubectl-edit Update", seen: true,
			write: func(t *testing.T, name string) { kubectl(t, env, "", "edit", "deployment", name) }},
		{name: "apply", path: replicas, owner: "kubectl-client-side-apply Update", seen: true, write: func(t *testing.T, name string) {
			kubectl(t, env, manifest(name, "replicas: 3", "replicas: 5"), "apply", "-f", "-")
		}},
		{name: "scale", path: replicas, owner: "kubectl Update scale", seen: true,
			write: func(t *testing.T, name string) { kubectl(t, env, "", "scale", "deployment", name, "--replicas=5") }},
		{name: "patch", path: replicas, owner: "kubectl-patch Update", seen: true,
			write: func(t *testing.T, name string) {
				kubectl(t, env, "", "patch", "deployment", name, "-p", `{"spec":{"replicas":5}}`)
			}},
		{name: "json-patch", path: image, owner: "kubectl-patch Update", seen: true, write: func(t *testing.T, name string) {
			kubectl(t, env, "", "patch", "deployment", name, "--type=json", "-p", `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"app:2"}]`)
		}},
		{name: "replace", path: image, owner: "kubectl-replace Update", seen: true,
			write: func(t *testing.T, name string) {
				kubectl(t, env, manifest(name, "app:1", "app:2"), "replace", "-f", "-")
			}},
		{name: "replace-same", path: image, ours: true, write: func(t *testing.T, name string) {
			kubectl(t, env, manifest(name, "belay.dev/sync: s", "belay.dev/sync: s, more: x"), "replace", "-f", "-")
		}},
		{name: "set-image", path: image, owner: "kubectl-set Update", seen: true,
			write: func(t *testing.T, name string) { kubectl(t, env, "", "set", "image", "deployment/"+name, "app=app:2") }},
		{name: "rollout-restart", path: image, ours: true,
			write: func(t *testing.T, name string) { kubectl(t, env, "", "rollout", "restart", "deployment/"+name) }},
		{name: "label", path: label, owner: "kubectl-label Update", seen: true,
			write: func(t *testing.T, name string) {
				kubectl(t, env, "", "label", "--overwrite", "deployment", name, "tier=db")
			}},
		{name: "label-removed", path: label, seen: true,
			write: func(t *testing.T, name string) { kubectl(t, env, "", "label", "deployment", name, "tier-") }},
		{name: "field-removed", path: variable, seen: true, write: func(t *testing.T, name string) {
			kubectl(t, env, "", "patch", "deployment", name, "--type=json", "-p", `[{"op":"remove","path":"/spec/template/spec/containers/0/env/0"}]`)
		}},
		{name: "list-item-removed", path: container, seen: true, write: func(t *testing.T, name string) {
			kubectl(t, env, "", "patch", "deployment", name, "--type=json", "-p", `[{"op":"replace","path":"/spec/template/spec/containers","value":[{"name":"other","image":"x"}]}]`)
		}},
		{name: "controller-update", path: image, owner: "some-operator Update", seen: true, write: func(t *testing.T, name string) {
			err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // the Deployment's own controller writes too
				d := &appsv1.Deployment{}
				if err := env.Client.Get(t.Context(), client.ObjectKey{Namespace: env.Namespace, Name: name}, d); err != nil {
					return err
				}
				d.Spec.Template.Spec.Containers[0].Image = "app:2"
				return env.Client.Update(t.Context(), d, client.FieldOwner("some-operator"))
			})
			if err != nil {
				t.Fatal(err)
			}
		}},
		{name: "controller-status", path: image, ours: true, write: func(t *testing.T, name string) {
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: name}}
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"observedGeneration":7}}`))
			if err := env.Client.Status().Patch(t.Context(), d, patch, client.FieldOwner("some-operator")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "server-side-apply", path: replicas, owner: "other Apply", seen: true, write: func(t *testing.T, name string) {
			kubectl(t, env, manifest(name, "replicas: 3", "replicas: 5"), "apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-")
		}},
		{name: "server-side-same", path: replicas, owner: "other Apply", ours: true, write: func(t *testing.T, name string) {
			kubectl(t, env, manifest(name, "", ""), "apply", "--server-side", "--field-manager=other", "-f", "-")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := "a-" + c.name
			before := applyAs(t, env, FieldManager, fmt.Sprintf(fieldsDeployment, name))
			c.write(t, name)
			after := before.DeepCopy()
			if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(before), after); err != nil {
				t.Fatal(err)
			}
			owners, err := driftpkg.OwnersOf(after.GetManagedFields())
			if err != nil {
				t.Fatal(err)
			}
			ours, others := false, []string{}
			for _, o := range owners {
				switch {
				case !o.Owns(c.path):
				case o.Manager == FieldManager && o.Operation == "Apply":
					ours = true
				default:
					others = append(others, strings.TrimSpace(o.Manager+" "+string(o.Operation)+" "+o.Subresource))
				}
			}
			seen := driftpkg.MarkOf(before, FieldManager).Own != driftpkg.MarkOf(after, FieldManager).Own
			if got := strings.Join(others, ", "); got != c.owner || ours != c.ours || seen != c.seen {
				t.Errorf("%s is owned by %q (ours: %v), our mark changed: %v; want %q, %v, %v\n%s", c.path, got, ours, seen, c.owner, c.ours, c.seen, managed(after))
			}
			t.Log(managed(after))
		})
	}
}

// TestG04_SecondEditIsOnlyWide: a manager that changes what it already owns leaves our entry, and the time of its own, as
// they were. That is why an object whose drift is left needs the wide mark.
func TestG04_SecondEditIsOnlyWide(t *testing.T) {
	env := testenv.New(t)
	first := applyAs(t, env, FieldManager, fmt.Sprintf(fieldsDeployment, "a"))
	at := func() *unstructured.Unstructured {
		u := first.DeepCopy()
		if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(first), u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	kubectl(t, env, "", "patch", "deployment", "a", "-p", `{"spec":{"replicas":5}}`)
	one := at()
	kubectl(t, env, "", "patch", "deployment", "a", "-p", `{"spec":{"replicas":6}}`)
	two := at()
	x, y := driftpkg.MarkOf(one, FieldManager), driftpkg.MarkOf(two, FieldManager)
	if x.Own != y.Own {
		t.Errorf("our entry has changed: %s\n%s", managed(one), managed(two))
	}
	if x.Wide == y.Wide {
		t.Error("the wide mark has not changed")
	}
	if applyAs(t, env, FieldManager, fmt.Sprintf(fieldsDeployment, "a")); driftpkg.MarkOf(at(), FieldManager).Own == x.Own {
		t.Error("taking the field back does not change our mark")
	}
}

func applyAs(t *testing.T, env *testenv.Env, manager, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetNamespace(env.Namespace)
	if err := env.Client.Apply(context.WithoutCancel(t.Context()), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	return u
}

// managed is metadata.managedFields for people.
func managed(u *unstructured.Unstructured) string {
	var out strings.Builder
	for _, e := range u.GetManagedFields() {
		fmt.Fprintf(&out, "%s %s %s %s\n", e.Manager, e.Operation, e.Subresource, e.FieldsV1)
	}
	return out.String()
}
