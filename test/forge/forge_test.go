package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	controller "github.com/belay-delivery/belay/controllers/revert"
	"github.com/belay-delivery/belay/gitops/forge"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/internal/revision"
	"github.com/belay-delivery/belay/internal/testenv"
)

const file = "apps/checkout/rollout.yaml"

func manifest(tag string) string {
	return `# the checkout service
apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: checkout}
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec: {containers: [{name: app, image: "checkout:` + tag + `"}]} # bumped by a bot
  traffic: {stableService: checkout, routes: [{kind: HTTPRoute, name: checkout}]}
  strategy: {canary: {steps: [{weight: 10}]}}
  onFailure: {revert: {repository: fleet, path: apps/checkout}}
`
}

// world is a Rollout whose declaration is on the forge, and the controller that reverts it.
type world struct {
	*hosted
	client    client.Client
	namespace string
}

// failed makes the world in which version 2 was committed over version 1, and has failed.
func failed(t *testing.T) *world {
	w := &world{hosted: forgeOf(t).repository(t), namespace: "shop"}
	if os.Getenv("BELAY_TEST_KUBECONFIG") != "" {
		env := testenv.New(t)
		w.client, w.namespace = env.Client, env.Namespace
	} else {
		w.client = fake.NewClientBuilder().WithScheme(testenv.Scheme()).WithStatusSubresource(&v1alpha1.Rollout{}, &v1alpha1.Repository{}).Build()
	}
	w.commit("version 1", map[string]string{file: manifest("1"), "README.md": "fleet\n"})
	w.commit("version 2", map[string]string{file: manifest("2")})
	w.secret("git", map[string]string{"username": bot, "password": w.tokens[bot]})
	w.secret("forge", map[string]string{"token": w.tokens[bot]})
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "fleet"}}
	repo.Spec = v1alpha1.RepositorySpec{URL: w.gitURL(), Ref: v1alpha1.GitRef{Branch: "main"}, SecretRef: &v1alpha1.LocalReference{Name: "git"},
		Write: &v1alpha1.RepositoryWrite{
			SecretRef: &v1alpha1.LocalReference{Name: "git"}, Author: v1alpha1.GitAuthor{Name: "Belay", Email: "belay@example.com"},
			Strategy: v1alpha1.StrategyPushThenPullRequest, SignOff: v1alpha1.Enabled,
			Forge: &v1alpha1.Forge{Type: "Gitea", APIURL: w.url + "/api/v1", SecretRef: &v1alpha1.LocalReference{Name: "forge"}},
		}}
	w.create(repo)
	rollout := &v1alpha1.Rollout{}
	if err := yaml.Unmarshal([]byte(manifest("2")), rollout); err != nil {
		t.Fatal(err)
	}
	rollout.Namespace = w.namespace
	w.create(rollout)
	at := metav1.NewTime(time.Now().Truncate(time.Second))
	rollout.Status.Stable = &v1alpha1.RevisionRecord{Revision: revisionOf(t, "1"), Since: at}
	rollout.Status.Revert = &v1alpha1.RevertStatus{Attempt: 1, State: v1alpha1.RevertPending, Bad: revisionOf(t, "2"), Good: revisionOf(t, "1"), RequestedAt: at}
	rollout.Status.History = []v1alpha1.AttemptRecord{{Number: 1, Revision: revisionOf(t, "2"), Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed",
		Message: "errors was 0.052, above 0.01", Actor: "belay", StartedAt: at, EndedAt: at}}
	w.update(rollout)
	return w
}

func revisionOf(t *testing.T, tag string) string {
	t.Helper()
	var r v1alpha1.Rollout
	if err := yaml.Unmarshal([]byte(manifest(tag)), &r); err != nil {
		t.Fatal(err)
	}
	hash, err := revision.Hash(&r.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

func (w *world) update(r *v1alpha1.Rollout) {
	w.Helper()
	if err := w.client.Status().Update(w.Context(), r); err != nil {
		w.Fatal(err)
	}
}

func (w *world) secret(name string, data map[string]string) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	w.create(s)
}

// reconcile has a controller that remembers nothing look at the Rollout, and checks what has become of the revert.
func (w *world) reconcile(state v1alpha1.RevertState, fragments ...string) *v1alpha1.Rollout {
	w.Helper()
	r := &controller.Reconciler{Client: w.client, Reader: w.client, Source: repository.NewSource(w.client, false), Recorder: events.NewFakeRecorder(100), Version: "v0"}
	key := client.ObjectKey{Namespace: w.namespace, Name: "checkout"}
	if _, err := r.Reconcile(w.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		w.Fatal(err)
	}
	var rollout v1alpha1.Rollout
	if err := w.client.Get(w.Context(), key, &rollout); err != nil {
		w.Fatal(err)
	}
	due := rollout.Status.Revert
	if due.State != state {
		w.Fatalf("state %s, want %s: %s", due.State, state, due.Message)
	}
	for _, fragment := range fragments {
		if !strings.Contains(due.Message, fragment) {
			w.Errorf("message %q does not say %q", due.Message, fragment)
		}
	}
	if strings.Contains(fmt.Sprint(rollout.Status), w.tokens[bot]) {
		w.Error("the token is in status")
	}
	return &rollout
}

// forget is what a crash before the status was written leaves.
func (w *world) forget(r *v1alpha1.Rollout) {
	w.Helper()
	r.Status.Revert.State, r.Status.Revert.PullRequest, r.Status.Revert.Commit = v1alpha1.RevertPending, nil, ""
	w.update(r)
}

func TestG17_PushedToARealForge(t *testing.T) {
	w := failed(t)
	r := w.reconcile(v1alpha1.RevertPushed)
	if diff := cmp.Diff(manifest("1"), w.file("main", file)); diff != "" || r.Status.Revert.Commit != w.head("main") {
		t.Errorf("commit %s, head %s (-want +got):\n%s", r.Status.Revert.Commit, w.head("main"), diff)
	}
	w.git("fetch", "--quiet", "origin", "main")
	message := w.git("log", "-1", "--format=%an <%ae>%n%B", "FETCH_HEAD")
	if !strings.HasPrefix(message, "Belay <belay@example.com>\nrevert(") || !strings.HasSuffix(message, revert.TrailerSignOff+": Belay <belay@example.com>") {
		t.Errorf("commit:\n%s", message)
	}
	w.forget(r)
	w.reconcile(v1alpha1.RevertPushed)
	if n := strings.Count(w.git("log", "--format=%s", w.head("main")), "revert("); n != 1 || len(w.pulls()) != 0 {
		t.Errorf("%d reverts, pull requests %+v", n, w.pulls())
	}
}

// TestG28_ProtectedBranchOfARealForge: the protected branch is left alone, one pull request asks for the revert, also after crashes and
// after the branch has moved on, and merged it is done.
func TestG28_ProtectedBranchOfARealForge(t *testing.T) {
	for _, how := range []string{"merge", "squash", "rebase"} {
		t.Run(how, func(t *testing.T) {
			w := failed(t)
			w.protect()
			before := w.head("main")
			r := w.reconcile(v1alpha1.RevertProposed, `branch "main" is protected`, "waits for people")
			aside := "rollback/" + r.Status.Revert.ID
			p := w.onePull()
			if p.Head.Ref != aside || p.Base.Ref != "main" || p.User.Login != bot || !strings.HasPrefix(p.Title, "revert(") || !strings.Contains(p.Body, revert.TrailerID+": "+r.Status.Revert.ID) {
				t.Errorf("pull request %+v", p)
			}
			if w.head("main") != before || w.file(aside, file) != manifest("1") {
				t.Error("main was written to, or the branch is not the revert")
			}
			w.forget(r)
			r = w.reconcile(v1alpha1.RevertProposed)
			w.commit("unrelated", map[string]string{"README.md": "fleet, of shop\n"})
			w.forget(r)
			w.reconcile(v1alpha1.RevertProposed)
			if w.onePull(); len(w.asides()) != 2 { // a name and a commit
				t.Errorf("branches %q", w.asides())
			}
			w.merge(how)
			r = w.reconcile(v1alpha1.RevertPushed)
			if w.file("main", file) != manifest("1") || w.file("main", "README.md") != "fleet, of shop\n" {
				t.Error("main is not the unrelated commit with the revert")
			}
			if got := r.Status.Revert.Commit; got == "" || r.Status.Revert.PullRequest.State != v1alpha1.PullRequestMerged {
				t.Errorf("commit %q, pull request %+v", got, r.Status.Revert.PullRequest)
			}
		})
	}
}

// TestG28_AClosedPullRequestOfARealForgeIsRespected: also by a controller with no memory of it.
func TestG28_AClosedPullRequestOfARealForgeIsRespected(t *testing.T) {
	w := failed(t)
	w.protect()
	w.reconcile(v1alpha1.RevertProposed)
	w.setPull("closed")
	r := w.reconcile(v1alpha1.RevertDeclined, "closed without a merge")
	w.forget(r)
	w.reconcile(v1alpha1.RevertDeclined)
	w.onePull()
	w.setPull("open")
	w.reconcile(v1alpha1.RevertProposed)
	w.setPull("closed")
	w.commit("fixed otherwise", map[string]string{file: manifest("3")})
	w.reconcile(v1alpha1.RevertNotNeeded, revisionOf(t, "3"))
}

// TestG30_ARealForgeGetsNoDuplicates: asked at once by many, one pull request stays open, although Gitea lets several through.
func TestG30_ARealForgeGetsNoDuplicates(t *testing.T) {
	w := failed(t)
	f, err := forge.New(forge.Options{Type: forge.Gitea, RepositoryURL: w.gitURL(), Token: w.tokens[bot]})
	if err != nil {
		t.Fatal(err)
	}
	w.git("revert", "--no-edit", "HEAD")
	w.git("push", "--quiet", "origin", "HEAD:refs/heads/rollback/x")
	var all sync.WaitGroup
	var found [8]*forge.PullRequest
	var errs [8]error
	for i := range found {
		all.Go(func() {
			for range 5 { // Gitea's SQLite answers 500 when it is written to by many: that is tried again
				found[i], errs[i] = forge.Propose(context.WithoutCancel(t.Context()), f, forge.Proposal{Branch: "rollback/x", Base: "main", Title: "x", Body: "y"})
				if errs[i] == nil {
					return
				}
			}
		})
	}
	all.Wait()
	for i := range found {
		if errs[i] != nil || found[i].State != forge.Open {
			t.Errorf("%+v, %v", found[i], errs[i])
		}
	}
	var left []int
	for _, p := range w.pulls() {
		if p.State == "open" {
			left = append(left, p.Number)
		}
	}
	now, err := forge.Find(t.Context(), f, "rollback/x", "main")
	if err != nil || len(left) != 1 || now.Number != int64(left[0]) {
		t.Errorf("open are %v, found is %+v, %v", left, now, err)
	}
}

// TestARealForgesRefusalIsSaid: a token that may not open pull requests is trouble, in words, and tried again.
func TestARealForgesRefusalIsSaid(t *testing.T) {
	w := failed(t)
	w.protect()
	var s corev1.Secret
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "forge"}, &s); err != nil {
		t.Fatal(err)
	}
	s.Data["token"] = []byte("0123456789012345678901234567890123456789")
	if err := w.client.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	w.reconcile(v1alpha1.RevertPending, "HTTP status 401", "does the token have the right")
	s.Data["token"] = []byte(w.tokens[bot])
	if err := w.client.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	w.reconcile(v1alpha1.RevertProposed)
}

// TestG06_AWebhookOfARealForge: its signature is taken, and one with another secret is not.
func TestG06_AWebhookOfARealForge(t *testing.T) {
	w := failed(t)
	const secret = "0123456789abcdef-of-the-hook"
	w.secret("hook", map[string]string{repository.KeyToken: secret})
	key := client.ObjectKey{Namespace: w.namespace, Name: "fleet"}
	w.change(key, func(r *v1alpha1.Repository) {
		r.Spec.Webhook = &v1alpha1.RepositoryWebhook{SecretRef: v1alpha1.LocalReference{Name: "hook"}}
	})
	receiver := &repository.Receiver{Client: w.client, Reader: w.client, Settle: time.Nanosecond}
	server := httptest.NewServer(receiver.Handler(context.WithoutCancel(t.Context())))
	defer server.Close()
	hook := func(secret string) int {
		var made struct {
			ID int `json:"id"`
		}
		w.call(t, owner, http.MethodPost, w.hosted.api("hooks"), map[string]any{"type": "gitea", "active": true, "events": []string{"push"},
			"config": map[string]string{"url": server.URL + "/hooks/" + w.namespace + "/fleet", "content_type": "json", "secret": secret}}, &made)
		return made.ID
	}
	wrong := hook("fedcba9876543210-of-another")
	refused := requests(t, "refused")
	w.pushUntil("the wrong secret is refused", func() bool { return requests(t, "refused") > refused })
	asked := func() (value string) {
		w.change(key, func(r *v1alpha1.Repository) { value = r.Annotations[v1alpha1.AnnotationReconcile] })
		return value
	}
	if got := asked(); got != "" {
		t.Errorf("the Repository was asked for a look: %q", got)
	}
	w.call(t, owner, http.MethodDelete, w.hosted.api(fmt.Sprintf("hooks/%d", wrong)), nil, nil)
	hook(secret)
	w.pushUntil("the Repository is asked for a look", func() bool { return asked() != "" })
}

func (w *world) change(key client.ObjectKey, change func(*v1alpha1.Repository)) {
	w.Helper()
	var repo v1alpha1.Repository
	if err := w.client.Get(w.Context(), key, &repo); err != nil {
		w.Fatal(err)
	}
	before := repo.DeepCopy()
	change(&repo)
	if cmp.Equal(before, &repo) {
		return
	}
	if err := w.client.Update(w.Context(), &repo); err != nil {
		w.Fatal(err)
	}
}

// requests are the webhooks with a result, as the metric counts them.
func requests(t *testing.T, result string) (n float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "belay_webhook_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == result {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// pushUntil pushes until it is so. Gitea on SQLite forgets to tell of a push when its database is busy at that moment
// ("database is locked" in its answer to its own hook): a push that nobody is told of is what spec.interval is for.
func (w *world) pushUntil(what string, is func() bool) {
	w.Helper()
	const pushes, patience = 10, 6 * time.Second
	for i := range pushes {
		w.commit("a push", map[string]string{"README.md": fmt.Sprintf("%s: %d\n", what, i)})
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if is() {
				return
			}
		}
	}
	w.Fatalf("not after %d pushes: %s", pushes, what)
}
