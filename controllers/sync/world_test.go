package sync

import (
	"context"
	"errors"
	"net/http"
	"strings"
	stdsync "sync"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/internal/revision"
	"github.com/belay-delivery/belay/internal/testenv"
)

// world is a Sync on a real API server, its folder on a real Git server, and an account with exactly the rights given.
type world struct {
	*testing.T
	env    *testenv.Env
	git    *gittest.Server
	r      *Reconciler
	events *events.FakeRecorder
	now    time.Time
	seen   *requests
	// clock is now for the watches too, in unix seconds; nil: they go by the wall clock.
	clock *atomic.Int64
	// failStatus makes the status write with this number fail, counted from 1.
	statusWrites, failStatus int
}

// requests records what was asked of the API server as the tenant.
type requests struct {
	mu  stdsync.Mutex
	all []string
	// before runs before a request is sent, outside the lock.
	before func(*http.Request)
	// answer stands in for the API server where it returns something.
	answer func(*http.Request) *http.Response
}

func (q *requests) RoundTrip(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	if q.before != nil {
		q.before(request)
	}
	q.mu.Lock()
	what := request.Method + " " + request.URL.Path[strings.LastIndex(request.URL.Path, "/")+1:]
	if request.URL.Query().Get("dryRun") != "" {
		what = "dry " + what
	}
	q.all = append(q.all, what)
	q.mu.Unlock()
	if q.answer != nil {
		if response := q.answer(request); response != nil {
			return response, nil
		}
	}
	return next.RoundTrip(request)
}

// take returns the requests since the last call; writes only those that change something.
func (q *requests) take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.all
	q.all = nil
	return out
}

func (q *requests) writes() []string {
	var out []string
	for _, r := range q.take() {
		if !strings.HasPrefix(r, "dry ") && !strings.HasPrefix(r, "GET ") && r != "POST selfsubjectaccessreviews" {
			out = append(out, r)
		}
	}
	return out
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errInjected = errors.New("injected")

func newWorld(t *testing.T) *world {
	w := &world{T: t, env: testenv.New(t), git: gittest.New(t), events: events.NewFakeRecorder(100), seen: &requests{}, now: time.Now().Truncate(time.Second)}
	w.git.Create("fleet")
	inner, err := client.NewWithWatch(w.env.Config, client.Options{Scheme: w.env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	counting := interceptor.NewClient(inner, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			w.statusWrites++
			if w.statusWrites == w.failStatus {
				return errInjected
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	config := rest.CopyConfig(w.env.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return w.seen.RoundTrip(next, r) })
	})
	w.r = &Reconciler{
		Client: counting, Reader: w.env.Client, Config: config, Source: repository.NewSource(w.env.Client, false),
		Recorder: w.events, Now: func() time.Time { return w.now },
	}
	return w
}

// start creates the Repository, the account with rights to these resources ("resource.group"), and the Sync.
func (w *world) start(prune v1alpha1.Prune, files map[string]string, resources ...string) {
	w.Helper()
	w.grant("deployer", []string{"get", "create", "patch", "delete"}, resources...)
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = w.git.URL("fleet"), "main"
	w.create(repo)
	w.commit(files)
	sync := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "shop"}}
	sync.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "apps", ServiceAccountName: "deployer", Prune: prune}
	w.create(sync)
	w.Cleanup(func() { // a finalizer would keep the namespace
		var left v1alpha1.Sync
		if w.env.Client.Get(context.Background(), w.key("shop"), &left) == nil {
			left.Finalizers = nil
			_ = w.env.Client.Update(context.Background(), &left)
		}
	})
}

func (w *world) grant(account string, verbs []string, resources ...string) {
	w.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, GenerateName: "r-"}}
	for _, r := range resources {
		resource, group, _ := strings.Cut(r, ".")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs})
	}
	w.create(role)
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, GenerateName: "r-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.env.Namespace, Name: account}},
	})
	for _, r := range resources {
		for _, verb := range verbs {
			w.await(account, verb, r)
		}
	}
}

// await returns once the API server's authorizer, which learns of roles on a watch, knows of a right.
func (w *world) await(account, verb, of string) {
	w.Helper()
	resource, group, _ := strings.Cut(of, ".")
	err := wait.PollUntilContextTimeout(w.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + w.env.Namespace + ":" + account,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.env.Namespace, Verb: verb, Group: group, Resource: resource}}}
		err := w.env.Client.Create(ctx, review)
		return review.Status.Allowed, err
	})
	if err != nil {
		w.Fatalf("waiting for the right of %s to %s %s: %v", account, verb, of, err)
	}
}

// commit makes a commit and has the Repository say so, as its own controller would.
func (w *world) commit(files map[string]string) string {
	w.Helper()
	w.remove(files)
	sha := w.git.Head("fleet", "main")
	if len(files) > 0 {
		sha = w.git.Commit("fleet", "main", "change", files)
	}
	var repo v1alpha1.Repository
	w.get("fleet", &repo)
	base := repo.DeepCopy()
	repo.Status.Commit = sha
	if err := w.env.Client.Status().Patch(w.Context(), &repo, client.MergeFrom(base)); err != nil {
		w.Fatal(err)
	}
	return sha
}

// remove commits the deletions among the files, and leaves the others.
func (w *world) remove(files map[string]string) {
	w.Helper()
	git := func(args ...string) string {
		return strings.TrimSpace(w.git.Git("fleet", append([]string{"--work-tree", w.TempDir()}, args...)...))
	}
	for name, content := range files {
		if content != "" {
			continue
		}
		head := w.git.Head("fleet", "main")
		git("read-tree", head)
		git("update-index", "--force-remove", name)
		git("update-ref", "refs/heads/main", git("commit-tree", "-m", "remove "+name, "-p", head, git("write-tree")))
		delete(files, name)
	}
}

func (w *world) reconcile() *v1alpha1.Sync {
	w.Helper()
	if _, err := w.try(); err != nil {
		w.Fatalf("Reconcile: %v", err)
	}
	var sync v1alpha1.Sync
	w.get("shop", &sync)
	return &sync
}

func (w *world) try() (ctrl.Result, error) {
	return w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: w.key("shop")})
}

// edit changes the Sync's own object.
func (w *world) edit(change func(*v1alpha1.Sync)) {
	w.Helper()
	var sync v1alpha1.Sync
	w.get("shop", &sync)
	change(&sync)
	if err := w.env.Client.Update(w.Context(), &sync); err != nil {
		w.Fatal(err)
	}
}

func (w *world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.env.Namespace, Name: name}
}

func (w *world) get(name string, into client.Object) {
	w.Helper()
	if err := w.env.Client.Get(w.Context(), w.key(name), into); err != nil {
		w.Fatalf("reading %s: %v", name, err)
	}
}

func (w *world) exists(name string, kind client.Object) bool {
	w.Helper()
	err := w.env.Client.Get(w.Context(), w.key(name), kind)
	if client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	return err == nil && kind.GetDeletionTimestamp() == nil
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.env.Client.Create(w.Context(), o); err != nil {
		w.Fatalf("creating %T: %v", o, err)
	}
}

func (w *world) told() []string {
	var out []string
	for {
		select {
		case e := <-w.events.Events:
			out = append(out, strings.Join(strings.Fields(e)[:2], " "))
		default:
			return out
		}
	}
}

func reasonAndMessage(s *v1alpha1.Sync) (string, string) {
	c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		return "none", ""
	}
	return string(c.Status) + "/" + c.Reason, c.Message
}

func expect(t *testing.T, s *v1alpha1.Sync, reason string, fragments ...string) {
	t.Helper()
	got, message := reasonAndMessage(s)
	if got != reason {
		t.Errorf("Ready is %s, want %s: %s", got, reason, message)
	}
	for _, f := range fragments {
		if !strings.Contains(message, f) {
			t.Errorf("message %q does not say %q", message, f)
		}
	}
}

func inventory(s *v1alpha1.Sync) []string {
	var out []string
	for _, e := range s.Status.Inventory {
		out = append(out, e.Kind+" "+e.Name)
	}
	return out
}

func configMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {key: \"" + value + "\"}\n"
}

func value(w *world, name string) string {
	w.Helper()
	var cm corev1.ConfigMap
	w.get(name, &cm)
	return cm.Data["key"]
}

// reconcileOf reconciles another Sync of the world.
func (w *world) reconcileOf(name string) {
	w.Helper()
	if _, err := w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: w.key(name)}); err != nil {
		w.Fatalf("Reconcile of %s: %v", name, err)
	}
}

// emptyRevision is the revision of a Rollout's empty template.
func emptyRevision(t *testing.T) string {
	t.Helper()
	hash, err := revision.Hash(&corev1.PodTemplateSpec{})
	if err != nil {
		t.Fatal(err)
	}
	return hash
}
