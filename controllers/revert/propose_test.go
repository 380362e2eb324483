package revert

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/forge/forgetest"
	"github.com/belay-delivery/belay/gitops/revert"
)

const protected = "GH006: Protected branch update failed for refs/heads/main."

// forge adds a forge of a kind to a world whose attempt has failed.
func (w *world) forge(kind string, strategy v1alpha1.RevertStrategy) *forgetest.Server {
	w.Helper()
	f := forgetest.New(w.T, kind)
	f.Serve("fleet")
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "forge"}}
	s.Data = map[string][]byte{"token": []byte(forgetest.Token + "\n")}
	if err := w.env.Client.Create(w.Context(), s); err != nil {
		w.Fatal(err)
	}
	w.edit(func(repo *v1alpha1.Repository) {
		repo.Spec.Write.Strategy = strategy
		repo.Spec.Write.Forge = &v1alpha1.Forge{Type: v1alpha1.ForgeType(kind), APIURL: f.API(), SecretRef: &v1alpha1.LocalReference{Name: "forge"}}
	})
	return f
}

// edit changes the Repository.
func (w *world) edit(change func(*v1alpha1.Repository)) {
	w.Helper()
	var repo v1alpha1.Repository
	w.get("fleet", &repo)
	change(&repo)
	if err := w.env.Client.Update(w.Context(), &repo); err != nil {
		w.Fatal(err)
	}
}

// merge puts the pull request's branch onto main as a forge does: with a merge commit, or squashed into one.
func (w *world) merge(branch string, squash bool) string {
	w.Helper()
	args := []string{"-c", "user.name=Forge", "-c", "user.email=forge@example.com", "commit-tree", "-m", "Merge pull request", "-p", "main"}
	if !squash {
		args = append(args, "-p", branch)
	}
	commit := strings.TrimSpace(w.git.Git("fleet", append(args, branch+"^{tree}")...))
	w.git.Git("fleet", "update-ref", "refs/heads/main", commit)
	return commit
}

func (w *world) branches() []string {
	w.Helper()
	return strings.Fields(w.git.Git("fleet", "for-each-ref", "--format=%(refname:short)", "refs/heads/rollback"))
}

func everyForge(t *testing.T, test func(*testing.T, string)) {
	for _, kind := range []string{"GitHub", "GitLab", "Gitea"} {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// TestG28_ProtectedBranchIsRoutedToPeople: the protected branch is left alone, the revert is proposed once, and merged it
// is done.
func TestG28_ProtectedBranchIsRoutedToPeople(t *testing.T) {
	everyForge(t, func(t *testing.T, kind string) {
		w := newWorld(t)
		w.fail()
		f := w.forge(kind, v1alpha1.StrategyPushThenPullRequest)
		w.git.Protect("fleet", "main", protected)
		r, result := w.reconcile()
		expect(t, r, v1alpha1.RevertProposed, metav1.ConditionFalse, "pull request 1 waits for people", "GH006")
		due := r.Status.Revert
		branch := "rollback/" + due.ID
		if diff := cmp.Diff([]string{branch}, w.branches()); diff != "" {
			t.Fatalf("branches (-want +got):\n%s", diff)
		}
		if w.git.File("fleet", branch, file) != manifest("checkout:1") || w.reverts() != 0 || result.RequeueAfter != watchEvery {
			t.Errorf("next look after %v, commits %q", result.RequeueAfter, w.subjects())
		}
		pull := f.Pulls()[0]
		if !strings.HasPrefix(pull.Title, "revert(") || pull.Branch != branch || pull.Base != "main" ||
			!strings.Contains(pull.Body, revert.TrailerID+": "+due.ID) || !strings.Contains(pull.Body, "GH006") {
			t.Errorf("pull request %+v", pull)
		}
		if p := due.PullRequest; p == nil || p.Number != 1 || p.URL == "" || p.Branch != branch || p.State != v1alpha1.PullRequestOpen {
			t.Errorf("status %+v", p)
		}
		if diff := cmp.Diff([]string{"Normal RevertProposed Proposed:"}, w.told()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		w.reconcile() // nobody has done anything
		if created, _ := f.Counts(); created != 1 || len(w.told()) != 0 {
			t.Errorf("%d created", created)
		}
		merged := w.merge(branch, kind == "GitLab")
		f.Set(1, "merged", merged)
		r, _ = w.reconcile()
		expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue, "was merged")
		if r.Status.Revert.Commit != merged || r.Status.Revert.PullRequest.State != v1alpha1.PullRequestMerged {
			t.Errorf("status %+v", r.Status.Revert)
		}
	})
}

// TestAPullRequestMergedByRebase: the revert's own commit is on the branch, and status says that its pull request was merged.
func TestAPullRequestMergedByRebase(t *testing.T) {
	w := newWorld(t)
	w.fail()
	f := w.forge("Gitea", v1alpha1.StrategyPullRequest)
	r, _ := w.reconcile()
	branch := "rollback/" + r.Status.Revert.ID
	w.git.Git("fleet", "update-ref", "refs/heads/main", "refs/heads/"+branch)
	f.Set(1, "merged", w.git.Head("fleet", branch))
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if due := r.Status.Revert; due.PullRequest.State != v1alpha1.PullRequestMerged || due.Commit != w.git.Head("fleet", "main") {
		t.Errorf("status %+v, %+v", due, due.PullRequest)
	}
}

// A human said no: that is respected, also when Belay comes back with no memory of it, and what Git says later counts.
func TestClosedPullRequestIsRespected(t *testing.T) {
	everyForge(t, func(t *testing.T, kind string) {
		w := newWorld(t)
		w.fail()
		f := w.forge(kind, v1alpha1.StrategyPullRequest)
		w.reconcile()
		f.Set(1, "closed", "")
		r, _ := w.reconcile()
		expect(t, r, v1alpha1.RevertDeclined, metav1.ConditionFalse, "closed without a merge")
		r.Status.Revert.State, r.Status.Revert.PullRequest = v1alpha1.RevertPending, nil
		w.status(r)
		r, _ = w.reconcile()
		expect(t, r, v1alpha1.RevertDeclined, metav1.ConditionFalse)
		if created, refused := f.Counts(); created != 1 || refused != 0 {
			t.Errorf("%d created, %d refused", created, refused)
		}
		f.Set(1, "open", "") // second thoughts
		r, _ = w.reconcile()
		expect(t, r, v1alpha1.RevertProposed, metav1.ConditionFalse)
		f.Set(1, "closed", "")
		w.git.Commit("fleet", "main", "fixed otherwise", map[string]string{file: manifest("checkout:3")})
		r, _ = w.reconcile()
		expect(t, r, v1alpha1.RevertNotNeeded, metav1.ConditionTrue, revisionOf(t, "checkout:3"))
	})
}

// TestG30_OnePullRequestAcrossCrashes: killed after each step of the protocol, there is one branch and one pull request.
func TestG30_OnePullRequestAcrossCrashes(t *testing.T) {
	everyForge(t, func(t *testing.T, kind string) {
		for name, hurt := range map[string]func(*world, *forgetest.Server){
			"answer of the creation lost": func(_ *world, f *forgetest.Server) { f.LoseAnswers(1) },
			"forge down":                  func(_ *world, f *forgetest.Server) { f.Break(1) },
			"forge down after the branch": func(w *world, f *forgetest.Server) { w.git.OnPush(func() { f.Break(1) }) },
			"answer of the push lost":     func(w *world, _ *forgetest.Server) { w.git.LoseAnswers(1) },
			"status not written": func(w *world, _ *forgetest.Server) {
				w.beforeStatus = func() error { w.beforeStatus = nil; return errInjected }
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				w.fail()
				f := w.forge(kind, v1alpha1.StrategyPullRequest)
				hurt(w, f)
				_, _ = w.try()
				// Before the next try the branch moves on, so that the same revert would now be another commit.
				w.git.Commit("fleet", "main", "unrelated", map[string]string{"apps/other/cm.yaml": configMap("2")})
				r, _ := w.reconcile()
				expect(t, r, v1alpha1.RevertProposed, metav1.ConditionFalse)
				if created, _ := f.Counts(); created != 1 || len(w.branches()) != 1 {
					t.Errorf("%d created, branches %v", created, w.branches())
				}
			})
		}
	})
}

func TestStrategies(t *testing.T) {
	for name, test := range map[string]struct {
		repository, rollout v1alpha1.RevertStrategy
		protected           bool
		want                v1alpha1.RevertState
		branches            int
	}{
		"push":                             {repository: v1alpha1.StrategyPush, want: v1alpha1.RevertPushed},
		"push, protected":                  {repository: v1alpha1.StrategyPush, protected: true, want: v1alpha1.RevertRejected},
		"either":                           {repository: v1alpha1.StrategyPushThenPullRequest, want: v1alpha1.RevertPushed},
		"unset":                            {want: v1alpha1.RevertPushed},
		"unset, protected":                 {protected: true, want: v1alpha1.RevertProposed, branches: 1},
		"pull request":                     {repository: v1alpha1.StrategyPullRequest, want: v1alpha1.RevertProposed, branches: 1},
		"the Rollout insists on people":    {repository: v1alpha1.StrategyPush, rollout: v1alpha1.StrategyPullRequest, want: v1alpha1.RevertProposed, branches: 1},
		"the Rollout insists on the push":  {repository: v1alpha1.StrategyPullRequest, rollout: v1alpha1.StrategyPush, want: v1alpha1.RevertPushed},
		"the Rollout's push, but not here": {repository: v1alpha1.StrategyPullRequest, rollout: v1alpha1.StrategyPush, protected: true, want: v1alpha1.RevertRejected},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail()
			w.forge("GitHub", test.repository)
			if test.rollout != "" {
				r := w.read()
				r.Spec.OnFailure.Revert.Strategy = test.rollout
				if err := w.env.Client.Update(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			if test.protected {
				w.git.Protect("fleet", "main", protected)
			}
			r, _ := w.reconcile()
			if r.Status.Revert.State != test.want || len(w.branches()) != test.branches {
				t.Errorf("state %s, branches %v, want %s and %d: %s", r.Status.Revert.State, w.branches(), test.want, test.branches, r.Status.Revert.Message)
			}
		})
	}
}

func TestNeitherBranchMayBePushed(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.forge("Gitea", v1alpha1.StrategyPushThenPullRequest)
	w.git.ProtectAll("fleet", "remote: You are not allowed to push code to this project.")
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, "nor may branch rollback/", "not allowed to push")
}

func TestABranchOfOthersIsNotTaken(t *testing.T) {
	w := newWorld(t)
	w.fail()
	f := w.forge("GitHub", v1alpha1.StrategyPullRequest)
	r := w.read()
	r.Status.Revert.ID = "abc"
	w.status(r)
	theirs := w.git.Commit("fleet", "rollback/abc", "mine", map[string]string{"x": "y"})
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertRejected, metav1.ConditionFalse, "is not this revert")
	if w.git.Head("fleet", "rollback/abc") != theirs || len(f.Pulls()) != 0 {
		t.Error("the branch of somebody else was touched")
	}
}

func TestForgeTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world, *v1alpha1.Repository)
		state  v1alpha1.RevertState
		says   string
	}{
		"missing secret": {func(_ *world, r *v1alpha1.Repository) { r.Spec.Write.Forge.SecretRef.Name = "nowhere" },
			v1alpha1.RevertRejected, `reading Secret "nowhere" of spec.write.forge.secretRef`},
		"wrong token": {func(w *world, _ *v1alpha1.Repository) { w.secret("forge", "token", "wrong-token-987") }, v1alpha1.RevertPending, "HTTP status 401"},
		"empty token": {func(w *world, _ *v1alpha1.Repository) { w.secret("forge", "token", " ") }, v1alpha1.RevertRejected, `set its key "token"`},
		"bad CA":      {func(w *world, _ *v1alpha1.Repository) { w.secret("forge", "ca.crt", "x") }, v1alpha1.RevertRejected, "holds no PEM certificate"},
		"not there": {func(_ *world, r *v1alpha1.Repository) { r.Spec.Write.Forge.APIURL = "http://127.0.0.1:1" },
			v1alpha1.RevertPending, "asking GitHub at 127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail()
			w.forge("GitHub", v1alpha1.StrategyPullRequest)
			w.edit(func(repo *v1alpha1.Repository) { test.change(w, repo) })
			r, _ := w.reconcile()
			expect(t, r, test.state, metav1.ConditionFalse, test.says)
			text := fmt.Sprint(r.Status) + strings.Join(w.told(), "")
			if strings.Contains(text, "wrong-token") || strings.Contains(text, forgetest.Token) {
				t.Errorf("a token is shown: %s", text)
			}
		})
	}
}

func (w *world) secret(name, key, value string) {
	w.Helper()
	var s corev1.Secret
	w.get(name, &s)
	s.Data[key] = []byte(value)
	if err := w.env.Client.Update(w.Context(), &s); err != nil {
		w.Fatal(err)
	}
}

// TestG10_ConflictIsProposedWithItsPrice: what cannot be reverted without touching another environment is put to people.
func TestG10_ConflictIsProposedWithItsPrice(t *testing.T) {
	shared := func(image string) map[string]string {
		return map[string]string{
			"base/rollout.yaml": manifest(image), "base/kustomization.yaml": "resources: [rollout.yaml]\n",
			"apps/checkout/kustomization.yaml": "resources: [../../base]\n", "staging/kustomization.yaml": "resources: [../base]\n",
		}
	}
	setup := func(t *testing.T) *world {
		w := newWorld(t)
		w.git.Commit("fleet", "main", "good", shared("checkout:1"))
		w.git.Commit("fleet", "main", "bad", shared("checkout:2"))
		w.repository(nil)
		w.pending("checkout:2", "checkout:1")
		return w
	}
	w := setup(t)
	f := w.forge("GitLab", v1alpha1.StrategyPushThenPullRequest)
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertProposed, metav1.ConditionFalse, "folder staging")
	if pull := f.Pulls()[0]; !strings.Contains(pull.Body, "these would change too: folder staging") || w.reverts() != 0 {
		t.Errorf("commits %q, pull request %+v", w.subjects(), pull)
	}
	if w.git.File("fleet", w.branches()[0], "base/rollout.yaml") != manifest("checkout:1") {
		t.Error("the proposal is not known-good")
	}
	for name, prepare := range map[string]func(*world){
		"no forge": func(*world) {},
		"push":     func(w *world) { w.forge("GitLab", v1alpha1.StrategyPush) },
	} {
		t.Run(name, func(t *testing.T) {
			w := setup(t)
			prepare(w)
			r, _ := w.reconcile()
			expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "folder staging")
			if len(w.branches()) != 0 {
				t.Errorf("branches %v", w.branches())
			}
		})
	}
}

// TestG41_ConfigGoesBackWithItsWorkload through the whole controller.
func TestG41_ConfigGoesBackWithItsWorkload(t *testing.T) {
	w := newWorld(t)
	settings := func(timeout string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  timeout: \"" + timeout + "\" # ms\n"
	}
	named := func(image string) string { // revisions are of the manifest without it, so it stays out of status
		return strings.Replace(manifest(image), "        image: "+image, "        envFrom: [{configMapRef: {name: settings}}]\n        image: "+image, 1)
	}
	w.git.Commit("fleet", "main", "good", map[string]string{file: named("checkout:1"), "apps/checkout/settings.yaml": settings("100")})
	w.git.Commit("fleet", "main", "bad", map[string]string{file: named("checkout:2"), "apps/checkout/settings.yaml": settings("9")})
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	r := w.read()
	r.Status.Revert.Bad, r.Status.Revert.Good = hashOf(t, named("checkout:2")), hashOf(t, named("checkout:1"))
	w.status(r)
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.git.File("fleet", "main", file) != named("checkout:1") || w.git.File("fleet", "main", "apps/checkout/settings.yaml") != settings("100") {
		t.Errorf("commit:\n%s", w.git.Git("fleet", "show", "main"))
	}
}
