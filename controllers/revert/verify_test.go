package revert

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/signature"
)

// TestG26_NoRevertOnTopOfAnUnsignedHead: Belay's signature would vouch for what is beneath it. Once the head is signed by somebody who
// is trusted, the revert is made.
func TestG26_NoRevertOnTopOfAnUnsignedHead(t *testing.T) {
	w := newWorld(t)
	w.fail()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := sshKey(t, private)
	key, err := signature.ParseKey(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	signers := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "signers"},
		Data: map[string][]byte{"authors": []byte("* " + key.PublicLine() + "\n")}}
	if err := w.env.Client.Create(w.Context(), signers); err != nil {
		t.Fatal(err)
	}
	w.signing(raw)
	w.edit(func(repo *v1alpha1.Repository) {
		repo.Spec.Verify = &v1alpha1.RepositoryVerify{Mode: v1alpha1.VerifyHead, TrustedSigners: &v1alpha1.LocalReference{Name: "signers"}}
	})
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPending, metav1.ConditionFalse, "no revert is made on top of what spec.verify refuses", w.git.Head("fleet", "main"))
	if w.reverts() != 0 {
		t.Fatalf("commits %q", w.subjects())
	}
	unsigned := []byte(w.git.Git("fleet", "cat-file", "commit", "main"))
	signed, err := signature.Sign(key, unsigned)
	if err != nil {
		t.Fatal(err)
	}
	w.git.Replace("fleet", "main", signature.Attach(unsigned, signed))
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.reverts() != 1 {
		t.Errorf("commits %q", w.subjects())
	}
}
