package revert

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/signature"
)

// Keys of the Secret of a signing key.
const (
	keySigning    = "key"
	keyPassphrase = "passphrase"
)

// signer returns what signs a Repository's commits, nil where they are not signed. A key that cannot be read is trouble:
// no commit is made without its signature.
func (r *Reconciler) signer(ctx context.Context, repo *v1alpha1.Repository) (func([]byte) (string, error), error) {
	ref := repo.Spec.Write.SigningKeyRef
	if ref == nil {
		return nil, nil
	}
	var secret corev1.Secret
	if err := r.Reader.Get(ctx, client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}, &secret); err != nil {
		return nil, fmt.Errorf("reading Secret %q of spec.write.signingKeyRef: %w", ref.Name, err)
	}
	if len(secret.Data[keySigning]) == 0 {
		return nil, fmt.Errorf("Secret %q of spec.write.signingKeyRef: key %q is missing", ref.Name, keySigning)
	}
	key, err := signature.ParseKey(secret.Data[keySigning], secret.Data[keyPassphrase])
	if err != nil {
		return nil, fmt.Errorf("Secret %q of spec.write.signingKeyRef: %w", ref.Name, err)
	}
	return func(object []byte) (string, error) { return signature.Sign(key, object) }, nil
}
