package sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/cosign"
	"github.com/belay-delivery/belay/gitops/cosign/cosigntest"
	"github.com/belay-delivery/belay/gitops/registry"
	"github.com/belay-delivery/belay/gitops/registry/registrytest"
)

// vault serves Secrets of the namespace shop from memory.
type vault struct {
	client.Reader
	data map[string]map[string][]byte
}

func (v vault) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	data, found := v.data[key.Name]
	secret, ok := into.(*corev1.Secret)
	if !found || !ok || key.Namespace != "shop" {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	secret.Data = data
	return nil
}

// signing is a Sync whose images must be signed, a real registry, and a key.
type signing struct {
	*testing.T
	server *registrytest.Server
	key    cosigntest.Key
	vault  vault
	r      *Reconciler
	sync   *v1alpha1.Sync
	told   warnings
}

func newSigning(t *testing.T) *signing {
	s := &signing{T: t, server: registrytest.New(t), key: cosigntest.NewKey(t, "ecdsa"), vault: vault{data: map[string]map[string][]byte{}}}
	s.vault.data["keys"] = map[string][]byte{"cosign.pub": s.key.PEM()}
	s.r = &Reconciler{Reader: s.vault, Registries: registry.Client{PlainHTTP: []string{s.server.Host}}}
	s.sync = &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop"}}
	s.sync.Spec.Images.Signatures = &v1alpha1.ImageSignatures{Rules: []v1alpha1.ImageRule{{Images: []string{"127.0.0.1:*/shop/**"}, Keys: &v1alpha1.LocalReference{Name: "keys"}}}}
	return s
}

func (s *signing) rule() *v1alpha1.ImageRule { return &s.sync.Spec.Images.Signatures.Rules[0] }

// push puts an image into the registry, signed where key is one.
func (s *signing) push(repository string, key *cosigntest.Key) string {
	digest := s.server.Push(repository)
	if key != nil {
		s.sign(repository, digest, *key)
	}
	return s.server.Host + "/" + repository + "@" + digest
}

func (s *signing) sign(repository, digest string, key cosigntest.Key) {
	payload := cosigntest.Payload(s.server.Host+"/"+repository, digest)
	s.server.Sign(repository, digest, registrytest.Layer{Payload: payload, Signature: key.Sign(payload)})
}

// look checks objects, as a round would, and puts into status what a round would.
func (s *signing) look(objects ...string) ([]*Item, error) {
	s.Helper()
	var items []*Item
	for _, text := range objects {
		items = append(items, item(s.T, text))
	}
	s.told = warnings{}
	found, err := s.r.checkSignatures(s.Context(), s.sync, items, &s.told)
	s.r.reportSignatures(s.sync, &s.sync.Status, found)
	return items, err
}

// refuses expects that an image is denied, and why.
func (s *signing) refuses(image string, fragments ...string) {
	s.Helper()
	items, err := s.look(fmt.Sprintf(web, 1, image))
	if err != nil {
		s.Fatal(err)
	}
	f := items[0].Fault
	if f == nil || !f.Denied || !f.Final {
		s.Fatalf("%s: fault %+v, want a denial", image, f)
	}
	for _, fragment := range append(fragments, "spec.template.spec.containers[0].image: image \""+image, "images.signatures") {
		if !strings.Contains(f.Message, fragment) {
			s.Errorf("%q does not say %q", f.Message, fragment)
		}
	}
	s.condition(metav1.ConditionFalse, ReasonNotSigned, fragments...)
}

func (s *signing) accepts(image string) {
	s.Helper()
	items, err := s.look(fmt.Sprintf(web, 1, image))
	if err != nil || items[0].Fault != nil {
		s.Fatalf("%s: %+v, %v", image, items[0].Fault, err)
	}
	s.condition(metav1.ConditionTrue, ReasonSigned)
}

func (s *signing) condition(status metav1.ConditionStatus, reason string, fragments ...string) {
	s.Helper()
	c := v1alpha1.FindCondition(s.sync.Status.Conditions, v1alpha1.ConditionImagesVerified)
	if c == nil || c.Status != status || c.Reason != reason {
		s.Fatalf("condition %+v, want %s/%s", c, status, reason)
	}
	for _, f := range fragments {
		if !strings.Contains(c.Message, f) {
			s.Errorf("condition %q does not say %q", c.Message, f)
		}
	}
}

func TestG21_ASignedImageIsAskedForOnce(t *testing.T) {
	s := newSigning(t)
	image := s.push("shop/web", &s.key)
	s.accepts(image)
	if got := s.sync.Status.SignedImages; len(got) != 1 || got[0].Image != image || !strings.HasPrefix(got[0].Key, "SHA256:") || got[0].SignedAs != s.server.Host+"/shop/web" || got[0].At.IsZero() {
		t.Errorf("signed images %+v", got)
	}
	s.server.Asked()
	before := s.sync.Status.DeepCopy()
	s.r = &Reconciler{Reader: s.vault, Registries: s.r.Registries} // another process
	s.accepts(image)
	if asked := s.server.Asked(); len(asked) > 0 {
		t.Errorf("asked again: %v", asked)
	}
	if !slices.Equal(before.SignedImages, s.sync.Status.SignedImages) || before.Conditions[0] != s.sync.Status.Conditions[0] {
		t.Errorf("status was written anew: %+v, %+v", before, s.sync.Status)
	}
}

func TestG21_BundlesOfTheNewerForm(t *testing.T) {
	s := newSigning(t)
	digest := s.server.Push("shop/web")
	s.server.Refer("shop/web", digest, "https://slsa.dev/provenance/v1", s.key.Bundle(cosigntest.Statement("https://slsa.dev/provenance/v1", digest[7:])))
	image := s.server.Host + "/shop/web@" + digest
	s.refuses(image, "it is not signed") // an attestation is no signature
	s.server.Refer("shop/web", digest, cosign.PredicateSign, s.key.Bundle(cosigntest.Statement(cosign.PredicateSign, digest[7:])))
	s.accepts(image)
}

func TestG21_WhatIsNotSignedRightIsRefused(t *testing.T) {
	s := newSigning(t)
	s.refuses(s.push("shop/none", nil), `it is not signed: sign it with cosign and a key of Secret "keys"`)

	stranger := cosigntest.NewKey(t, "ecdsa")
	s.refuses(s.push("shop/stranger", &stranger), `none of its 1 signatures is by a key of Secret "keys"`)

	digest := s.server.Push("shop/tampered")
	payload := cosigntest.Payload(s.server.Host+"/shop/tampered", digest)
	s.server.Sign("shop/tampered", digest, registrytest.Layer{Payload: append(payload, ' '), Signature: s.key.Sign(payload)})
	s.refuses(s.server.Host+"/shop/tampered@"+digest, "none of its 1 signatures")

	digest = s.server.Push("shop/other")
	another := cosigntest.Payload(s.server.Host+"/shop/other", "sha256:"+strings.Repeat("0", 64))
	s.server.Sign("shop/other", digest, registrytest.Layer{Payload: another, Signature: s.key.Sign(another)})
	s.refuses(s.server.Host+"/shop/other@"+digest, "a trusted key has signed another digest, sha256:000")

	digest = s.server.Push("shop/copy")
	original := cosigntest.Payload("ghcr.io/upstream/copy", digest)
	s.server.Sign("shop/copy", digest, registrytest.Layer{Payload: original, Signature: s.key.Sign(original)})
	image := s.server.Host + "/shop/copy@" + digest
	s.refuses(image, "a trusted key has signed it as ghcr.io/upstream/copy, which is another repository")
	s.rule().SignedAs = []string{"ghcr.io/upstream/*"}
	s.accepts(image)
	s.server.Asked()
	s.rule().SignedAs = []string{"ghcr.io/else/*"}
	s.refuses(image, "another repository") // what was remembered is judged by the rule of today
}

func TestG21_TheRightSignatureAmongManyCounts(t *testing.T) {
	s := newSigning(t)
	digest := s.server.Push("shop/web")
	right := cosigntest.Payload(s.server.Host+"/shop/web", digest)
	var layers []registrytest.Layer
	for i := range registry.MaxCandidates + 5 {
		layers = append(layers, registrytest.Layer{Payload: fmt.Appendf(nil, "%d", i), Signature: "AAAA"})
	}
	image := s.server.Host + "/shop/web@" + digest
	s.server.Sign("shop/web", digest, append(layers[:len(layers):len(layers)], registrytest.Layer{Payload: right, Signature: s.key.Sign(right)})...)
	s.refuses(image, "none of its 64 signatures", "6 more were not looked at")
	s.server.Sign("shop/web", digest, append(layers[:10:10], registrytest.Layer{Payload: right, Signature: s.key.Sign(right)})...)
	s.accepts(image)
}

func TestG21_RulesDecideByRepository(t *testing.T) {
	s := newSigning(t)
	s.refuses(s.server.Host+"/shop/web:1", "it is not named by digest")
	s.refuses(s.server.Host+"/shop/web@sha512:1234", "its digest is not sha256:")
	s.refuses("nginx:1", "no rule names docker.io/library/nginx: add one with keys, or with unsigned: Allowed")
	s.refuses("ghcr.io/Shop/web", "is not the name of an image")
	rules := &s.sync.Spec.Images.Signatures.Rules
	*rules = append(*rules, v1alpha1.ImageRule{Images: []string{"docker.io/library/*"}, Unsigned: v1alpha1.UnsignedAllowed})
	items, err := s.look(fmt.Sprintf(web, 1, "nginx:1"))
	if err != nil || items[0].Fault != nil {
		t.Fatalf("%+v, %v", items[0].Fault, err)
	}
	if asked := s.server.Asked(); len(asked) > 0 {
		t.Errorf("asked: %v", asked)
	}
	p := Plan{}
	p.Apply[stageWorkload] = items
	if got := describe(p, "c", "d", 1, nil).Actions[0]; got.Risk != v1alpha1.RiskMedium || got.Reasons[0] != "image nginx:1 is new, and images.signatures lets it run unsigned" {
		t.Errorf("%+v", got)
	}
	items[0].Live = items[0].Desired
	if got := describe(p, "c", "d", 1, nil).Actions[0]; got.Risk != v1alpha1.RiskLow {
		t.Errorf("an image that runs already: %+v", got)
	}
}

// TestG21_EveryImageOfAPodCounts, of whatever kind makes it.
func TestG21_EveryImageOfAPodCounts(t *testing.T) {
	s := newSigning(t)
	signed, not := s.push("shop/web", &s.key), s.push("shop/not", nil)
	for at, text := range map[string]string{
		"spec.template.spec.initContainers[0].image":              "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {template: {spec: {initContainers: [{image: %[2]s}], containers: [{image: %[1]s}]}}}}",
		"spec.jobTemplate.spec.template.spec.containers[1].image": "{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: %[1]s}, {image: %[2]s}]}}}}}}",
		"spec.template.spec.containers[0].image":                  "{apiVersion: belay.dev/v1alpha1, kind: Rollout, metadata: {name: a}, spec: {template: {spec: {containers: [{image: %[2]s}]}}}}",
		"spec.metrics[0].job.template.spec.containers[0].image":   "{apiVersion: belay.dev/v1alpha1, kind: AnalysisTemplate, metadata: {name: a}, spec: {metrics: [{job: {template: {spec: {containers: [{image: %[2]s}]}}}}]}}",
		"spec.template.spec.volumes[0].image.reference":           "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a}, spec: {template: {spec: {containers: [{image: %[1]s}], volumes: [{image: {reference: %[2]s}}]}}}}",
		"spec.pools[0].pod.containers[0].image":                   "{apiVersion: example.org/v1, kind: Farm, metadata: {name: a}, spec: {pools: [{pod: {containers: [{image: %[2]s}]}}]}}",
	} {
		for image, denied := range map[string]bool{not: true, signed: false} {
			items, err := s.look(fmt.Sprintf(text, signed, image))
			if err != nil {
				t.Fatal(err)
			}
			if f := items[0].Fault; denied && (f == nil || !strings.HasPrefix(f.Message, at+": image \""+not)) || !denied && f != nil {
				t.Errorf("%s, denied %v: %+v", at, denied, f)
			}
		}
	}
}

// TestG21_WhatWouldBeStoredIsJudged: an admission policy may have put another image there.
func TestG21_WhatWouldBeStoredIsJudged(t *testing.T) {
	s := newSigning(t)
	i := item(t, fmt.Sprintf(web, 1, s.push("shop/web", &s.key)))
	i.Dry = object(t, fmt.Sprintf(web, 1, s.push("shop/not", nil)))
	if _, err := s.r.checkSignatures(t.Context(), s.sync, []*Item{i}, &s.told); err != nil || i.Fault == nil {
		t.Errorf("%+v, %v", i.Fault, err)
	}
}

func TestG21_ARegistryThatIsDownDeniesNothingAndHoldsAll(t *testing.T) {
	s := newSigning(t)
	known, unknown := s.push("shop/web", &s.key), s.push("shop/api", &s.key)
	s.accepts(known)
	s.server.Intercept(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	items, err := s.look(fmt.Sprintf(web, 1, known), fmt.Sprintf(web, 1, unknown))
	if err != nil || items[0].Fault != nil {
		t.Fatalf("%+v, %v: what was verified needs no registry", items[0].Fault, err)
	}
	f := items[1].Fault
	if f == nil || f.Denied || !f.Final || !strings.Contains(f.Message, "registry "+s.server.Host+": it answers HTTP status 502") {
		t.Errorf("%+v", f)
	}
	s.condition(metav1.ConditionUnknown, ReasonRegistryUnavailable, unknown, s.server.Host)
	if refused := MakePlan(s.sync, "c", items).Refused; refused == nil || refused.reason != ReasonCheckFailed || refused.stalled {
		t.Errorf("%+v, want one that is tried again", refused)
	}
	s.server.Intercept(nil)
	s.accepts(unknown)
	if len(s.sync.Status.SignedImages) != 2 {
		t.Errorf("%+v: the earlier one is remembered", s.sync.Status.SignedImages)
	}
}

func TestG21_ModeWarnHoldsNothingUp(t *testing.T) {
	s := newSigning(t)
	s.sync.Spec.Images.Signatures.Mode = v1alpha1.CheckWarn
	image := s.push("shop/web", nil)
	items, err := s.look(fmt.Sprintf(web, 1, image))
	if err != nil || items[0].Fault != nil || !strings.Contains(strings.Join(s.told.list(), "\n"), "it is not signed") || !slices.Equal(items[0].Unsigned, []string{image}) {
		t.Errorf("%+v, %q, %v", items[0], s.told.list(), err)
	}
	s.condition(metav1.ConditionFalse, ReasonNotSigned)
	s.server.Intercept(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	if items, err = s.look(fmt.Sprintf(web, 1, image)); err != nil || items[0].Fault != nil || !strings.Contains(strings.Join(s.told.list(), "\n"), "PolicyUnknown: ") {
		t.Errorf("%+v, %q, %v", items[0].Fault, s.told.list(), err)
	}
	s.sync.Spec.Images.Signatures.Mode = v1alpha1.CheckOff
	if _, err = s.look(fmt.Sprintf(web, 1, image)); err != nil || len(s.sync.Status.Conditions) > 0 || s.sync.Status.SignedImages != nil {
		t.Errorf("%+v, %v: nothing is claimed that is not looked at", s.sync.Status, err)
	}
	w := &warnings{}
	w.keep([]string{"x: images.signatures asks for it", "y"})
	if got := w.list(); !slices.Equal(got, []string{"y"}) {
		t.Errorf("%q: an old answer is kept", got)
	}
}

func TestG21_KeysAreReadAnewInEveryRound(t *testing.T) {
	s := newSigning(t)
	image := s.push("shop/web", &s.key)
	s.accepts(image)
	next := cosigntest.NewKey(t, "ed25519")
	s.vault.data["keys"] = map[string][]byte{"next.pub": next.PEM()}
	s.refuses(image, "none of its 1 signatures is by a key")
	s.vault.data["keys"]["old.pub"] = s.key.PEM()
	s.accepts(image)
	for content, want := range map[string]string{"": "no entry ends in", "x": `entry "cosign.pub": it holds no PEM block`, string(s.key.PrivatePEM()): "it holds a private key"} {
		s.vault.data["keys"] = map[string][]byte{"cosign.pub": []byte(content)}
		if content == "" {
			s.vault.data["keys"] = nil
		}
		s.invalid(image, `nothing was changed: Secret "keys" of images.signatures.rules[0].keys: `, want)
	}
	delete(s.vault.data, "keys")
	s.invalid(image, "it does not exist")
}

// invalid expects that nothing is done before an object is put right, and that no secret is told.
func (s *signing) invalid(image string, fragments ...string) {
	s.Helper()
	_, err := s.look(fmt.Sprintf(web, 1, image))
	var f *failure
	if !errors.As(err, &f) || f.reason != ReasonSignaturesInvalid || !f.stalled {
		s.Fatalf("%v", err)
	}
	for _, fragment := range fragments {
		if !strings.Contains(f.message, fragment) {
			s.Errorf("%q does not say %q", f.message, fragment)
		}
	}
	if strings.Contains(f.message, "BEGIN PRIVATE") || strings.Contains(f.message, "hunter2") {
		s.Errorf("%q tells a secret", f.message)
	}
	s.condition(metav1.ConditionUnknown, ReasonSignaturesInvalid)
}

func TestG21_CredentialsComeFromNamedSecretsAlone(t *testing.T) {
	s := newSigning(t)
	s.Setenv("DOCKER_CONFIG", s.TempDir()) // of which nothing is read
	image := s.push("shop/web", &s.key)
	s.server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "belay" && password == "hunter2" {
			return false
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	items, err := s.look(fmt.Sprintf(web, 1, image))
	if err != nil || items[0].Fault == nil || items[0].Fault.Denied || !strings.Contains(items[0].Fault.Message, "HTTP status 401 for shop/web") {
		t.Errorf("%+v, %v", items[0].Fault, err)
	}
	s.sync.Spec.Images.Signatures.PullSecrets = []v1alpha1.LocalReference{{Name: "pull"}}
	s.invalid(image, `Secret "pull" of images.signatures.pullSecrets[0]: it does not exist`)
	s.vault.data["pull"] = map[string][]byte{".dockerconfigjson": []byte("hunter2")}
	s.invalid(image, "is not JSON")
	s.vault.data["pull"] = map[string][]byte{".dockerconfigjson": fmt.Appendf(nil, `{"auths":{%q:{"username":"belay","password":"hunter2"}}}`, s.server.Host)}
	s.accepts(image)
	if text := fmt.Sprint(s.sync.Status); strings.Contains(text, "hunter2") {
		t.Errorf("status tells the password: %s", text)
	}
}

func TestG21_SignedImagesAreBounded(t *testing.T) {
	old := make([]v1alpha1.SignedImage, maxSigned)
	for i := range old {
		old[i] = v1alpha1.SignedImage{Image: fmt.Sprint("old", i), Key: "k"}
	}
	now := []v1alpha1.SignedImage{{Image: "new", Key: "k"}, {Image: "old7", Key: "k"}}
	got := remembered(old, now)
	if len(got) != maxSigned || got[0].Image != "new" || got[1].Image != "old7" || got[2].Image != "old0" || got[maxSigned-1].Image != "old254" {
		t.Errorf("%d: %s, %s, %s … %s", len(got), got[0].Image, got[1].Image, got[2].Image, got[len(got)-1].Image)
	}
	s := newSigning(t)
	var all []string
	for i := range maxSigned + 1 {
		all = append(all, fmt.Sprintf(web, 1, fmt.Sprint(s.server.Host, "/shop/web", i, "@sha256:", strings.Repeat("0", 64))))
	}
	var f *failure
	if _, err := s.look(all...); !errors.As(err, &f) || f.reason != ReasonTooLarge || len(s.server.Asked()) > 0 {
		t.Errorf("%v", err)
	}
}

// withSignatures makes the Sync of a world ask for signatures by one key.
func (w *world) withSignatures(server *registrytest.Server, key cosigntest.Key) {
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "keys"}, Data: map[string][]byte{"cosign.pub": key.PEM()}})
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Images.Signatures = &v1alpha1.ImageSignatures{Rules: []v1alpha1.ImageRule{{Images: []string{"127.0.0.1:*/**"}, Keys: &v1alpha1.LocalReference{Name: "keys"}}}}
	})
	w.r.Registries = registry.Client{PlainHTTP: []string{server.Host}}
}

// TestG21_NothingIsAppliedBeforeItsImagesAreVerified, and a commit that was verified comes back with the registry down.
func TestG21_NothingIsAppliedBeforeItsImagesAreVerified(t *testing.T) {
	w := newWorld(t)
	s := newSigning(t)
	one, two := s.push("shop/web", &s.key), s.push("shop/web", nil)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/web.yaml": deploy("web", two, "")}, "deployments.apps", "configmaps")
	w.withSignatures(s.server, s.key)
	sync := w.reconcile()
	expect(t, sync, "False/Denied", "nothing was changed", two, "it is not signed")
	w.nothing(sync)

	w.commit(map[string]string{"apps/web.yaml": deploy("web", one, "")})
	sync = w.reconcile()
	expect(t, sync, "True/Applied")
	if c := v1alpha1.FindCondition(sync.Status.Conditions, v1alpha1.ConditionImagesVerified); c == nil || c.Status != "True" || len(sync.Status.SignedImages) != 1 {
		t.Errorf("%+v, %+v", c, sync.Status.SignedImages)
	}
	s.server.Asked()
	w.reconcile()
	w.now = w.now.Add(25 * time.Hour)
	w.reconcile()
	if asked := s.server.Asked(); len(asked) > 0 {
		t.Errorf("at rest the registry is asked for %v", asked)
	}

	// The registry goes down: the next commit is held, what runs stays, and going back needs nobody.
	s.sign("shop/web", two[strings.Index(two, "sha256:"):], s.key)
	s.server.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	w.commit(map[string]string{"apps/web.yaml": deploy("web", two, ""), "apps/a.yaml": configMap("a", "2")})
	w.seen.take()
	result, err := w.try()
	if err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute {
		t.Errorf("%+v, %v: it is tried again soon", result, err)
	}
	w.get("shop", sync)
	expect(t, sync, "False/CheckFailed", two, "HTTP status 503")
	if got := w.seen.writes(); len(got) > 0 || value(w, "a") != "1" {
		t.Errorf("writes %v", got)
	}
	w.r = &Reconciler{Client: w.r.Client, Reader: w.r.Reader, Config: w.r.Config, Source: w.r.Source, Recorder: w.r.Recorder, Now: w.r.Now, Registries: w.r.Registries} // another process
	w.commit(map[string]string{"apps/web.yaml": deploy("web", one, ""), "apps/a.yaml": configMap("a", "3")})
	expect(t, w.reconcile(), "True/Applied")
	if value(w, "a") != "3" {
		t.Errorf("a = %s", value(w, "a"))
	}
	s.server.Intercept(nil)
	w.commit(map[string]string{"apps/web.yaml": deploy("web", two, "")})
	if sync = w.reconcile(); len(sync.Status.SignedImages) != 2 {
		t.Errorf("%+v", sync.Status.SignedImages)
	}
	expect(t, sync, "True/Applied")
}

// TestG21_ACrashBetweenVerifyingAndApplying: nothing is applied that status does not say was verified.
func TestG21_ACrashBetweenVerifyingAndApplying(t *testing.T) {
	w := newWorld(t)
	s := newSigning(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/web.yaml": deploy("web", s.push("shop/web", &s.key), "")}, "deployments.apps")
	w.withSignatures(s.server, s.key)
	w.failStatus = 1
	_, _ = w.try()
	var sync v1alpha1.Sync
	w.get("shop", &sync)
	w.nothing(&sync)
	expect(t, w.reconcile(), "True/Applied")
	w.get("shop", &sync)
	if len(sync.Status.SignedImages) != 1 {
		t.Errorf("%+v", sync.Status.SignedImages)
	}
}
