package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/audit"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(minutes int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
}

// told is what an observer writes as an object goes through versions.
func told(t *testing.T, versions ...client.Object) string {
	t.Helper()
	var out bytes.Buffer
	o := &Observer{To: audit.NewStream(&out), Log: logr.Discard(), Now: func() time.Time { return noon }}
	var before client.Object
	for _, v := range versions {
		o.tell(before, v, time.Time{})
		before = v
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Version != audit.Version || e.ID == "" || e.Time.IsZero() || e.Subject.UID == "" {
			t.Fatalf("line %s: %v", line, err)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s %s %s", e.Time.Format("15:04"), e.Kind, e.Object, e.Actor, e.Trigger, e.Outcome, e.Reason)))
	}
	return strings.Join(lines, "\n")
}

// TestG18_TheStoryOfARollout is told once, line by line, with who and why.
func TestG18_TheStoryOfARollout(t *testing.T) {
	base := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "shop", UID: "u"}}
	var versions []client.Object
	then := func(change func(*v1alpha1.RolloutStatus)) {
		change(&base.Status)
		versions = append(versions, base.DeepCopy(), base.DeepCopy())
	}
	then(func(*v1alpha1.RolloutStatus) {})
	step := at(1)
	then(func(s *v1alpha1.RolloutStatus) {
		s.Attempt = &v1alpha1.Attempt{Number: 3, Revision: "bad", Commit: "c3", Stage: v1alpha1.StageStepping, StageSince: at(0), StartedAt: at(0), StepSince: &step, StepName: "first"}
	})
	then(func(s *v1alpha1.RolloutStatus) { s.Attempt.ConfirmedWeight = 5 })
	then(func(s *v1alpha1.RolloutStatus) {
		s.Attempt.Verdict = &v1alpha1.Verdict{Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed", Actor: "belay", At: at(4), Run: "shop-3"}
	})
	then(func(s *v1alpha1.RolloutStatus) {
		s.Attempt = nil
		s.History = []v1alpha1.AttemptRecord{{Number: 3, Revision: "bad", Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed", Actor: "belay", EndedAt: at(5)}}
		s.Revert = &v1alpha1.RevertStatus{ID: "r", Attempt: 3, State: v1alpha1.RevertPending, RequestedAt: at(5), Message: "trying"}
	})
	then(func(s *v1alpha1.RolloutStatus) { s.Revert.Message = "the Git server is down" })
	refused := at(6)
	then(func(s *v1alpha1.RolloutStatus) {
		s.Revert.State, s.Revert.Message, s.Revert.Refusals, s.Revert.FinishedAt = v1alpha1.RevertRejected, "the disk is full", 1, &refused
	})
	then(func(s *v1alpha1.RolloutStatus) { s.Revert.Refusals = 2 }) // tried again, and refused for the same reason
	then(func(s *v1alpha1.RolloutStatus) { s.Revert.Refusals, s.Revert.Message = 3, "the hook failed" })
	pushed := at(7)
	then(func(s *v1alpha1.RolloutStatus) {
		s.Revert.State, s.Revert.Commit, s.Revert.FinishedAt = v1alpha1.RevertPushed, "c4", &pushed
	})
	want := `12:00 Attempt attempt 3 belay Template Started
12:01 Attempt attempt 3 belay Gate Stepping first
12:04 Attempt attempt 3 belay Verdict VerdictRolledBack AnalysisFailed
12:05 Attempt attempt 3 belay Verdict RolledBack AnalysisFailed
12:05 Revert attempt 3 belay Verdict Pending
12:06 Revert attempt 3 belay Verdict Rejected
12:06 Revert attempt 3 belay Verdict Rejected
12:07 Revert attempt 3 belay Verdict Pushed`
	if got := told(t, versions...); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestG18_TheStoryOfASync: reconciliations, drift and decisions; a round without news tells nothing.
func TestG18_TheStoryOfASync(t *testing.T) {
	s := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "shop", UID: "u"}}
	ready := func(status metav1.ConditionStatus, reason string, minutes int) {
		s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: reason, LastTransitionTime: at(minutes)}}
	}
	var versions []client.Object
	keep := func() { versions = append(versions, s.DeepCopy(), s.DeepCopy()) }
	s.Status.AttemptedCommit = "c1"
	ready(metav1.ConditionFalse, "Denied", 0)
	keep()
	applied := at(2)
	s.Status.AppliedCommit, s.Status.AppliedDigest, s.Status.AppliedAt = "c1", "d1", &applied
	ready(metav1.ConditionTrue, "Applied", 2)
	keep()
	s.Status.ObservedGeneration = 7 // no news
	keep()
	s.Status.Drift = &v1alpha1.SyncDriftStatus{Objects: []v1alpha1.DriftedObject{{Group: "apps", Kind: "Deployment", Namespace: "n", Name: "a", State: v1alpha1.DriftOpen,
		Class: "ManualEdit", Digest: "x", LastSeen: at(3), Writer: &v1alpha1.DriftWriter{Manager: "kubectl-edit", User: "jane"}}}}
	keep()
	s.Status.Drift.Objects[0].State, s.Status.Drift.Objects[0].LastSeen = v1alpha1.DriftCorrected, at(4)
	keep()
	healthy := func(status metav1.ConditionStatus, minutes int) {
		s.Status.Conditions = append(s.Status.Conditions[:1:1], metav1.Condition{Type: v1alpha1.ConditionHealthy, Status: status, LastTransitionTime: at(minutes)})
	}
	record := v1alpha1.SyncRecord{Commit: "c1", Digest: "d1", Reason: "Applied"}
	since, until, later := at(5), at(6), at(7)
	for _, h := range []v1alpha1.SyncRecord{{HealthySince: &since}, {HealthySince: &since, WaveredSeconds: 9}, {HealthySince: &since, HealthyUntil: &until, Broken: "web"}, {HealthySince: &later}} {
		h.Commit, h.Digest, h.Reason = record.Commit, record.Digest, record.Reason
		s.Status.History = []v1alpha1.SyncRecord{h}
		healthy(metav1.ConditionTrue, 5)
		keep()
	}
	want := `12:00 Reconciliation  belay Commit Failed Denied
12:02 Reconciliation  belay Commit Succeeded Applied
12:03 Drift Deployment.apps n/a jane Watch Open ManualEdit
12:04 Drift Deployment.apps n/a jane Watch Corrected ManualEdit
12:05 Health  belay Watch Healthy
12:06 Health  belay Watch Unhealthy
12:07 Health  belay Watch Healthy`
	if got := told(t, versions...); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "d", UID: "v", CreationTimestamp: at(0)}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Rollout", Name: "shop"}, Action: v1alpha1.ActionAbort, Actor: "jane"}
	done := d.DeepCopy()
	when := at(1)
	done.Status = v1alpha1.DecisionStatus{Result: v1alpha1.DecisionApplied, At: &when}
	if got := told(t, d, done, done); got != "12:00 Decision Rollout shop jane Request Asked Abort\n12:01 Decision Rollout shop jane Request Applied Abort" {
		t.Errorf("got\n%s", got)
	}
}

// TestG18_WhoLetItThrough: a reconciliation names its plan and who approved it, a Decision the plan it is about, and what a gate
// holds up is told once for each reason.
func TestG18_WhoLetItThrough(t *testing.T) {
	s := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "prod", UID: "u"}}
	s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Waiting", LastTransitionTime: at(0)}}
	s.Status.AttemptedCommit, s.Status.Plan = "c2", &v1alpha1.SyncPlan{Digest: "p2", Commit: "c2", Bundle: "d2"}
	since := at(0)
	s.Status.BlockedBy, s.Status.BlockedSince = "it waits for people", &since
	waiting := s.DeepCopy()
	admitted := at(2)
	s.Status.Conditions[0].Status, s.Status.Conditions[0].Reason, s.Status.BlockedBy, s.Status.BlockedSince = metav1.ConditionTrue, "Applied", "", nil
	s.Status.AppliedCommit, s.Status.AppliedDigest, s.Status.Plan.AdmittedAt, s.Status.Plan.ApprovedBy = "c2", "d2", &admitted, []string{"ivan"}
	applied := s.DeepCopy()
	since = at(5)
	s.Status.BlockedBy, s.Status.BlockedSince = "commit c3 soaks", &since
	var got []string
	for _, version := range []*v1alpha1.Sync{waiting, applied, s} {
		for _, e := range EventsOf(version) {
			got = append(got, fmt.Sprintf("%s %s %s %q %v", e.Time.Format("15:04"), e.Outcome, e.Commit, e.Message, e.Links))
		}
	}
	want := `12:00 Failed c2 "" [{plan p2}]
12:00 Succeeded c2 "" [{plan p2} {approvedBy ivan}]
12:00 Succeeded c2 "" [{plan p2} {approvedBy ivan}]
12:05 Held c2 "commit c3 soaks" []`
	if joined := strings.Join(got, "\n"); joined != want {
		t.Errorf("got\n%s\nwant\n%s", joined, want)
	}
	if out := told(t, applied, applied, s, s); strings.Count(out, "Reconciliation") != 2 {
		t.Errorf("told\n%s", out)
	}
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{UID: "v"}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: "prod"}, Plan: "p2"}
	if e := EventsOf(d)[0]; e.Digest != "p2" {
		t.Errorf("the plan is missing: %+v", e)
	}
}

// TestG18_AtTheStart what is old is not told again, where the log cannot say whether it was.
func TestG18_AtTheStart(t *testing.T) {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "shop", UID: "u"}}
	r.Status.History = []v1alpha1.AttemptRecord{{Number: 2, EndedAt: at(-1)}, {Number: 1, EndedAt: at(-60)}}
	var out bytes.Buffer
	o := &Observer{To: audit.NewStream(&out), Log: logr.Discard()}
	o.tell(nil, r, noon.Add(-Replay))
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "attempt 2") {
		t.Errorf("told %s", out.String())
	}
}
