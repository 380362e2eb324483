package revert

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
)

func TestRevertKeepsLaterCommitsAndComments(t *testing.T) {
	w := newWorld(t)
	good, bad := w.fail()
	w.git.Commit("fleet", "main", "unrelated", map[string]string{"apps/other/cm.yaml": configMap("2")})
	edited := strings.Replace(manifest("checkout:2"), "# the checkout service", "# the checkout service, owned by team pay", 1)
	w.git.Commit("fleet", "main", "comment", map[string]string{file: edited})

	r, result := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	want := strings.Replace(edited, "checkout:2", "checkout:1", 1)
	if diff := cmp.Diff(want, w.git.File("fleet", "main", file)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
	if w.git.File("fleet", "main", "apps/other/cm.yaml") != configMap("2") {
		t.Error("the unrelated commit did not survive")
	}
	due := r.Status.Revert
	head := w.git.Head("fleet", "main")
	if due.Commit != head || due.BadCommit != bad || due.GoodCommit != good || due.FinishedAt == nil || due.ID == "" {
		t.Errorf("status %+v, want commit %s, bad %s, good %s", due, head, bad, good)
	}
	if result.RequeueAfter != 0 {
		t.Errorf("looks again after %v although all is done", result.RequeueAfter)
	}
	trailers := revert.ParseTrailers(w.git.Git("fleet", "log", "-1", "--format=%B", "main"))
	for name, value := range map[string]string{
		revert.TrailerID: due.ID, revert.TrailerOf: bad, revert.TrailerRestores: good, revert.TrailerReason: "AnalysisFailed",
		revert.TrailerAttempt: "3", revert.TrailerActor: "belay", revert.TrailerController: "v0",
	} {
		if diff := cmp.Diff([]string{value}, trailers[name]); diff != "" {
			t.Errorf("trailer %s (-want +got):\n%s", name, diff)
		}
	}
	var repo v1alpha1.Repository
	w.get("fleet", &repo)
	if repo.Annotations[v1alpha1.AnnotationReconcile] != head {
		t.Errorf("the Repository was not told: %v", repo.Annotations)
	}
	if diff := cmp.Diff([]string{"Normal Reverted Pushed:"}, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.reconcile()
	if w.reverts() != 1 {
		t.Errorf("commits %q, want one revert", w.subjects())
	}
}

func TestEvidenceOfTheAttemptIsInTheCommit(t *testing.T) {
	w := newWorld(t)
	w.fail()
	r := w.read()
	at := metav1.NewTime(w.now)
	r.Status.Attempt = &v1alpha1.Attempt{
		Number: 3, Revision: r.Status.Revert.Bad, Stage: v1alpha1.StageWithdrawing, StageSince: at, StartedAt: at,
		Verdict: &v1alpha1.Verdict{Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed", Message: "too many errors", Actor: "belay", At: at, Metric: "errors", Value: "0.052"},
	}
	w.status(r)
	w.reconcile()
	message := w.git.Git("fleet", "log", "-1", "--format=%an <%ae> %ct%n%B", "main")
	for _, want := range []string{"Belay <belay@example.com>", "too many errors", "Metric: errors=0.052", strconv.FormatInt(r.Status.Revert.RequestedAt.Unix(), 10)} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is not in the commit:\n%s", want, message)
		}
	}
}

func TestLostRaceIsRecomputed(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.git.OnPush(func() {
		w.git.Commit("fleet", "main", "quicker", map[string]string{"apps/other/cm.yaml": configMap("quicker")})
	})
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.pauses != 1 || w.reverts() != 1 || w.subjects()[1] != "quicker" {
		t.Errorf("%d pauses, commits %q", w.pauses, w.subjects())
	}
	if w.git.File("fleet", "main", "apps/other/cm.yaml") != configMap("quicker") || w.git.File("fleet", "main", file) != manifest("checkout:1") {
		t.Error("the branch is not the quicker commit with the revert on top")
	}
}

func TestRaceThatSolvesIt(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.git.OnPush(func() { w.git.Commit("fleet", "main", "fix", map[string]string{file: manifest("checkout:3")}) })
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertNotNeeded, metav1.ConditionTrue, revisionOf(t, "checkout:3"))
	if w.reverts() != 0 || w.git.File("fleet", "main", file) != manifest("checkout:3") {
		t.Errorf("commits %q", w.subjects())
	}
}

func TestLostAnswerDoesNotPushTwice(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.git.LoseAnswers(1)
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.reverts() != 1 || r.Status.Revert.Commit != w.git.Head("fleet", "main") {
		t.Errorf("commits %q, recorded %s", w.subjects(), r.Status.Revert.Commit)
	}
}

func TestCrashBetweenPushAndStatus(t *testing.T) {
	for name, after := range map[string]func(*world){
		"nothing else happens": func(*world) {},
		"others commit":        func(w *world) { w.git.Commit("fleet", "main", "other", map[string]string{"x": "y"}) },
		// At most one revert per attempt, even if somebody insists on the bad revision.
		"bad again": func(w *world) {
			w.git.Commit("fleet", "main", "again", map[string]string{file: manifest("checkout:2")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail()
			w.beforeStatus = func() error { return errInjected }
			if _, err := w.try(); err == nil {
				t.Fatal("the failed status write went unnoticed")
			}
			pushed := w.git.Head("fleet", "main")
			if w.reverts() != 1 || w.read().Status.Revert.State != v1alpha1.RevertPending {
				t.Fatalf("commits %q", w.subjects())
			}
			after(w)
			w.beforeStatus = nil
			r, _ := w.reconcile()
			expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
			if w.reverts() != 1 || r.Status.Revert.Commit != pushed {
				t.Errorf("commits %q, recorded %s, want %s", w.subjects(), r.Status.Revert.Commit, pushed)
			}
		})
	}
}

func TestStatusOfOthersSurvives(t *testing.T) {
	w := newWorld(t)
	w.fail()
	once := true
	w.beforeStatus = func() error { // the Rollout controller writes between our read and our write
		if once {
			once = false
			r := w.read()
			r.Status.ReadyReplicas = 7
			r.Status.Phase = "Healthy"
			w.status(r)
		}
		return nil
	}
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if r.Status.ReadyReplicas != 7 || r.Status.Phase != "Healthy" || w.reverts() != 1 {
		t.Errorf("readyReplicas %d, phase %q, commits %q", r.Status.ReadyReplicas, r.Status.Phase, w.subjects())
	}
}

func TestAnotherRevertMeanwhileIsNotOverwritten(t *testing.T) {
	w := newWorld(t)
	w.fail()
	once := true
	w.beforeStatus = func() error {
		if once {
			once = false
			r := w.read()
			r.Status.Revert.Attempt = 4
			w.status(r)
		}
		return nil
	}
	if r, _ := w.reconcile(); r.Status.Revert.State != v1alpha1.RevertPending || r.Status.Revert.Attempt != 4 || r.Status.Revert.Commit != "" {
		t.Errorf("revert %+v: the finding was of attempt 3", r.Status.Revert)
	}
}

func TestProtectedBranch(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.git.Protect("fleet", "main", "GH006: Protected branch update failed")
	r, result := w.reconcile()
	expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, "GH006", `branch "main" is protected`, "spec.write.forge.type is not set")
	if result.RequeueAfter != shortestWait || w.reverts() != 0 {
		t.Errorf("next look after %v, commits %q", result.RequeueAfter, w.subjects())
	}
	if diff := cmp.Diff([]string{"Warning RevertFailed Rejected:"}, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	r, _ = w.reconcile() // nobody has done anything
	expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, "GH006")
	w.git.Commit("fleet", "main", "fixed by hand", map[string]string{file: manifest("checkout:1")})
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertNotNeeded, metav1.ConditionTrue)
}

func TestConflictIsForAPerson(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.git.Commit("fleet", "main", "broken", map[string]string{file: "a: [\n"})
	r, result := w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "head cannot be rendered")
	if result.RequeueAfter != watchEvery {
		t.Errorf("next look after %v", result.RequeueAfter)
	}
	w.git.Commit("fleet", "main", "mended", map[string]string{file: manifest("checkout:1")})
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertNotNeeded, metav1.ConditionTrue)
}

func TestARevertIsNotReverted(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "good", map[string]string{file: manifest("checkout:1")})
	w.git.Commit("fleet", "main", "revert(shop/checkout): a -> b\n\nRollback-Id: other\n", map[string]string{file: manifest("checkout:2")})
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	before := w.git.Head("fleet", "main")
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "is itself a revert")
	if w.git.Head("fleet", "main") != before {
		t.Errorf("commits %q", w.subjects())
	}
}

func TestGoodRevisionThatGitNeverHad(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "bad", map[string]string{file: manifest("checkout:2")})
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "no commit with revision "+revisionOf(t, "checkout:1"))
}

func TestHistoryIsDeepenedWhereNeeded(t *testing.T) {
	w := newWorld(t)
	good, bad := w.fail()
	for i := range 60 {
		w.git.Commit("fleet", "main", "unrelated", map[string]string{"apps/other/cm.yaml": configMap(strings.Repeat("x", i+1))})
	}
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if r.Status.Revert.GoodCommit != good || r.Status.Revert.BadCommit != bad {
		t.Errorf("revert %+v", r.Status.Revert)
	}
}

func TestTroubleKeepsItPendingAndHeals(t *testing.T) {
	secret := func(w *world) {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "fleet-write"}}
		s.Data = map[string][]byte{"username": []byte("belay"), "password": []byte("pw")}
		if err := w.env.Client.Create(w.Context(), s); err != nil {
			w.Fatal(err)
		}
	}
	edit := func(change func(*world, *v1alpha1.Repository)) func(*world) {
		return func(w *world) {
			var repo v1alpha1.Repository
			w.get("fleet", &repo)
			change(w, &repo)
			if err := w.env.Client.Update(w.Context(), &repo); err != nil {
				w.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		hurt, heal func(*world)
		says       string
	}{
		"git down": {
			edit(func(_ *world, r *v1alpha1.Repository) { r.Spec.URL = "http://127.0.0.1:1/fleet.git" }),
			edit(func(w *world, r *v1alpha1.Repository) { r.Spec.URL = w.git.URL("fleet") }), "unreachable",
		},
		"not to be written": {
			edit(func(_ *world, r *v1alpha1.Repository) { r.Spec.Write = nil }),
			edit(func(_ *world, r *v1alpha1.Repository) {
				r.Spec.Write = &v1alpha1.RepositoryWrite{Author: v1alpha1.GitAuthor{Name: "Belay", Email: "belay@example.com"}}
			}), "spec.write is not set",
		},
		"secret missing": {
			edit(func(_ *world, r *v1alpha1.Repository) {
				r.Spec.Write.SecretRef = &v1alpha1.LocalReference{Name: "fleet-write"}
			}), secret, `"fleet-write" does not exist`,
		},
		"repository missing": {
			func(w *world) {
				var repo v1alpha1.Repository
				w.get("fleet", &repo)
				if err := w.env.Client.Delete(w.Context(), &repo); err != nil {
					w.Fatal(err)
				}
			}, func(w *world) { w.repository(nil) }, `Repository "fleet" does not exist`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail()
			test.hurt(w)
			r, result := w.reconcile()
			expect(t, r, v1alpha1.RevertPending, metav1.ConditionFalse, test.says)
			if result.RequeueAfter != 2*time.Second {
				t.Errorf("next try after %v", result.RequeueAfter)
			}
			w.now = w.now.Add(time.Hour)
			writes := 0
			w.beforeStatus = func() error { writes++; return nil }
			if _, result = w.reconcile(); result.RequeueAfter != longestRetry || writes != 0 {
				t.Errorf("after an hour: next try after %v, %d writes of the same trouble", result.RequeueAfter, writes)
			}
			test.heal(w)
			r, _ = w.reconcile()
			expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
		})
	}
}

func TestGoodCommitIsNoted(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "one", map[string]string{file: manifest("checkout:1")})
	good := w.git.Commit("fleet", "main", "comment", map[string]string{"apps/other/cm.yaml": configMap("1")})
	w.repository(nil)
	w.rollout("checkout:1", "checkout:1")
	if r, _ := w.reconcile(); r.Status.Stable.Commit != good || r.Status.Revert != nil {
		t.Errorf("stable commit %q, want %q", r.Status.Stable.Commit, good)
	}
}

func TestGoodCommitIsLookedForAgainOnlyWhenTheBranchMoved(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "two", map[string]string{file: manifest("checkout:2")})
	w.repository(nil)
	w.rollout("checkout:1", "checkout:1")
	w.reconcile()
	good := w.git.Commit("fleet", "main", "one", map[string]string{file: manifest("checkout:1")})
	if r, _ := w.reconcile(); r.Status.Stable.Commit != "" {
		t.Fatal("looked although the Repository's commit is the same")
	}
	w.seen()
	if r, _ := w.reconcile(); r.Status.Stable.Commit != good {
		t.Errorf("stable commit %q, want %q", r.Status.Stable.Commit, good)
	}
}

func TestGoodCommitIsNotWrittenOntoAnotherRevision(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "one", map[string]string{file: manifest("checkout:1")})
	w.repository(nil)
	w.rollout("checkout:1", "checkout:1")
	once := true
	w.beforeStatus = func() error {
		if once {
			once = false
			r := w.read()
			r.Status.Stable.Revision = "another"
			w.status(r)
		}
		return nil
	}
	if r, _ := w.reconcile(); r.Status.Stable.Commit != "" {
		t.Errorf("stable %+v", r.Status.Stable)
	}
}

func TestNothingToDoTouchesNothing(t *testing.T) {
	w := newWorld(t)
	r := w.rollout("checkout:1", "checkout:1")
	base := r.DeepCopy()
	r.Spec.OnFailure.Revert = nil
	if err := w.env.Client.Patch(t.Context(), r, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	w.beforeStatus = func() error { t.Error("status was written"); return nil }
	if _, result := w.reconcile(); result.RequeueAfter != 0 {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
}
