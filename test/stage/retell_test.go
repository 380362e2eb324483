package stage

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/internal/audit"
)

var prod = Place{Rollout: client.ObjectKey{Namespace: "prod", Name: "shop"}, Sync: client.ObjectKey{Namespace: "delivery", Name: "shop-prod"},
	Repository: client.ObjectKey{Namespace: "delivery", Name: "fleet"}}

// told is the audit of a good release, and of one that was taken back.
func told() Audit {
	event := func(kind string, of client.ObjectKey, object, commit, outcome, reason string) audit.Event {
		return audit.Event{Kind: kind, Subject: audit.Subject{Namespace: of.Namespace, Name: of.Name}, Object: object, Actor: "belay", Commit: commit, Outcome: outcome, Reason: reason}
	}
	var out Audit
	add := func(kind string, of client.ObjectKey, object, commit, outcome, reason string, links ...audit.Link) {
		e := event(kind, of, object, commit, outcome, reason)
		e.Links = links
		out = append(out, e)
	}
	decide := func(actor, plan, outcome string) {
		e := event(audit.KindDecision, client.ObjectKey{Namespace: "delivery", Name: "d"}, "Sync shop-prod", "", outcome, "Approve")
		e.Actor, e.Digest = actor, plan
		out = append(out, e)
	}
	deliver := func(commit, plan string) {
		add(audit.KindRepository, prod.Repository, "", commit, "Succeeded", "Fetched")
		decide("grace", plan, "Refused")
		decide("ivan", plan, "Applied")
		add(audit.KindReconciliation, prod.Sync, "", commit, "Succeeded", "Applied", audit.Link{Rel: "plan", Target: plan}, audit.Link{Rel: "approvedBy", Target: "ivan"})
	}
	deliver("c1", "p1")
	add(audit.KindAttempt, prod.Rollout, "attempt 1", "c1", "Started", "")
	add(audit.KindAttempt, prod.Rollout, "attempt 1", "c1", "Stepping", "first")
	add(audit.KindAttempt, prod.Rollout, "attempt 1", "c1", "Promoted", "")
	deliver("c2", "p2")
	add(audit.KindAttempt, prod.Rollout, "attempt 2", "c2", "Started", "")
	add(audit.KindAttempt, prod.Rollout, "attempt 2", "c2", "Stepping", "first")
	add(audit.KindAttempt, prod.Rollout, "attempt 2", "c2", "Withdrawing", "")
	add(audit.KindAttempt, prod.Rollout, "attempt 2", "c2", "VerdictRolledBack", "AnalysisFailed", audit.Link{Rel: "analysisRun", Target: "shop-2"})
	add(audit.KindAttempt, prod.Rollout, "attempt 2", "c2", "RolledBack", "AnalysisFailed")
	add(audit.KindRevert, prod.Rollout, "attempt 2", "", "Pending", "")
	add(audit.KindRevert, prod.Rollout, "attempt 2", "c3", "Pushed", "", audit.Link{Rel: "badCommit", Target: "c2"}, audit.Link{Rel: "goodCommit", Target: "c1"})
	add(audit.KindRepository, prod.Repository, "", "c3", "Succeeded", "Fetched")
	add(audit.KindReconciliation, prod.Sync, "", "c3", "Succeeded", "Applied")
	add(audit.KindReconciliation, prod.Sync, "", "c3", "Held", "Waiting")
	add(audit.KindDrift, prod.Sync, "ConfigMap prod/settings", "", "Corrected", "ManualEdit")
	return out
}

func TestG18_TheAuditTellsTheStory(t *testing.T) {
	got, err := told().Retell(prod)
	if err != nil {
		t.Fatal(err)
	}
	want := []Retold{
		{Attempt: "attempt 1", Commit: "c1", Approved: []string{"ivan"}, Refused: []string{"grace"}, Steps: []string{"first"}, Outcome: "Promoted"},
		{Attempt: "attempt 2", Commit: "c2", Approved: []string{"ivan"}, Refused: []string{"grace"}, Steps: []string{"first"}, Verdict: "AnalysisFailed", Run: "shop-2",
			Halted: true, Outcome: "RolledBack", Revert: "c3", Reverted: "c2", Restored: "c1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ConfigMap prod/settings by belay"}, told().Corrected(prod.Sync)); diff != "" {
		t.Errorf("edits (-want +got):\n%s", diff)
	}
}

// TestG18_AStoryWithAGapIsNone: the audit without a kind of event, or without one line that the story needs, is noticed.
func TestG18_AStoryWithAGapIsNone(t *testing.T) {
	kinds := map[string]string{audit.KindRepository: "was fetched is missing", audit.KindReconciliation: "was applied is missing", audit.KindDecision: "the Decision is missing",
		audit.KindAttempt: "tells of no attempt", audit.KindRevert: "is to be put right is missing"}
	for kind, want := range kinds {
		_, err := told().where(func(e audit.Event) bool { return e.Kind != kind }).Retell(prod)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v, want %q", kind, err, want)
		}
	}
	if got := told().where(func(e audit.Event) bool { return e.Kind != audit.KindDrift }).Corrected(prod.Sync); len(got) != 0 {
		t.Errorf("without %s: %v", audit.KindDrift, got)
	}
	whole, err := told().Retell(prod)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range told() {
		if e.Kind == audit.KindDrift || e.Outcome == "Held" {
			continue // not of the story of an attempt
		}
		got, err := slices.Delete(told(), i, i+1).Retell(prod)
		if err == nil && cmp.Equal(whole, got) {
			t.Errorf("nobody misses line %d: %+v", i+1, e)
		}
	}
}
