package sync

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// ask writes a Decision about what the Sync runs.
func (w *world) ask(action v1alpha1.DecisionAction, bundle, to string) *v1alpha1.Decision {
	w.Helper()
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, GenerateName: "d-"}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: "shop"}, Action: action, Bundle: bundle, To: to, Actor: "ann", Reason: "orders fail"}
	w.create(d)
	return d
}

func TestG20_UndoWithGitDownAndAnEmptyDisk(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	first := w.reconcile()
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2"), "apps/b.yaml": configMap("b", "2")})
	second := w.reconcile()
	// Gates do not hold it up.
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Gates.Windows = []v1alpha1.SyncWindow{{Kind: v1alpha1.WindowDeny}}
		s.Spec.Gates.Approvals = &v1alpha1.ApprovalsGate{Required: 2}
	})
	w.git.Down(true)
	asked := w.git.Requests()
	w.restart()
	d := w.ask(v1alpha1.ActionUndo, second.Status.AppliedDigest, "")
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if value(w, "a") != "1" || w.exists("b", &corev1.ConfigMap{}) || s.Status.AppliedDigest != first.Status.AppliedDigest || s.Status.AppliedCommit != first.Status.AppliedCommit {
		t.Errorf("a = %q, applied %s", value(w, "a"), s.Status.AppliedCommit)
	}
	if got := w.answerOf(d); got != "Applied held at commit "+short(first.Status.AppliedCommit) {
		t.Errorf("Decision: %q", got)
	}
	if h := s.Status.Held; h == nil || h.Actor != "ann" || h.Reason != "orders fail" || h.Decision != d.Name || !strings.Contains(s.Status.BlockedBy, "kubectl belay resume sync/shop") {
		t.Errorf("held %+v, blocked by %q", h, s.Status.BlockedBy)
	}
	if n := w.git.Requests() - asked; n > 1 { // whether Git says the same by now
		t.Errorf("%d requests to Git", n)
	}
	w.restart()
	w.byHand("a", "by hand")
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "1" {
		t.Errorf("drift while held: a = %q", value(w, "a"))
	}
	w.git.Down(false)
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "3")})
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "1" {
		t.Errorf("a new commit while held: a = %q", value(w, "a"))
	}
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Gates = v1alpha1.SyncGates{} })
	w.ask(v1alpha1.ActionResume, "", "")
	s = w.reconcile()
	if expect(t, s, "True/Applied"); value(w, "a") != "3" || s.Status.Held != nil || s.Status.BlockedBy != "" {
		t.Errorf("resumed: a = %q, held %+v, blocked by %q", value(w, "a"), s.Status.Held, s.Status.BlockedBy)
	}
}

func TestG20_UndoEndsOnceGitSaysTheSame(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2")})
	w.ask(v1alpha1.ActionUndo, w.reconcile().Status.AppliedDigest, "")
	w.reconcile()
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "3")})
	if s := w.reconcile(); s.Status.Held == nil {
		t.Fatal("released by a commit that says something else")
	}
	w.git.Down(true)
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "1")})
	w.restart()
	if s := w.reconcile(); s.Status.Held == nil {
		t.Fatal("released although Git cannot be read")
	}
	w.git.Down(false)
	w.now = w.now.Add(headRetry)
	s := w.reconcile()
	if expect(t, s, "True/Applied"); s.Status.Held != nil || value(w, "a") != "1" {
		t.Errorf("held %+v, a = %q", s.Status.Held, value(w, "a"))
	}
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "4")})
	if w.reconcile(); value(w, "a") != "4" {
		t.Errorf("a = %q", value(w, "a"))
	}
}

func TestG20_PauseHoldsWhatIsApplied(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps") // no bundles: Git has it
	w.ask(v1alpha1.ActionPause, w.reconcile().Status.AppliedDigest, "")
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "2")})
	w.reconcile()
	w.restart()
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "1" {
		t.Errorf("a = %q", value(w, "a"))
	}
	w.git.Down(true)
	w.restart()
	expect(t, w.reconcile(), "False/BundleMissing", "kubectl belay resume sync/shop")
}

// TestUndoIsCutOff between any two writes of the status: it is done once, all the same.
func TestUndoIsCutOff(t *testing.T) {
	for cut := 1; cut <= 4; cut++ {
		w := newWorld(t)
		w.shelf()
		w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
		first := w.reconcile()
		w.commit(map[string]string{"apps/a.yaml": configMap("a", "2")})
		second := w.reconcile()
		d := w.ask(v1alpha1.ActionUndo, second.Status.AppliedDigest, "")
		w.statusWrites, w.failStatus = 0, cut
		_, _ = w.try()
		w.restart()
		w.reconcile()
		s := w.reconcile()
		if value(w, "a") != "1" || s.Status.AppliedDigest != first.Status.AppliedDigest || !strings.HasPrefix(w.answerOf(d), "Applied held at") {
			t.Errorf("cut off at write %d: a = %q, Decision %q", cut, value(w, "a"), w.answerOf(d))
		}
	}
}

func TestHold(t *testing.T) {
	now := metav1.NewTime(time.Unix(1e9, 0))
	status := func() *v1alpha1.SyncStatus {
		return &v1alpha1.SyncStatus{AppliedDigest: "c", AppliedCommit: "ccc", History: []v1alpha1.SyncRecord{
			{Digest: "c", Commit: "ccc", Reason: ReasonApplied, HealthySince: &now}, {Digest: "x", Commit: "xxx", Reason: ReasonDenied},
			{Digest: "b", Commit: "bbb", Reason: ReasonApplied, Undone: true}, {Digest: "a", Commit: "aaa", Reason: ReasonApplied}}}
	}
	for name, test := range map[string]struct {
		action     v1alpha1.DecisionAction
		bundle, to string
		held       *v1alpha1.SyncHold
		want       string
	}{
		"undo passes over what was undone and what was refused": {action: v1alpha1.ActionUndo, bundle: "c", want: "held at commit aaa"},
		"undo to what was undone, asked for":                    {action: v1alpha1.ActionUndo, bundle: "c", to: "b", want: "held at commit bbb"},
		"undo to what was refused":                              {action: v1alpha1.ActionUndo, bundle: "c", to: "x", want: "refused: bundle x is not one that status.history says was applied before"},
		"undo of something else":                                {action: v1alpha1.ActionUndo, bundle: "b", want: "refused: bundle b is not the one applied, which is c"},
		"undo again, after a crash":                             {action: v1alpha1.ActionUndo, bundle: "b", held: &v1alpha1.SyncHold{Decision: "d", Commit: "aaa"}, want: "held at commit aaa"},
		"pause":                                                 {action: v1alpha1.ActionPause, bundle: "c", want: "held at commit ccc"},
		"resume":                                                {action: v1alpha1.ActionResume, held: &v1alpha1.SyncHold{Decision: "e"}, want: "it follows Git again"},
		"resume of nothing":                                     {action: v1alpha1.ActionResume, want: "nothing holds it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := status()
			s.Held = test.held
			d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: v1alpha1.DecisionSpec{Action: test.action, Bundle: test.bundle, To: test.to}}
			said, refuse := hold(s, d, now)
			if refuse != "" {
				said = "refused: " + refuse
			}
			if said != test.want {
				t.Errorf("%q, want %q", said, test.want)
			}
			if undone := s.History[0].Undone; undone != (test.action == v1alpha1.ActionUndo && refuse == "" && test.held == nil) || undone && s.History[0].HealthySince != nil {
				t.Errorf("the bundle in force: %+v", s.History[0])
			}
		})
	}
}

// TestG22_WhatWasUndoneIsNotFollowed: prod does not take what staging has taken back.
func TestG22_WhatWasUndoneIsNotFollowed(t *testing.T) {
	long := metav1.NewTime(time.Unix(1e9, 0))
	until := metav1.NewTime(long.Add(time.Hour))
	other := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Name: "staging"}, Status: v1alpha1.SyncStatus{AppliedDigest: "b", AppliedCommit: "bbb", History: []v1alpha1.SyncRecord{
		{Digest: "b", Commit: "bbb", Reason: ReasonApplied, HealthySince: &long}, {Digest: "a", Commit: "aaa", Reason: ReasonApplied, HealthySince: &long, HealthyUntil: &until}}}}
	proven := func() (out []string) {
		l := lead{other: other, soak: time.Minute, now: until.Add(time.Hour)}
		for _, record := range other.Status.History {
			if l.soaked(record) {
				out = append(out, record.Commit)
			}
		}
		return out
	}
	if got := proven(); len(got) != 2 {
		t.Fatalf("proven: %s", got)
	}
	d := &v1alpha1.Decision{Spec: v1alpha1.DecisionSpec{Action: v1alpha1.ActionUndo, Bundle: "b"}}
	if _, refuse := hold(&other.Status, d, until); refuse != "" {
		t.Fatal(refuse)
	}
	if got := proven(); len(got) != 1 || got[0] != "aaa" {
		t.Errorf("proven: %s", got)
	}
}
