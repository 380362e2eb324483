package repository

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// KeyToken is the key of a webhook's Secret.
	KeyToken = "token"

	hookPath = "/hooks/"
	// maxHookBody is how large a request may be. What it says is not read, only that it is signed.
	maxHookBody = 1 << 20
	// maxHooks is how many requests are worked on at once, hookRate how many a second are taken in.
	maxHooks  = 16
	hookRate  = 20
	hookBurst = 60
	// minToken keeps tokens from being guessed.
	minToken = 16
	// settleHooks is how long a Repository is left alone after it was told to look.
	settleHooks = 2 * time.Second
	hookTimeout = 10 * time.Second
)

// Receiver takes requests of Git servers that tell of a push, and asks the Repository for a look at once.
//
// It works on every replica, also on those that do not hold the lease: it sets the annotation belay.dev/reconcile, whose value
// is made of the request, so that the same request again changes nothing. Every request that is small enough is answered
// the same, before anything is looked up: neither answer nor time tell whether there is such a Repository, or whether the
// signature was right. Metrics and the log do.
type Receiver struct {
	// Client reads Repositories, from a cache, and annotates them.
	Client client.Client
	// Reader reads Secrets, uncached.
	Reader client.Reader
	// Address to listen at.
	Address string
	// Settle is how long a Repository is left alone after it was told to look; 0 is two seconds.
	Settle time.Duration

	once    sync.Once
	busy    chan struct{}
	limiter *rate.Limiter
	working sync.WaitGroup

	mu      sync.Mutex
	pending map[client.ObjectKey]*told
}

// told is when a Repository was last told to look, and what it is to be told next.
type told struct {
	at    time.Time
	value string
	timer *time.Timer
}

// NeedLeaderElection is false: requests reach any replica.
func (r *Receiver) NeedLeaderElection() bool { return false }

func (r *Receiver) init() {
	r.once.Do(func() {
		r.busy, r.limiter = make(chan struct{}, maxHooks), rate.NewLimiter(hookRate, hookBurst)
		r.pending = map[client.ObjectKey]*told{}
	})
}

// Start serves until the context ends.
func (r *Receiver) Start(ctx context.Context) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", r.Address)
	if err != nil {
		return fmt.Errorf("listening for webhooks: %w", err)
	}
	return r.Serve(ctx, listener)
}

// Serve serves on a listener until the context ends.
func (r *Receiver) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: r.Handler(ctx), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: hookTimeout, WriteTimeout: hookTimeout,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(listener)
	r.working.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving webhooks: %w", err)
}

// Handler answers POST /hooks/<namespace>/<name>. Work goes on, bounded in time, after the answer.
func (r *Receiver) Handler(ctx context.Context) http.Handler {
	r.init()
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		key, ok := hookKey(request.URL.Path)
		switch {
		case !ok:
			http.NotFound(w, request)
			return
		case request.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "only POST", http.StatusMethodNotAllowed)
			return
		case !r.limiter.Allow():
			r.tooMany(w)
			return
		}
		select {
		case r.busy <- struct{}{}:
		default:
			r.tooMany(w)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxHookBody))
		if err != nil {
			<-r.busy
			hookRequests.WithLabelValues("malformed").Inc()
			http.Error(w, fmt.Sprintf("the request could not be read, or is larger than %d bytes", maxHookBody), http.StatusRequestEntityTooLarge)
			return
		}
		header := request.Header.Clone()
		r.working.Go(func() {
			defer func() { <-r.busy }()
			r.work(ctx, hook{key: key, header: header, body: body})
		})
		w.WriteHeader(http.StatusAccepted)
	})
}

func (r *Receiver) tooMany(w http.ResponseWriter) {
	hookRequests.WithLabelValues("limited").Inc()
	w.Header().Set("Retry-After", "5")
	http.Error(w, "too many requests", http.StatusTooManyRequests)
}

// hookKey reads /hooks/<namespace>/<name>.
func hookKey(path string) (client.ObjectKey, bool) {
	rest, ok := strings.CutPrefix(path, hookPath)
	namespace, name, both := strings.Cut(rest, "/")
	const longest = 253
	return client.ObjectKey{Namespace: namespace, Name: name},
		ok && both && namespace != "" && name != "" && !strings.Contains(name, "/") && len(rest) <= 2*longest
}

// hook is one request.
type hook struct {
	key    client.ObjectKey
	header http.Header
	body   []byte
}

func (r *Receiver) work(ctx context.Context, h hook) {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	result := "accepted"
	if err := r.check(ctx, h); err != nil {
		result = "refused"
		log.FromContext(ctx).V(1).Info("webhook refused", "Repository", h.key, "error", err.Error())
	} else {
		sum := sha256.Sum256(h.body)
		r.tell(ctx, h.key, "webhook-"+hex.EncodeToString(sum[:8]))
	}
	hookRequests.WithLabelValues(result).Inc()
}

// check finds the Repository and its token, and compares.
func (r *Receiver) check(ctx context.Context, h hook) error {
	var repo v1alpha1.Repository
	if err := r.Client.Get(ctx, h.key, &repo); err != nil {
		return fmt.Errorf("reading the Repository: %w", err)
	}
	if repo.Spec.Webhook == nil {
		return errors.New("the Repository has no spec.webhook")
	}
	var secret corev1.Secret
	name := repo.Spec.Webhook.SecretRef.Name
	if err := r.Reader.Get(ctx, client.ObjectKey{Namespace: repo.Namespace, Name: name}, &secret); err != nil {
		return fmt.Errorf("reading Secret %q: %w", name, err)
	}
	token := strings.TrimRight(string(secret.Data[KeyToken]), "\r\n")
	if len(token) < minToken {
		return fmt.Errorf("key %q of Secret %q has %d bytes, want at least %d", KeyToken, name, len(token), minToken)
	}
	if !Signed(h.header, h.body, token) {
		return errors.New("the request is not signed with the token")
	}
	return nil
}

// Signed says whether a request carries a proof of the token: a HMAC-SHA256 of the body as GitHub (X-Hub-Signature-256), Gitea and
// Forgejo (X-Gitea-Signature), or anything else (X-Signature: sha256=<hex>) send it, or the token itself as GitLab does
// (X-Gitlab-Token). Comparisons take the same time for every wrong value.
func Signed(header http.Header, body []byte, token string) bool {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	want := mac.Sum(nil)
	for _, name := range []string{"X-Hub-Signature-256", "X-Gitea-Signature", "X-Signature"} {
		got, err := hex.DecodeString(strings.TrimPrefix(header.Get(name), "sha256="))
		if err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	// Digests, so that the length of the token is not told either.
	given, real := sha256.Sum256([]byte(header.Get("X-Gitlab-Token"))), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(given[:], real[:]) == 1
}

// tell asks a Repository for a look: now, or, where it was asked only just, once more when it has settled.
func (r *Receiver) tell(ctx context.Context, key client.ObjectKey, value string) {
	settle := r.Settle
	if settle == 0 {
		settle = settleHooks
	}
	r.mu.Lock()
	last := r.pending[key]
	switch {
	case last == nil:
		last = &told{}
		r.pending[key] = last
	case last.timer != nil:
		last.value = value
		r.mu.Unlock()
		return
	}
	if wait := settle - time.Since(last.at); wait > 0 {
		last.value = value
		last.timer = time.AfterFunc(wait, func() { r.later(key) })
		r.mu.Unlock()
		return
	}
	last.at = time.Now()
	r.forget(settle)
	r.mu.Unlock()
	r.annotate(ctx, key, value)
}

// later tells what came while a Repository settled.
func (r *Receiver) later(key client.ObjectKey) {
	r.mu.Lock()
	last := r.pending[key]
	value := last.value
	last.at, last.timer = time.Now(), nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), hookTimeout)
	defer cancel()
	r.annotate(ctx, key, value)
}

// forget drops Repositories that have settled; only those with a valid token get here.
func (r *Receiver) forget(settle time.Duration) {
	for key, last := range r.pending {
		if last.timer == nil && time.Since(last.at) > settle {
			delete(r.pending, key)
		}
	}
}

func (r *Receiver) annotate(ctx context.Context, key client.ObjectKey, value string) {
	var repo v1alpha1.Repository
	err := r.Client.Get(ctx, key, &repo)
	if err == nil && repo.Annotations[v1alpha1.AnnotationReconcile] != value {
		base := repo.DeepCopy()
		if repo.Annotations == nil {
			repo.Annotations = map[string]string{}
		}
		repo.Annotations[v1alpha1.AnnotationReconcile] = value
		err = r.Client.Patch(ctx, &repo, client.MergeFrom(base))
	}
	if client.IgnoreNotFound(err) != nil {
		log.FromContext(ctx).Error(err, "Repository could not be asked for a look", "Repository", key)
	}
}
