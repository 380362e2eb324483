package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// known are faults that other tools had in production, by the number under which they were reported there. Each is played
// here, and must not be one of Belay's.
func known() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		// Stale views, lost events, order of writes, wrong targets, stuck states of the peers' own state machines.
		"argo-rollouts-243-analysis-started-twice-on-a-stale-list":         analysisOnce,
		"argo-rollouts-4786-a-stale-write-undoes-a-persons-resume":         resumeStays,
		"argo-rollouts-4842-create-is-answered-already-exists":             alreadyExists,
		"argo-rollouts-4694-the-event-of-a-promotion-is-lost":              lostDecision,
		"argo-rollouts-3316-the-event-of-a-replicaset-is-lost":             lostReplicaSet,
		"argo-rollouts-4612-weight-and-pods-in-the-wrong-order-going-back": orderGoingBack,
		"flagger-30-a-verdict-of-the-last-revision-promotes-the-next":      verdictOfItsOwn,
		"flagger-1898-failure-during-promotion-goes-to-the-broken-side":    failureInTheSwitch,
		"flagger-1588-stuck-while-promoting-no-way-back":                   backWhilePromoting,
		"flagger-1591-a-failed-release-blocks-the-next":                    nextAfterFailure,
		// Traffic: gateway-api.md, section 6.
		"1-selector-and-weight-flip-at-once":                 smooth("promotion", "endpoints late", nil),
		"2-selector-and-weight-flip-with-many-targets":       smooth("promotion", "endpoints late", func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](12) }),
		"3-stable-scaled-down-before-the-balancer-converged": smooth("promotion", "routes late", nil),
		"4-old-scaled-down-while-it-still-gets-everything":   slowBalancer,
		"5-canary-pointed-at-an-empty-replicaset":            repointed,
		"6-a-router-error-blocks-the-abort":                  muteRouter,
		"7-weights-nobody-verified":                          unverified,
		"8-other-backends-stripped":                          otherBackends,
		"9-user-rules-removed":                               userRules,
		"10-header-rule-missing-or-lost":                     headerRules,
		"11-git-writes-the-route-again-and-again":            gitopsFight,
		"12-a-status-that-never-becomes-current":             undatedStatus,
		"13-one-bad-reference-spoils-the-rule":               smooth("superseded", "one bad reference spoils the rule", nil),
		"14-weight-0-is-served":                              smooth("a person aborts", "weight 0 is served", nil),
		"15-canary-removed-without-drain":                    smooth("a person aborts", "routes late", nil),
		"16-traffic-to-a-canary-without-pods":                noPods,
		"17-adoption-causes-downtime":                        smooth("adoption", "endpoints late", nil),
		"18-a-share-that-only-grows":                         noRatchet,
		"19-deleting-the-resource-leaves-nothing":            smooth("release", "endpoints late", nil),
		"20-a-selector-change-makes-new-targets":             selectorStays,
		"21-a-rolling-update-behind-a-slow-balancer":         smooth("blue-green", "endpoints late", func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](11) }),
	}
}

// peers and cases are how many there are: a case that is lost from the list fails the test.
const peers, cases = 10, 21

func TestKnown(t *testing.T) {
	all := known()
	if len(all) != peers+cases {
		t.Fatalf("%d cases, want %d", len(all), peers+cases)
	}
	for name, run := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
			totals.known.Add(1)
		})
	}
}

func scenarioOf(t *testing.T, name string) scenario {
	t.Helper()
	i := slices.IndexFunc(scenarios(), func(s scenario) bool { return s.name == name })
	if i < 0 {
		t.Fatalf("no scenario %q", name)
	}
	return scenarios()[i]
}

// smooth is a scenario on a data plane with a quirk: no request fails, and the stable revision answers at the end.
func smooth(name, quirkName string, change func(*v1alpha1.Rollout)) func(*testing.T) {
	return func(t *testing.T) {
		s := scenarioOf(t, name)
		was := s.change
		s.change = func(ro *v1alpha1.Rollout) {
			for _, f := range []func(*v1alpha1.Rollout){was, change} {
				if f != nil {
					f(ro)
				}
			}
		}
		i := slices.IndexFunc(quirks(), func(q quirk) bool { return q.name == quirkName })
		if i < 0 {
			t.Fatalf("no quirk %q", quirkName)
		}
		onPlane(t, s, quirks()[i], nil)
	}
}

// begun is a world in the middle of an attempt for v2.
func begun(t *testing.T, change func(*v1alpha1.Rollout)) *world {
	t.Helper()
	w := newWorld(t, change)
	w.rest()
	w.deploy("v2")
	w.until("half", atStep("half"))
	return w
}

func (w *world) outcome(want v1alpha1.Outcome) {
	w.t.Helper()
	if h := w.get().Status.History; len(h) == 0 || h[0].Outcome != want {
		w.t.Errorf("history %+v, want %s", h, want)
	}
}

func (w *world) created(kind string) int {
	n := 0
	for _, this := range w.api.seen {
		if this == (write{"create", kind}) {
			n++
		}
	}
	return n
}

func analysisOnce(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, nil)
		w.rest()
		w.api.seen = nil
		w.api.lag(3, rand.New(rand.NewPCG(seed, 3)))
		w.deploy("v2")
		w.rest()
		w.outcome(v1alpha1.OutcomePromoted)
		var runs v1alpha1.AnalysisRunList
		w.list(t.Context(), &runs)
		if len(runs.Items) != 1 {
			t.Errorf("seed %d: %d AnalysisRuns for one attempt (%d tries)", seed, len(runs.Items), w.created("AnalysisRun"))
		}
	}
}

func resumeStays(t *testing.T) {
	for seed := range uint64(5) {
		w := begun(t, nil)
		w.decide(v1alpha1.ActionPause)
		w.until("paused", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt.Pause != nil })
		w.api.lag(3, rand.New(rand.NewPCG(seed, 7)))
		var d v1alpha1.Decision
		w.must(w.store.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "decision"}, &d))
		w.must(w.store.Delete(t.Context(), &d))
		w.decide(v1alpha1.ActionResume)
		w.rest()
		w.outcome(v1alpha1.OutcomePromoted)
	}
}

func alreadyExists(t *testing.T) {
	again := 0
	for seed := range uint64(8) {
		w := newWorld(t, nil)
		w.rest()
		w.api.seen, w.api.tried = nil, 0
		w.api.lag(3, rand.New(rand.NewPCG(seed, 1)))
		w.api.first, w.api.how = &write{"create", "ReplicaSet"}, unanswered
		w.deploy("v2")
		w.rest()
		w.outcome(v1alpha1.OutcomePromoted)
		again += w.created("ReplicaSet") - 1
	}
	if again == 0 {
		t.Error("in no run was the ReplicaSet created twice: nothing was answered AlreadyExists")
	}
}

// lostDecision: nothing wakes the controller; whatever does later, also another process, carries the decision out.
func lostDecision(t *testing.T) {
	w := begun(t, func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.Steps[0].Approval = v1alpha1.ApprovalRequired
	})
	w.until("waiting", func(ro *v1alpha1.Rollout) bool { return strings.Contains(ro.Status.BlockedBy, "approval") })
	w.decide(v1alpha1.ActionApprove)
	w.clock.Step(time.Hour) // nobody looks
	w.restart()
	w.rest()
	w.outcome(v1alpha1.OutcomePromoted)
}

// lostReplicaSet: pods become ready and no event says so; the controller had asked for a look of its own.
func lostReplicaSet(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	w.broken[hash("v2")] = false
	w.deploy("v2")
	for range 3 { // it makes the ReplicaSet; its pods come up while nobody looks
		_, err := w.rec.Reconcile(t.Context(), request)
		w.must(err)
	}
	result, err := w.rec.Reconcile(t.Context(), request)
	w.must(err)
	if result.RequeueAfter <= 0 || result.RequeueAfter > 11*time.Minute {
		t.Fatalf("it waits for pods and looks again after %s", result.RequeueAfter)
	}
	w.play()
	w.clock.Step(result.RequeueAfter)
	w.rest()
	w.outcome(v1alpha1.OutcomePromoted)
}

// orderGoingBack: the first write of the way back takes the weight, and stable has all of its pods by then.
func orderGoingBack(t *testing.T) {
	w := begun(t, nil)
	w.until("all", atStep("all"))
	w.api.seen = nil
	w.bad[hash("v2")] = true
	w.until("going back", inStage(v1alpha1.StageWithdrawing))
	w.rest()
	order := slices.DeleteFunc(slices.Clone(w.api.seen), func(this write) bool { return this.kind == "Rollout" })
	if len(order) == 0 || order[0].kind != "HTTPRoute" {
		t.Errorf("writes going back: %v", order)
	}
	if i := slices.IndexFunc(order, func(this write) bool { return this.kind == "ReplicaSet" }); i >= 0 && i < slices.IndexFunc(order, func(this write) bool { return this.kind == "HTTPRoute" }) {
		t.Errorf("pods before weight: %v", order)
	}
	w.outcome(v1alpha1.OutcomeRolledBack)
}

func verdictOfItsOwn(t *testing.T) {
	w := begun(t, nil)
	w.until("judged", func(*v1alpha1.Rollout) bool { return w.judged("app-2") })
	w.bad[hash("v3")] = true // v2 has passed; v3 must not be promoted on it
	w.deploy("v3")
	w.rest()
	w.outcome(v1alpha1.OutcomeRolledBack)
	var run v1alpha1.AnalysisRun
	w.must(w.store.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "app-3"}, &run))
	if run.Spec.Arms.CanaryRevision != hash("v3") {
		t.Errorf("run of attempt 3 judges %s", run.Spec.Arms.CanaryRevision)
	}
	w.must(w.store.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "app-2"}, &run))
	if run.Spec.State != v1alpha1.RunStopped {
		t.Errorf("the run of the superseded revision goes on: %s", run.Spec.State)
	}
}

// failureInTheSwitch: what fails while its pods are being switched goes back to the recorded good revision, which has had all
// of its pods all the while (T5 is checked after every write).
func failureInTheSwitch(t *testing.T) {
	for _, stage := range []v1alpha1.Stage{v1alpha1.StageSwitching, v1alpha1.StageRetiring, v1alpha1.StageReturning} {
		w := begun(t, nil)
		w.until(string(stage), inStage(stage))
		w.broken[hash("v2")] = true
		w.check.outage = stage != v1alpha1.StageSwitching // the pods that serve have just died
		w.rest()
		w.outcome(v1alpha1.OutcomeRolledBack)
		if ro := w.get(); ro.Status.Stable.Revision != hash("v1") {
			t.Errorf("%s: stable is %s", stage, ro.Status.Stable.Revision)
		}
		if pods := selected(w.see().services[app], &w.see().pods); len(pods) != 2 || pods[0].Labels[v1alpha1.LabelRevision] != hash("v1") {
			t.Errorf("%s: %d pods serve", stage, len(pods))
		}
	}
}

func backWhilePromoting(t *testing.T) {
	for _, stage := range []v1alpha1.Stage{v1alpha1.StageSwitching, v1alpha1.StageRetiring, v1alpha1.StageReturning} {
		w := begun(t, nil)
		w.until(string(stage), inStage(stage))
		w.deploy("v1")
		w.rest()
		w.outcome(v1alpha1.OutcomeSuperseded)
		w.restored()
		w = begun(t, nil)
		w.until(string(stage), inStage(stage))
		w.must(w.store.Delete(t.Context(), w.get()))
		w.rest()
		if w.get() != nil {
			t.Errorf("%s: not deleted: %s", stage, w.told())
		}
		w.restored()
	}
}

func nextAfterFailure(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	w.bad[hash("v2")], w.broken[hash("v3")] = true, true
	w.deploy("v2")
	w.rest()
	w.outcome(v1alpha1.OutcomeRolledBack)
	w.deploy("v3")
	w.rest()
	w.outcome(v1alpha1.OutcomeRolledBack)
	w.deploy("v4")
	w.rest()
	w.outcome(v1alpha1.OutcomePromoted)
}

// slowBalancer: a data plane that is 5 s behind, and a settle that says so.
func slowBalancer(t *testing.T) {
	s := scenarioOf(t, "promotion")
	s.change = func(ro *v1alpha1.Rollout) { ro.Spec.Traffic.Settle = "6s" }
	onPlane(t, s, quirk{name: "5 s behind", routes: 5 * time.Second}, nil)
}

// TestPlaneCanLoseRequests: the data plane does lose them where a gateway is slower than settle says.
func TestPlaneCanLoseRequests(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	p := w.serve(quirk{name: "20 s behind", endpoints: 20 * time.Second})
	p.requests()
	w.deploy("v2")
	w.rest()
	w.pass(5 * time.Second)
	w.deploy("v3")
	w.rest()
	w.pass(30 * time.Second)
	if p.failed == 0 {
		t.Errorf("%d requests, and none failed", p.sent)
	}
	p.failed, p.sent = 0, 0
}

// repointed: a third revision in the middle of an attempt. The canary Service is never pointed away from the old one's pods
// to another revision's while a route has weight for it.
func repointed(t *testing.T) {
	smooth("superseded", "routes late", nil)(t)
	w := begun(t, nil)
	w.deploy("v3")
	for range 60 {
		before := w.see()
		w.look()
		after := w.see()
		was, is := before.services[app+"-canary"].Spec.Selector[v1alpha1.LabelRevision], after.services[app+"-canary"].Spec.Selector[v1alpha1.LabelRevision]
		if share := w.check.routes(w, before, "a look"); was != is && is == hash("v3") && share > 0 {
			t.Errorf("pointed from %s to %s at weight %d", was, is, share)
		}
	}
	w.outcome(v1alpha1.OutcomePromoted)
}

// muteRouter: the gateway's controller stops reporting; an abort takes the weight at once, and ends within progressDeadline.
func muteRouter(t *testing.T) {
	w := begun(t, nil)
	w.mode = mute
	w.decide(v1alpha1.ActionAbort)
	w.look()
	if share := w.check.routes(w, w.see(), "the abort"); share != 0 {
		t.Errorf("the canary still has %d", share)
	}
	began := w.clock.Now()
	w.rest()
	w.outcome(v1alpha1.OutcomeAborted)
	if took := w.clock.Now().Sub(began); took > 12*time.Minute {
		t.Errorf("it took %s", took)
	}
}

func unverified(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	w.mode = mute
	w.deploy("v2")
	w.until("carried", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil && ro.Status.Attempt.CarriedAt != nil })
	for range 5 {
		w.look()
		if a := w.get().Status.Attempt; a != nil && (a.ConfirmedAt != nil || a.Step > 0) {
			t.Fatalf("confirmed although no gateway has said so: %+v", a)
		}
	}
	w.rest()
	w.outcome(v1alpha1.OutcomeRolledBack) // after progressDeadline
}

func otherBackends(t *testing.T) {
	w := begun(t, nil)
	list, _, _ := unstructured.NestedSlice(w.route().Object, "spec", "rules")
	weights := map[string]int64{}
	for _, item := range list[1].(map[string]any)["backendRefs"].([]any) {
		ref := item.(map[string]any)
		weights[ref["name"].(string)] = ref["weight"].(int64)
	}
	if pair := weights[app] + weights[app+"-canary"]; weights["other"] != 3*pair || weights[app] != weights[app+"-canary"] {
		t.Errorf("weights at half: %v", weights)
	}
	w.rest()
	w.restored()
}

// userRules: a rule of the user's with the canary Service alone behind it is theirs, whatever it looks like.
func userRules(t *testing.T) {
	git := gitRoute()
	list, _, _ := unstructured.NestedSlice(git.Object, "spec", "rules")
	list = append(list, map[string]any{"name": "mine", "matches": []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/mine"}}},
		"backendRefs": []any{map[string]any{"group": "", "kind": "Service", "name": app + "-canary", "port": int64(80)}}})
	if err := unstructured.SetNestedSlice(git.Object, list, "spec", "rules"); err != nil {
		t.Fatal(err)
	}
	s := gatewayapi.Split{StableService: app, CanaryService: app + "-canary", Total: 100, Canary: 40, Present: true, Owner: namespace + "/" + app,
		Match: &gatewayapi.Match{Headers: []gatewayapi.Condition{{Name: "x-team", Value: "shop"}}}}
	live := git
	for _, next := range []gatewayapi.Split{s, {StableService: app, CanaryService: app + "-canary", Total: 100, Owner: s.Owner}} {
		patch, err := gatewayapi.Patch(live, next)
		if err != nil {
			t.Fatal(err)
		}
		live = patched(t, live, patch)
		if rules := fmt.Sprint(live.Object["spec"]); !strings.Contains(rules, "name:mine") {
			t.Errorf("the user's rule is gone: %s", rules)
		}
	}
}

func patched(t *testing.T, u *unstructured.Unstructured, patch []byte) *unstructured.Unstructured {
	t.Helper()
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if data, err = ops.Apply(data); err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return out
}

// headerRules: one copy for each rule that refers to the stable Service, there after a restart, gone with the attempt.
func headerRules(t *testing.T) {
	s := scenarioOf(t, "dark canary")
	w := newWorld(t, s.change)
	w.rest()
	w.deploy("v2")
	w.until("the team's step", atStep("team"))
	w.restart()
	w.look()
	copies := 0
	for _, r := range rules(w.route()) {
		if r.copy {
			copies++
		}
	}
	if copies != 2 {
		t.Errorf("%d copies for 2 rules", copies)
	}
	w.decide(v1alpha1.ActionAbort)
	w.rest()
	w.restored()
}

// gitopsFight: Git's route is applied eleven times; no request fails, the split comes back with a wait that grows, and at the
// end the route is Git's.
func gitopsFight(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	p := w.serve(quirks()[0])
	w.deploy("v2")
	w.until("begun", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil })
	writes := 0
	for range 11 {
		w.until("split", func(ro *v1alpha1.Rollout) bool { a := ro.Status.Attempt; return a == nil || a.CarriedAt != nil })
		if w.get().Status.Attempt == nil {
			break
		}
		w.apply(gitRoute())
		writes++
		w.look()
	}
	w.rest()
	if c := w.get().Status.History; writes < 6 || len(c) < 2 {
		t.Errorf("%d foreign writes, history %+v", writes, c)
	}
	w.restored()
	p.served(w.get().Status.Stable.Revision)
}

func undatedStatus(t *testing.T) {
	w := newWorld(t, nil)
	w.mode = undated
	w.rest()
	w.deploy("v2")
	w.rest()
	w.outcome(v1alpha1.OutcomePromoted)
}

// noPods: pods that do not come up get no traffic, and no request fails.
func noPods(t *testing.T) {
	w := newWorld(t, func(ro *v1alpha1.Rollout) { ro.Spec.ProgressDeadline = "1m" })
	w.rest()
	w.broken[hash("v2")] = true
	p := w.serve(quirks()[2])
	w.deploy("v2")
	w.rest()
	w.outcome(v1alpha1.OutcomeRolledBack)
	if p.by[hash("v2")] > 0 || w.check.weight > 0 {
		t.Errorf("a canary without pods: %v, weight %d", p.by, w.check.weight)
	}
	p.served(hash("v1"))
}

// noRatchet: who was on the canary once is not kept there: over many requests, its share is that of the step.
func noRatchet(t *testing.T) {
	w := newWorld(t, func(ro *v1alpha1.Rollout) {
		s := &ro.Spec.Strategy.Canary.Steps[0]
		s.Weight, s.Approval = ptr.To[int32](5), v1alpha1.ApprovalRequired
	})
	w.rest()
	p := w.serve(quirks()[0])
	w.deploy("v2")
	w.until("half", atStep("half"))
	p.forget()
	for range 150 {
		p.requests()
	}
	canary, stable := p.by[hash("v2")], p.by[hash("v1")]
	if share := float64(canary) / float64(canary+stable); share < 0.01 || share > 0.1 {
		t.Errorf("%d of %d requests on the canary at 5 %%", canary, canary+stable)
	}
	if text := fmt.Sprint(w.route().Object["spec"]); strings.Contains(text, "sessionPersistence") {
		t.Errorf("requests are made to stick: %s", text)
	}
}

// selectorStays: a promotion writes nothing to the stable Service.
func selectorStays(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	service := func() *corev1.Service { return w.see().services[app] }
	before := service()
	w.deploy("v2")
	w.rest()
	w.outcome(v1alpha1.OutcomePromoted)
	if after := service(); after.UID != before.UID || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the stable Service was written: %v, before %v", after.Spec.Selector, before.Spec.Selector)
	}
}

// TestRaiseOnAPlanOfYesterday (T7): somebody writes the Rollout between the plan and the raise of a weight: it is not raised.
func TestRaiseOnAPlanOfYesterday(t *testing.T) {
	w := newWorld(t, nil)
	w.rest()
	w.deploy("v2")
	raced := 0
	for range 100 {
		w.play()
		w.api.seen = nil
		reads := 0
		w.api.onRollout = func() {
			if reads++; reads == 2 { // the first is what the plan is made from
				w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Paused = true })
			}
		}
		_, err := w.rec.Reconcile(t.Context(), request)
		w.api.onRollout = nil
		w.must(err)
		if reads >= 2 {
			raced++
			if i := slices.IndexFunc(w.api.seen, func(this write) bool { return this.kind == "HTTPRoute" }); i >= 0 {
				t.Errorf("raised although the Rollout was paused meanwhile: %v", w.api.seen)
			}
			break
		}
		w.clock.Step(time.Second)
	}
	if raced == 0 {
		t.Error("no weight was raised")
	}
}
