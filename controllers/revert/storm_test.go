package revert

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
)

// app is one of many workloads of a branch.
func app(i int, image string) string {
	name := fmt.Sprintf("app-%d", i)
	return strings.NewReplacer("{name: checkout}", "{name: "+name+"}", "path: apps/checkout", "path: apps/"+name).Replace(manifest(image))
}

func appFile(i int) string { return fmt.Sprintf("apps/app-%d/rollout.yaml", i) }

// failAll makes the world in which n workloads were good, then bad, and all have failed at once.
func (w *world) failAll(n int) {
	w.Helper()
	good, bad := map[string]string{}, map[string]string{}
	for i := range n {
		good[appFile(i)], bad[appFile(i)] = app(i, "checkout:1"), app(i, "checkout:2")
	}
	w.git.Commit("fleet", "main", "good", good)
	w.git.Commit("fleet", "main", "bad", bad)
	w.repository(nil)
	at := metav1.NewTime(w.now)
	for i := range n {
		var rollout v1alpha1.Rollout
		if err := yaml.Unmarshal([]byte(app(i, "checkout:2")), &rollout); err != nil {
			w.Fatal(err)
		}
		rollout.Namespace = w.env.Namespace
		rollout.UID = types.UID(fmt.Sprint("uid-", i)) // a real API server gives its own
		if err := w.env.Client.Create(w.Context(), &rollout); err != nil {
			w.Fatal(err)
		}
		rollout.Status.Revert = &v1alpha1.RevertStatus{Attempt: 3, State: v1alpha1.RevertPending, RequestedAt: at,
			Bad: hashOf(w.T, app(i, "checkout:2")), Good: hashOf(w.T, app(i, "checkout:1"))}
		w.status(&rollout)
	}
}

// reconcilers are several managers that all believe to lead, each with a memory of its own.
func (w *world) reconcilers(n int) []*Reconciler {
	var out []*Reconciler
	for range n {
		r := &Reconciler{Client: w.r.Client, Reader: w.r.Reader, Source: w.r.Source, Recorder: w.events, Version: "v0", Now: w.r.Now}
		out = append(out, r)
	}
	return out
}

// TestStormOf16WritersOnOneBranch: 16 reverts at once by each of two leaders, while people go on committing, on a real Git
// server: none is lost, none is made twice, and nobody's commit is lost.
func TestStormOf16WritersOnOneBranch(t *testing.T) {
	const writers, leaders, people = 16, 2, 8
	w := newWorld(t)
	w.failAll(writers)
	managers := w.reconcilers(leaders)
	var group sync.WaitGroup
	for i := range writers {
		for _, r := range managers {
			group.Go(func() {
				key := client.ObjectKey{Namespace: w.env.Namespace, Name: fmt.Sprintf("app-%d", i)}
				for range 20 { // as the work queue does after trouble
					if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
						continue // the other leader was quicker with the status
					}
					var rollout v1alpha1.Rollout
					if err := w.env.Client.Get(t.Context(), key, &rollout); err == nil && rollout.Status.Revert.State != v1alpha1.RevertPending {
						return
					}
				}
			})
		}
	}
	group.Go(func() {
		for i := range people {
			w.git.TryCommit("fleet", "main", "by a person", map[string]string{fmt.Sprintf("docs/%d", i): "x"})
		}
	})
	group.Wait()
	seen := map[string]int{}
	for _, message := range strings.Split(w.git.Git("fleet", "log", "--format=%B%x00", "main"), "\x00") {
		for _, id := range revert.ParseTrailers(message)[revert.TrailerID] {
			seen[id]++
		}
	}
	for i := range writers {
		var rollout v1alpha1.Rollout
		w.get(fmt.Sprintf("app-%d", i), &rollout)
		due := rollout.Status.Revert
		if due.State != v1alpha1.RevertPushed || seen[due.ID] != 1 {
			t.Errorf("app-%d: state %s (%s), %d commits", i, due.State, due.Message, seen[due.ID])
		}
		if got := w.git.File("fleet", "main", appFile(i)); got != app(i, "checkout:1") {
			t.Errorf("app-%d is not good:\n%s", i, got)
		}
	}
	if got := strings.Count(strings.Join(w.subjects(), "\n"), "by a person"); got != people {
		t.Errorf("%d of %d commits of people are there", got, people)
	}
	if len(seen) != writers {
		t.Errorf("%d different reverts, want %d", len(seen), writers)
	}
	w.git.Git("fleet", "fsck", "--strict")
	t.Logf("%d writers, %d leaders: %d reverts in %d pushes", writers, leaders, len(seen), w.git.Pushes())
}

// What comes in while a push is under way is pushed together.
func TestRevertsOfOneBranchArePushedTogether(t *testing.T) {
	w := newWorld(t)
	w.failAll(6)
	reconcile := func(group *sync.WaitGroup, i int) {
		group.Go(func() {
			key := client.ObjectKey{Namespace: w.env.Namespace, Name: fmt.Sprintf("app-%d", i)}
			if _, err := w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
				t.Error(err)
			}
		})
	}
	var group sync.WaitGroup
	w.git.OnPush(func() { // the first is under way
		for i := 1; i < 6; i++ {
			reconcile(&group, i)
		}
		for w.r.writers.queued() < 5 {
			if t.Context().Err() != nil {
				return
			}
		}
	})
	reconcile(&group, 0)
	group.Wait()
	if w.reverts() != 6 || w.git.Pushes() != 2 {
		t.Errorf("%d reverts in %d pushes, want 6 in 2", w.reverts(), w.git.Pushes())
	}
	for i := range 6 {
		if w.git.File("fleet", "main", appFile(i)) != app(i, "checkout:1") {
			t.Errorf("app-%d is not good", i)
		}
	}
}

func (w *writers) queued() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, jobs := range w.waiting {
		n += len(jobs)
	}
	return n
}

// TestLeaderKilledAtEveryStep: whatever step the leader dies at, and whatever others commit before the next one looks,
// there is exactly one commit.
func TestLeaderKilledAtEveryStep(t *testing.T) {
	for step, arm := range map[string]func(w *world, kill func()){
		"before it begins":             func(_ *world, kill func()) { kill() },
		"before the push reaches git":  func(w *world, kill func()) { w.git.OnPush(kill) },
		"after git has taken the push": func(w *world, kill func()) { w.git.LoseAnswers(1); w.git.OnPush(kill) },
		"before the status is written": func(w *world, kill func()) { w.beforeStatus = func() error { kill(); return errInjected } },
		"after a first lost race": func(w *world, kill func()) {
			w.git.OnPush(func() {
				w.git.Commit("fleet", "main", "quicker", map[string]string{"x": "y"})
				w.git.OnPush(kill)
			})
		},
	} {
		for after, others := range map[string]func(*world){
			"nothing":   func(*world) {},
			"unrelated": func(w *world) { w.git.Commit("fleet", "main", "unrelated", map[string]string{"a": "b"}) },
			"a comment": func(w *world) {
				now := w.git.File("fleet", "main", file)
				w.git.Commit("fleet", "main", "comment", map[string]string{file: "# edited\n" + now})
			},
		} {
			t.Run(step+", then "+after, func(t *testing.T) {
				w := newWorld(t)
				w.fail()
				ctx, kill := context.WithCancel(t.Context())
				arm(w, kill)
				_, _ = w.r.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: w.env.Namespace, Name: "checkout"}})
				kill()
				w.git.Settle()
				w.beforeStatus = nil
				others(w)
				w.r = w.reconcilers(1)[0]
				r, _ := w.reconcile()
				expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
				w.reconcile()
				if w.reverts() != 1 || !strings.Contains(w.git.File("fleet", "main", file), "checkout:1 # bumped") {
					t.Errorf("commits %q", w.subjects())
				}
			})
		}
	}
}

// TestG24_GitDownDuringTheRollback: the revert is asked for only once the cluster is safe, waits for Git, and lands.
func TestG24_GitDownDuringTheRollback(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.git.Down(true)
	for range 3 {
		r, result := w.reconcile()
		expect(t, r, v1alpha1.RevertPending, metav1.ConditionFalse)
		if result.RequeueAfter <= 0 {
			t.Fatal("it is not tried again")
		}
	}
	w.git.Down(false)
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.reverts() != 1 {
		t.Errorf("commits %q", w.subjects())
	}
}

// TestBotBumpsTheBadImageAgain: the revert of an attempt is made once. Whoever brings the bad revision back, and however
// often, there is no second revert, no second alert, and no loop; the Rollout controller holds the revision in quarantine.
func TestBotBumpsTheBadImageAgain(t *testing.T) {
	w := newWorld(t)
	w.fail()
	w.reconcile()
	if told := w.told(); len(told) != 1 {
		t.Fatalf("told %q", told)
	}
	for i := range 3 {
		again := manifest("checkout:2")
		if i == 1 { // its author, with a remark
			again = "# it was not that\n" + again
		}
		w.git.Commit("fleet", "main", "bump", map[string]string{file: again})
		w.seen()
		r, result := w.reconcile()
		expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
		if told := w.told(); w.reverts() != 1 || len(told) != 0 || result.RequeueAfter != 0 {
			t.Errorf("commits %q, told %q, next look after %v", w.subjects(), told, result.RequeueAfter)
		}
	}
}
