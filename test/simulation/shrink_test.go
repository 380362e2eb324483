package simulation

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// keepsTraffic takes a bad revision's pods back, but not its traffic.
func keepsTraffic(o planner.Observed) planner.Plan {
	p := planner.Make(o)
	if at := p.Status.Attempt; at != nil && at.Verdict != nil {
		p.Actions = slices.DeleteFunc(p.Actions, func(a planner.Action) bool { _, ok := a.(planner.PatchRoute); return ok })
	}
	return p
}

// shrinksStable takes a pod of stable for every one of the canary.
func shrinksStable(o planner.Observed) planner.Plan {
	p := planner.Make(o)
	at, st := p.Status.Attempt, p.Status.Stable
	if at != nil && st != nil && at.Stage == v1alpha1.StageStepping && at.Weight > 0 {
		p.Actions = append(p.Actions, planner.Scale{Revision: st.Revision, From: 2, To: 0})
	}
	return p
}

// believesRuns takes every run for one that has just measured well.
func believesRuns(o planner.Observed) planner.Plan {
	runs := map[string]*v1alpha1.AnalysisRun{}
	at := metav1.NewTime(o.Now)
	for name, run := range o.Runs {
		run = run.DeepCopy()
		run.Status.Verdict = v1alpha1.VerdictPass
		run.Status.Metrics = []v1alpha1.MetricStatus{{Name: "errors", Mode: v1alpha1.MetricEnforce, Verdict: v1alpha1.VerdictPass, LastPassedAt: &at}}
		runs[name] = run
	}
	o.Runs = runs
	return planner.Make(o)
}

// forgetsQuarantine tries a revision again that has failed.
func forgetsQuarantine(o planner.Observed) planner.Plan {
	o.Rollout = o.Rollout.DeepCopy()
	o.Rollout.Status.Quarantine = nil
	return planner.Make(o)
}

// TestShrink breaks the planner in several ways: random worlds find each, the failure follows from its seed alone, and it
// is shrunk to few events, none of which can be left out.
func TestShrink(t *testing.T) {
	for name, test := range map[string]struct {
		planner func(planner.Observed) planner.Plan
		ids     []string
		most    int
	}{
		"keeps traffic under a verdict": {keepsTraffic, []string{"T8"}, 12},
		"shrinks stable":                {shrinksStable, []string{"T5"}, 4},
		"believes every run":            {believesRuns, []string{"A1", "T8", "L1"}, 16}, // L1: what compares proves nothing to it, and it stands still
		"forgets quarantine":            {forgetsQuarantine, []string{"Q1"}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, from := firstFailure(t, test.planner)
			if !slices.Contains(test.ids, f.ID) {
				t.Errorf("%s is violated, want one of %v", f.ID, test.ids)
			}
			short := f.Shrink()
			t.Logf("seed %d, %s: from %d to %d events\n%s", from, f.ID, len(f.Events), len(short.Events), short.Narrative())
			if len(short.Events) > test.most {
				t.Errorf("%d events are left, want %d at most", len(short.Events), test.most)
			}
			if !strings.Contains(short.Narrative(), "VIOLATION "+f.ID) {
				t.Error("the narrative does not show the violation")
			}
			for i := range short.Events {
				less := short
				less.Events = slices.Delete(slices.Clone(short.Events), i, i+1)
				if _, ok := less.fails(); ok {
					t.Errorf("event %d (%s) can be left out", i, short.Events[i])
				}
			}
			short.Config.Planner = nil
			if _, ok := short.fails(); ok {
				t.Error("the planner that is not broken fails as well")
			}
		})
	}
}

// firstFailure looks for the first seed whose world fails, and finds the same failure when it is made anew.
func firstFailure(t *testing.T, broken func(planner.Observed) planner.Plan) (Failure, uint64) {
	t.Helper()
	for n := uint64(1); n < 400; n++ {
		cfg, events := world(n)
		cfg.Planner = broken
		w := Run(cfg, events, false)
		if len(w.truth.violations) == 0 {
			continue
		}
		id, _, _ := strings.Cut(w.truth.violations[0], ":")
		again, sameEvents := world(n)
		again.Planner = broken
		if v := Run(again, sameEvents, false).truth.violations; len(v) == 0 || v[0] != w.truth.violations[0] {
			t.Fatalf("seed %d does not replay: %v instead of %s", n, v, w.truth.violations[0])
		}
		return Failure{Config: cfg, Events: events, ID: id}, n
	}
	t.Fatal("no world finds it")
	return Failure{}, 0
}
