package revert

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
)

// others adds commits of others to main, the first at a time and each next one later by a step.
func (w *world) others(n int, from time.Time, step time.Duration) {
	w.Helper()
	var in strings.Builder
	for i := range n {
		content := configMap(fmt.Sprint(from.Unix(), i))
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata 5\nother\n", from.Add(time.Duration(i)*step).Unix())
		if i == 0 {
			in.WriteString("from refs/heads/main^0\n")
		}
		fmt.Fprintf(&in, "M 100644 inline apps/other/cm.yaml\ndata %d\n%s\n", len(content), content)
	}
	command := exec.Command("git", "--git-dir", w.git.Dir("fleet"), "fast-import", "--quiet")
	command.Stdin = strings.NewReader(in.String())
	if out, err := command.CombinedOutput(); err != nil {
		w.Fatalf("git fast-import: %v: %s", err, out)
	}
}

// bump commits an image as a bot would.
func (w *world) bump(image string, at time.Time) {
	w.Helper()
	w.git.At(at)
	w.git.Commit("fleet", "main", "bump", map[string]string{file: manifest(image)})
	w.git.At(time.Time{})
}

// earlier commits reverts of this workload, made before.
func (w *world) earlier(n int, at time.Time) {
	w.Helper()
	for i := range n {
		w.bump(fmt.Sprintf("checkout:9%d", i), at)
		w.git.At(at)
		message := revert.Message(revert.MessageInput{Workload: revert.Workload{Namespace: w.env.Namespace, Kind: "Rollout", Name: "checkout"},
			ID: fmt.Sprintf("earlier-%d", i), Attempt: int64(i + 1), BadRevision: "b", GoodRevision: "g", BadCommit: strings.Repeat("a", 40), GoodCommit: strings.Repeat("b", 40)})
		w.git.Commit("fleet", "main", message, map[string]string{file: manifest("checkout:1")})
		w.git.At(time.Time{})
	}
}

// TestG30_TheHourlyLimitHoldsOnABusyBranch: what is counted lies beneath more commits of others than are fetched at first.
func TestG30_TheHourlyLimitHoldsOnABusyBranch(t *testing.T) {
	for name, test := range map[string]struct {
		ago  time.Duration
		want v1alpha1.RevertState
	}{
		"within the hour": {40 * time.Minute, v1alpha1.RevertSuspended},
		"before it":       {80 * time.Minute, v1alpha1.RevertPushed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.bump("checkout:1", w.now.Add(-3*time.Hour))
			w.earlier(perHour, w.now.Add(-test.ago))
			w.others(120, w.now.Add(-30*time.Minute), 10*time.Second)
			w.bump("checkout:2", w.now)
			w.repository(nil)
			w.pending("checkout:2", "checkout:1")
			r, _ := w.reconcile()
			if r.Status.Revert.State != test.want {
				t.Errorf("%+v", r.Status.Revert)
			}
		})
	}
}

// TestG30_OneCommitPerAttemptOnABusyBranch: the process died after its push; before it is back, others have committed more than is
// fetched at first, and a bot has brought the bad revision again. The attempt has had its commit.
func TestG30_OneCommitPerAttemptOnABusyBranch(t *testing.T) {
	for name, test := range map[string]struct {
		asked time.Duration // ago
		step  time.Duration
	}{
		"many in minutes":                         {time.Minute, time.Second / 2},
		"asked long ago, and the hour is fetched": {2 * time.Hour, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.bump("checkout:1", w.now.Add(-4*time.Hour))
			w.bump("checkout:2", w.now.Add(-3*time.Hour))
			w.repository(nil)
			w.pending("checkout:2", "checkout:1")
			asked := w.now.Add(-test.asked)
			r := w.read()
			r.Status.Revert.RequestedAt = metav1.NewTime(asked)
			w.status(r)
			w.beforeStatus = func() error { return errInjected }
			if _, err := w.try(); err == nil {
				t.Fatal("the status was written")
			}
			w.beforeStatus = nil
			if w.reverts() != 1 {
				t.Fatalf("commits %q", w.subjects())
			}
			w.others(59, asked.Add(test.step), test.step)
			w.bump("checkout:2", w.now)
			r, _ = w.restarted().reconcile()
			expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
			if w.reverts() != 1 {
				t.Errorf("%d reverts of one attempt", w.reverts())
			}
		})
	}
}

// TestG30_AnOldRequestNeedsNoMoreHistory: refused for days, and the bad revision was there all the time: nothing was reverted meanwhile.
func TestG30_AnOldRequestNeedsNoMoreHistory(t *testing.T) {
	w := newWorld(t)
	w.bump("checkout:1", w.now.Add(-30*24*time.Hour))
	w.others(20, w.now.Add(-20*24*time.Hour), time.Minute)
	w.bump("checkout:2", w.now.Add(-10*24*time.Hour))
	w.others(45, w.now.Add(-9*24*time.Hour), time.Hour)
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	r := w.read()
	r.Status.Revert.RequestedAt = metav1.NewTime(w.now.Add(-9 * 24 * time.Hour))
	w.status(r)
	before := w.git.Requests()
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if asked := w.git.Requests() - before; asked > 4 { // two for the fetch, two for the push
		t.Errorf("%d requests", asked)
	}
}

// TestG30_ABranchThatIsTooBusyIsForPeople: the hour does not fit into what is looked through.
func TestG30_ABranchThatIsTooBusyIsForPeople(t *testing.T) {
	for name, test := range map[string]struct {
		strategy v1alpha1.RevertStrategy
		want     v1alpha1.RevertState
	}{
		"a pull request": {v1alpha1.StrategyPushThenPullRequest, v1alpha1.RevertProposed},
		"none":           {v1alpha1.StrategyPush, v1alpha1.RevertConflict},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.bump("checkout:1", w.now.Add(-3*time.Hour))
			w.others(2100, w.now.Add(-50*time.Minute), time.Second)
			w.bump("checkout:2", w.now)
			w.repository(nil)
			w.pending("checkout:2", "checkout:1")
			w.forge("Gitea", test.strategy)
			r, _ := w.reconcile()
			expect(t, r, test.want, metav1.ConditionFalse, "do not reach back to")
			if w.reverts() != 0 {
				t.Errorf("commits %q", w.subjects()[:3])
			}
		})
	}
}
