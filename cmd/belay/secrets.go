package main

import (
	"context"
	"slices"

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

// past adds to options of a request what has it go past caches, where it is for a Secret.
func past[O any](o client.Object, options []O, option O) []O {
	if !isSecret(o) {
		return options
	}
	return append(slices.Clip(options), option)
}

// Get implements client.Client.
func (c pastCaches) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	return c.Client.Get(ctx, key, o, past[client.GetOption](o, options, client.DisableReadYourWritesConsistency)...)
}

// Create implements client.Client.
func (c pastCaches) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	return c.Client.Create(ctx, o, past[client.CreateOption](o, options, client.DisableReadYourWritesConsistency)...)
}

// Update implements client.Client.
func (c pastCaches) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	return c.Client.Update(ctx, o, past[client.UpdateOption](o, options, client.DisableReadYourWritesConsistency)...)
}

// Patch implements client.Client.
func (c pastCaches) Patch(ctx context.Context, o client.Object, patch client.Patch, options ...client.PatchOption) error {
	return c.Client.Patch(ctx, o, patch, past[client.PatchOption](o, options, client.DisableReadYourWritesConsistency)...)
}

// Delete implements client.Client.
func (c pastCaches) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	return c.Client.Delete(ctx, o, past[client.DeleteOption](o, options, client.DisableReadYourWritesConsistency)...)
}
