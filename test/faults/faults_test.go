package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// totals are what the run prints.
var totals struct {
	scenarios, writes, crashes, errors, stale, checks, violations, planes, requests, mirrored, failed, known atomic.Int64
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	debug.SetGCPercent(400) // worlds are small and short-lived
	code := m.Run()
	fmt.Printf("faults: %d scenarios, %d write points, %d crash runs, %d error runs, %d stale runs, %d checks after writes, %d violations\n",
		totals.scenarios.Load(), totals.writes.Load(), totals.crashes.Load(), totals.errors.Load(), totals.stale.Load(), totals.checks.Load(), totals.violations.Load())
	fmt.Printf("faults: %d data plane runs, %d requests, %d mirrored, %d failed; %d known faults of others\n", totals.planes.Load(), totals.requests.Load(), totals.mirrored.Load(), totals.failed.Load(), totals.known.Load())
	os.Exit(code)
}

// played is a world in which a scenario has been played, with what disturb does before its story.
func played(t *testing.T, s scenario, disturb func(*world)) (*world, end) {
	t.Helper()
	w := newWorld(t, s.change)
	if s.before != nil {
		s.before(w)
	}
	w.api.seen, w.api.tried = nil, 0
	if disturb != nil {
		disturb(w)
	}
	s.story(w)
	e := w.end()
	w.restored()
	totals.checks.Add(int64(w.check.count))
	totals.violations.Add(int64(len(w.check.found)))
	return w, e
}

// chosen says whether a run is meant: all are, unless BELAY_FAULT names one.
func chosen(name string) bool {
	only := os.Getenv("BELAY_FAULT")
	return only == "" || only == name
}

// each runs a test for each scenario, with its undisturbed end and writes.
func each(t *testing.T, run func(*testing.T, scenario, end, []write)) {
	all := scenarios()
	if len(all) == 0 {
		t.Fatal("no scenarios")
	}
	for _, s := range all {
		t.Run(strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w, calm := played(t, s, nil)
			writes := w.api.seen
			if len(writes) == 0 {
				t.Fatal("it writes nothing")
			}
			run(t, s, calm, writes)
		})
	}
}

// onPlane plays a scenario with requests on a data plane all the while.
func onPlane(t *testing.T, s scenario, q quirk, disturb func(*world)) end {
	t.Helper()
	story := s.story
	s.story = func(w *world) {
		p := w.serve(q)
		p.requests()
		if disturb != nil {
			disturb(w)
		}
		story(w)
		stable := hash("v1")
		if ro := w.get(); ro != nil && ro.Status.Stable != nil {
			stable = ro.Status.Stable.Revision
		}
		p.served(stable)
	}
	w, e := played(t, s, nil)
	totals.planes.Add(1)
	if w.plane.sent == 0 {
		t.Error("no request was sent")
	}
	return e
}

// TestRequests: on data planes with every quirk, and with the process killed after a third of the writes, no request fails but by the bad
// revision itself, and at the end the stable revision alone answers.
func TestRequests(t *testing.T) {
	each(t, func(t *testing.T, s scenario, calm end, writes []write) {
		if s.name == "first revision" {
			t.Skip("nobody has sent requests to it before")
		}
		all := quirks()
		for _, q := range all {
			if name := s.name + "/" + q.name; chosen(name) {
				same(t, name, calm, onPlane(t, s, q, nil))
			}
		}
		for i := len(s.name) % 3; i < len(writes); i += 3 { // a third of the writes, with the quirks going round
			q := all[i/3%len(all)]
			if name := fmt.Sprintf("%s/%s/killed after write %d", s.name, q.name, i); chosen(name) {
				same(t, name, calm, onPlane(t, s, q, func(w *world) { w.api.at, w.api.how = i, killed }))
			}
		}
	})
}

func same(t *testing.T, name string, want, got end) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("BELAY_FAULT=%q: another end (-undisturbed +got):\n%s", name, diff)
		totals.violations.Add(1)
	}
}

// TestCutOffAtEveryWrite: not sent, answer lost, process dead.
func TestCutOffAtEveryWrite(t *testing.T) {
	each(t, func(t *testing.T, s scenario, calm end, writes []write) {
		totals.scenarios.Add(1)
		totals.writes.Add(int64(len(writes)))
		for i := range writes {
			for how := range variants {
				name := fmt.Sprintf("%s/%d/%s", s.name, i, [variants]string{"not sent", "answer lost", "killed"}[how])
				if !chosen(name) {
					continue
				}
				w, got := played(t, s, func(w *world) { w.api.at, w.api.how = i, how })
				same(t, name, calm, got)
				if w.api.hits != 1 {
					t.Errorf("BELAY_FAULT=%q: %d hits", name, w.api.hits)
				}
				totals.crashes.Add(1)
			}
		}
	})
}

// answers are the errors that an API server gives.
func answers() map[string]error {
	r := schema.GroupResource{Resource: "things"}
	return map[string]error{
		"400 from a webhook": apierrors.NewBadRequest("admission webhook \"x\" denied the request"),
		"403":                apierrors.NewForbidden(r, app, errInjected),
		"404":                apierrors.NewNotFound(r, app),
		"409":                apierrors.NewConflict(r, app, errInjected),
		"422":                apierrors.NewInvalid(schema.GroupKind{Kind: "Thing"}, app, nil),
		"429":                apierrors.NewTooManyRequests("later", 1),
		"500":                apierrors.NewInternalError(errInjected),
		"504":                apierrors.NewTimeoutError("timed out", 1),
	}
}

// codesEach is how many of the errors each verb and kind of a scenario gets: which ones goes round, so that over all
// scenarios every verb and kind gets every error.
const codesEach = 2

// TestErrorsForAWhile: every verb and kind that a scenario writes is answered with errors, four times in a row.
func TestErrorsForAWhile(t *testing.T) {
	codes := slices.Sorted(maps.Keys(answers()))
	turn := map[string]int{}
	for i, s := range scenarios() {
		turn[s.name] = i * codesEach
	}
	each(t, func(t *testing.T, s scenario, calm end, writes []write) {
		tried := map[write]bool{}
		for _, this := range writes {
			if tried[this] {
				continue
			}
			tried[this] = true
			for i, code := range codes {
				err := answers()[code]
				only := os.Getenv("BELAY_FAULT") != ""
				if (i+len(codes)-turn[s.name]%len(codes))%len(codes) >= codesEach && !only {
					continue
				}
				name := fmt.Sprintf("%s/%s %s/%s", s.name, this.verb, this.kind, code)
				if !chosen(name) {
					continue
				}
				w, got := played(t, s, func(w *world) { w.api.refuse = &refusal{write: this, err: err, left: 4} })
				same(t, name, calm, got)
				if w.api.hits == 0 {
					t.Errorf("BELAY_FAULT=%q: nothing was refused", name)
				}
				totals.errors.Add(1)
			}
		}
	})
}

// TestStaleReads: caches are up to three writes old, and half of the reconciliations do not come.
func TestStaleReads(t *testing.T) {
	const seeds = 4
	each(t, func(t *testing.T, s scenario, calm end, _ []write) {
		for depth := 1; depth <= 3; depth++ {
			for seed := range uint64(seeds) {
				name := fmt.Sprintf("%s/%d writes old/seed %d", s.name, depth, seed)
				if !chosen(name) {
					continue
				}
				chance := rand.New(rand.NewPCG(seed, uint64(depth)))
				_, got := played(t, s, func(w *world) {
					w.api.lag(depth, chance)
					if seed%2 == 1 {
						w.skips = chance
					}
				})
				same(t, name, calm, got)
				totals.stale.Add(1)
			}
		}
	})
}

// TestAbortWhileAllElseFails (T8): whatever else is refused, one look after the decision the routes send nothing to the
// canary; where the route itself is refused, its Service has the stable pods.
func TestAbortWhileAllElseFails(t *testing.T) {
	for _, kind := range []string{"", "Rollout", "Service", "HTTPRoute", "ReplicaSet", "AnalysisRun", "Decision"} {
		t.Run("refused-"+kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.rest()
			w.deploy("v2")
			w.until("half", atStep("half"))
			w.decide(v1alpha1.ActionAbort)
			w.api.refuseKind = kind
			w.look()
			w.api.refuseKind = ""
			s := w.see()
			share, role := w.check.routes(w, s, "the abort"), s.services[app+"-canary"].Spec.Selector[v1alpha1.LabelRole]
			if (share != 0) != (kind == "HTTPRoute") || (role != "stable") != (kind == "Service") {
				t.Errorf("the canary has %d of the traffic, its Service selects role %q", share, role)
			}
			w.rest()
			if h := w.get().Status.History[0]; h.Outcome != v1alpha1.OutcomeAborted {
				t.Errorf("ended as %s", h.Outcome)
			}
		})
	}
}

// TestAbortWithAnUnreadRoute (T8): where the rights to read one of two routes are gone, the other goes back in one look, and the
// canary Service has the stable pods, so that nobody meets the canary. Nothing is raised meanwhile, and the end is that of an abort.
func TestAbortWithAnUnreadRoute(t *testing.T) {
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		ro.Spec.Traffic.Routes = append(ro.Spec.Traffic.Routes, v1alpha1.RouteReference{Kind: "HTTPRoute", Name: app + "-too"})
	})
	w.apply(secondRoute())
	w.rest()
	w.deploy("v2")
	w.until("half", atStep("half"))
	w.api.unread = app + "-too"
	for range 30 {
		w.look()
	}
	if a := w.get().Status.Attempt; a == nil || a.StepName != "half" || a.Verdict != nil {
		t.Fatalf("it goes on without knowing: %s", w.told())
	}
	w.decide(v1alpha1.ActionAbort)
	w.look()
	s := w.see()
	for _, r := range s.rules {
		if r.canary > 0 && r.name != "too" {
			t.Errorf("rule %q keeps the canary at %d", r.name, r.canary)
		}
	}
	if role := s.services[app+"-canary"].Spec.Selector[v1alpha1.LabelRole]; role != "stable" {
		t.Errorf("the canary Service selects role %q", role)
	}
	ready := v1alpha1.FindCondition(w.get().Status.Conditions, v1alpha1.ConditionTrafficReady)
	if want := "HTTPRoute " + app + "-too cannot be read"; ready == nil || !strings.HasPrefix(ready.Message, want) {
		t.Errorf("condition %+v, want %q", ready, want)
	}
	w.api.unread = ""
	w.rest()
	w.restored()
	if h := w.get().Status.History[0]; h.Outcome != v1alpha1.OutcomeAborted {
		t.Errorf("ended as %s", h.Outcome)
	}
}

// TestLostInTheBake (T3): the pods of a promoted revision stop being ready, without a crash and without a word of the analysis. The
// warm pods of the old one serve after one look; and where they are not ready either, they stay beyond the end of the bake.
func TestLostInTheBake(t *testing.T) {
	old, new := hash("v1"), hash("v2")
	baked := func() *world {
		w := newWorld(t, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Bake = "20s" })
		w.rest()
		w.deploy("v2")
		w.until("baking", inStage(v1alpha1.StageBaking))
		w.check.outage, w.unready[new] = true, true
		return w
	}
	w := baked()
	w.look()
	if a := w.get().Status.Attempt; a == nil || a.Verdict == nil || a.Verdict.Reason != planner.ReasonCanaryLost {
		t.Fatalf("it is not taken back: %s", w.told())
	}
	s := w.see()
	if pods := selected(s.services[app], &s.pods); len(pods) != 2 || pods[0].Labels[v1alpha1.LabelRevision] != old {
		t.Errorf("the stable Service has %d ready pods after one look", len(pods))
	}
	w.rest()
	w.outcome(v1alpha1.OutcomeRolledBack)

	w = baked()
	w.unready[old] = true
	for range 60 {
		w.look()
	}
	if n := *w.see().sets[old].Spec.Replicas; n != 2 || !inStage(v1alpha1.StageBaking)(w.get()) {
		t.Errorf("%d warm pods are left: %s", n, w.told())
	}
	w.unready[new] = false
	w.rest()
	w.outcome(v1alpha1.OutcomePromoted)
}

// TestDeletedDeploymentInAStepWithoutPods (T5): the canary has no pods in a step of weight 0, and a Deployment that is deleted then
// takes none of stable's away, nor its minReadySeconds.
func TestDeletedDeploymentInAStepWithoutPods(t *testing.T) {
	w := newWorld(t, refer)
	deployment(w)
	change := func(change func(*appsv1.Deployment)) {
		var ds appsv1.DeploymentList
		w.list(t.Context(), &ds)
		change(&ds.Items[0])
		ds.Items[0].Generation++
		w.must(w.store.Update(t.Context(), &ds.Items[0]))
	}
	change(func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 3 })
	w.play()
	ro := adopting()
	ro.Spec.Replicas = nil
	ro.Spec.Strategy.Canary.Steps = []v1alpha1.Step{{Name: "dark", Weight: ptr.To[int32](0), Hold: "10m"}, {Name: "all", Weight: ptr.To[int32](100)}}
	w.create(ro)
	w.rest()
	change(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v2") })
	w.until("dark", atStep("dark"))
	w.must(w.store.Delete(t.Context(), &appsv1.Deployment{ObjectMeta: meta(app)}))
	for range 20 {
		w.look()
	}
	if stable := w.see().sets[hash("v1")].Spec; *stable.Replicas != 2 || stable.MinReadySeconds != 3 || w.get().Status.Attempt.Verdict != nil {
		t.Errorf("stable has %d pods and minReadySeconds %d: %s", *stable.Replicas, stable.MinReadySeconds, w.told())
	}
}

// TestFailureWhileSomebodyGaveTheCanaryMore (T10): a good revision fails its metric while somebody else has given it 90 % of the
// traffic. It is measured again with the right weight, and goes on; a revision that is bad then too is taken back.
func TestFailureWhileSomebodyGaveTheCanaryMore(t *testing.T) {
	for outcome, bad := range map[v1alpha1.Outcome]bool{v1alpha1.OutcomePromoted: false, v1alpha1.OutcomeRolledBack: true} {
		w := newWorld(t, nil)
		w.rest()
		w.deploy("v2")
		w.until("half, and judged", func(ro *v1alpha1.Rollout) bool { return atStep("half")(ro) && w.judged("app-2") })
		r := w.route()
		rules := r.Object["spec"].(map[string]any)["rules"].([]any)
		for i, weight := range []int64{90, 10} {
			rules[0].(map[string]any)["backendRefs"].([]any)[i].(map[string]any)["weight"] = weight
		}
		r.SetGeneration(r.GetGeneration() + 1)
		w.must(w.store.Update(t.Context(), r))
		w.check.disturbed, w.check.weight = w.clock.Now(), 90
		w.bad[hash("v2")] = true
		w.look()
		if a := w.get().Status.Attempt; a == nil || a.Verdict != nil || a.Contest.Count() != 1 {
			t.Fatalf("it is taken back by what was measured at another weight: %s", w.told())
		}
		w.bad[hash("v2")] = bad
		w.rest()
		w.outcome(outcome)
	}
}
