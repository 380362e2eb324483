package repository

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/signature"
)

// bots trusts a key to revert, and returns what commits with it on main.
func (w *signedWorld) bots() (revert func(message string, files map[string]string) string) {
	w.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		w.Fatal(err)
	}
	key, err := signature.ParseKey(pem.EncodeToMemory(block), nil)
	if err != nil {
		w.Fatal(err)
	}
	var signers corev1.Secret
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: "shop", Name: "signers"}, &signers); err != nil {
		w.Fatal(err)
	}
	signers.Data["bots"] = []byte("belay@example.com " + key.PublicLine())
	if err := w.client.Update(w.Context(), &signers); err != nil {
		w.Fatal(err)
	}
	return func(message string, files map[string]string) string {
		sha := w.git.Commit("fleet", "main", message, files)
		raw := []byte(strings.ReplaceAll(w.git.Git("fleet", "cat-file", "commit", sha), "ann@example.com", "belay@example.com"))
		signed, err := signature.Sign(key, raw)
		if err != nil {
			w.Fatal(err)
		}
		return w.git.Replace("fleet", "main", signature.Attach(raw, signed))
	}
}

// TestG26_ARevertOfAnotherNamespaceIsAccepted: Syncs and their Repository are in one namespace, which verifies; the Rollouts are in
// prod, and revert through a Repository there. What does not belong to the repository widens nothing.
func TestG26_ARevertOfAnotherNamespaceIsAccepted(t *testing.T) {
	files := func(image string) map[string]string {
		return map[string]string{"apps/shop/rollout.yaml": "apiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: shop, namespace: prod}\n" +
			"spec:\n  template: {spec: {containers: [{name: app, image: \"" + image + "\"}]}}\n  onFailure: {revert: {repository: write, path: apps/shop}}\n"}
	}
	for name, test := range map[string]struct {
		change func(repo *v1alpha1.Repository, rollout *v1alpha1.Rollout)
		want   string
	}{
		"in prod": {func(*v1alpha1.Repository, *v1alpha1.Rollout) {}, ReasonReady},
		"the same URL otherwise": {func(repo *v1alpha1.Repository, _ *v1alpha1.Rollout) {
			repo.Spec.URL = strings.TrimSuffix(repo.Spec.URL, ".git")
		}, ReasonReady},
		"of another repository":   {func(repo *v1alpha1.Repository, _ *v1alpha1.Rollout) { repo.Spec.URL += "x" }, ReasonSignatureRefused},
		"that is not written to":  {func(repo *v1alpha1.Repository, _ *v1alpha1.Rollout) { repo.Spec.Write = nil }, ReasonSignatureRefused},
		"that Git does not know":  {func(_ *v1alpha1.Repository, rollout *v1alpha1.Rollout) { rollout.Name = "evil" }, ReasonSignatureRefused},
		"with another path":       {func(_ *v1alpha1.Repository, rollout *v1alpha1.Rollout) { rollout.Spec.OnFailure.Revert.Path = "apps" }, ReasonSignatureRefused},
		"without a revert at all": {func(_ *v1alpha1.Repository, rollout *v1alpha1.Rollout) { rollout.Spec.OnFailure.Revert = nil }, ReasonSignatureRefused},
		"of another namespace too": {func(repo *v1alpha1.Repository, rollout *v1alpha1.Rollout) {
			repo.Namespace, rollout.Namespace = "evil", "evil"
		}, ReasonSignatureRefused},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSignedWorld(t, nil)
			revert := w.bots()
			repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "write"}}
			repo.Spec.URL, repo.Spec.Ref.Branch, repo.Spec.Write = w.git.URL("fleet"), "main", &v1alpha1.RepositoryWrite{}
			rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "shop"}}
			rollout.Spec.OnFailure.Revert = &v1alpha1.Revert{Repository: "write", Path: "apps/shop"}
			test.change(repo, rollout)
			for _, o := range []client.Object{repo, rollout} {
				if err := w.client.Create(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			good := w.commitFiles("good", true, files("shop:1"))
			bad := w.commitFiles("bad", true, files("shop:2"))
			if commit, reason, message, _ := w.look(); commit != bad || reason != ReasonReady {
				t.Fatalf("%s %s %s", commit, reason, message)
			}
			sha := revert("revert(shop): 2 -> 1\n\nRollback-Id: abcdefgh12\nRestores: "+good, files("shop:1"))
			commit, reason, message, _ := w.look()
			if want := map[bool]string{true: sha, false: bad}[test.want == ReasonReady]; reason != test.want || commit != want {
				t.Errorf("in force %s, %s: %s", commit, reason, message)
			}
		})
	}
}
