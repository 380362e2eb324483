package main

import (
	"testing"

	"github.com/belay-delivery/belay/test/stage"
)

// fine is a report of a demo in which everything happened.
func fine() Report {
	return Report{RateWanted: 200, Rate: 200,
		Good: Good{Commit: "good", Outcome: "Promoted", Steps: []Step{{Name: "first", Evidence: []Evidence{{Metric: "errors", Verdict: "Pass", CanaryRequests: 2000}}}}},
		Bad: Bad{Commit: "bad", Outcome: "RolledBack", Reason: "AnalysisFailed", Metric: "errors", Steps: []Step{{Name: "first"}}, ExposedRequests: 50, ExposedErrors: 3,
			SecondsToZeroWeight: 2},
		Revert: Revert{Commit: "abc", Restores: "good", Commits: 1, FilesChanged: []string{"a"}, UnrelatedCommitSurvived: true, CommentsSurvived: true},
		Git:    Git{EqualsCluster: true, AnswersV2: true},
		Audit: []stage.Retold{{}, {Attempt: "attempt 2", Commit: "good", Outcome: "Promoted"}, {Attempt: "attempt 3", Commit: "bad", Outcome: "RolledBack",
			Verdict: "AnalysisFailed", Run: "checkout-3", Halted: true, Revert: "abc", Reverted: "bad", Restored: "good"}},
	}
}

func TestJudge(t *testing.T) {
	good := fine()
	if failures := untrue(good.claims()); len(failures) > 0 {
		t.Fatalf("a fine report does not pass: %v", failures)
	}
	for name, spoil := range map[string]func(*Report){
		"too little traffic":    func(r *Report) { r.Rate = 150 },
		"not promoted":          func(r *Report) { r.Good.Outcome, r.Audit[1].Outcome = "RolledBack", "RolledBack" },
		"lost in promotion":     func(r *Report) { r.Good.FailedRequests = 1 },
		"not rolled back":       func(r *Report) { r.Bad.Outcome, r.Audit[2].Outcome = "Promoted", "Promoted" },
		"caught late":           func(r *Report) { r.Bad.Steps = append(r.Bad.Steps, Step{Name: "half"}) },
		"a step without proof":  func(r *Report) { r.Good.Steps[0].Evidence[0].Verdict = "Pending" },
		"without evidence":      func(r *Report) { r.Good.Steps[0].Evidence = nil },
		"caught by another":     func(r *Report) { r.Bad.Metric = "latency" },
		"caught otherwise":      func(r *Report) { r.Bad.Reason, r.Audit[2].Verdict = "PodsFailed", "PodsFailed" },
		"never exposed":         func(r *Report) { r.Bad.ExposedRequests = 0 },
		"lost elsewhere":        func(r *Report) { r.Bad.OtherFailedRequests = 1 },
		"lost afterwards":       func(r *Report) { r.Bad.FailedRequestsAfterZeroWeight = 1 },
		"exposed afterwards":    func(r *Report) { r.Bad.ExposedAfterSettle = 1 },
		"no revert":             func(r *Report) { r.Revert.Commit, r.Audit[2].Revert = "", "" },
		"two reverts":           func(r *Report) { r.Revert.Commits = 2 },
		"more files":            func(r *Report) { r.Revert.FilesChanged = []string{"a", "b"} },
		"unrelated commit lost": func(r *Report) { r.Revert.UnrelatedCommitSurvived = false },
		"comments lost":         func(r *Report) { r.Revert.CommentsSurvived = false },
		"Git differs":           func(r *Report) { r.Git.EqualsCluster = false },
		"no halt is told":       func(r *Report) { r.Audit[2].Halted = false },
		"an attempt is untold":  func(r *Report) { r.Audit = r.Audit[:2] },
		"somebody else answers": func(r *Report) { r.Git.AnswersV2 = false },
	} {
		t.Run(name, func(t *testing.T) {
			r := fine()
			spoil(&r)
			if failures := untrue(r.claims()); len(failures) != 1 {
				t.Errorf("failures %q, want exactly one", failures)
			}
		})
	}
}
