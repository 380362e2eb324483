package integration

import (
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// idle asks for no write, and for few reads.
func (w *world) idle() {
	w.t.Helper()
	w.settle()
	before, reads := w.record.count(), w.record.reads
	result, wrote, err := w.look()
	if err != nil || wrote != 0 || result.RequeueAfter != 0 {
		w.t.Errorf("at rest: %d writes, next look after %s, error %v:\n%s", wrote, result.RequeueAfter, err, w.record.text(before))
	}
	// Rollout, ReplicaSets, pods, two Services and their EndpointSlices, route, runs, template, Decisions.
	most := 11
	ro := w.get()
	for i, ref := range ro.Spec.Traffic.Routes {
		if i > 0 {
			most++
		}
		if ref.Namespace != "" {
			most++ // grants
		}
		if planner.NeedsFeatures(&ro.Spec) {
			most++ // its Gateway
		}
	}
	if ro.Spec.WorkloadRef != nil {
		most += 2 // the Deployment, and whether another Rollout names it
	}
	for _, s := range ro.Spec.Steps() {
		if s.Checks != nil {
			most += len(s.Checks.Templates)
		}
	}
	if n := w.record.reads - reads; n > most {
		w.t.Errorf("at rest: %d reads", n)
	}
}

func TestGoodRollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Bake = "2s" })
	w.alias.add(hash(t, "v1"), "v1")
	w.until("healthy", finished(v1alpha1.OutcomePromoted))
	w.rest()
	golden(t, "first-revision", w.record.text(0))
	w.idle()
	w.record.forget()

	v2 := w.deploy("v2")
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	ro := w.rest()
	golden(t, "good-rollout", w.record.text(0))
	w.idle()
	if ro.Status.Stable.Revision != v2 || ro.Status.Phase != "Healthy" || len(ro.Status.History) != 2 || ro.Status.Revert != nil {
		t.Errorf("status: %s", w.alias.in(statusText(&ro.Status)))
	}
	if w.watch.checks == 0 {
		t.Error("no invariant was checked")
	}
}

func TestBadRollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	before := w.getRoute(app).Object["spec"]
	v2 := hash(t, "v2")
	w.analyst.verdicts[v2] = v1alpha1.VerdictFail
	w.deploy("v2")
	w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
	ro := w.rest()
	golden(t, "bad-rollout", w.record.text(0))
	w.idle()
	same(t, "the route's spec", before, w.getRoute(app).Object["spec"])
	if r := ro.Status.Revert; r == nil || r.Bad != v2 || r.Good != hash(t, "v1") || r.State != v1alpha1.RevertPending {
		t.Errorf("revert: %+v", r)
	}
	h := ro.Status.History[0]
	if h.Reason != "AnalysisFailed" || h.MaxWeight != 50 || len(ro.Status.Quarantine) != 1 {
		t.Errorf("history: %+v, quarantine: %+v", h, ro.Status.Quarantine)
	}
}
