package revert

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/internal/revision"
	"github.com/belay-delivery/belay/internal/testenv"
)

// world is a Rollout on a real API server whose declaration is on a real Git server.
type world struct {
	*testing.T
	env    *testenv.Env
	git    *gittest.Server
	r      *Reconciler
	events *events.FakeRecorder
	now    time.Time
	pauses int
	// beforeStatus runs before each status write; an error is what the write then gives.
	beforeStatus func() error
}

var errInjected = errors.New("injected")

func newWorld(t *testing.T) *world {
	env, inner := environment(t)
	w := &world{T: t, env: env, git: gittest.New(t), events: events.NewFakeRecorder(100), now: time.Now().Truncate(time.Second)}
	w.git.Create("fleet")
	c := interceptor.NewClient(inner, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if w.beforeStatus != nil {
				if err := w.beforeStatus(); err != nil {
					return err
				}
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	w.r = &Reconciler{
		Client: c, Reader: w.env.Client, Source: repository.NewSource(w.env.Client, false), Recorder: w.events, Version: "v0",
		Now: func() time.Time { return w.now }, Pause: func(context.Context) { w.pauses++ },
	}
	return w
}

// environment is a real API server where there is one, else one in memory, which neither validates nor defaults.
func environment(t *testing.T) (*testenv.Env, client.WithWatch) {
	t.Helper()
	if os.Getenv("BELAY_TEST_KUBECONFIG") == "" && os.Getenv("BELAY_TEST_REQUIRE") == "" {
		scheme := testenv.Scheme()
		c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Rollout{}, &v1alpha1.Repository{}).Build()
		return &testenv.Env{Client: c, Scheme: scheme, Namespace: "shop"}, c
	}
	env := testenv.New(t)
	c, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return env, c
}

// manifest is the Rollout as Git declares it.
func manifest(image string) string {
	return `# the checkout service
apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: checkout}
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      containers:
      - name: checkout
        image: ` + image + ` # bumped by a bot
  traffic: {stableService: checkout, routes: [{kind: HTTPRoute, name: checkout}]}
  strategy: {canary: {steps: [{weight: 10}]}}
  onFailure: {revert: {repository: fleet, path: apps/checkout}}
`
}

const file = "apps/checkout/rollout.yaml"

func revisionOf(t *testing.T, image string) string {
	t.Helper()
	return hashOf(t, manifest(image))
}

func hashOf(t *testing.T, text string) string {
	t.Helper()
	hash, err := hashText(text)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func hashText(text string) (string, error) {
	var object unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		return "", err
	}
	template, _, err := unstructured.NestedMap(object.Object, "spec", "template")
	if err != nil {
		return "", err
	}
	return revision.HashMap(template)
}

// fail makes the world in which good was committed, then bad, and bad has failed.
func (w *world) fail() (good, bad string) {
	w.Helper()
	good = w.git.Commit("fleet", "main", "good", map[string]string{file: manifest("checkout:1"), "apps/other/cm.yaml": configMap("1")})
	bad = w.git.Commit("fleet", "main", "bad", map[string]string{file: manifest("checkout:2")})
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	return good, bad
}

func configMap(value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {key: \"" + value + "\"}\n"
}

func (w *world) repository(change func(*v1alpha1.Repository)) {
	w.Helper()
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = w.git.URL("fleet"), "main"
	repo.Spec.Write = &v1alpha1.RepositoryWrite{Author: v1alpha1.GitAuthor{Name: "Belay", Email: "belay@example.com"}}
	if change != nil {
		change(repo)
	}
	if err := w.env.Client.Create(w.Context(), repo); err != nil {
		w.Fatal(err)
	}
	w.seen()
}

// seen writes the branch's head into the Repository's status, as its controller does.
func (w *world) seen() {
	w.Helper()
	var repo v1alpha1.Repository
	w.get("fleet", &repo)
	repo.Status.Commit = w.git.Head("fleet", "main")
	if err := w.env.Client.Status().Update(w.Context(), &repo); err != nil {
		w.Fatal(err)
	}
}

// rollout creates the Rollout with a stable revision.
func (w *world) rollout(image, stable string) *v1alpha1.Rollout {
	w.Helper()
	var rollout v1alpha1.Rollout
	if err := yaml.Unmarshal([]byte(manifest(image)), &rollout); err != nil {
		w.Fatal(err)
	}
	rollout.Namespace = w.env.Namespace
	if err := w.env.Client.Create(w.Context(), &rollout); err != nil {
		w.Fatal(err)
	}
	rollout.Status.Stable = &v1alpha1.RevisionRecord{Revision: revisionOf(w.T, stable), Since: metav1.NewTime(w.now)}
	rollout.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "True", Reason: "X", LastTransitionTime: metav1.NewTime(w.now)}}
	w.status(&rollout)
	return &rollout
}

// pending creates the Rollout as its controller leaves it when an attempt has failed.
func (w *world) pending(bad, good string) {
	w.Helper()
	rollout := w.rollout(bad, good)
	at := metav1.NewTime(w.now)
	rollout.Status.Revert = &v1alpha1.RevertStatus{
		Attempt: 3, State: v1alpha1.RevertPending, Bad: revisionOf(w.T, bad), Good: revisionOf(w.T, good), RequestedAt: at,
	}
	rollout.Status.History = []v1alpha1.AttemptRecord{{
		Number: 3, Revision: revisionOf(w.T, bad), Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed",
		Message: "errors was 0.052, above 0.01", Actor: "belay", Run: "checkout-3", StartedAt: at, EndedAt: at,
	}}
	w.status(rollout)
}

func (w *world) status(rollout *v1alpha1.Rollout) {
	w.Helper()
	if err := w.env.Client.Status().Update(w.Context(), rollout); err != nil {
		w.Fatal(err)
	}
}

func (w *world) get(name string, into client.Object) {
	w.Helper()
	if err := w.env.Client.Get(w.Context(), client.ObjectKey{Namespace: w.env.Namespace, Name: name}, into); err != nil {
		w.Fatalf("reading %s: %v", name, err)
	}
}

func (w *world) try() (ctrl.Result, error) {
	return w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: w.env.Namespace, Name: "checkout"}})
}

func (w *world) reconcile() (*v1alpha1.Rollout, ctrl.Result) {
	w.Helper()
	result, err := w.try()
	if err != nil {
		w.Fatalf("Reconcile: %v", err)
	}
	return w.read(), result
}

func (w *world) read() *v1alpha1.Rollout {
	w.Helper()
	var rollout v1alpha1.Rollout
	w.get("checkout", &rollout)
	return &rollout
}

// subjects are the subjects of the branch's commits, newest first.
func (w *world) subjects() []string {
	w.Helper()
	return strings.Split(strings.TrimSpace(w.git.Git("fleet", "log", "--format=%s", "main")), "\n")
}

// reverts counts the revert commits on the branch.
func (w *world) reverts() int {
	n := 0
	for _, s := range w.subjects() {
		if strings.HasPrefix(s, "revert(") {
			n++
		}
	}
	return n
}

func expect(t *testing.T, r *v1alpha1.Rollout, state v1alpha1.RevertState, condition metav1.ConditionStatus, fragments ...string) {
	t.Helper()
	c := v1alpha1.FindCondition(r.Status.Conditions, v1alpha1.ConditionReverted)
	if c == nil {
		t.Fatalf("no condition Reverted; revert %+v", r.Status.Revert)
	}
	if r.Status.Revert.State != state || c.Status != condition || c.Reason != string(state) {
		t.Errorf("state %s, Reverted=%s/%s, want %s and %s: %s", r.Status.Revert.State, c.Status, c.Reason, state, condition, c.Message)
	}
	for _, f := range fragments {
		if !strings.Contains(c.Message, f) {
			t.Errorf("message %q does not say %q", c.Message, f)
		}
	}
	if ready := v1alpha1.FindCondition(r.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.Reason != "X" {
		t.Errorf("the condition Ready, which is not ours, was changed: %v", ready)
	}
}

func (w *world) told() []string {
	var out []string
	for {
		select {
		case e := <-w.events.Events:
			out = append(out, strings.Join(strings.Fields(e)[:3], " "))
		default:
			return out
		}
	}
}
