package revert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/gitops/signature"
)

func sshKey(t *testing.T, private crypto.PrivateKey) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func pgpKey(t *testing.T) (private, public []byte) {
	t.Helper()
	entity, err := openpgp.NewEntity("Belay", "", "belay@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var secret, open strings.Builder
	for kind, out := range map[string]*strings.Builder{openpgp.PrivateKeyType: &secret, openpgp.PublicKeyType: &open} {
		w, err := armor.Encode(out, kind, nil)
		if err != nil {
			t.Fatal(err)
		}
		if kind == openpgp.PrivateKeyType {
			err = entity.SerializePrivate(w, nil)
		} else {
			err = entity.Serialize(w)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return []byte(secret.String()), []byte(open.String())
}

// signing gives the Repository a key.
func (w *world) signing(key []byte) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "signing"}, Data: map[string][]byte{"key": key}}
	if err := w.env.Client.Create(w.Context(), s); err != nil {
		w.Fatal(err)
	}
	w.edit(func(repo *v1alpha1.Repository) {
		repo.Spec.Write.SigningKeyRef = &v1alpha1.LocalReference{Name: "signing"}
	})
}

// TestG17_SignedRevertWithTrailers: one commit per rollback, signed, with trailers that a machine reads; also where the
// answer of the push is lost, and where signing twice does not give the same bytes (ECDSA).
func TestG17_SignedRevertWithTrailers(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pgp, ring := pgpKey(t)
	for name, private := range map[string][]byte{"ed25519": sshKey(t, ed), "ecdsa": sshKey(t, ec), "openpgp": pgp} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.now = time.Now().Add(time.Minute).Truncate(time.Second) // after the OpenPGP key was made
			_, bad := w.fail()
			w.signing(private)
			w.git.LoseAnswers(1)
			r, _ := w.reconcile()
			expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
			if w.reverts() != 1 {
				t.Fatalf("commits %q", w.subjects())
			}
			key, err := signature.ParseKey(private, nil)
			if err != nil {
				t.Fatal(err)
			}
			data := map[string][]byte{"bots": []byte("belay@example.com " + key.PublicLine() + "\n")}
			if name == "openpgp" {
				data["keyring.asc"] = ring
			}
			signers, err := signature.ParseSigners(data)
			if err != nil {
				t.Fatal(err)
			}
			who, err := signature.Verify(signers, []byte(w.git.Git("fleet", "cat-file", "commit", "main")))
			if err != nil || who.Fingerprint != key.Fingerprint() {
				t.Errorf("signer %+v, %v", who, err)
			}
			trailers := revert.ParseTrailers(w.git.Git("fleet", "log", "-1", "--format=%B", "main"))
			if trailers[revert.TrailerOf][0] != bad || trailers[revert.TrailerRun][0] != w.env.Namespace+"/checkout-3" {
				t.Errorf("trailers %v", trailers)
			}
			if strings.Contains(strings.Join(w.told(), ""), "PRIVATE") {
				t.Error("the key is shown")
			}
		})
	}
}

func TestNoCommitWithoutItsSignature(t *testing.T) {
	for name, test := range map[string]struct{ key, says string }{
		"nonsense": {"nonsense", "neither an SSH nor an OpenPGP private key"},
		"empty":    {"", `key "key" is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail()
			w.signing([]byte(test.key))
			r, _ := w.reconcile()
			expect(t, r, v1alpha1.RevertPending, metav1.ConditionFalse, test.says, "spec.write.signingKeyRef")
			if w.reverts() != 0 {
				t.Errorf("commits %q", w.subjects())
			}
		})
	}
}

// A loop of bad revisions and reverts is stopped: after three of one workload within an hour the fourth waits.
func TestRevertsOfAnHour(t *testing.T) {
	w := newWorld(t)
	w.fail()
	message := func(n, workload string) string {
		return "revert(x): y\n\nRollback-Id: " + n + "\nWorkload: " + w.env.Namespace + "/Rollout/" + workload + "\n"
	}
	w.git.At(w.now.Add(-50 * time.Minute))
	w.git.Commit("fleet", "main", message("one", "checkout"), map[string]string{"n": "1"})
	w.git.At(w.now.Add(-30 * time.Minute))
	w.git.Commit("fleet", "main", message("two", "checkout"), map[string]string{"n": "2"})
	w.git.Commit("fleet", "main", message("other", "cart"), map[string]string{"n": "3"})
	w.git.At(w.now.Add(-10 * time.Minute))
	w.git.Commit("fleet", "main", message("three", "checkout"), map[string]string{"n": "4"})
	r, result := w.reconcile()
	until := w.now.Add(10 * time.Minute)
	expect(t, r, v1alpha1.RevertSuspended, metav1.ConditionFalse, "write.maxRevertsPerHour", until.UTC().Format(time.RFC3339))
	if told := w.told(); len(told) != 1 || told[0] != "Warning RevertFailed Suspended:" || result.RequeueAfter != watchEvery {
		t.Errorf("told %q, next look after %v", told, result.RequeueAfter)
	}
	w.now = until.Add(-time.Second)
	if r, result = w.reconcile(); r.Status.Revert.State != v1alpha1.RevertSuspended || result.RequeueAfter != time.Second || len(w.told()) != 0 {
		t.Errorf("a second before: %s, next look after %v", r.Status.Revert.State, result.RequeueAfter)
	}
	w.now = until
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)

	w = newWorld(t)
	w.fail()
	w.git.Commit("fleet", "main", message("one", "checkout"), map[string]string{"n": "1"})
	w.edit(func(repo *v1alpha1.Repository) { repo.Spec.Write.MaxRevertsPerHour = new(int32(1)) })
	if r, _ = w.reconcile(); r.Status.Revert.State != v1alpha1.RevertSuspended {
		t.Errorf("state %s with a limit of 1", r.Status.Revert.State)
	}
	w.git.Commit("fleet", "main", "fixed by hand", map[string]string{file: manifest("checkout:1")})
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertNotNeeded, metav1.ConditionTrue)
}

// A revert that was merged by a forge is one too.
func TestAMergedRevertIsNotReverted(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "good", map[string]string{file: manifest("checkout:1")})
	w.git.Git("fleet", "update-ref", "refs/heads/rollback/x", "main")
	w.git.Commit("fleet", "rollback/x", "revert(shop/checkout): a -> b\n\nRollback-Id: x\n", map[string]string{file: manifest("checkout:2")})
	w.merge("rollback/x", false)
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "is itself a revert")
}
