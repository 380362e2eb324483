package e2e

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// bad is a release of which one answer in twenty is an error.
var bad = stage.Release("v1", "v3", "0.05")

func TestBadVersionIsTakenBackInClusterAndGit(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{git: true})
	s.release("checkout: version 3", bad)
	s.await("version 3 to be exposed", exposed(2))
	s.release("checkout: say why", func(text string) string {
		return strings.ReplaceAll(text, "evening peak", "evening peak of Black Friday")
	})
	ro := s.awaitOutcome(2, v1alpha1.OutcomeRolledBack)
	if h := ro.Status.History[0]; h.Reason != "AnalysisFailed" || h.MaxWeight != 10 {
		t.Errorf("version 3 fell for %s at weight %d, want AnalysisFailed at 10: %s", h.Reason, h.MaxWeight, h.Message)
	}
	text := s.reverted().Files[path.Join(folder, "rollout.yaml")]
	for _, want := range []string{"evening peak of Black Friday", "# What this build calls itself", "image: sample:v1"} {
		if !strings.Contains(text, want) {
			t.Errorf("after the revert rollout.yaml lacks %q:\n%s", want, text)
		}
	}
	s.answeredBy(s.finish("v3"), "v1")
	s.restored()
	s.retold(ro)
}

// retold fails the test unless the audit alone tells the story of the bad version: its commit, the attempt, the verdict, the halt,
// and the commit that took it back.
func (s *scene) retold(ro *v1alpha1.Rollout) {
	s.t.Helper()
	history, err := s.fleet.History(s.t.Context())
	s.must(err)
	back := history.Reverts()[0]
	var bad, first string
	for _, c := range history.Commits {
		switch c.Message {
		case "checkout: version 3":
			bad = c.SHA
		case "checkout: version 1":
			first = c.SHA
		}
	}
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: s.app.Namespace, Name: name} }
	want := stage.Retold{Attempt: "attempt 2", Revision: ro.Status.History[0].Revision, Commit: bad, Steps: []string{"first"}, Verdict: "AnalysisFailed", Run: name + "-2",
		Halted: true, Outcome: "RolledBack", Revert: back.SHA, Reverted: bad, Restored: first}
	s.must(stage.Poll(s.t.Context(), "the audit to tell the story", limit, func(context.Context) error {
		stream, err := bed.ReadAudit()
		if err != nil {
			return err
		}
		told, err := stream.Retell(stage.Place{Rollout: key(name), Sync: key("shop"), Repository: key("fleet")})
		if err == nil && !cmp.Equal(want, told[len(told)-1]) {
			err = fmt.Errorf("(-want +got):\n%s", cmp.Diff(want, told[len(told)-1]))
		}
		return err
	}))
}

func TestProtectedBranchLeavesAClearCondition(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{git: true})
	s.release("checkout: version 3", bad)
	s.await("version 3 to be exposed", exposed(2))
	s.must(s.fleet.Protect())
	s.awaitOutcome(2, v1alpha1.OutcomeRolledBack)
	ro := s.await("the push to be refused", func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Revert != nil && ro.Status.Revert.State == v1alpha1.RevertRejected
	}).Rollout
	if status, _, message := stage.Condition(ro, v1alpha1.ConditionReverted); status != "False" || !strings.Contains(message, "protected branch") {
		t.Errorf("condition Reverted is %s: %q, want False with the server's reason", status, message)
	}
	s.answeredBy(s.finish("v3"), "v1")
	s.restored()
	history, err := s.fleet.History(t.Context())
	s.must(err)
	if n := len(history.Reverts()); n != 0 {
		t.Errorf("%d reverts are on the protected branch", n)
	}
}

func TestLostPushRace(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{git: true})
	s.release("checkout: version 3", bad)
	s.await("version 3 to be exposed", exposed(2))
	s.must(s.fleet.Race("Belay"))
	stop, pushed := make(chan struct{}), make(chan error, 1)
	var commits []string
	go func() { pushed <- s.write(stop, &commits) }()
	s.await("the revert to be pushed", func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Revert != nil && ro.Status.Revert.FinishedAt != nil
	})
	close(stop)
	s.must(<-pushed)
	history := s.reverted()
	for _, sha := range commits {
		if _, there := history.Find(sha); !there {
			t.Errorf("commit %s was pushed and is no longer on the branch", sha)
		}
	}
	log, err := os.ReadFile(belay.Log)
	s.must(err)
	lost := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, s.app.Namespace) && strings.Contains(line, "branch has moved") {
			lost++
		}
	}
	if lost == 0 {
		t.Error("Belay lost no race: nothing was shown")
	}
	if between := slices.IndexFunc(history.Commits, func(l stage.Logged) bool { return l.Message == "other: just before" }); between < 0 {
		t.Error("the commit that won the race is no longer on the branch")
	}
	t.Logf("%d commits were pushed meanwhile; Belay lost %d races", len(commits), lost)
	s.answeredBy(s.finish("v3"), "v1")
}

// write pushes a commit a second until told to stop.
func (s *scene) write(stop <-chan struct{}, commits *[]string) error {
	pace := time.NewTicker(time.Second)
	defer pace.Stop()
	for i := 1; ; i++ {
		select {
		case <-stop:
			return nil
		case <-pace.C:
		}
		sha, err := s.fleet.Commit(s.t.Context(), stage.Commit{Author: "Linus", Message: fmt.Sprintf("other: note %d", i),
			Files: map[string]string{"apps/other/note.txt": fmt.Sprintln(i, time.Now())}})
		if err != nil {
			return err
		}
		*commits = append(*commits, sha)
	}
}

// TestCrash is not parallel: it kills the one Belay.
func TestCrash(t *testing.T) {
	s := newScene(t, plan{git: true})
	s.release("checkout: version 2", stage.Release("v1", "v2", ""))
	s.await("the middle of the first step", at(2, 0))
	s.crash()
	s.await("the promotion to be under way", in(v1alpha1.StageSwitching, v1alpha1.StageRetiring, v1alpha1.StageReturning))
	s.crash()
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	s.release("checkout: version 3", stage.Release("v2", "v3", "0.05"))
	s.await("the verdict", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil && ro.Status.Attempt.Verdict != nil })
	s.crash()
	s.awaitOutcome(3, v1alpha1.OutcomeRolledBack)
	s.reverted()
	s.answeredBy(s.finish("v3"), "v2")
	s.restored()
}

// crash kills Belay without warning, and starts it again.
func (s *scene) crash() {
	s.t.Helper()
	s.must(belay.Kill())
	s.must(belay.Start(s.t.Context()))
}
