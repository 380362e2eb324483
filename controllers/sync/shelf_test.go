package sync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/bundle"
	"github.com/belay-delivery/belay/gitops/render"
)

// shelf has the world keep bundles, with exactly the rights that the Role belay-bundles gives, and returns what is asked of the
// API server for it.
func (w *world) shelf(verbs ...string) *requests {
	w.Helper()
	if len(verbs) == 0 {
		verbs = []string{"get", "list", "create", "delete"}
	}
	w.grant("keeper", verbs, "secrets")
	seen := &requests{}
	config := rest.CopyConfig(w.env.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return seen.RoundTrip(next, r) })
	})
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + w.env.Namespace + ":keeper"}
	keeper, err := client.New(config, client.Options{Scheme: w.env.Scheme})
	if err != nil {
		w.Fatal(err)
	}
	w.r.Bundles = &Shelf{Client: keeper, Reader: keeper, Namespace: w.env.Namespace}
	return seen
}

// restart is another process, with an empty disk.
func (w *world) restart() {
	before := w.r
	w.r = &Reconciler{Client: before.Client, Reader: before.Reader, Config: before.Config, Recorder: before.Recorder, Now: before.Now,
		Source: repository.NewSource(w.env.Client, false)}
	if s := before.Bundles; s != nil {
		w.r.Bundles = &Shelf{Client: s.Client, Reader: s.Reader, Namespace: s.Namespace}
	}
}

func (w *world) bundlesKept() []corev1.Secret {
	w.Helper()
	var list corev1.SecretList
	if err := w.env.Client.List(w.Context(), &list, client.InNamespace(w.env.Namespace), client.HasLabels{LabelBundleOf}); err != nil {
		w.Fatal(err)
	}
	return list.Items
}

// byHand changes a ConfigMap as a person would.
func (w *world) byHand(name, value string) {
	w.Helper()
	var cm corev1.ConfigMap
	w.get(name, &cm)
	cm.Data["key"] = value
	if err := w.env.Client.Update(w.Context(), &cm, client.FieldOwner("kubectl-edit")); err != nil {
		w.Fatal(err)
	}
}

func kept(s *v1alpha1.Sync) string {
	c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionBundleKept)
	if c == nil {
		return "none"
	}
	return string(c.Status) + "/" + c.Reason
}

func TestG05_BundleIsKeptBeforeTheFirstWrite(t *testing.T) {
	w := newWorld(t)
	seen := w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.failStatus = 1 // the inventory is not written
	expect(t, w.reconcile(), "False/Failed", "injected")
	if n := len(w.bundlesKept()); n != 1 || w.exists("a", &corev1.ConfigMap{}) {
		t.Fatalf("%d bundles, a exists: %v", n, w.exists("a", &corev1.ConfigMap{}))
	}
	s := w.reconcile()
	expect(t, s, "True/Applied")
	secret := w.bundlesKept()[0]
	if kept(s) != "True/Kept" || secret.Type != BundleType || !*secret.Immutable || secret.Annotations[AnnotationBundle] != s.Status.AppliedDigest {
		t.Errorf("%s: %s, %+v", kept(s), secret.Type, secret.ObjectMeta)
	}
	seen.take()
	w.reconcile()
	w.now = w.now.Add(48 * 60 * 60 * 1e9)
	w.reconcile()
	if asked := seen.take(); len(asked) != 0 {
		t.Errorf("at rest: %v", asked)
	}
	w.restart()
	w.reconcile()
	if asked := seen.take(); len(asked) != 1 || !strings.HasPrefix(asked[0], "GET belay-bundle-") {
		t.Errorf("after a restart: %v", asked)
	}
}

func TestG41_DriftIsPutRightAfterARestartWithGitDown(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	before := w.reconcile()
	expect(t, before, "True/Applied")
	w.git.Down(true)
	w.restart()
	w.byHand("a", "2")
	s := w.reconcile()
	if expect(t, s, "True/Applied"); value(w, "a") != "1" || s.Status.AppliedDigest != before.Status.AppliedDigest {
		t.Errorf("a = %q", value(w, "a"))
	}
	w.edit(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationReconcile: "now"} })
	w.byHand("a", "3")
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "1" {
		t.Errorf("asked for: a = %q", value(w, "a"))
	}
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Path = "other" })
	w.restart()
	expect(t, w.reconcile(), "False/FetchFailed") // the bundle is of another folder
}

func TestG41_WhatIsAppliedIsKeptWhileANewCommitCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	old := w.reconcile().Status.AppliedCommit
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2"), "apps/b.yaml": ""})
	w.git.Down(true)
	w.restart()
	w.byHand("a", "by hand")
	s := w.reconcile()
	expect(t, s, "False/FetchFailed")
	if value(w, "a") != "1" || !w.exists("b", &corev1.ConfigMap{}) || s.Status.AppliedCommit != old {
		t.Errorf("a = %q, applied %s", value(w, "a"), s.Status.AppliedCommit)
	}
	if o := reported(s.Status.Drift, v1alpha1.InventoryEntry{Kind: "ConfigMap", Namespace: w.env.Namespace, Name: "a"}); o == nil || o.State != v1alpha1.DriftCorrected || o.Commit != old {
		t.Errorf("drift %+v", s.Status.Drift)
	}
	w.git.Down(false)
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "2" || w.exists("b", &corev1.ConfigMap{}) {
		t.Errorf("a = %q", value(w, "a"))
	}
}

func TestG41_DriftIsPutRightWhileAPlanWaits(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Gates.Approvals = &v1alpha1.ApprovalsGate{Required: 1} })
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2")})
	w.restart()
	w.byHand("a", "by hand")
	s := w.reconcile()
	if expect(t, s, "False/Waiting"); value(w, "a") != "1" {
		t.Errorf("a = %q", value(w, "a"))
	}
	w.decide(v1alpha1.ActionApprove, "ann", s.Status.Plan.Digest)
	s = w.reconcile()
	if s.Status.Plan.AdmittedAt == nil { // the drift that was there made another plan
		w.decide(v1alpha1.ActionApprove, "ann", s.Status.Plan.Digest)
		s = w.reconcile()
	}
	if expect(t, s, "True/Applied"); value(w, "a") != "2" {
		t.Errorf("a = %q", value(w, "a"))
	}
}

func TestG05_BundleThatSomebodyChangedIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	secret := w.bundlesKept()[0]
	evil, err := bundle.Pack(bundle.Bundle{Source: bundle.SourceOf(w.git.URL("fleet"), "apps"), Objects: []render.Object{{Unstructured: object(t, configMap("a", "evil"))}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.env.Client.Delete(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	good := secret.Data[bundleKeyData]
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations},
		Type: BundleType, Data: map[string][]byte{bundleKeyData: evil[0]}})
	w.restart()
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "1" {
		t.Errorf("a = %q", value(w, "a"))
	}
	if got := w.bundlesKept()[0].Data[bundleKeyData]; !slices.Equal(got, good) {
		t.Error("the bundle was not put right from Git")
	}
}

func TestG05_BundleThatCannotBeKeptHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	w.shelf("get")
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	s := w.reconcile()
	if expect(t, s, "True/Applied"); kept(s) != "False/BundleRefused" || value(w, "a") != "1" {
		t.Errorf("%s, a = %q", kept(s), value(w, "a"))
	}
	if told := w.told(); !slices.Contains(told, "Warning BundleRefused") {
		t.Errorf("told %v", told)
	}
	resource := s.ResourceVersion
	w.now = w.now.Add(48 * 60 * 60 * 1e9)
	if s = w.reconcile(); s.ResourceVersion != resource {
		t.Errorf("at rest: status is written")
	}
}

func TestG20_FiveBundlesAreKeptAndGoWithTheSync(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "0")}, "configmaps")
	w.reconcile()
	for i := range 7 {
		w.commit(map[string]string{"apps/a.yaml": configMap("a", fmt.Sprint(i+1))})
		expect(t, w.reconcile(), "True/Applied")
	}
	if n := len(w.bundlesKept()); n != maxKept {
		t.Errorf("%d bundles are kept, want %d", n, maxKept)
	}
	var s v1alpha1.Sync
	w.get("shop", &s)
	if err := w.env.Client.Delete(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(); err != nil {
		t.Fatal(err)
	}
	if n := len(w.bundlesKept()); n != 0 {
		t.Errorf("%d bundles are left of a Sync that is gone", n)
	}
}

func TestBundlesOfASyncThatWentWhileNobodyLooked(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "0")}, "configmaps")
	w.reconcile()
	w.grant("keeper", []string{"get"}, "syncs.belay.dev")
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "stranger", Labels: map[string]string{LabelBundleOf: "x"}}})
	w.restart()
	if err := w.r.Bundles.Start(t.Context()); err != nil || len(w.bundlesKept()) != 2 {
		t.Fatalf("of a Sync that lives: %d are left, %v", len(w.bundlesKept()), err)
	}
	var s v1alpha1.Sync
	w.get("shop", &s)
	if err := w.env.Client.Delete(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := w.r.Bundles.Start(t.Context()); err != nil || len(w.bundlesKept()) != 1 || w.bundlesKept()[0].Name != "stranger" {
		t.Errorf("of a Sync that is gone: %d are left, %v", len(w.bundlesKept()), err)
	}
}

// TestBundleInParts: cut off between two parts, it is not there; the next round finishes it.
func TestBundleInParts(t *testing.T) {
	w := newWorld(t)
	seen := w.shelf()
	random := rand.New(rand.NewPCG(3, 4))
	var objects []render.Object
	for i := range 3 {
		var noise strings.Builder
		for noise.Len() < 900<<10 {
			fmt.Fprintf(&noise, "%016x", random.Uint64())
		}
		objects = append(objects, render.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": fmt.Sprint("c", i)}, "data": map[string]any{"noise": noise.String()}}}})
	}
	sync := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "big", UID: types.UID("11111111-2222-3333-4444-555555555555")}}
	digest := render.Digest(objects)
	writes := 0
	seen.answer = func(r *http.Request) *http.Response {
		if r.Method != http.MethodPost {
			return nil
		}
		if writes++; writes != 2 {
			return nil
		}
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody, Header: http.Header{}, Request: r}
	}
	put := func() error {
		return w.r.Bundles.put(context.Background(), sync, digest, bundle.Bundle{Objects: objects}, nil)
	}
	if put() == nil {
		t.Fatal("the second part could be written")
	}
	if b, err := w.r.Bundles.get(t.Context(), sync, digest); b != nil || err != nil {
		t.Fatalf("half a bundle: %v, %v", b != nil, err)
	}
	if err := errors.Join(put(), put()); err != nil {
		t.Fatal(err)
	}
	b, err := w.r.Bundles.get(t.Context(), sync, digest)
	if err != nil || b == nil || len(b.Objects) != 3 || len(w.bundlesKept()) < 2 {
		t.Errorf("%d parts, %v", len(w.bundlesKept()), err)
	}
}
