package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/belay-delivery/belay/test/stage"
)

// Environments is what the demo of two environments found. Times are seconds.
type Environments struct {
	Passed     bool       `json:"passed"`
	Failures   []string   `json:"failures,omitempty"` // what was not as it should be
	Seconds    float64    `json:"seconds"`            // from the start of Belay's installation to the end
	RateWanted int        `json:"requestsPerSecondWanted"`
	Rate       float64    `json:"requestsPerSecond"` // of both together
	Soak       float64    `json:"soakSeconds"`
	Good       Followed   `json:"good"`
	Caught     Caught     `json:"caughtInStaging"`
	OnlyInProd OnlyInProd `json:"onlyInProd"`
	// EditCorrected is how long an edit of prod by hand stood.
	EditCorrected float64 `json:"secondsToCorrectAnEdit"`
	Staging       Answers `json:"staging"`
	Prod          Answers `json:"prod"`
	Audit         Retold  `json:"audit"`
}

// Ended is an attempt and what came of it.
type Ended struct {
	Revision  string `json:"revision"`
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason,omitempty"`
	Metric    string `json:"metric,omitempty"` // that it fell for
	Message   string `json:"message,omitempty"`
	MaxWeight int32  `json:"maxWeight"` // percent
}

// Reverted is a commit that Belay made.
type Reverted struct {
	Commit  string   `json:"commit"`
	Message string   `json:"message"`
	Files   []string `json:"filesChanged"`
}

// Followed is version 2: staging, then prod.
type Followed struct {
	Commit                 string    `json:"commit"`
	Staging                Ended     `json:"staging"`
	Prod                   Ended     `json:"prod"`
	HealthyInStaging       time.Time `json:"healthyInStagingSince"`
	StartedInProd          time.Time `json:"startedInProd"`
	AuthorRefused          bool      `json:"authorsApprovalRefused"`
	AttemptsBeforeApproval int64     `json:"attemptsInProdBeforeTheApproval"`
	ApprovedBy             []string  `json:"approvedBy"`
	Failed                 int       `json:"failedRequests"` // in both, from the commit to the end in prod
}

// Caught is version 3.
type Caught struct {
	Commit         string   `json:"commit"`
	Staging        Ended    `json:"staging"`
	Revert         Reverted `json:"revert"`
	Held           string   `json:"prodWaitsFor"` // once the revert has soaked in staging
	AppliedInProd  string   `json:"commitAppliedInProd"`
	AttemptsInProd int64    `json:"attemptsInProd"`
}

// OnlyInProd is version 4.
type OnlyInProd struct {
	Commit  string   `json:"commit"`
	Staging Ended    `json:"staging"`
	Prod    Ended    `json:"prod"`
	Revert  Reverted `json:"revert"`
}

// Answers are those of one environment.
type Answers struct {
	Requests map[string]int `json:"requestsByVersion"`
	Failed   map[string]int `json:"failedByVersion"` // "": nobody's
	Last     []string       `json:"versionsAtTheEnd"`
	Git      Git            `json:"git"`
}

// Retold is what the audit stream alone tells.
type Retold struct {
	Events    int            `json:"events"`
	Staging   []stage.Retold `json:"staging"`
	Prod      []stage.Retold `json:"prod"`
	Corrected []string       `json:"editsPutRight"`
	Held      []string       `json:"prodWaitedFor"`
}

func (r *Environments) claims() []claim {
	soaked := r.Good.StartedInProd.Sub(r.Good.HealthyInStaging).Seconds()
	g, c, o := r.Good, r.Caught, r.OnlyInProd
	others := r.Staging.failedBut("v3") + r.Prod.failedBut("v4")
	return []claim{
		{r.Rate >= 0.98*float64(r.RateWanted), fmt.Sprintf("traffic was %d requests per second in all (%.1f)", r.RateWanted, r.Rate)},
		{g.Staging.Outcome == "Promoted" && g.Prod.Outcome == "Promoted", fmt.Sprintf("version 2 was promoted in staging and in prod (%s, %s)", g.Staging.Outcome, g.Prod.Outcome)},
		// Both times are whole seconds.
		{soaked > r.Soak-1 && soaked < 600, fmt.Sprintf("prod began %.0f s after it was healthy in staging, which is not before the soak of %.0f s", soaked, r.Soak)},
		{g.AuthorRefused && g.AttemptsBeforeApproval == 1, fmt.Sprintf("its author could not approve it, and prod had not begun by then (%d attempts)", g.AttemptsBeforeApproval)},
		{slices.Equal(g.ApprovedBy, []string{approver}), fmt.Sprintf("somebody else approved it (%s)", strings.Join(g.ApprovedBy, ", "))},
		{g.Failed == 0, fmt.Sprintf("no request failed on the way to prod (%d did)", g.Failed)},
		{r.EditCorrected > 0, "an edit of prod by hand was put right"},
		{c.Staging.Outcome == "RolledBack" && c.Staging.Metric == "error-ratio" && c.Staging.MaxWeight == 10, fmt.Sprintf("version 3 was caught by its errors at staging's first step (%s, %s, %d %%)", c.Staging.Outcome, c.Staging.Metric, c.Staging.MaxWeight)},
		{only(c.Revert.Files, "staging"), fmt.Sprintf("its revert changed staging's overlay alone (%s)", strings.Join(c.Revert.Files, ", "))},
		{strings.Contains(c.Held, short(c.Revert.Commit)) && strings.Contains(c.Held, `"sample:v3"`), "the revert soaked in staging, and prod was held back from the version 3 that is still in its overlay"},
		{c.AppliedInProd == g.Commit && c.AttemptsInProd == 2 && r.Prod.Requests["v3"] == 0, fmt.Sprintf("version 3 never reached prod (%d attempts, %d answers)", c.AttemptsInProd, r.Prod.Requests["v3"])},
		{o.Staging.Outcome == "Promoted" && o.Prod.Outcome == "RolledBack" && o.Prod.Metric == "error-ratio", fmt.Sprintf("version 4 was well in staging, and taken back in prod (%s, %s)", o.Staging.Outcome, o.Prod.Outcome)},
		{only(o.Revert.Files, "prod"), fmt.Sprintf("its revert changed prod's overlay alone (%s)", strings.Join(o.Revert.Files, ", "))},
		{slices.Equal(r.Staging.Last, []string{"v4"}) && slices.Equal(r.Prod.Last, []string{"v2"}), fmt.Sprintf("at the end staging answers with version 4 and prod with version 2 (%v, %v)", r.Staging.Last, r.Prod.Last)},
		{r.Staging.Git.EqualsCluster && r.Prod.Git.EqualsCluster, fmt.Sprintf("Git and cluster agree in both (staging %s, prod %s)", r.Staging.Git.Declared, r.Prod.Git.Declared)},
		{others == 0, fmt.Sprintf("no request failed that was not version 3's in staging or version 4's in prod (%d did)", others)},
		{len(r.untold()) == 0, "the audit alone tells the same: " + fmt.Sprintf("%d events", r.Audit.Events) + strings.Join(append([]string{""}, r.untold()...), "; not so: ")},
	}
}

// only says whether files are those of one overlay.
func only(files []string, environment string) bool {
	return len(files) > 0 && !slices.ContainsFunc(files, func(f string) bool { return !strings.Contains(f, "/overlays/"+environment+"/") })
}

// failedBut are the failures that were not a version's own.
func (a Answers) failedBut(version string) int {
	n := 0
	for v, failed := range a.Failed {
		if v != version {
			n += failed
		}
	}
	return n
}

// untold compares what the audit tells with what was seen: which commit, who decided, which attempt, the verdict, the halt, the
// revert, and why prod waited.
func (r *Environments) untold() []string {
	var out []string
	differ := func(what string, told, seen any) {
		if fmt.Sprint(told) != fmt.Sprint(seen) {
			out = append(out, fmt.Sprintf("%s is told as %v, and was %v", what, told, seen))
		}
	}
	compare := func(environment string, told []stage.Retold, attempt int, commit string, seen Ended, back *Reverted, restored string) {
		where := fmt.Sprintf("%s, attempt %d: ", environment, attempt)
		if len(told) < attempt {
			out = append(out, where+"is not told")
			return
		}
		t := told[attempt-1]
		differ(where+"its number", t.Attempt, fmt.Sprintf("attempt %d", attempt))
		differ(where+"commit", t.Commit, commit)
		differ(where+"revision", t.Revision, seen.Revision)
		differ(where+"outcome", t.Outcome, seen.Outcome)
		if back == nil {
			return
		}
		differ(where+"verdict", t.Verdict, seen.Reason)
		differ(where+"halt", t.Halted, true)
		differ(where+"analysis", t.Run, fmt.Sprintf("%s-%d", name, attempt))
		differ(where+"revert", t.Revert, back.Commit)
		differ(where+"what it takes back", t.Reverted, commit)
		differ(where+"what it goes back to", t.Restored, restored)
	}
	g, c, o := r.Good, r.Caught, r.OnlyInProd
	compare("staging", r.Audit.Staging, 2, g.Commit, g.Staging, nil, "")
	compare("staging", r.Audit.Staging, 3, c.Commit, c.Staging, &c.Revert, g.Commit)
	compare("staging", r.Audit.Staging, 4, o.Commit, o.Staging, nil, "")
	compare("prod", r.Audit.Prod, 2, g.Commit, g.Prod, nil, "")
	compare("prod", r.Audit.Prod, 3, o.Commit, o.Prod, &o.Revert, g.Commit)
	if len(r.Audit.Prod) > 1 {
		differ("who approved version 2", r.Audit.Prod[1].Approved, g.ApprovedBy)
		differ("who was refused", r.Audit.Prod[1].Refused, []string{author})
	}
	differ("edits put right", r.Audit.Corrected, []string{"ConfigMap prod/settings by manager kubectl-edit"})
	if !slices.Contains(r.Audit.Held, c.Held) {
		out = append(out, "why version 3 did not go to prod is not told")
	}
	return out
}

func (s *environments) claims() []claim { return s.report.claims() }

func (s *environments) found(failures []string, took float64) any {
	s.report.Failures, s.report.Passed, s.report.Seconds = failures, len(failures) == 0, took
	return s.report
}
