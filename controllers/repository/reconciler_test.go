package repository

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/internal/testenv"
)

// world is a Repository on a real API server, its branch on a real Git server, and a clock that stands still.
type world struct {
	*testing.T
	env    *testenv.Env
	git    *gittest.Server
	r      *Reconciler
	events *events.FakeRecorder
	now    time.Time
	writes int
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, env: testenv.New(t), git: gittest.New(t), events: events.NewFakeRecorder(100), now: time.Now().Truncate(time.Second)}
	w.git.Create("fleet")
	counting := interceptor.NewClient(watching(t, w.env), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			w.writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	w.r = &Reconciler{
		Client: counting, Source: NewSource(w.env.Client, false), Recorder: w.events,
		Now: func() time.Time { return w.now }, Jitter: func(d time.Duration) time.Duration { return d },
	}
	return w
}

func watching(t *testing.T, env *testenv.Env) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) create(change func(*v1alpha1.Repository)) *v1alpha1.Repository {
	w.Helper()
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = w.git.URL("fleet"), "main"
	if change != nil {
		change(repo)
	}
	if err := w.env.Client.Create(w.Context(), repo); err != nil {
		w.Fatal(err)
	}
	return repo
}

func (w *world) reconcile() (*v1alpha1.Repository, time.Duration) {
	w.Helper()
	key := client.ObjectKey{Namespace: w.env.Namespace, Name: "fleet"}
	result, err := w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: key})
	if err != nil {
		w.Fatalf("Reconcile: %v", err)
	}
	var repo v1alpha1.Repository
	if err := w.env.Client.Get(w.Context(), key, &repo); err != nil {
		w.Fatal(err)
	}
	return &repo, result.RequeueAfter
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

func ready(repo *v1alpha1.Repository) string {
	out := ""
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionStalled} {
		c := v1alpha1.FindCondition(repo.Status.Conditions, kind)
		if c == nil {
			return "none"
		}
		out += " " + kind + "=" + string(c.Status) + "/" + c.Reason
	}
	return strings.TrimSpace(out)
}

func message(repo *v1alpha1.Repository) string {
	return v1alpha1.FindCondition(repo.Status.Conditions, v1alpha1.ConditionReady).Message
}

func TestFollowsTheBranchAndWritesOnlyNews(t *testing.T) {
	w := newWorld(t)
	first := w.git.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	w.create(nil)

	repo, after := w.reconcile()
	if repo.Status.Commit != first || repo.Status.ChangedAt == nil || after != time.Minute {
		t.Fatalf("commit %q changedAt %v after %v, want %q, set, 1m", repo.Status.Commit, repo.Status.ChangedAt, after, first)
	}
	if got, want := ready(repo), "Ready=True/Ready Stalled=False/Ready"; got != want {
		t.Errorf("conditions %q, want %q", got, want)
	}
	w.now = w.now.Add(time.Minute)
	w.reconcile()
	if w.writes != 1 {
		t.Errorf("%d status writes after a look without news, want 1 in all", w.writes)
	}
	second := w.git.Commit("fleet", "main", "two", map[string]string{"a.yaml": "a: 2\n"})
	repo, _ = w.reconcile()
	if repo.Status.Commit != second || w.writes != 2 {
		t.Errorf("commit %q after %d writes, want %q after 2", repo.Status.Commit, w.writes, second)
	}
	if diff := cmp.Diff([]string{"Normal NewCommit", "Normal NewCommit"}, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestReconcileAnnotationIsAcknowledged(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	repo := w.create(nil)
	repo.Annotations = map[string]string{v1alpha1.AnnotationReconcile: "now"}
	if err := w.env.Client.Update(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	if repo, _ := w.reconcile(); repo.Status.Reconciled != "now" {
		t.Errorf("reconciled %q, want now", repo.Status.Reconciled)
	}
}

func TestMissingSecretIsNamedAndHeals(t *testing.T) {
	w := newWorld(t)
	w.git.RequireBasicAuth("belay", "s3cret-value")
	head := w.git.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	w.create(func(r *v1alpha1.Repository) { r.Spec.SecretRef = &v1alpha1.LocalReference{Name: "fleet-read"} })

	repo, after := w.reconcile()
	if got, want := ready(repo), "Ready=False/SecretNotFound Stalled=True/SecretNotFound"; got != want {
		t.Errorf("conditions %q, want %q", got, want)
	}
	if !strings.Contains(message(repo), `"fleet-read"`) || after != shortestRetry {
		t.Errorf("message %q, next look after %v", message(repo), after)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "fleet-read"}}
	secret.StringData = map[string]string{"username": "belay", "password": "wr0ng-value"}
	if err := w.env.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	repo, _ = w.reconcile()
	if got, want := ready(repo), "Ready=False/AuthenticationFailed Stalled=True/AuthenticationFailed"; got != want {
		t.Errorf("conditions %q, want %q", got, want)
	}
	if strings.Contains(message(repo), "wr0ng-value") {
		t.Errorf("the message holds the password: %q", message(repo))
	}
	secret.StringData = map[string]string{"password": "s3cret-value"}
	if err := w.env.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if repo, _ = w.reconcile(); repo.Status.Commit != head || ready(repo) != "Ready=True/Ready Stalled=False/Ready" {
		t.Errorf("commit %q, conditions %q after the Secret was mended", repo.Status.Commit, ready(repo))
	}
}

func TestTroubleIsACondition(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world, *v1alpha1.Repository)
		want   string
	}{
		"branch missing": {
			func(_ *world, r *v1alpha1.Repository) { r.Spec.Ref.Branch = "release" },
			"Ready=False/BranchNotFound Stalled=True/BranchNotFound",
		},
		"repository missing": {
			func(w *world, r *v1alpha1.Repository) { r.Spec.URL = w.git.URL("nothing") },
			"Ready=False/RepositoryNotFound Stalled=True/RepositoryNotFound",
		},
		"server down": {
			func(_ *world, r *v1alpha1.Repository) { r.Spec.URL = "http://127.0.0.1:1/fleet.git" },
			"Ready=False/Unreachable Stalled=False/Unreachable",
		},
		"file not allowed": {
			func(w *world, r *v1alpha1.Repository) { r.Spec.URL = w.git.FileURL("fleet") },
			"Ready=False/FileNotAllowed Stalled=True/FileNotAllowed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.git.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
			w.create(func(r *v1alpha1.Repository) { test.change(w, r) })
			repo, _ := w.reconcile()
			if got := ready(repo); got != test.want {
				t.Errorf("conditions %q, want %q; message %q", got, test.want, message(repo))
			}
			w.now = w.now.Add(time.Second)
			w.reconcile()
			if told := w.told(); w.writes != 1 || len(told) != 1 {
				t.Errorf("%d writes and events %v for one and the same trouble, want 1 and 1", w.writes, told)
			}
		})
	}
}

func TestFileWhereAllowed(t *testing.T) {
	w := newWorld(t)
	head := w.git.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	w.r.Source = NewSource(w.env.Client, true)
	w.create(func(r *v1alpha1.Repository) { r.Spec.URL = w.git.FileURL("fleet") })
	if repo, _ := w.reconcile(); repo.Status.Commit != head {
		t.Errorf("commit %q, want %q: %s", repo.Status.Commit, head, message(repo))
	}
}

func TestOutageKeepsTheCommit(t *testing.T) {
	w := newWorld(t)
	head := w.git.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	w.create(nil)
	w.reconcile()
	repo, _ := w.reconcile()
	repo.Spec.URL = "http://127.0.0.1:1/fleet.git"
	if err := w.env.Client.Update(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	if repo, _ = w.reconcile(); repo.Status.Commit != head || ready(repo) != "Ready=False/Unreachable Stalled=False/Unreachable" {
		t.Errorf("commit %q, conditions %q", repo.Status.Commit, ready(repo))
	}
}
