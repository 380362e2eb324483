// Package config tests the manifests of this folder against a real API server.
package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

// build renders a kustomization of this folder.
func build(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, dir))
	if err != nil {
		t.Fatalf("building %s: %v", dir, err)
	}
	var out []*unstructured.Unstructured
	for _, r := range resources.Resources() {
		m, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &unstructured.Unstructured{Object: m})
	}
	if len(out) == 0 {
		t.Fatalf("%s renders to nothing", dir)
	}
	return out
}

func apply(t *testing.T, env *testenv.Env, o *unstructured.Unstructured, opts ...client.ApplyOption) error {
	t.Helper()
	c := client.WithFieldValidation(env.Client, metav1.FieldValidationStrict)
	return c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), append(opts, client.ForceOwnership, client.FieldOwner("belay-config-test"))...)
}

func TestDefaultIsAccepted(t *testing.T) {
	env := testenv.New(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "belay-system"}}
	if err := env.Client.Create(t.Context(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, o := range build(t, "default") {
		if err := apply(t, env, o, client.DryRunAll); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func TestSamplesAreAccepted(t *testing.T) {
	env := testenv.New(t)
	for _, o := range build(t, "samples") {
		if o.GetKind() == "ClusterAnalysisTemplate" {
			t.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(t.Context()), o) })
		} else {
			o.SetNamespace(env.Namespace)
		}
		if err := apply(t, env, o); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	for _, file := range []string{"decision.yaml", "decision-sync.yaml", "decision-sync-undo.yaml"} {
		if err := env.Client.Create(t.Context(), readDecision(t, env, file)); err != nil {
			t.Errorf("sample %s: %v", file, err)
		}
	}
}

func sampleDecision(t *testing.T, env *testenv.Env) *v1alpha1.Decision {
	t.Helper()
	return readDecision(t, env, "decision.yaml")
}

func readDecision(t *testing.T, env *testenv.Env, file string) *v1alpha1.Decision {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("samples", file))
	if err != nil {
		t.Fatal(err)
	}
	d := &v1alpha1.Decision{}
	if err := yaml.UnmarshalStrict(raw, d); err != nil {
		t.Fatal(err)
	}
	d.Namespace = env.Namespace
	return d
}

// TestManagerNeverListsSecrets holds the line on what the manager may read.
func TestManagerNeverListsSecrets(t *testing.T) {
	for _, o := range build(t, "rbac") {
		if o.GetKind() != "ClusterRole" || o.GetName() != "belay-manager" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			m := rule.(map[string]any)
			resources, _, _ := unstructured.NestedStringSlice(m, "resources")
			verbs, _, _ := unstructured.NestedStringSlice(m, "verbs")
			text := strings.Join(resources, ",") + ":" + strings.Join(verbs, ",")
			if strings.Contains(text, "*") {
				t.Errorf("wildcard in %s", text)
			}
			names, _, _ := unstructured.NestedStringSlice(m, "resourceNames")
			for _, verb := range verbs {
				if strings.Contains(text, "secrets") && verb != "get" && verb != "create" && (verb != "patch" || len(names) == 0) {
					t.Errorf("secrets: verbs %v of names %v, want get, create, and patch of what is named", verbs, names)
				}
			}
		}
		return
	}
	t.Fatal("ClusterRole belay-manager not found")
}

// TestBundlesOfTheManager: where it lists and deletes Secrets, it is its own namespace, and it changes none.
func TestBundlesOfTheManager(t *testing.T) {
	for _, o := range build(t, "rbac") {
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
			verbs, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "verbs")
			if !slices.Contains(resources, "secrets") || !slices.Contains(verbs, "list") && !slices.Contains(verbs, "delete") {
				continue
			}
			if o.GetKind() != "Role" || o.GetNamespace() != "belay-system" || o.GetName() != "belay-bundles" || strings.Join(verbs, ",") != "get,list,create,delete" {
				t.Errorf("%s %s/%s: secrets: %v", o.GetKind(), o.GetNamespace(), o.GetName(), verbs)
			}
		}
	}
}

// TestJobsOfTheManager: it makes and removes Jobs, and changes none.
func TestJobsOfTheManager(t *testing.T) {
	for _, o := range build(t, "rbac") {
		if o.GetKind() != "ClusterRole" || o.GetName() != "belay-manager" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			groups, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "apiGroups")
			resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
			verbs, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "verbs")
			if got := strings.Join(resources, ",") + ": " + strings.Join(verbs, ","); strings.Join(groups, ",") == "batch" && got != "jobs: get,list,watch,create,delete" {
				t.Errorf("%s %s: %s", o.GetKind(), o.GetName(), got)
			}
		}
	}
}

// policies applies config/policy for the namespace of a test.
func policies(t *testing.T, env *testenv.Env) {
	t.Helper()
	for _, o := range build(t, "policy") {
		name := "t-" + env.Namespace + "-" + o.GetName()
		o.SetName(name)
		if o.GetKind() == "ValidatingAdmissionPolicyBinding" {
			set(t, o, name, "spec", "policyName")
			set(t, o, map[string]any{"kubernetes.io/metadata.name": env.Namespace}, "spec", "matchResources", "namespaceSelector", "matchLabels")
		}
		if err := apply(t, env, o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(t.Context()), o) })
	}
}

// TestDecisionActor: the API server refuses a Decision in somebody else's name.
func TestDecisionActor(t *testing.T) {
	env := testenv.New(t)
	policies(t, env)
	as := rest.CopyConfig(env.Config)
	as.Impersonate = rest.ImpersonationConfig{UserName: "jane@example.com", Groups: []string{"system:masters"}}
	jane, err := client.New(as, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	forged := sampleDecision(t, env)
	forged.Spec.Actor = "somebody@else.example"
	var refusal error
	// A policy takes a moment to be in force.
	_ = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		refusal = jane.Create(ctx, forged.DeepCopy(), client.DryRunAll)
		return refusal != nil, nil
	})
	if !apierrors.IsForbidden(refusal) || !strings.Contains(refusal.Error(), "jane@example.com") {
		t.Fatalf("forged actor: got %v, want Forbidden that names jane@example.com", refusal)
	}
	if err := jane.Create(t.Context(), sampleDecision(t, env)); err != nil {
		t.Errorf("own name: %v", err)
	}
}

func set(t *testing.T, o *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}
