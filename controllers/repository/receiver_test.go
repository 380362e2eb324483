package repository

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const token = "0123456789abcdef-token"

// hooks is a Receiver on an API server in memory, and what it writes.
type hooks struct {
	*testing.T
	receiver *Receiver
	client   client.Client
	patches  int
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{T: t}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	with, without, short := repositoryAt("https://git/x", "shop", ""), repositoryAt("https://git/x", "shop", ""), repositoryAt("https://git/x", "shop", "")
	without.Name, short.Name = "silent", "short"
	with.Spec.Webhook = &v1alpha1.RepositoryWebhook{SecretRef: v1alpha1.LocalReference{Name: "hook"}}
	short.Spec.Webhook = &v1alpha1.RepositoryWebhook{SecretRef: v1alpha1.LocalReference{Name: "short"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hook"}, Data: map[string][]byte{KeyToken: []byte(token + "\n")}}
	weak := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "short"}, Data: map[string][]byte{KeyToken: []byte("x")}}
	h.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(with, without, short, secret, weak).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.patches++
			return c.Patch(ctx, o, p, opts...)
		},
	}).Build()
	h.receiver = &Receiver{Client: h.client, Reader: h.client, Settle: time.Nanosecond}
	return h
}

// post sends a request and waits until it has been worked on.
func (h *hooks) post(path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	h.Helper()
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	h.receiver.Handler(h.Context()).ServeHTTP(answer, request)
	h.receiver.working.Wait()
	return answer
}

func (h *hooks) asked() string {
	h.Helper()
	var repo v1alpha1.Repository
	if err := h.client.Get(h.Context(), client.ObjectKey{Namespace: "shop", Name: "fleet"}, &repo); err != nil {
		h.Fatal(err)
	}
	return repo.Annotations[v1alpha1.AnnotationReconcile]
}

func sign(body, with string) string {
	mac := hmac.New(sha256.New, []byte(with))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// TestG06_AWebhookIsBelievedOnlyWithTheToken: the forms of GitHub, GitLab, Gitea and others; and all answers are the same.
func TestG06_AWebhookIsBelievedOnlyWithTheToken(t *testing.T) {
	const body = `{"ref":"refs/heads/main"}`
	for name, test := range map[string]struct {
		path    string
		headers []string
		asks    bool
	}{
		"GitHub":            {"/hooks/shop/fleet", []string{"X-Hub-Signature-256", "sha256=" + sign(body, token)}, true},
		"Gitea":             {"/hooks/shop/fleet", []string{"X-Gitea-Signature", sign(body, token)}, true},
		"GitLab":            {"/hooks/shop/fleet", []string{"X-Gitlab-Token", token}, true},
		"generic":           {"/hooks/shop/fleet", []string{"X-Signature", "sha256=" + sign(body, token)}, true},
		"no signature":      {"/hooks/shop/fleet", nil, false},
		"other token":       {"/hooks/shop/fleet", []string{"X-Hub-Signature-256", "sha256=" + sign(body, "other")}, false},
		"other body":        {"/hooks/shop/fleet", []string{"X-Hub-Signature-256", "sha256=" + sign(body+" ", token)}, false},
		"SHA-1 only":        {"/hooks/shop/fleet", []string{"X-Hub-Signature", "sha1=" + sign(body, token)[:40]}, false},
		"empty":             {"/hooks/shop/fleet", []string{"X-Hub-Signature-256", "sha256="}, false},
		"wrong GitLab":      {"/hooks/shop/fleet", []string{"X-Gitlab-Token", token + "x"}, false},
		"no such":           {"/hooks/shop/nowhere", []string{"X-Gitlab-Token", token}, false},
		"without a webhook": {"/hooks/shop/silent", []string{"X-Gitlab-Token", token}, false},
		"short token":       {"/hooks/shop/short", []string{"X-Gitlab-Token", "x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHooks(t)
			answer := h.post(test.path, []byte(body), test.headers...)
			if answer.Code != http.StatusAccepted || answer.Body.Len() != 0 || len(answer.Header()) != 0 {
				t.Errorf("answered %d %v %q: every answer must be the same", answer.Code, answer.Header(), answer.Body)
			}
			if got := strings.HasPrefix(h.asked(), "webhook-"); got != test.asks {
				t.Errorf("asked for a look: %v, want %v", got, test.asks)
			}
		})
	}
}

func TestG06_AWebhookSentAgainChangesNothing(t *testing.T) {
	h := newHooks(t)
	h.post("/hooks/shop/fleet", []byte("one"), "X-Gitlab-Token", token)
	first := h.asked()
	h.post("/hooks/shop/fleet", []byte("one"), "X-Gitlab-Token", token)
	if h.patches != 1 || h.asked() != first {
		t.Errorf("a replayed request made %d writes, want 1 in all", h.patches)
	}
	h.post("/hooks/shop/fleet", []byte("two"), "X-Gitlab-Token", token)
	if h.patches != 2 || h.asked() == first {
		t.Errorf("another request: %d writes, want 2", h.patches)
	}
}

func TestG06_WebhooksAreBounded(t *testing.T) {
	h := newHooks(t)
	if answer := h.post("/hooks/shop/fleet", make([]byte, maxHookBody+1), "X-Gitlab-Token", token); answer.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", answer.Code)
	}
	for _, path := range []string{"/", "/hooks/shop", "/hooks/shop/fleet/x", "/hooks//fleet", "/hooks/shop/" + strings.Repeat("a", 600)} {
		if answer := h.post(path, nil); answer.Code != http.StatusNotFound {
			t.Errorf("%.40s: %d", path, answer.Code)
		}
	}
	get := httptest.NewRecorder()
	h.receiver.Handler(t.Context()).ServeHTTP(get, httptest.NewRequest(http.MethodGet, "/hooks/shop/fleet", nil))
	if get.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", get.Code)
	}
	limited := 0
	for i := range 4 * hookBurst {
		if answer := h.post("/hooks/shop/fleet", fmt.Append(nil, i)); answer.Code == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("no request of many was refused")
	}
}

// TestG06_ABurstOfPushesAsksTwice: at once for the first, and once more for the last after it has settled.
func TestG06_ABurstOfPushesAsksTwice(t *testing.T) {
	h := newHooks(t)
	h.receiver.Settle = time.Hour
	for i := range 5 {
		h.post("/hooks/shop/fleet", fmt.Append(nil, i), "X-Gitlab-Token", token)
	}
	if h.patches != 1 {
		t.Errorf("%d writes for five pushes at once, want 1", h.patches)
	}
	key := client.ObjectKey{Namespace: "shop", Name: "fleet"}
	if !h.receiver.pending[key].timer.Stop() {
		t.Fatal("nothing waits")
	}
	h.receiver.later(key)
	sum := sha256.Sum256([]byte("4"))
	if want := "webhook-" + hex.EncodeToString(sum[:8]); h.asked() != want || h.patches != 2 {
		t.Errorf("asked %q after %d writes, want that of the last push, %q", h.asked(), h.patches, want)
	}
}

// TestReceiverServes: over a real connection, until the context ends.
func TestReceiverServes(t *testing.T) {
	h := newHooks(t)
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewUnstartedServer(nil)
	listener := server.Listener
	done := make(chan error, 1)
	go func() { done <- h.receiver.Serve(ctx, listener) }()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+listener.Addr().String()+"/hooks/shop/fleet", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Gitlab-Token", token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Errorf("answered %d", answer.StatusCode)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if h.receiver.NeedLeaderElection() {
		t.Error("replicas without the lease would not take requests")
	}
}

// FuzzSigned: nothing but a proof of the token passes.
func FuzzSigned(f *testing.F) {
	f.Add("X-Hub-Signature-256", "sha256="+sign("body", "other"), []byte("body"))
	f.Add("X-Gitlab-Token", "guess", []byte{})
	f.Fuzz(func(t *testing.T, name, value string, body []byte) {
		header := http.Header{}
		header.Set(name, value)
		if Signed(header, body, token) && value != token && !strings.Contains(strings.ToLower(value), sign(string(body), token)) {
			t.Errorf("%s: %q passes", name, value)
		}
	})
}
