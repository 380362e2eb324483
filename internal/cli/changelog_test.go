package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/revert"
)

func run(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	streams, _, o, e := genericiooptions.NewTestIOStreams()
	code = Main(t.Context(), args, streams)
	return code, o.String(), e.String()
}

func rollback(name, bad, good string) string {
	return revert.Message(revert.MessageInput{Workload: revert.Workload{Namespace: "shop", Kind: "Rollout", Name: name}, BadRevision: "bbb", GoodRevision: "ggg",
		Explanation: "errors was 0.052, above 0.01", ID: "id-" + name, BadCommit: bad, GoodCommit: good, Reason: "AnalysisFailed",
		Metrics: []string{"errors=0.052"}, Attempt: 3, Actor: "belay", Run: "shop/checkout-3"})
}

// TestG40_ChangelogFromTrailers: every rollback with its rationale, out of Git alone.
func TestG40_ChangelogFromTrailers(t *testing.T) {
	s := gittest.New(t)
	s.Create("fleet")
	s.At(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC))
	good := s.Commit("fleet", "main", "good", map[string]string{"a": "1"})
	bad := s.Commit("fleet", "main", "bad: Rollback-Id is only talked of\n\nRollback-Id\n", map[string]string{"a": "2"})
	s.At(time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC))
	first := s.Commit("fleet", "main", rollback("checkout", bad, good), map[string]string{"a": "1"})
	s.At(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC))
	s.Git("fleet", "update-ref", "refs/heads/side", "main")
	second := s.Commit("fleet", "side", rollback("cart", bad, good), map[string]string{"b": "1"})
	s.At(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	merge := strings.TrimSpace(s.Git("fleet", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit-tree", "-m", "Merge", "-p", "main", "-p", "side", "side^{tree}"))
	s.Git("fleet", "update-ref", "refs/heads/main", merge)

	code, out, errOut := run(t, "changelog", "--dir", s.Dir("fleet"))
	want := "## 2026-03-02\n- 08:00 revert(shop/cart): bbb -> ggg (" + second[:10] + ")\n  errors was 0.052, above 0.01\n" +
		"  AnalysisFailed, errors=0.052, by belay, takes back " + bad[:10] + ", restores " + good[:10] + "\n\n" +
		"## 2026-03-01\n- 12:30 revert(shop/checkout): bbb -> ggg (" + first[:10] + ")\n"
	if code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("exit %d %s\n%s\nwant\n%s", code, errOut, out, want)
	}
	code, out, _ = run(t, "changelog", "checkout", "--dir", s.Dir("fleet"), "-o", "json")
	changes := []change{}
	if err := json.NewDecoder(bytes.NewBufferString(out)).Decode(&changes); err != nil || code != 0 || len(changes) != 1 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	c := changes[0]
	if c.Commit != first || c.Workload != "shop/Rollout/checkout" || c.Trailers[revert.TrailerRun][0] != "shop/checkout-3" || c.Trailers[revert.TrailerOf][0] != bad {
		t.Errorf("%+v", c)
	}
	t.Run("TestG46_ContextOfAPostmortem", func(t *testing.T) {
		for _, name := range []string{revert.TrailerID, revert.TrailerOf, revert.TrailerRestores, revert.TrailerWorkload, revert.TrailerReason, revert.TrailerMetric,
			revert.TrailerRun, revert.TrailerAttempt, revert.TrailerActor} {
			if len(c.Trailers[name]) != 1 {
				t.Errorf("trailer %s: %q", name, c.Trailers[name])
			}
		}
		if c.Why != "errors was 0.052, above 0.01" || c.At.IsZero() {
			t.Errorf("%+v", c)
		}
	})
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"not a clone": {[]string{"--dir", t.TempDir()}, "not a git repository"},
		"an option":   {[]string{"--dir", s.Dir("fleet"), "--branch", "--output=/tmp/x"}, "not a branch"},
		"no branch":   {[]string{"--dir", s.Dir("fleet"), "--branch", "nothing"}, "bad revision"},
		"limit":       {[]string{"--dir", s.Dir("fleet"), "--limit", "0"}, "--limit=0"},
	} {
		if code, _, errOut := run(t, append([]string{"changelog"}, test.args...)...); code != 1 || !strings.Contains(errOut, test.says) {
			t.Errorf("%s: exit %d: %s", name, code, errOut)
		}
	}
	if code, out, _ := run(t, "changelog", "nobody", "--dir", s.Dir("fleet")); code != 0 || !strings.Contains(out, "none of the newest 5 commits") {
		t.Errorf("exit %d: %s", code, out)
	}
}
