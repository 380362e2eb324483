package repository

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/signature"
)

// signedWorld is a Repository whose commits are signed, on a real Git server.
type signedWorld struct {
	*testing.T
	git    *gittest.Server
	client client.Client
	r      *Reconciler
	events *events.FakeRecorder
	key    signature.Key
}

func newSignedWorld(t *testing.T, change func(*v1alpha1.Repository)) *signedWorld {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	w := &signedWorld{T: t, git: gittest.New(t), events: events.NewFakeRecorder(100)}
	if w.key, err = signature.ParseKey(pem.EncodeToMemory(block), nil); err != nil {
		t.Fatal(err)
	}
	w.git.Create("fleet")
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	repo := repositoryAt(w.git.URL("fleet"), "shop", "")
	repo.Generation = 1
	repo.Spec.Verify = &v1alpha1.RepositoryVerify{TrustedSigners: &v1alpha1.LocalReference{Name: "signers"}}
	if change != nil {
		change(repo)
	}
	signers := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "signers"},
		Data:       map[string][]byte{"authors": []byte("ann@example.com " + w.key.PublicLine())},
	}
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(repo, signers).WithStatusSubresource(repo).Build()
	w.r = &Reconciler{Client: w.client, Source: NewSource(w.client, false), Recorder: w.events, Jitter: func(d time.Duration) time.Duration { return d }}
	return w
}

// commit adds a commit to main, signed or not.
func (w *signedWorld) commit(message string, sign bool) string {
	w.Helper()
	return w.commitFiles(message, sign, map[string]string{"a.yaml": "a: " + message + "\n"})
}

func (w *signedWorld) commitFiles(message string, sign bool, files map[string]string) string {
	w.Helper()
	sha := w.git.Commit("fleet", "main", message, files)
	if !sign {
		return sha
	}
	raw := []byte(w.git.Git("fleet", "cat-file", "commit", sha))
	signed, err := signature.Sign(w.key, raw)
	if err != nil {
		w.Fatal(err)
	}
	return w.git.Replace("fleet", "main", signature.Attach(raw, signed))
}

// look reconciles once, and returns what is in force, what Ready says, and which Events were told.
func (w *signedWorld) look() (commit, reason, message, told string) {
	w.Helper()
	key := client.ObjectKey{Namespace: "shop", Name: "fleet"}
	if _, err := w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		w.Fatal(err)
	}
	var repo v1alpha1.Repository
	if err := w.client.Get(w.Context(), key, &repo); err != nil {
		w.Fatal(err)
	}
	var names []string
	for len(w.events.Events) > 0 {
		names = append(names, strings.Fields(<-w.events.Events)[1])
	}
	c := v1alpha1.FindCondition(repo.Status.Conditions, v1alpha1.ConditionReady)
	return repo.Status.Commit, c.Reason, c.Message, strings.Join(names, " ")
}

// TestG26_ARefusedCommitLeavesTheLastGoodOneInForce: the commits are named, told of once, and what was in force stays until a
// signed line leads to the head.
func TestG26_ARefusedCommitLeavesTheLastGoodOneInForce(t *testing.T) {
	w := newSignedWorld(t, nil)
	w.commit("from before", false)
	good := w.commit("good", true)
	if commit, reason, message, _ := w.look(); commit != good || reason != ReasonReady {
		t.Fatalf("the first: %s %s %s", commit, reason, message)
	}
	hidden := w.commit("hidden", false)
	tip := w.commit("tip", true)
	commit, reason, message, told := w.look()
	if commit != good || reason != ReasonSignatureRefused || told != ReasonSignatureRefused {
		t.Errorf("in force %s, %s, told %q", commit, reason, told)
	}
	if !strings.Contains(message, hidden) || strings.Contains(message, tip) || !strings.Contains(message, "commit "+good+" stays in force") {
		t.Errorf("message %q", message)
	}
	if _, _, _, told := w.look(); told != "" {
		t.Errorf("the same refusal is told of again: %s", told)
	}
	other := w.commit("another", false)
	if _, _, message, told := w.look(); told != ReasonSignatureRefused || !strings.Contains(message, other) || !strings.Contains(message, hidden) {
		t.Errorf("one more: told %q, %q", told, message)
	}
	// The way out: the branch is put back and built on.
	w.git.Git("fleet", "update-ref", "refs/heads/main", good)
	next := w.commit("next", true)
	if commit, reason, message, _ := w.look(); commit != next || reason != ReasonReady {
		t.Errorf("after it was put right: %s %s %s", commit, reason, message)
	}
	var repo v1alpha1.Repository
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "fleet"}, &repo); err != nil {
		t.Fatal(err)
	}
	if v := repo.Status.Verified; v == nil || v.Commit != next || v.Signer != "ann@example.com" || v.Key != w.key.Fingerprint() || v.Commits != 1 {
		t.Errorf("verified: %+v", repo.Status.Verified)
	}
}

func TestG26_ModeHeadLooksAtTheHeadAlone(t *testing.T) {
	w := newSignedWorld(t, func(repo *v1alpha1.Repository) { repo.Spec.Verify.Mode = v1alpha1.VerifyHead })
	w.commit("hidden", false)
	if commit, reason, _, _ := w.look(); commit != "" || reason != ReasonSignatureRefused {
		t.Errorf("unsigned: %q %s", commit, reason)
	}
	tip := w.commit("tip", true)
	if commit, reason, message, _ := w.look(); commit != tip || reason != ReasonReady {
		t.Errorf("signed: %s %s %s", commit, reason, message)
	}
	w.commit("hidden", false)
	if tip = w.commit("tip", true); tip == "" {
		t.Fatal("no commit")
	}
	if commit, reason, message, _ := w.look(); commit != tip || reason != ReasonReady {
		t.Errorf("signed over unsigned: %s %s %s", commit, reason, message)
	}
}

func TestG26_TroubleWithSignersIsNamed(t *testing.T) {
	w := newSignedWorld(t, func(repo *v1alpha1.Repository) { repo.Spec.Verify.TrustedSigners.Name = "missing" })
	w.commit("one", true)
	if commit, reason, message, _ := w.look(); commit != "" || reason != ReasonSignersInvalid || !strings.Contains(message, `"missing"`) {
		t.Errorf("%q %s %s", commit, reason, message)
	}
	w = newSignedWorld(t, nil)
	w.commit("one", true)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "signers"}, Data: map[string][]byte{"authors": []byte("\nann@example.com nonsense")}}
	if err := w.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if commit, reason, message, _ := w.look(); commit != "" || reason != ReasonSignersInvalid || !strings.Contains(message, `key "authors": line 2`) {
		t.Errorf("%q %s %s", commit, reason, message)
	}
}

// TestG26_AHistoryThatCannotBeSeenIsRefused: the commit in force is gone from the branch.
func TestG26_AHistoryThatCannotBeSeenIsRefused(t *testing.T) {
	w := newSignedWorld(t, nil)
	good := w.commit("good", true)
	if commit, _, _, _ := w.look(); commit != good {
		t.Fatal("not in force")
	}
	w.git.Git("fleet", "update-ref", "-d", "refs/heads/main")
	w.commit("rewritten", true)
	w.r.Source = NewSource(w.client, false) // a new process, whose copy does not have the old commit
	if commit, reason, message, _ := w.look(); commit != good || reason != ReasonHistoryIncomplete || !strings.Contains(message, "spec.verify.mode to Head") {
		t.Errorf("%s %s %s", commit, reason, message)
	}
}
