package sync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestG22_OnlyWhatHasSoakedElsewhereIsProven(t *testing.T) {
	now := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-d)} }
	record := func(commit, reason string, since, until *metav1.Time) v1alpha1.SyncRecord {
		return v1alpha1.SyncRecord{Commit: commit, Reason: reason, HealthySince: since, HealthyUntil: until}
	}
	for name, test := range map[string]struct {
		history []v1alpha1.SyncRecord
		want    string
	}{
		"nothing yet":                {nil, ": gates.follows: Sync \"staging\" has run no commit healthily yet"},
		"soaked":                     {[]v1alpha1.SyncRecord{record("new", ReasonApplied, ago(time.Hour), nil)}, "new: gates.follows: Sync \"staging\" is at commit new, and at nothing newer yet"},
		"soaks still":                {[]v1alpha1.SyncRecord{record("new", ReasonApplied, ago(time.Minute), nil)}, ": gates.follows: commit new soaks in Sync \"staging\" until 2026-03-03T12:29:00Z"},
		"the one before has soaked":  {[]v1alpha1.SyncRecord{record("new", ReasonApplied, ago(time.Minute), nil), record("old", ReasonApplied, ago(3*time.Hour), ago(time.Minute))}, "old: gates.follows: commit new soaks in Sync \"staging\" until 2026-03-03T12:29:00Z"},
		"was replaced too early":     {[]v1alpha1.SyncRecord{record("new", ReasonApplied, nil, nil), record("old", ReasonApplied, ago(20*time.Minute), ago(time.Minute))}, ": gates.follows: commit new is not Healthy in Sync \"staging\""},
		"a refused one is no record": {[]v1alpha1.SyncRecord{record("bad", ReasonDenied, nil, nil), record("old", ReasonApplied, ago(time.Hour), nil)}, "old: gates.follows: Sync \"staging\" is at commit old, and at nothing newer yet"},
	} {
		t.Run(name, func(t *testing.T) {
			other := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Name: "staging"}}
			other.Status.History = test.history
			var commits []string
			l := lead{other: other, soak: 30 * time.Minute, now: now}
			found, _ := l.since("")
			for _, record := range found {
				commits = append(commits, record.Commit)
			}
			why, _ := l.waits()
			if diff := cmp.Diff(test.want, strings.Join(commits, " ")+": "+why); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestG42_ACircleIsNamed(t *testing.T) {
	on := func(names ...string) *v1alpha1.Sync {
		s := &v1alpha1.Sync{}
		for _, n := range names {
			s.Spec.DependsOn = append(s.Spec.DependsOn, v1alpha1.LocalReference{Name: n})
		}
		return s
	}
	all := map[string]*v1alpha1.Sync{"a": on("b", "c"), "b": on("d"), "c": on("d"), "d": on(), "x": on("y"), "y": on("z", "gone"), "z": on("x"), "self": on("self"), "beside": on("x")}
	for start, want := range map[string]string{"a": "", "d": "", "x": "x y z x", "self": "self self", "beside": ""} {
		if got := strings.Join(circleOf(all, start), " "); got != want {
			t.Errorf("%s: %q, want %q", start, got, want)
		}
	}
}

func TestG25_TheAuthorDoesNotApprove(t *testing.T) {
	for _, test := range []struct {
		actor   string
		authors []string
		known   bool
		refused bool
	}{
		{"jane", []string{"joe@example.com"}, true, false}, {"jane@corp.example", []string{"jane@example.com"}, true, true},
		{"oidc:jane", []string{"jane@example.com"}, true, true}, {"jane", nil, false, true},
	} {
		if got := wrote(test.actor, test.authors, test.known); (got != "") != test.refused {
			t.Errorf("%s of %v: %q", test.actor, test.authors, got)
		}
	}
}

func TestG18_HistoryIsCoalescedAndBounded(t *testing.T) {
	sync := &v1alpha1.Sync{}
	next := &v1alpha1.SyncStatus{}
	at := func(minute int) metav1.Time {
		return metav1.NewTime(time.Date(2026, 3, 3, 0, minute, 0, 0, time.UTC))
	}
	healthy, failed := &health{status: "True"}, &health{status: "False", names: []string{"it has failed"}}
	round := func(minute int, commit, digest, reason string, h *health) {
		done := result{commit: commit, digest: digest}
		recorded(sync, next, done, failure{reason: reason, message: "because"}, at(minute))
		if reason == ReasonApplied {
			next.AppliedDigest = digest
		}
		before := healthOf(next).DeepCopy()
		(&Reconciler{Now: func() time.Time { return at(minute).Time }}).setHealth(sync, next, h)
		soaking(next, before, at(minute))
	}
	story := func() string {
		var out []string
		for _, h := range next.History {
			line := fmt.Sprintf("%s/%s %s ×%d", h.Commit, h.Digest, h.Reason, h.Count)
			if h.HealthySince != nil {
				line += fmt.Sprintf(" healthy %d", h.HealthySince.Minute())
			}
			if h.HealthyUntil != nil {
				line += fmt.Sprintf("-%d", h.HealthyUntil.Minute())
			}
			if h.Broken != "" {
				line += " " + h.Broken
			}
			out = append(out, line)
		}
		return strings.Join(out, ", ")
	}
	expectStory := func(want string) {
		t.Helper()
		if diff := cmp.Diff(want, story()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	round(1, "c1", "d1", ReasonApplied, healthy)
	round(2, "c2", "d1", ReasonApplied, healthy)
	expectStory("c2/d1 Applied ×1 healthy 1")
	round(3, "c3", "d2", ReasonDenied, nil)
	round(4, "c3", "d2", ReasonDenied, nil)
	expectStory("c3/d2 Denied ×1, c2/d1 Applied ×1 healthy 1")
	round(5, "c4", "d3", ReasonApplied, failed)
	expectStory("c4/d3 Applied ×1, c3/d2 Denied ×1, c2/d1 Applied ×1 healthy 1-5")
	round(6, "c4", "d3", ReasonApplied, healthy)
	round(7, "c4", "d3", ReasonApplied, failed)
	expectStory("c4/d3 Applied ×1 healthy 6-7 it has failed, c3/d2 Denied ×1, c2/d1 Applied ×1 healthy 1-5")
	round(8, "c4", "d3", ReasonApplied, healthy)
	expectStory("c4/d3 Applied ×1 healthy 8, c3/d2 Denied ×1, c2/d1 Applied ×1 healthy 1-5")
	for i := range 50 {
		round(10, "c", fmt.Sprint("e", i), ReasonDenied, nil)
	}
	if len(next.History) != maxHistory {
		t.Errorf("%d records", len(next.History))
	}
}

func TestG23_HealthIsWhatTheObjectsSay(t *testing.T) {
	available := "{apiVersion: apps/v1, kind: Deployment, metadata: {name: w, namespace: shop, generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, availableReplicas: 1, updatedReplicas: 1, conditions: [{type: Available, status: 'True'}]}}"
	stuck := strings.Replace(available, "conditions: [", "conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}, ", 1)
	rollout := "{apiVersion: belay.dev/v1alpha1, kind: Rollout, metadata: {name: r, namespace: shop, generation: 2}, status: {observedGeneration: 2, conditions: [{type: Ready, status: 'True', reason: x, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}}"
	for name, test := range map[string]struct {
		objects []string
		want    string
	}{
		"a config map":           {[]string{cm}, "True"},
		"available":              {[]string{cm, available}, "True"},
		"not yet observed":       {[]string{strings.Replace(available, "generation: 1}", "generation: 2}", 1)}, "Unknown"},
		"past its deadline":      {[]string{stuck, cm}, "False"},
		"failed before moving":   {[]string{stuck, strings.NewReplacer("readyReplicas: 1", "readyReplicas: 0", "name: w", "name: x").Replace(available)}, "False"},
		"a rollout":              {[]string{rollout}, "True"},
		"a rollout not observed": {[]string{strings.Replace(rollout, "observedGeneration: 2", "observedGeneration: 1", 1)}, "Unknown"},
		"in an attempt":          {[]string{strings.Replace(rollout, "status: {", "status: {attempt: {number: 3, revision: x}, ", 1)}, "Unknown"},
		"taken back":             {[]string{strings.Replace(rollout, "status: {", "status: {quarantine: [{revision: REV, reason: AnalysisFailed}], ", 1)}, "False"},
		"another was taken back": {[]string{strings.Replace(rollout, "status: {", "status: {quarantine: [{revision: other, reason: AnalysisFailed}], ", 1)}, "True"},
	} {
		t.Run(name, func(t *testing.T) {
			v := vitals{}
			for _, text := range test.objects {
				u := object(t, strings.ReplaceAll(text, "REV", emptyRevision(t)))
				v.take(entryOf(u), u)
			}
			if got := v.sum(); string(got.status) != test.want {
				t.Errorf("%s: %v", got.status, got.names)
			}
		})
	}
}

// approve writes a Decision about the plan that waits.
func (w *world) decide(action v1alpha1.DecisionAction, actor, plan string) *v1alpha1.Decision {
	w.Helper()
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, GenerateName: "d-"}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: "shop"}, Action: action, Plan: plan, Actor: actor}
	w.create(d)
	return d
}

func (w *world) answerOf(d *v1alpha1.Decision) string {
	w.Helper()
	w.get(d.Name, d)
	return string(d.Status.Result) + " " + d.Status.Message
}

func TestG28_APlanWaitsForPeopleWhoDidNotWriteIt(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	expect(t, w.reconcile(), "True/Applied")
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Gates.Approvals = &v1alpha1.ApprovalsGate{Required: 2, NotTheAuthor: v1alpha1.Enabled, WhenRisk: v1alpha1.RiskMedium}
	})
	// A creation is of low risk; a deletion is not.
	w.commit(map[string]string{"apps/b.yaml": configMap("b", "1")})
	expect(t, w.reconcile(), "True/Applied")
	w.seen.take()
	w.commit(map[string]string{"apps/b.yaml": "", "apps/a.yaml": configMap("a", "2")})
	s := w.reconcile()
	expect(t, s, "False/Waiting", "waits for 2 more to approve it: kubectl belay approve sync/shop")
	if got := w.seen.writes(); len(got) > 0 || value(w, "a") != "1" || s.Status.Plan.Prune != 1 || s.Status.BlockedBy == "" {
		t.Errorf("writes %v, plan %+v", got, s.Status.Plan)
	}
	author := w.git.Git("fleet", "log", "-1", "--format=%ae", "main")
	byAuthor := w.decide(v1alpha1.ActionApprove, strings.TrimSpace(author), s.Status.Plan.Digest)
	stale := w.decide(v1alpha1.ActionApprove, "jane", strings.Repeat("0", 64))
	first := w.decide(v1alpha1.ActionApprove, "jane", s.Status.Plan.Digest)
	twice := w.decide(v1alpha1.ActionApprove, "jane", s.Status.Plan.Digest)
	s = w.reconcile()
	expect(t, s, "False/Waiting", "waits for 1 more")
	for d, want := range map[*v1alpha1.Decision]string{byAuthor: "Refused", stale: "Refused plan 00000000 is not the one that waits", first: "Applied", twice: "Applied"} {
		if got := w.answerOf(d); !strings.HasPrefix(got, want) {
			t.Errorf("Decision of %s: %q, want %q", d.Spec.Actor, got, want)
		}
	}
	w.decide(v1alpha1.ActionApprove, "joe", s.Status.Plan.Digest)
	s = w.reconcile()
	expect(t, s, "True/Applied")
	if s.Status.Plan.AdmittedAt == nil || cmp.Diff([]string{"jane", "joe"}, s.Status.Plan.ApprovedBy) != "" || cmp.Diff([]string{"jane", "joe"}, s.Status.History[0].ApprovedBy) != "" || s.Status.BlockedBy != "" {
		t.Errorf("plan %+v, history %+v", s.Status.Plan, s.Status.History[0])
	}
	late := w.decide(v1alpha1.ActionReject, "jim", s.Status.Plan.Digest)
	w.reconcile()
	if got := w.answerOf(late); !strings.HasPrefix(got, "Refused no plan waits") {
		t.Errorf("a late one: %q", got)
	}
}

func TestG28_APolicyAsksForAnApprovalAndARejectionHolds(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.policy("ask", v1alpha1.DeliveryPolicySpec{Expression: "false", Message: "somebody must look", Rationale: "r", Severity: v1alpha1.SeverityRequireApproval})
	s := w.reconcile()
	expect(t, s, "False/Waiting", "waits for 1 more")
	w.nothing(s)
	if len(s.Status.Plan.Approvals) != 1 || !strings.Contains(s.Status.Plan.Approvals[0], "somebody must look") {
		t.Errorf("approvals %v", s.Status.Plan.Approvals)
	}
	w.decide(v1alpha1.ActionReject, "jim", s.Status.Plan.Digest)
	s = w.reconcile()
	expect(t, s, "False/Waiting", "jim has rejected plan")
	w.nothing(s)
}

// TestG42_AnApprovedBundleIsFinishedAfterAFailure: half of it was applied, so the plan is another one by then.
func TestG42_AnApprovedBundleIsFinishedAfterAFailure(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Gates.Approvals = &v1alpha1.ApprovalsGate{Required: 1} })
	s := w.reconcile()
	w.decide(v1alpha1.ActionApprove, "jane", s.Status.Plan.Digest)
	w.failStatus = w.statusWrites + 3 // the answer, the intent, and then the inventory after it
	if _, err := w.try(); err == nil {
		t.Fatal("the failure was not injected")
	}
	s = w.reconcile()
	expect(t, s, "True/Applied")
	if value(w, "a") != "1" {
		t.Errorf("a = %q", value(w, "a"))
	}
}

func TestG22_ProdFollowsStagingAfterASoak(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "staging/s.yaml": configMap("s", "1")}, "configmaps")
	staging := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "staging"}}
	staging.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "staging", ServiceAccountName: "deployer"}
	w.create(staging)
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Gates.Follows = &v1alpha1.FollowsGate{Sync: "staging", Soak: "30m"}
	})
	s := w.reconcile()
	expect(t, s, "False/Waiting", `Sync "staging" has run no commit healthily yet`)
	w.nothing(s)
	w.reconcileOf("staging")
	s = w.reconcile()
	expect(t, s, "False/Waiting", "soaks in Sync \"staging\" until")
	first := w.git.Head("fleet", "main")
	w.now = w.now.Add(31 * time.Minute)
	s = w.reconcile()
	expect(t, s, "True/Applied", first)
	// The next commit waits; what is applied stays applied.
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2"), "staging/s.yaml": configMap("s", "2")})
	w.reconcileOf("staging")
	s = w.reconcile()
	expect(t, s, "True/Applied", first)
	if value(w, "a") != "1" || !strings.Contains(s.Status.BlockedBy, "soaks in Sync") {
		t.Errorf("a = %q, blocked by %q", value(w, "a"), s.Status.BlockedBy)
	}
	w.now = w.now.Add(31 * time.Minute)
	s = w.reconcile()
	if expect(t, s, "True/Applied"); value(w, "a") != "2" || s.Status.BlockedBy != "" {
		t.Errorf("a = %q, blocked by %q", value(w, "a"), s.Status.BlockedBy)
	}
}

func TestG22_AClosedWindowHoldsUpABundleAndNoRepair(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	expect(t, w.reconcile(), "True/Applied")
	day := w.now.UTC().Format("2006-01-02")
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Gates.Windows = []v1alpha1.SyncWindow{{Name: "freeze", Kind: v1alpha1.WindowDeny, FirstDate: day, LastDate: day}}
	})
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2")})
	s := w.reconcile()
	expect(t, s, "False/Waiting", `window "freeze" is closed`, "next at ")
	if value(w, "a") != "1" {
		t.Errorf("a = %q", value(w, "a"))
	}
	w.now = w.now.Add(24 * time.Hour)
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "2" {
		t.Errorf("a = %q", value(w, "a"))
	}
}

func TestG42_ASyncWaitsForWhatItDependsOn(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "base/b.yaml": configMap("b", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.DependsOn = []v1alpha1.LocalReference{{Name: "base"}} })
	s := w.reconcile()
	expect(t, s, "False/Waiting", `dependsOn: Sync "base" does not exist`)
	w.nothing(s)
	base := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "base"}}
	base.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "base", ServiceAccountName: "deployer", DependsOn: []v1alpha1.LocalReference{{Name: "shop"}}}
	w.create(base)
	expect(t, w.reconcile(), "False/DependencyCycle", "dependsOn is a circle: shop → base → shop")
	w.get("base", base)
	base.Spec.DependsOn = nil
	if err := w.env.Client.Update(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	expect(t, w.reconcile(), "False/Waiting", `dependsOn: Sync "base" has not been looked at yet`)
	w.reconcileOf("base")
	expect(t, w.reconcile(), "True/Applied")
	if !w.exists("a", &corev1.ConfigMap{}) {
		t.Error("a was not applied")
	}
}
