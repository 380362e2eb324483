package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pastCaches is a client for which Secrets are never read or written by way of a cache. They may not be listed or watched, and a
// client that lets reads see earlier writes would wait for a cache of them for ever, on writes too.
type pastCaches struct{ client.Client }

func newClient(config *rest.Config, options client.Options) (client.Client, error) {
	c, err := client.New(config, options)
	return pastCaches{c}, err
}

func isSecret(o client.Object) bool {
	if _, is := o.(*corev1.Secret); is {
		return true
	}
	return o.GetObjectKind().GroupVersionKind().GroupKind() == corev1.SchemeGroupVersion.WithKind("Secret").GroupKind()
}

// Get implements client.Client.
func (c pastCaches) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if isSecret(o) {
		options = append(options, client.DisableReadYourWritesConsistency)
	}
	return c.Client.Get(ctx, key, o, options...)
}

// Create implements client.Client.
func (c pastCaches) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	if isSecret(o) {
		options = append(options, client.DisableReadYourWritesConsistency)
	}
	return c.Client.Create(ctx, o, options...)
}

// Update implements client.Client.
func (c pastCaches) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	if isSecret(o) {
		options = append(options, client.DisableReadYourWritesConsistency)
	}
	return c.Client.Update(ctx, o, options...)
}

// Patch implements client.Client.
func (c pastCaches) Patch(ctx context.Context, o client.Object, patch client.Patch, options ...client.PatchOption) error {
	if isSecret(o) {
		options = append(options, client.DisableReadYourWritesConsistency)
	}
	return c.Client.Patch(ctx, o, patch, options...)
}

// Delete implements client.Client.
func (c pastCaches) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	if isSecret(o) {
		options = append(options, client.DisableReadYourWritesConsistency)
	}
	return c.Client.Delete(ctx, o, options...)
}
