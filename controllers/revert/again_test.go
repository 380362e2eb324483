package revert

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const refused = "remote: cannot reach the database"

// refuse makes a world whose revert the server has refused, and told of.
func refuse(t *testing.T, change func(*v1alpha1.Repository), secrets ...string) *world {
	w := newWorld(t)
	for _, name := range secrets {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: name}}
		s.Data = map[string][]byte{"username": []byte("u"), "password": []byte("old")}
		if err := w.env.Client.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	w.fail()
	w.edit(func(repo *v1alpha1.Repository) {
		repo.Generation = 1 // as the API server counts; the one in memory does not
		if change != nil {
			change(repo)
		}
	})
	w.git.ProtectAll("fleet", refused)
	r, result := w.reconcile()
	expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, refused)
	if result.RequeueAfter != shortestWait || r.Status.Revert.Refusals != 1 {
		t.Fatalf("again after %v, %d refusals", result.RequeueAfter, r.Status.Revert.Refusals)
	}
	if diff := cmp.Diff([]string{"Warning RevertFailed Rejected:"}, w.told()); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
	return w
}

// restarted is the world with a process that has just begun.
func (w *world) restarted() *world {
	w.r = &Reconciler{Client: w.r.Client, Reader: w.r.Reader, Source: w.r.Source, Recorder: w.r.Recorder, Version: w.r.Version, Now: w.r.Now, Pause: w.r.Pause}
	return w
}

// TestG28_ARefusedRevertLandsAfterRecovery: the server's hook fails for hours, then works. Nobody changes anything in the cluster. The
// revert is tried ever more rarely, told of once, and made once; a restart does not try sooner.
func TestG28_ARefusedRevertLandsAfterRecovery(t *testing.T) {
	w := refuse(t, nil)
	pushes := w.git.Pushes()
	var waits []time.Duration
	for range 8 {
		_, result := w.restarted().reconcile() // not due
		if w.git.Pushes() != pushes || result.RequeueAfter > watchEvery {
			t.Fatalf("%d pushes before it is due, again after %v", w.git.Pushes()-pushes, result.RequeueAfter)
		}
		next := w.read().Status.Revert.NextTryAt
		waits = append(waits, next.Sub(w.now))
		w.now = next.Time
		r, _ := w.restarted().reconcile()
		expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, refused)
		if w.git.Pushes() == pushes {
			t.Fatalf("not tried after %v", waits)
		}
		pushes = w.git.Pushes()
	}
	want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if told := w.told(); len(told) != 0 {
		t.Errorf("the same refusal was told of again: %q", told)
	}
	w.git.Unprotect("fleet")
	w.now = w.now.Add(longestWait)
	r, result := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if due := r.Status.Revert; w.reverts() != 1 || due.Refusals != 0 || due.NextTryAt != nil || due.TriedWith != "" || result.RequeueAfter != 0 {
		t.Errorf("commits %q, %+v, again after %v", w.subjects(), due, result.RequeueAfter)
	}
}

// TestG30_ARefusedRevertIsMadeOnceAcrossACrash: pushed at last, and the process dies before it has written that down.
func TestG30_ARefusedRevertIsMadeOnceAcrossACrash(t *testing.T) {
	w := refuse(t, nil)
	w.git.Unprotect("fleet")
	w.now = w.now.Add(shortestWait)
	w.beforeStatus = func() error { return errInjected }
	if _, err := w.try(); err == nil {
		t.Fatal("the status was written")
	}
	w.beforeStatus = nil
	w.git.Commit("fleet", "main", "bumped again", map[string]string{file: manifest("checkout:2")})
	r, _ := w.restarted().reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.reverts() != 1 {
		t.Errorf("commits %q", w.subjects())
	}
}

// TestG28_ARefusedRevertIsTriedWhenItsWayChanges: the remedies that the documentation names, each at once.
func TestG28_ARefusedRevertIsTriedWhenItsWayChanges(t *testing.T) {
	for name, test := range map[string]struct {
		remedy func(*world)
		want   v1alpha1.RevertState
	}{
		"write.forge": {func(w *world) {
			w.git.Protect("fleet", "main", protected)
			w.forge("Gitea", v1alpha1.StrategyPushThenPullRequest)
			w.edit(func(repo *v1alpha1.Repository) { repo.Generation++ })
		}, v1alpha1.RevertProposed},
		"the Secret of write.secretRef": {func(w *world) { // other rights on the server, that is
			w.git.Unprotect("fleet")
			w.secret("writer", "password", "new")
		}, v1alpha1.RevertPushed},
		"another Secret": {func(w *world) {
			w.git.Unprotect("fleet")
			w.secret("other", "password", "new")
		}, v1alpha1.RevertRejected},
	} {
		t.Run(name, func(t *testing.T) {
			w := refuse(t, func(repo *v1alpha1.Repository) { repo.Spec.Write.SecretRef = &v1alpha1.LocalReference{Name: "writer"} }, "writer", "other")
			test.remedy(w)
			r, _ := w.reconcile()
			if r.Status.Revert.State != test.want {
				t.Errorf("%+v", r.Status.Revert)
			}
		})
	}
}

// TestG28_ARefusalStandsWhileTheServerIsDown: people read what was refused, not that the server could not be reached since.
func TestG28_ARefusalStandsWhileTheServerIsDown(t *testing.T) {
	w := refuse(t, nil)
	w.git.Down(true)
	w.now = w.now.Add(shortestWait)
	r, result := w.reconcile()
	expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, refused)
	if result.RequeueAfter != shortestWait || len(w.told()) != 0 {
		t.Errorf("again after %v", result.RequeueAfter)
	}
	w.git.Down(false)
	w.git.ProtectAll("fleet", "remote: another reason")
	w.now = w.now.Add(shortestWait)
	w.reconcile()
	if diff := cmp.Diff([]string{"Warning RevertFailed Rejected:"}, w.told()); diff != "" {
		t.Errorf("another refusal (-want +got):\n%s", diff)
	}
}

// TestARefusalOfAnEarlierVersionIsTriedAgain: its status does not say when, nor with what.
func TestARefusalOfAnEarlierVersionIsTriedAgain(t *testing.T) {
	w := refuse(t, nil)
	r := w.read()
	r.Status.Revert.Refusals, r.Status.Revert.NextTryAt, r.Status.Revert.TriedWith = 0, nil, ""
	w.status(r)
	w.git.Unprotect("fleet")
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
}
