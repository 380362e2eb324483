package config

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/internal/testenv"
)

// TestG08_UserStamp: the API server writes who changed an object of a Sync, and that is found for the field that changed.
func TestG08_UserStamp(t *testing.T) {
	env := testenv.New(t)
	for _, o := range build(t, "drift") {
		o.SetName("t-" + env.Namespace + "-" + o.GetName())
		if o.GetKind() == "MutatingAdmissionPolicyBinding" {
			set(t, o, "t-"+env.Namespace+"-drift-stamp.belay.dev", "spec", "policyName")
			set(t, o, map[string]any{"kubernetes.io/metadata.name": env.Namespace}, "spec", "matchResources", "namespaceSelector", "matchLabels")
		}
		if err := apply(t, env, o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(t.Context()), o) })
	}
	git := read(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {belay.dev/sync: s}}\ndata: {key: \"1\"}\n")
	git.SetNamespace(env.Namespace)
	as := func(user string) client.Client {
		config := rest.CopyConfig(env.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
		c, err := client.New(config, client.Options{Scheme: env.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	deployer := as("system:serviceaccount:" + env.Namespace + ":deployer")
	bring := func(dry ...client.ApplyOption) *unstructured.Unstructured {
		u := git.DeepCopy()
		opts := append(dry, client.FieldOwner("belay-sync"), client.ForceOwnership)
		if err := deployer.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), opts...); err != nil {
			t.Fatal(err)
		}
		return u
	}
	bring()
	// found is what is told of the object after a user's change.
	found := func(user, manager, value string) (string, drift.Class) {
		c := as(user)
		cm := &corev1.ConfigMap{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(git), cm); err != nil {
			t.Fatal(err)
		}
		cm.Data["key"] = value
		if err := c.Update(t.Context(), cm, client.FieldOwner(manager)); err != nil {
			t.Fatal(err)
		}
		live := git.DeepCopy()
		if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(git), live); err != nil {
			t.Fatal(err)
		}
		fields, err := drift.Compare(drift.Observed{Manager: "belay-sync", Desired: git, Live: live, Dry: bring(client.DryRunAll), Same: true})
		if err != nil || len(fields) != 1 || fields[0].Owner == nil {
			t.Fatalf("found %+v: %v", fields, err)
		}
		return drift.StampOf(live, *fields[0].Owner), fields[0].Class
	}
	// A policy takes a moment to be in force.
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		user, class := found("jane@example.com", "kubectl-edit", time.Now().String())
		return user == "jane@example.com" && class == drift.ManualEdit, nil
	})
	if err != nil {
		t.Fatalf("jane is not named: %v", err)
	}
	if user, class := found("system:serviceaccount:x:robot", "kubectl-edit", "robot"); user != "system:serviceaccount:x:robot" || class != drift.ControllerWrite {
		t.Errorf("a service account: user %q, class %s", user, class)
	}
	// annotate changes an annotation, or the data, and returns who is named then.
	annotate := func(user, manager, key, value string) string {
		cm := &corev1.ConfigMap{}
		c := as(user)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(git), cm); err != nil {
			t.Fatal(err)
		}
		if key == "" {
			cm.Data["key"] = user
		} else {
			cm.Annotations[key] = value
		}
		if err := c.Update(t.Context(), cm, client.FieldOwner(manager)); err != nil {
			t.Fatal(err)
		}
		return cm.Annotations[drift.StampAnnotation]
	}
	for _, c := range [][4]string{ // user, manager, annotation, who is named then
		{"mallory", "kubectl-annotate", "note", "system:serviceaccount:x:robot"}, // of which nothing is claimed
		{"mallory", "kubectl-annotate", drift.StampAnnotation, "mallory"},
		{"mallory", "kubectl-annotate", drift.StampManager, "mallory"},
		{"ivan", "belay-sync", drift.StampAnnotation, "ivan"},
		{"system:serviceaccount:x:robot", "kubectl-edit", drift.StampManager, "system:serviceaccount:x:robot"},
		{"olga", "kubectl-edit", "note", "olga"},
		{"system:serviceaccount:x:robot", "kubectl-edit", "note", "system:serviceaccount:x:robot"},
	} {
		if got := annotate(c[0], c[1], c[2], "by "+c[0]+" with "+c[1]); got != c[3] {
			t.Errorf("%s writes %s with %s: %q is named, want %q", c[0], c[2], c[1], got, c[3])
		}
	}
	if got := annotate("kim", "belay-sync", "", ""); got != "kim" {
		t.Errorf("a person that calls itself belay-sync: %q is named", got)
	}
	if user, _ := found("system:serviceaccount:x:robot", "kubectl-edit", "robot again"); user != "system:serviceaccount:x:robot" {
		t.Errorf("%q is named", user)
	}
	u := bring()
	if by := u.GetAnnotations()[drift.StampAnnotation]; by != "system:serviceaccount:x:robot" {
		t.Errorf("a Sync's own write is stamped: %q", by)
	}
	fields, err := drift.Compare(drift.Observed{Manager: "belay-sync", Desired: git, Live: u, Dry: bring(client.DryRunAll), Same: true})
	if err != nil || len(fields) != 0 {
		t.Errorf("the stamp counts as drift: %+v, %v", fields, err)
	}
}

// TestDriftRightsAreToWatch: what is watched for drift is listed and watched, and neither read one by one nor written; Secrets are not.
func TestDriftRightsAreToWatch(t *testing.T) {
	found := 0
	for _, o := range build(t, "rbac") {
		if o.GetKind() != "ClusterRole" || o.GetName() != "belay-drift-kinds" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			m := rule.(map[string]any)
			resources, _, _ := unstructured.NestedStringSlice(m, "resources")
			verbs, _, _ := unstructured.NestedStringSlice(m, "verbs")
			if !slices.Equal(verbs, []string{"list", "watch"}) || slices.Contains(resources, "*") || slices.Contains(resources, "secrets") {
				t.Errorf("%v: %v", resources, verbs)
			}
			found += len(resources)
		}
	}
	if found < 20 {
		t.Errorf("%d kinds", found)
	}
}
