package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
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

// shards is in how many namespaces the crashes of one story and variant are tried at the same time.
const shards = 4

// crashReplicas: the variant that shows most has more pods than one.
var crashReplicas = map[variant]int32{notSent: 1, unacked: 1, rebuilt: 2}

// undisturbed is how a story ends without a crash, and how many writes it takes.
type undisturbed struct {
	once   sync.Once
	want   end
	writes int
}

// TestCrashAtEveryWrite cuts the controller off at each of its writes and asks for the same end.
func TestCrashAtEveryWrite(t *testing.T) {
	for _, s := range stories {
		calm := map[int32]*undisturbed{1: {}, 2: {}}
		for _, v := range []variant{notSent, unacked, rebuilt} {
			for shard := range shards {
				t.Run(fmt.Sprintf("%s/%s/%d", s.name, strings.ReplaceAll(string(v), " ", "-"), shard), func(t *testing.T) {
					t.Parallel()
					crashEverywhere(t, s, v, shard, calm[crashReplicas[v]])
				})
			}
		}
	}
}

func crashEverywhere(t *testing.T, s story, v variant, shard int, calm *undisturbed) {
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		for i := range ro.Spec.Strategy.Canary.Steps {
			ro.Spec.Strategy.Canary.Steps[i].Hold = "0s"
		}
		ro.Spec.Replicas = ptr.To(crashReplicas[v])
		ro.Spec.Strategy.Canary.ScaleDownDelay, ro.Spec.Traffic.Settle = "0s", "0s"
	}).started()
	s.attempt(w, 0) // creates what stays, such as the canary Service
	calm.once.Do(func() { calm.learn(w, s) })
	if calm.writes == 0 {
		t.Fatal("the undisturbed run failed")
	}
	crashes, writes := 0, 0
	for i := shard; i < calm.writes; i += shards {
		w.record.strike(v, i)
		got := s.attempt(w, i+2)
		if diff := cmp.Diff(calm.want, got); diff != "" {
			t.Errorf("cut off at write %d, %s: the end differs (-undisturbed +got):\n%s\n%s", i, v, diff, w.record.text(0))
		}
		writes++
		if w.record.hit {
			crashes++
		}
	}
	if crashes != writes {
		t.Errorf("%d crashes at %d writes", crashes, writes)
	}
	t.Logf("%d of %d writes, %d crashes, %d checks of the invariants", writes, calm.writes, crashes, w.watch.checks)
}

func (u *undisturbed) learn(w *world, s story) {
	w.record.forget()
	got := s.attempt(w, 1)
	writes := w.record.count()
	if got.Outcome != string(s.outcome) || got.Records != 1 || got.Attempts != 1 || writes < 10 {
		w.t.Fatalf("the undisturbed run: %d writes, %+v", writes, got)
	}
	if bad := s.outcome == v1alpha1.OutcomeRolledBack; bad && (got.Reverts != 1 || got.BadRevert != 1 || !got.Quarantined) {
		w.t.Fatalf("the undisturbed run: %+v", got)
	}
	u.want, u.writes = got, writes
}
