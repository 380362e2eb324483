package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// end is the state after an attempt, without what differs from run to run.
type end struct {
	Outcome, Reason, Stable, Phase string
	Attempts, Records              int64
	// Sets are the sizes and roles of the ReplicaSets of the revision tried and of the one before.
	Sets               map[string]string
	StableSel, Canary  map[string]string
	Route              any
	Annotations        int
	Quarantined        bool
	Reverts, BadRevert int
	Runs               map[string]v1alpha1.RunState
}

// story is an attempt that is made again and again in one namespace, each time cut off at another write.
type story struct {
	name    string
	verdict v1alpha1.RunVerdict
	outcome v1alpha1.Outcome
}

var stories = []story{{"good", v1alpha1.VerdictPass, v1alpha1.OutcomePromoted}, {"bad", v1alpha1.VerdictFail, v1alpha1.OutcomeRolledBack}}

// attempt tries a revision and tells the end.
func (s story) attempt(w *world, n int) end {
	w.t.Helper()
	old := w.get()
	version := fmt.Sprintf("%s-%d", s.name, n)
	rev := hash(w.t, version)
	w.analyst.verdicts[rev] = s.verdict
	w.watch.intents = nil
	w.deploy(version)
	w.until("over", func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Attempts > old.Status.Attempts && ro.Status.Attempt == nil
	})
	ro := w.rest()
	return w.end(old, ro, rev)
}

func (w *world) end(old, ro *v1alpha1.Rollout, rev string) end {
	w.t.Helper()
	names := strings.NewReplacer(rev, "new", old.Status.Stable.Revision, "old")
	plainly := func(m map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			out[k] = names.Replace(v)
		}
		return out
	}
	e := end{Stable: names.Replace(ro.Status.Stable.Revision), Phase: ro.Status.Phase, Attempts: ro.Status.Attempts - old.Status.Attempts,
		Outcome: string(ro.Status.History[0].Outcome), Reason: ro.Status.History[0].Reason,
		Sets: map[string]string{}, StableSel: plainly(w.service(app).Spec.Selector), Canary: plainly(w.service(app + "-canary").Spec.Selector),
		Route: plain(w.getRoute(app).Object["spec"]), Annotations: len(w.getRoute(app).GetAnnotations()),
		Reverts: len(slices.DeleteFunc(w.watch.intents, func(n int64) bool { return n <= old.Status.Attempts })), Runs: map[string]v1alpha1.RunState{}}
	for _, h := range ro.Status.History {
		if h.Number == ro.Status.Attempts {
			e.Records++
		}
	}
	for _, q := range ro.Status.Quarantine {
		e.Quarantined = e.Quarantined || q.Revision == rev
	}
	if r := ro.Status.Revert; r != nil && r.Bad == rev && r.Good == ro.Status.Stable.Revision && r.Attempt == ro.Status.Attempts {
		e.BadRevert++
	}
	var sets appsv1.ReplicaSetList
	w.must(w.user.List(w.t.Context(), &sets, client.InNamespace(w.ns)))
	for _, rs := range sets.Items {
		if r := rs.Labels[v1alpha1.LabelRevision]; r == rev || r == old.Status.Stable.Revision {
			e.Sets[names.Replace(r)] = fmt.Sprintf("%d as %s", *rs.Spec.Replicas, rs.Spec.Template.Labels[v1alpha1.LabelRole])
		}
	}
	var runs v1alpha1.AnalysisRunList
	w.must(w.user.List(w.t.Context(), &runs, client.InNamespace(w.ns)))
	for _, run := range runs.Items {
		if run.Spec.Arms.CanaryRevision == rev {
			e.Runs[strings.TrimSuffix(run.Name, fmt.Sprint(ro.Status.Attempts))] = run.Spec.State
		}
	}
	return e
}

// TestCrashAtEveryWrite cuts the controller off at each of its writes and asks for the same end.
func TestCrashAtEveryWrite(t *testing.T) {
	for _, s := range stories {
		for _, v := range []variant{notSent, unacked, rebuilt} {
			t.Run(s.name+"/"+strings.ReplaceAll(string(v), " ", "-"), func(t *testing.T) {
				t.Parallel()
				crashEverywhere(t, s, v)
			})
		}
	}
}

func crashEverywhere(t *testing.T, s story, v variant) {
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		for i := range ro.Spec.Strategy.Canary.Steps {
			ro.Spec.Strategy.Canary.Steps[i].Hold = "0s"
		}
		ro.Spec.Strategy.Canary.ScaleDownDelay, ro.Spec.Traffic.Settle = "0s", "0s"
	}).started()
	s.attempt(w, 0) // creates what stays, such as the canary Service
	w.record.forget()
	want := s.attempt(w, 1)
	writes := w.record.count()
	if want.Outcome != string(s.outcome) || want.Records != 1 || want.Attempts != 1 || writes < 10 {
		t.Fatalf("the undisturbed run: %d writes, %+v", writes, want)
	}
	if bad := s.outcome == v1alpha1.OutcomeRolledBack; bad && (want.Reverts != 1 || want.BadRevert != 1 || !want.Quarantined) {
		t.Fatalf("the undisturbed run: %+v", want)
	}
	crashes := 0
	for i := range writes {
		w.record.strike(v, i)
		got := s.attempt(w, i+2)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut off at write %d, %s: the end differs (-undisturbed +got):\n%s\n%s", i, v, diff, w.record.text(0))
		}
		if w.record.hit {
			crashes++
		}
	}
	if crashes != writes {
		t.Errorf("%d crashes at %d writes", crashes, writes)
	}
	t.Logf("%d writes, %d crashes, %d checks of the invariants", writes, crashes, w.watch.checks)
}
