package main

import (
	"testing"
	"time"

	"github.com/belay-delivery/belay/test/stage"
)

// well is a report of two environments in which everything happened.
func well() Environments {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	promoted := func(revision string) Ended { return Ended{Revision: revision, Outcome: "Promoted", MaxWeight: 100} }
	fallen := func(revision string) Ended {
		return Ended{Revision: revision, Outcome: "RolledBack", Reason: "AnalysisFailed", Metric: "error-ratio", MaxWeight: 10}
	}
	kept := stage.Retold{Attempt: "attempt 2", Commit: "c2", Revision: "r2", Outcome: "Promoted"}
	approved := kept
	approved.Approved, approved.Refused = []string{approver}, []string{author}
	taken := func(attempt, commit, revision, run, back string) stage.Retold {
		return stage.Retold{Attempt: attempt, Commit: commit, Revision: revision, Outcome: "RolledBack", Verdict: "AnalysisFailed", Halted: true, Run: run,
			Revert: back, Reverted: commit, Restored: "c2"}
	}
	held := `gates.follows: commit back3 brings image "sample:v3"`
	return Environments{RateWanted: 200, Rate: 200, Soak: 15, EditCorrected: 1,
		Good: Followed{Commit: "c2", Staging: promoted("r2"), Prod: promoted("r2"), HealthyInStaging: noon, StartedInProd: noon.Add(20 * time.Second),
			AuthorRefused: true, AttemptsBeforeApproval: 1, ApprovedBy: []string{approver}},
		Caught: Caught{Commit: "c3", Staging: fallen("r3"), Revert: Reverted{Commit: "back3", Files: []string{"apps/checkout/overlays/staging/kustomization.yaml"}},
			Held: held, AppliedInProd: "c2", AttemptsInProd: 2},
		OnlyInProd: OnlyInProd{Commit: "c4", Staging: promoted("r4"), Prod: fallen("p4"),
			Revert: Reverted{Commit: "back4", Files: []string{"apps/checkout/overlays/prod/kustomization.yaml"}}},
		Staging: Answers{Failed: map[string]int{"v3": 5}, Last: []string{"v4"}, Git: Git{EqualsCluster: true}},
		Prod:    Answers{Failed: map[string]int{"v4": 5}, Last: []string{"v2"}, Git: Git{EqualsCluster: true}},
		Audit: Retold{Held: []string{"soaks", held}, Corrected: []string{"ConfigMap prod/settings by manager kubectl-edit"},
			Staging: []stage.Retold{{}, kept, taken("attempt 3", "c3", "r3", "checkout-3", "back3"), {Attempt: "attempt 4", Commit: "c4", Revision: "r4", Outcome: "Promoted"}},
			Prod:    []stage.Retold{{}, approved, taken("attempt 3", "c4", "p4", "checkout-3", "back4")}},
	}
}

func TestJudgeEnvironments(t *testing.T) {
	good := well()
	if failures := untrue(good.claims()); len(failures) > 0 {
		t.Fatalf("a report without fault does not pass: %v", failures)
	}
	for name, spoil := range map[string]func(*Environments){
		"too little traffic":        func(r *Environments) { r.Rate = 150 },
		"not promoted in prod":      func(r *Environments) { r.Good.Prod.Outcome, r.Audit.Prod[1].Outcome = "Superseded", "Superseded" },
		"too early in prod":         func(r *Environments) { r.Good.StartedInProd = r.Good.HealthyInStaging.Add(3 * time.Second) },
		"never healthy":             func(r *Environments) { r.Good.HealthyInStaging = time.Time{} },
		"the author approved":       func(r *Environments) { r.Good.AuthorRefused = false },
		"begun before the approval": func(r *Environments) { r.Good.AttemptsBeforeApproval = 2 },
		"nobody approved":           func(r *Environments) { r.Good.ApprovedBy, r.Audit.Prod[1].Approved = nil, nil },
		"lost on the way":           func(r *Environments) { r.Good.Failed = 1 },
		"the edit stands":           func(r *Environments) { r.EditCorrected = 0 },
		"caught late":               func(r *Environments) { r.Caught.Staging.MaxWeight = 50 },
		"caught by something else":  func(r *Environments) { r.Caught.Staging.Metric = "" },
		"the revert touches prod": func(r *Environments) {
			r.Caught.Revert.Files = append(r.Caught.Revert.Files, "apps/checkout/overlays/prod/x")
		},
		"the revert touches a base":  func(r *Environments) { r.OnlyInProd.Revert.Files = []string{"apps/checkout/base/rollout.yaml"} },
		"held for another reason":    func(r *Environments) { r.Caught.Held, r.Audit.Held = "it soaks", []string{"it soaks"} },
		"version 3 in prod":          func(r *Environments) { r.Caught.AttemptsInProd = 3 },
		"version 3 answered in prod": func(r *Environments) { r.Prod.Requests = map[string]int{"v3": 1} },
		"not taken back in prod":     func(r *Environments) { r.OnlyInProd.Prod.Metric = "" },
		"staging went back too":      func(r *Environments) { r.Staging.Last = []string{"v4", "v2"} },
		"Git differs":                func(r *Environments) { r.Prod.Git.EqualsCluster = false },
		"lost elsewhere":             func(r *Environments) { r.Prod.Failed["v2"] = 1 },
		"another approver is told":   func(r *Environments) { r.Audit.Prod[1].Approved = []string{author} },
		"a refusal is not told":      func(r *Environments) { r.Audit.Prod[1].Refused = nil },
		"an attempt is not told":     func(r *Environments) { r.Audit.Staging = r.Audit.Staging[:3] },
		"another revert is told":     func(r *Environments) { r.Audit.Prod[2].Revert = "other" },
		"no halt is told":            func(r *Environments) { r.Audit.Staging[2].Halted = false },
		"an edit is not told":        func(r *Environments) { r.Audit.Corrected = nil },
		"the gate is not told":       func(r *Environments) { r.Audit.Held = nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := well()
			spoil(&r)
			if failures := untrue(r.claims()); len(failures) != 1 {
				t.Errorf("failures %q, want exactly one", failures)
			}
		})
	}
}
