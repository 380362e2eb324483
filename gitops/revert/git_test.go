package revert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/git/gittest"
)

// TestLostRaceIsRecomputed goes the whole way on a real server: others push
// while the revert is under way, and nothing of theirs is lost.
func TestLostRaceIsRecomputed(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	file := "app/rollout.yaml"
	good := map[string]string{file: rollout, "app/service.yaml": service}
	bad := replace(t, good, file, goodImage, badImage)
	goodCommit := server.Commit("fleet", "main", "good", good)
	badCommit := server.Commit("fleet", "main", "bad", map[string]string{file: bad[file]})
	remote := git.Remote{URL: server.URL("fleet"), Branch: "main"}
	revisions := input(t, good, bad, bad)

	races := 0
	server.OnPush(func() {
		races++
		server.Commit("fleet", "main", "theirs", map[string]string{file: strings.Replace(bad[file], "replicas: 3", "replicas: 9", 1)})
	})
	attempts := 0
	var pushed string
	for pushed == "" {
		attempts++
		repo, err := remote.Fetch(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		in := Input{Path: "app", Workload: checkout, GoodRevision: revisions.GoodRevision, BadRevision: revisions.BadRevision}
		for sha, to := range map[string]*git.Tree{repo.Head(): &in.Head} {
			if *to, err = repo.Tree(sha); err != nil {
				t.Fatal(err)
			}
		}
		if in.Good, err = repo.Tree(goodCommit); err != nil {
			t.Fatal(err)
		}
		if in.Bad, err = repo.Tree(badCommit); err != nil {
			t.Fatal(err)
		}
		result, err := Compose(in)
		if err != nil || result.Outcome != Changes {
			t.Fatalf("%v %s: %s", err, result.Outcome, result.Why)
		}
		message := Message(MessageInput{Workload: checkout, BadRevision: in.BadRevision, GoodRevision: in.GoodRevision, ID: "id", BadCommit: badCommit, GoodCommit: goodCommit})
		commit, err := repo.Write(repo.Head(), result.Changes, git.CommitOptions{Message: message, AuthorName: "Belay", AuthorEmail: "b@example.com", When: time.Unix(1700000000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		err = remote.Push(t.Context(), repo, repo.Head(), commit)
		if err != nil && !errors.Is(err, git.ErrStale) {
			t.Fatal(err)
		}
		if err == nil {
			pushed = commit
		}
	}
	if attempts != 2 || races != 1 {
		t.Errorf("%d attempts, %d races", attempts, races)
	}
	want := strings.Replace(rollout, "replicas: 3", "replicas: 9", 1)
	if got := server.File("fleet", "main", file); got != want {
		t.Errorf("after the revert:\n%s", got)
	}
	trailers := server.Git("fleet", "log", "-1", "--format=%(trailers:key=Rollback-Of,valueonly)", "main")
	if strings.TrimSpace(trailers) != badCommit {
		t.Errorf("git reads the trailer as %q", trailers)
	}
	if got := server.Git("fleet", "rev-list", "--count", "main"); strings.TrimSpace(got) != fmt.Sprint(4) {
		t.Errorf("%s commits", got)
	}

	history, err := remote.Fetch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	log, _, err := history.Log(history.Head(), 100)
	if err != nil {
		t.Fatal(err)
	}
	found, certain, err := History{Log: log, TreeOf: history.Tree}.Introduced(Where{Path: "app", Workload: checkout}, revisions.BadRevision)
	if err != nil || !certain || found.SHA != badCommit {
		t.Errorf("introduced by %s, %v, %v", found.SHA, certain, err)
	}
}
