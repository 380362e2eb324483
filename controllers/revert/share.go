package revert

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/forge"
)

// ForgeOf opens the way to pull requests of a Repository, or says why there is none, for whoever else writes to it.
func ForgeOf(ctx context.Context, reader client.Reader, repo *v1alpha1.Repository) (forge.Forge, error) {
	return (&Reconciler{Reader: reader}).forge(ctx, repo)
}

// SignerOf returns what signs a Repository's commits; nil where they are not signed.
func SignerOf(ctx context.Context, reader client.Reader, repo *v1alpha1.Repository) (func([]byte) (string, error), error) {
	return (&Reconciler{Reader: reader}).signer(ctx, repo)
}
