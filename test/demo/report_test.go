package main

import (
	"testing"
)

// fine is a report of a demo in which everything happened.
func fine() Report {
	return Report{RateWanted: 200, Rate: 200,
		Good: Good{Outcome: "Promoted", Steps: []Step{{Name: "first", Evidence: []Evidence{{Metric: "errors", Verdict: "Pass", CanaryRequests: 2000}}}}},
		Bad: Bad{Outcome: "RolledBack", Reason: "AnalysisFailed", Metric: "errors", Steps: []Step{{Name: "first"}}, ExposedRequests: 50, ExposedErrors: 3,
			SecondsToZeroWeight: 2},
		Revert: Revert{Commit: "abc", Commits: 1, FilesChanged: []string{"a"}, UnrelatedCommitSurvived: true, CommentsSurvived: true},
		Git:    Git{EqualsCluster: true, AnswersV2: true},
	}
}

func TestJudge(t *testing.T) {
	good := fine()
	if good.judge(); !good.Passed {
		t.Fatalf("a fine report does not pass: %v", good.Failures)
	}
	for name, spoil := range map[string]func(*Report){
		"too little traffic":    func(r *Report) { r.Rate = 150 },
		"not promoted":          func(r *Report) { r.Good.Outcome = "RolledBack" },
		"lost in promotion":     func(r *Report) { r.Good.FailedRequests = 1 },
		"not rolled back":       func(r *Report) { r.Bad.Outcome = "Promoted" },
		"caught late":           func(r *Report) { r.Bad.Steps = append(r.Bad.Steps, Step{Name: "half"}) },
		"a step without proof":  func(r *Report) { r.Good.Steps[0].Evidence[0].Verdict = "Pending" },
		"without evidence":      func(r *Report) { r.Good.Steps[0].Evidence = nil },
		"caught by another":     func(r *Report) { r.Bad.Metric = "latency" },
		"caught otherwise":      func(r *Report) { r.Bad.Reason = "PodsFailed" },
		"never exposed":         func(r *Report) { r.Bad.ExposedRequests = 0 },
		"lost elsewhere":        func(r *Report) { r.Bad.OtherFailedRequests = 1 },
		"lost afterwards":       func(r *Report) { r.Bad.FailedRequestsAfterZeroWeight = 1 },
		"exposed afterwards":    func(r *Report) { r.Bad.ExposedAfterSettle = 1 },
		"no revert":             func(r *Report) { r.Revert.Commit = "" },
		"two reverts":           func(r *Report) { r.Revert.Commits = 2 },
		"more files":            func(r *Report) { r.Revert.FilesChanged = []string{"a", "b"} },
		"unrelated commit lost": func(r *Report) { r.Revert.UnrelatedCommitSurvived = false },
		"comments lost":         func(r *Report) { r.Revert.CommentsSurvived = false },
		"Git differs":           func(r *Report) { r.Git.EqualsCluster = false },
		"somebody else answers": func(r *Report) { r.Git.AnswersV2 = false },
	} {
		t.Run(name, func(t *testing.T) {
			r := fine()
			spoil(&r)
			if r.judge(); r.Passed || len(r.Failures) != 1 {
				t.Errorf("passed %t with failures %q, want exactly one failure", r.Passed, r.Failures)
			}
		})
	}
}
