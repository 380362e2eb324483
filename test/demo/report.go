package main

import (
	"fmt"
	"slices"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// Report is what a demo found. Times are seconds.
type Report struct {
	Passed     bool     `json:"passed"`
	Failures   []string `json:"failures,omitempty"` // what was not as it should be
	Seconds    float64  `json:"seconds"`            // from the start of Belay's installation to the end
	RateWanted int      `json:"requestsPerSecondWanted"`
	Rate       float64  `json:"requestsPerSecond"`
	Good       Good     `json:"good"`
	Bad        Bad      `json:"bad"`
	Revert     Revert   `json:"revert"`
	Git        Git      `json:"git"`
	// Audit is what the audit stream alone tells.
	Audit []stage.Retold `json:"audit"`
}

// Step is one step of an attempt as it was seen.
type Step struct {
	Name       string  `json:"name"`
	Weight     int32   `json:"weight"`     // percent
	Seconds    float64 `json:"seconds"`    // from entering it to leaving it
	Requests   int     `json:"requests"`   // that the new version answered meanwhile
	Errors     int     `json:"errors"`     // of them
	ErrorRatio float64 `json:"errorRatio"` // as the clients saw it
	// Evidence is what Belay knew when it left the step.
	Evidence []Evidence `json:"evidence"`
}

// Evidence is what Belay knew of a metric, all numbers since the attempt began; see status.metrics[].comparison of an AnalysisRun.
type Evidence struct {
	Metric         string `json:"metric"`
	Verdict        string `json:"verdict"`
	CanaryRequests int64  `json:"canaryRequests"`
	CanaryBad      int64  `json:"canaryBad"`
	StableRequests int64  `json:"stableRequests"`
	StableBad      int64  `json:"stableBad"`
	Dispersion     string `json:"dispersion"`
	Ratio          string `json:"ratio"`  // of the shares of bad requests, canary to stable
	Harm           string `json:"harm"`   // 100 is a proof
	Safety         string `json:"safety"` // 20 is a proof
	Message        string `json:"message"`
}

// Good is the life of version 2.
type Good struct {
	Outcome        string  `json:"outcome"`
	Commit         string  `json:"commit"`
	Steps          []Step  `json:"steps"`
	TotalRequests  int     `json:"totalRequests"`
	FailedRequests int     `json:"failedRequests"`
	Seconds        float64 `json:"seconds"` // from the commit to the end of the bake
}

// Bad is the life of version 3. Zero weight is when the route no longer sent it anything.
type Bad struct {
	Outcome                       string  `json:"outcome"`
	Reason                        string  `json:"reason"`
	Metric                        string  `json:"metric"` // that it fell for
	Message                       string  `json:"message"`
	Commit                        string  `json:"commit"`
	Steps                         []Step  `json:"steps"`
	TotalRequests                 int     `json:"totalRequests"`                 // from the commit to the end of the revert
	ExposedRequests               int     `json:"exposedRequests"`               // that version 3 answered
	ExposedErrors                 int     `json:"exposedErrors"`                 // of them, with an error
	SecondsToZeroWeight           float64 `json:"secondsToZeroWeight"`           // from the first bad answer
	SecondsToLastBadAnswer        float64 `json:"secondsToLastBadAnswer"`        // from the first bad answer to version 3's last
	FailedRequestsAfterZeroWeight int     `json:"failedRequestsAfterZeroWeight"` // of others, or once the gateway has settled
	OtherFailedRequests           int     `json:"otherFailedRequests"`           // that were not version 3's own
	ExposedAfterSettle            int     `json:"exposedAfterSettle"`            // answers of version 3 once the gateway has settled
}

// Revert is the commit that Belay made.
type Revert struct {
	Commit                  string   `json:"commit"`
	Author                  string   `json:"author"`
	Message                 string   `json:"message"`
	Restores                string   `json:"restores"` // the commit that it goes back to, as its trailer says
	FilesChanged            []string `json:"filesChanged"`
	Commits                 int      `json:"commits"` // reverts in the whole history
	UnrelatedCommitSurvived bool     `json:"unrelatedCommitSurvived"`
	CommentsSurvived        bool     `json:"commentsSurvived"`
	SecondsToPush           float64  `json:"secondsFromVerdictToGit"`
}

// Git compares the branch with the cluster.
type Git struct {
	EqualsCluster   bool   `json:"equalsCluster"` // all of the below are one revision
	Head            string `json:"head"`
	Declared        string `json:"declaredRevision"` // rendered from the head
	Spec            string `json:"specRevision"`     // of the Rollout's template
	Stable          string `json:"stableRevision"`   // of its status
	Pods            string `json:"podsRevision"`     // of the pods that the stable Service reaches
	AnswersV2       bool   `json:"answersAreVersion2"`
	AppliedRevision string `json:"appliedCommit"` // by the Sync
}

func (r *Report) claims() []claim {
	first := len(r.Bad.Steps) == 1
	return []claim{
		{r.Rate >= 0.98*float64(r.RateWanted), fmt.Sprintf("traffic was %d requests per second (%.1f)", r.RateWanted, r.Rate)},
		{r.Good.Outcome == "Promoted", "version 2 was promoted: " + r.Good.Outcome},
		{r.Good.FailedRequests == 0, fmt.Sprintf("no request failed during the promotion (%d did)", r.Good.FailedRequests)},
		{r.Bad.Outcome == "RolledBack", "version 3 was rolled back: " + r.Bad.Outcome},
		{proven(r.Good.Steps), "version 2 left each step on a proof that more traffic is safe"},
		{first && r.Bad.Reason == "AnalysisFailed" && r.Bad.Metric == "errors", fmt.Sprintf("version 3 was caught by its errors at the first step (%s, %s, %d steps)", r.Bad.Reason, r.Bad.Metric, len(r.Bad.Steps))},
		{r.Bad.ExposedRequests > 0 && r.Bad.SecondsToZeroWeight > 0, "version 3 met real requests before it was caught"},
		{r.Bad.OtherFailedRequests == 0, fmt.Sprintf("no request failed that was not version 3's own (%d did)", r.Bad.OtherFailedRequests)},
		{r.Bad.FailedRequestsAfterZeroWeight == 0, fmt.Sprintf("no request failed after the traffic was back (%d did)", r.Bad.FailedRequestsAfterZeroWeight)},
		{r.Bad.ExposedAfterSettle == 0, fmt.Sprintf("version 3 answered nobody after the gateway had settled (%d)", r.Bad.ExposedAfterSettle)},
		{r.Revert.Commit != "" && r.Revert.Commits == 1, fmt.Sprintf("there is exactly one revert commit (%d)", r.Revert.Commits)},
		{len(r.Revert.FilesChanged) == 1, fmt.Sprintf("the revert changed one file (%v)", r.Revert.FilesChanged)},
		{r.Revert.UnrelatedCommitSurvived, "the unrelated commits survived the revert"},
		{r.Revert.CommentsSurvived, "the comments in the reverted file survived"},
		{r.Git.EqualsCluster, fmt.Sprintf("Git and cluster agree (Git %s, spec %s, stable %s, pods %s)", r.Git.Declared, r.Git.Spec, r.Git.Stable, r.Git.Pods)},
		{r.Git.AnswersV2, "version 2 answers everybody at the end"},
		{r.untold() == "", "the audit alone tells the same" + r.untold()},
	}
}

// untold says what the audit tells differently from what was seen.
func (r *Report) untold() string {
	if len(r.Audit) < 3 {
		return fmt.Sprintf(": it tells of %d attempts", len(r.Audit))
	}
	good, bad := r.Audit[1], r.Audit[2]
	told := []string{good.Attempt, good.Commit, good.Outcome, bad.Attempt, bad.Commit, bad.Outcome, bad.Verdict, bad.Run, fmt.Sprint(bad.Halted), bad.Reverted, bad.Restored, bad.Revert}
	seen := []string{"attempt 2", r.Good.Commit, r.Good.Outcome, "attempt 3", r.Bad.Commit, r.Bad.Outcome, r.Bad.Reason, name + "-3", "true", r.Bad.Commit, r.Revert.Restores, r.Revert.Commit}
	if slices.Equal(told, seen) {
		return ""
	}
	return fmt.Sprintf(": told is %v, seen was %v", told, seen)
}

// proven tells whether there are steps, and all metrics had passed when each was left.
func proven(steps []Step) bool {
	for _, s := range steps {
		for _, e := range s.Evidence {
			if e.Verdict != string(v1alpha1.VerdictPass) || e.CanaryRequests == 0 {
				return false
			}
		}
		if len(s.Evidence) == 0 {
			return false
		}
	}
	return len(steps) > 0
}
