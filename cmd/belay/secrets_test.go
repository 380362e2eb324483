package main

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// asked notes of each request whether it would wait for a cache.
type asked struct {
	client.Client
	waits map[string]bool
}

func (a asked) note(verb string, o client.Object, past bool) error {
	a.waits[fmt.Sprintf("%s %T", verb, o)] = !past
	return nil
}

func (a asked) Get(_ context.Context, _ client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return a.note("get", o, (&client.GetOptions{}).ApplyOptions(opts).DisableReadYourWritesConsistency)
}

func (a asked) Create(_ context.Context, o client.Object, opts ...client.CreateOption) error {
	return a.note("create", o, (&client.CreateOptions{}).ApplyOptions(opts).DisableReadYourWritesConsistency)
}

func (a asked) Update(_ context.Context, o client.Object, opts ...client.UpdateOption) error {
	return a.note("update", o, (&client.UpdateOptions{}).ApplyOptions(opts).DisableReadYourWritesConsistency)
}

func (a asked) Patch(_ context.Context, o client.Object, _ client.Patch, opts ...client.PatchOption) error {
	return a.note("patch", o, (&client.PatchOptions{}).ApplyOptions(opts).DisableReadYourWritesConsistency)
}

func (a asked) Delete(_ context.Context, o client.Object, opts ...client.DeleteOption) error {
	return a.note("delete", o, (&client.DeleteOptions{}).ApplyOptions(opts).DisableReadYourWritesConsistency)
}

// TestSecretsAreNotWaitedFor: there is no cache of them, and may not be one.
func TestSecretsAreNotWaitedFor(t *testing.T) {
	a := asked{waits: map[string]bool{}}
	c := pastCaches{a}
	metadata := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	for _, o := range []client.Object{&corev1.Secret{}, metadata, &corev1.ConfigMap{}} {
		for _, err := range []error{c.Get(t.Context(), client.ObjectKey{}, o), c.Create(t.Context(), o), c.Update(t.Context(), o), c.Patch(t.Context(), o, nil), c.Delete(t.Context(), o)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(a.waits) != 15 {
		t.Fatalf("%d requests: %v", len(a.waits), a.waits)
	}
	for request, waits := range a.waits {
		if _, err := fmt.Sscanf(request, "%s *v1.ConfigMap", new(string)); (err == nil) != waits {
			t.Errorf("%s waits for a cache: %t", request, waits)
		}
	}
}
