package repository

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
)

// TestG39_MovesOfARefAreTold: what a person should know of a version or a tag that moved is an Event of its own.
func TestG39_MovesOfARefAreTold(t *testing.T) {
	version := func(v string) git.Resolved {
		return git.Resolved{Commit: "commit of " + v, Name: "refs/tags/v" + v, Version: v}
	}
	tag := func(commit string) git.Resolved { return git.Resolved{Commit: commit, Name: "refs/tags/stable"} }
	for name, test := range map[string]struct {
		ref           v1alpha1.GitRef
		before, after git.Resolved
		events, ready string
	}{
		"upgrade":   {v1alpha1.GitRef{SemVer: "1.x"}, version("1.9.0"), version("1.10.0"), "NewCommit", `version 1.10.0 of "1.x" (v1.10.0) is at commit of 1.10.0`},
		"downgrade": {v1alpha1.GitRef{SemVer: "1.x"}, version("1.10.0"), version("1.9.0"), "NewCommit Downgrade", `version 1.9.0 of "1.x" (v1.9.0) is at commit of 1.9.0`},
		"same":      {v1alpha1.GitRef{SemVer: "1.x"}, version("1.9.0"), version("1.9.0"), "", `version 1.9.0 of "1.x" (v1.9.0) is at commit of 1.9.0`},
		"moved tag": {v1alpha1.GitRef{Tag: "stable"}, tag("a"), tag("b"), "NewCommit TagMoved", "tag stable is at b"},
		"new ref":   {v1alpha1.GitRef{Branch: "main"}, tag("a"), git.Resolved{Commit: "b", Name: "refs/heads/main"}, "NewCommit", "branch main is at b"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := &v1alpha1.Repository{}
			repo.Spec.Ref = test.ref
			first := MakePlan(Observed{Repository: repo, Head: test.before, Now: time.Unix(1, 0)})
			repo.Status = first.Status
			second := MakePlan(Observed{Repository: repo, Head: test.after, Now: time.Unix(2, 0)})
			var told []string
			for _, e := range second.Events {
				told = append(told, e.Reason)
			}
			if got := strings.Join(told, " "); got != test.events {
				t.Errorf("events %q, want %q", got, test.events)
			}
			ready := v1alpha1.FindCondition(second.Status.Conditions, v1alpha1.ConditionReady)
			if ready.Message != test.ready || second.Status.Resolved.Name != test.after.Name || second.Status.Commit != test.after.Commit {
				t.Errorf("ready %q, resolved %v, commit %q", ready.Message, second.Status.Resolved, second.Status.Commit)
			}
		})
	}
}
