package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// denied is what an admission webhook answers.
func denied(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, app, errors.New("denied by webhook policy.example.com"))
}

// looks lets the controller look until it has nothing to write, or n times.
func (w *world) looks(n int) {
	w.t.Helper()
	for range n {
		if _, wrote, err := w.look(); err == nil && wrote == 0 {
			return
		}
	}
}

func contains(t *testing.T, what, s string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(s, p) {
			t.Errorf("%s does not say %q: %s", what, p, s)
		}
	}
}

// midCanary is a world whose canary is at the first step.
func midCanary(t *testing.T, change ...func(*v1alpha1.Rollout)) (*world, string) {
	t.Helper()
	w := newWorld(t, change...).started()
	v2 := w.deploy("v2")
	w.until("at the first step", atStep(0))
	return w, v2
}

func TestRefusedRouteDoesNotStopTheRestOfAnAbort(t *testing.T) {
	t.Parallel()
	w, v2 := midCanary(t)
	w.record.refusing(func(effect string) error {
		if strings.HasPrefix(effect, "patch HTTPRoute") {
			return denied("httproutes")
		}
		return nil
	})
	w.analyst.verdicts[v2] = v1alpha1.VerdictFail
	w.clock.Step(time.Second)
	w.looks(3)
	ro := w.get()
	if ro.Status.Attempt == nil || ro.Status.Attempt.Verdict == nil {
		t.Fatal("no verdict is stored")
	}
	contains(t, "blockedBy", ro.Status.BlockedBy, "HTTPRoute app", "denied by webhook")
	if sel := w.service(app + "-canary").Spec.Selector; sel[v1alpha1.LabelRole] != "stable" || sel[v1alpha1.LabelRevision] != "" {
		t.Errorf("canary Service selects %v", sel)
	}
	w.record.refusing(nil)
	w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
	w.rest()
	if got := backends(w.getRoute(app)); len(got) != 1 {
		t.Errorf("route at rest: %v", got)
	}
}

func TestStatusThatCannotBeStoredDoesNotStopAnAbort(t *testing.T) {
	t.Parallel()
	w, v2 := midCanary(t)
	w.record.refusing(func(effect string) error {
		if strings.HasPrefix(effect, "update status of Rollout") {
			return apierrors.NewInternalError(errors.New("etcd is away"))
		}
		return nil
	})
	w.analyst.verdicts[v2] = v1alpha1.VerdictFail
	w.clock.Step(time.Second)
	if _, _, err := w.look(); err == nil {
		t.Error("the failed write is not an error")
	}
	if got := backends(w.getRoute(app)); len(got) != 1 {
		t.Errorf("one look after the verdict the route says %v", got)
	}
	if sel := w.service(app + "-canary").Spec.Selector; sel[v1alpha1.LabelRole] != "stable" {
		t.Errorf("one look after the verdict the canary Service selects %v", sel)
	}
	w.record.refusing(nil)
	w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
}

func TestRefusedStatusStopsAStepForward(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	w.record.refusing(func(effect string) error {
		if strings.HasPrefix(effect, "update status of Rollout") {
			return apierrors.NewInternalError(errors.New("etcd is away"))
		}
		return nil
	})
	w.deploy("v2")
	w.looks(3)
	if text := w.record.text(0); text != "\n" {
		t.Errorf("written although the intent could not be stored:\n%s", text)
	}
	w.record.refusing(nil)
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}

func TestMissingObjectsAreNamedAndHeal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kind, names string
		missing           func(*world) client.Object
	}{
		{"service", v1alpha1.ConditionTrafficReady, "Service app does not exist", func(w *world) client.Object { return w.stableService() }},
		{"route", v1alpha1.ConditionTrafficReady, "HTTPRoute app does not exist", func(w *world) client.Object { return w.route(app, nil) }},
		{"template", v1alpha1.ConditionAnalysisHealthy, "AnalysisTemplate golden does not exist", func(w *world) client.Object { return w.template() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).started()
			w.must(w.user.Delete(t.Context(), c.missing(w)))
			w.deploy("v2")
			ro := w.rest()
			if cond := v1alpha1.FindCondition(ro.Status.Conditions, c.kind); cond == nil || cond.Status != metav1.ConditionFalse {
				t.Fatalf("condition %s: %+v", c.kind, cond)
			} else {
				contains(t, "the condition", cond.Message, c.names)
			}
			contains(t, "blockedBy", ro.Status.BlockedBy, c.names)
			if ro.Status.Attempt != nil {
				t.Error("an attempt began")
			}
			w.must(w.user.Create(t.Context(), c.missing(w)))
			ro = w.until("promoted", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempts == 2 && ro.Status.Attempt == nil })
			if cond := v1alpha1.FindCondition(ro.Status.Conditions, c.kind); cond.Status != metav1.ConditionTrue {
				t.Errorf("condition %s: %+v", c.kind, cond)
			}
		})
	}
}

// TestClusterAnalysisTemplate: a template of the cluster is waited for, and its metrics become those of the run.
func TestClusterAnalysisTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	shared := &v1alpha1.ClusterAnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Name: "shared-" + w.ns}, Spec: w.template().Spec}
	shared.Spec.Metrics[0].Threshold.Prometheus.Query = "shared"
	w.edit(func(ro *v1alpha1.Rollout) {
		ro.Spec.Analysis.Templates = []v1alpha1.TemplateReference{{Kind: v1alpha1.KindClusterAnalysisTemplate, Name: shared.Name}}
	})
	w.deploy("v2")
	contains(t, "blockedBy", w.rest().Status.BlockedBy, "ClusterAnalysisTemplate "+shared.Name+" does not exist")
	w.must(w.user.Create(t.Context(), shared))
	t.Cleanup(func() { _ = w.user.Delete(context.WithoutCancel(t.Context()), shared) })
	w.until("promoted", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempts == 2 && ro.Status.Attempt == nil })
	var runs v1alpha1.AnalysisRunList
	w.must(w.user.List(t.Context(), &runs, client.InNamespace(w.ns)))
	if len(runs.Items) == 0 || runs.Items[len(runs.Items)-1].Spec.Metrics[0].Threshold.Prometheus.Query != "shared" {
		t.Errorf("runs: %+v", runs.Items)
	}
}

func TestRouteGoneMidAttempt(t *testing.T) {
	t.Parallel()
	w, _ := midCanary(t)
	w.watch.lenient = true
	w.must(w.user.Delete(t.Context(), w.route(app, nil)))
	w.looks(4)
	contains(t, "blockedBy", w.get().Status.BlockedBy, "HTTPRoute app does not exist")
	w.must(w.user.Create(t.Context(), w.route(app, nil)))
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}

// TestContestedRoute: somebody undoes the split whenever it is there. Belay names them, waits longer each time, and stable has
// all of the requests meanwhile.
func TestContestedRoute(t *testing.T) {
	t.Parallel()
	w, _ := midCanary(t)
	w.watch.lenient = true
	fight := func() {
		w.must(w.user.Patch(t.Context(), w.route(app, nil), client.RawPatch("application/json-patch+json",
			[]byte(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":0},{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":1}]`)), client.FieldOwner("argocd-controller")))
	}
	for i := range 6 {
		w.until(fmt.Sprintf("split for the %d. time", i+1), func(ro *v1alpha1.Rollout) bool {
			a := ro.Status.Attempt
			return a.CarriedAt != nil && a.Contest.Count() == int32(i)
		})
		fight()
		w.until("noticed", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt.Contest.Count() == int32(i+1) })
	}
	ro := w.get()
	c := v1alpha1.FindCondition(ro.Status.Conditions, v1alpha1.ConditionTrafficReady)
	if c.Status != metav1.ConditionFalse || c.Reason != "RouteContested" || !strings.Contains(c.Message, "argocd-controller") {
		t.Errorf("condition: %+v", c)
	}
	if w.told.count("RouteContested") != 1 {
		t.Error("no event tells of it, or more than one")
	}
	w.until("promoted once it is left alone", finished(v1alpha1.OutcomePromoted))
}

func TestForeignWriteIsHealedAndItsEvidenceDropped(t *testing.T) {
	t.Parallel()
	w, _ := midCanary(t)
	before := w.get().Status.Attempt.ConfirmedAt
	w.watch.lenient = true
	w.must(w.user.Patch(t.Context(), w.route(app, nil), client.RawPatch("application/json-patch+json",
		[]byte(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":90}]`)), client.FieldOwner("somebody")))
	w.looks(2)
	ro := w.get()
	if ro.Status.Attempt.ConfirmedAt != nil {
		t.Error("what was confirmed before the foreign write still counts")
	}
	if w.told.count("RouteChanged") == 0 {
		t.Errorf("nobody was told: %v", w.told.list)
	}
	ro = w.until("confirmed again", atStep(0))
	if !before.Before(ro.Status.Attempt.ConfirmedAt) {
		t.Errorf("confirmed at %s, before the write at %s", ro.Status.Attempt.ConfirmedAt, before)
	}
	if canary, total, _ := w.managed(w.see()); canary*2 != total {
		t.Errorf("the route gives the canary %d of %d", canary, total)
	}
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
}

func (w *world) see() *scene {
	w.t.Helper()
	s, err := w.scene(w.t.Context())
	w.must(err)
	return s
}

// TestRichRouteSurvives: everything that is not Belay's means the same before, during and after an attempt.
func TestRichRouteSurvives(t *testing.T) {
	t.Parallel()
	ref := func(name string, weight int64) any {
		return map[string]any{"name": name, "port": int64(80), "weight": weight}
	}
	rules := []any{
		map[string]any{"name": "first", "timeouts": map[string]any{"request": "5s"},
			"matches": []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/a"}, "headers": []any{map[string]any{"name": "x", "value": "1"}}}},
			"filters": []any{map[string]any{"type": "RequestHeaderModifier", "requestHeaderModifier": map[string]any{"set": []any{map[string]any{"name": "y", "value": "2"}}}}},
			"backendRefs": []any{map[string]any{"name": app, "port": int64(80), "weight": int64(3),
				"filters": []any{map[string]any{"type": "ResponseHeaderModifier", "responseHeaderModifier": map[string]any{"add": []any{map[string]any{"name": "z", "value": "3"}}}}}}, ref("other", 1)}},
		map[string]any{"matches": []any{map[string]any{"path": map[string]any{"type": "Exact", "value": "/other"}}}, "backendRefs": []any{ref("other", 7)}},
		map[string]any{"matches": []any{map[string]any{"method": "POST"}}, "backendRefs": []any{ref(app, 1)}},
	}
	w := bareWorld(t)
	w.watch.lenient = true
	other := w.stableService()
	other.Name = "other"
	route := w.route(app, rules)
	route.SetAnnotations(map[string]string{"theirs": "kept"})
	for _, o := range []client.Object{w.stableService(), other, route, w.template(), w.rollout()} {
		w.must(w.user.Create(t.Context(), o))
	}
	w.started()
	before := w.getRoute(app)
	w.deploy("v2")
	w.until("at the first step", atStep(0))
	during := w.getRoute(app)
	if got := fmt.Sprint(backends(during)); got != "[{0 app-canary 3} {0 app 3} {0 other 2} {1 other 7} {2 app-canary 50} {2 app 50}]" {
		t.Errorf("during the attempt the route says %s", got)
	}
	same(t, "what is not ours, during the attempt", stripped(before), stripped(during))
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	w.rest()
	after := w.getRoute(app)
	same(t, "the spec after the attempt", before.Object["spec"], after.Object["spec"])
	same(t, "the annotations after the attempt", before.GetAnnotations(), after.GetAnnotations())
}

// stripped is a route without weights, and without references to the canary.
func stripped(r *unstructured.Unstructured) any {
	spec := plain(r.Object["spec"]).(map[string]any)
	for _, rule := range spec["rules"].([]any) {
		var kept []any
		for _, b := range rule.(map[string]any)["backendRefs"].([]any) {
			if m := b.(map[string]any); m["name"] != app+"-canary" {
				delete(m, "weight")
				kept = append(kept, m)
			}
		}
		rule.(map[string]any)["backendRefs"] = kept
	}
	return spec
}

func TestDeletionRestoresRouteAndService(t *testing.T) {
	t.Parallel()
	for _, mid := range []bool{false, true} {
		t.Run(fmt.Sprintf("mid-attempt-%v", mid), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			spec, selector := plain(w.getRoute(app).Object["spec"]), w.service(app).Spec.Selector
			w.started()
			if mid {
				w.deploy("v2")
				w.until("at the first step", atStep(0))
			}
			w.must(w.user.Delete(t.Context(), w.rollout()))
			for range 20 {
				if ro := (&v1alpha1.Rollout{}); w.user.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: app}, ro) != nil {
					break
				}
				w.stepDeletion()
			}
			w.poll("the Rollout to go", func(ctx contextT) string {
				err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: app}, &v1alpha1.Rollout{})
				if !apierrors.IsNotFound(err) {
					return fmt.Sprint(err)
				}
				return ""
			})
			route, svc := w.getRoute(app), w.service(app)
			same(t, "the route's spec", spec, plain(route.Object["spec"]))
			same(t, "the stable Service's selector", selector, svc.Spec.Selector)
			if len(route.GetAnnotations()) != 0 || len(svc.Annotations) != 0 {
				t.Errorf("left behind: %v, %v", route.GetAnnotations(), svc.Annotations)
			}
		})
	}
}

// stepDeletion is one look at a Rollout that is going, and the time to the next.
func (w *world) stepDeletion() {
	w.t.Helper()
	result, _, err := w.look()
	w.must(err)
	w.clock.Step(max(result.RequeueAfter, time.Millisecond))
}

func TestPodsThatFailEndTheAttempt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode   podMode
		reason string
		says   string
	}{
		{crashLoop, "PodsFailed", "crash loop"},
		{badImage, "PodsFailed", "ImagePullBackOff"},
		{unschedulable, "ProgressDeadline", "unschedulable: 0/1 nodes"},
		{unready, "ProgressDeadline", "0 of 1 canary pods"},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).started()
			w.kubelet.modes[hash(t, "v2")] = c.mode
			w.deploy("v2")
			w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
			ro := w.rest()
			h := ro.Status.History[0]
			if h.Reason != c.reason || h.Actor != "belay" {
				t.Errorf("history: %+v", h)
			}
			contains(t, "the message", h.Message, c.says)
			if strings.Contains(w.record.text(0), "patch HTTPRoute") {
				t.Errorf("traffic was sent to pods that never were ready:\n%s", w.record.text(0))
			}
		})
	}
}

func TestCanaryLostIsAnAbort(t *testing.T) {
	t.Parallel()
	w, v2 := midCanary(t)
	w.watch.lenient = true
	w.kubelet.modes[v2] = unready
	ro := w.until("rolled back", finished(v1alpha1.OutcomeRolledBack))
	if h := ro.Status.History[0]; h.Reason != "CanaryLost" {
		t.Errorf("history: %+v", h)
	}
}

func TestThirdTemplateMidCanary(t *testing.T) {
	t.Parallel()
	w, _ := midCanary(t)
	v3 := w.deploy("v3")
	ro := w.until("v3 is stable", func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Attempt == nil && ro.Status.Stable.Revision == v3
	})
	got := []v1alpha1.Outcome{ro.Status.History[0].Outcome, ro.Status.History[1].Outcome}
	same(t, "outcomes", []v1alpha1.Outcome{v1alpha1.OutcomePromoted, v1alpha1.OutcomeSuperseded}, got)
	if len(ro.Status.Quarantine) != 0 || ro.Status.Revert != nil {
		t.Errorf("quarantine %v, revert %v", ro.Status.Quarantine, ro.Status.Revert)
	}
}

func TestStableTemplateMidCanary(t *testing.T) {
	t.Parallel()
	w, _ := midCanary(t)
	v1 := w.deploy("v1")
	w.until("superseded", finished(v1alpha1.OutcomeSuperseded))
	ro := w.rest()
	if ro.Status.Stable.Revision != v1 || ro.Status.Attempts != 2 || ro.Status.Phase != "Healthy" || ro.Status.History[0].Reason != "TemplateReverted" {
		t.Errorf("status: %s, %+v", w.alias.in(statusText(&ro.Status)), ro.Status.History[0])
	}
	w.idle()
}

func TestGatewayThatLagsOrRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	w.gateway.lags = true
	w.deploy("v2")
	for range 4 {
		w.looks(8)
		w.clock.Step(10 * time.Second)
		if a := w.get().Status.Attempt; a == nil || a.ConfirmedAt != nil || a.Verdict != nil {
			t.Fatalf("the gateway said nothing, and yet: %+v", a)
		}
	}
	contains(t, "blockedBy", w.get().Status.BlockedBy, "HTTPRoute app", "generation")
	w.gateway.lags = false
	w.until("at the first step", atStep(0))
	w.gateway.refuses = true
	ro := w.until("rolled back, without the gateway's consent", finished(v1alpha1.OutcomeRolledBack))
	if h := ro.Status.History[0]; h.Reason != "ProgressDeadline" {
		t.Errorf("history: %+v", h)
	}
}

func TestMalformedNeighbourDisturbsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	odd := w.rollout(func(ro *v1alpha1.Rollout) {
		ro.Name = "odd"
		ro.Spec.Selector.MatchLabels = map[string]string{"app": "odd"}
		ro.Spec.Template.Labels = map[string]string{"app": "odd"}
		ro.Spec.Traffic.StableService, ro.Spec.Traffic.CanaryService = "odd", app // somebody else's Service
		ro.Spec.Traffic.Routes[0].Name = "odd"
	})
	svc := w.stableService()
	svc.Name, svc.Spec = "odd", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"}
	w.must(w.user.Create(t.Context(), svc))
	w.must(w.user.Create(t.Context(), odd))
	neighbour := func() {
		for range 5 {
			w.settle()
			if _, err := w.reconcile.Reconcile(t.Context(), requestFor(w.ns, "odd")); err != nil {
				t.Logf("the odd one: %v", err)
			}
		}
	}
	neighbour()
	w.started()
	w.deploy("v2")
	w.until("at the first step", atStep(0))
	neighbour()
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	neighbour()
	if sel := w.service(app).Spec.Selector; sel[app] != app {
		t.Errorf("the neighbour took the Service: %v", sel)
	}
	got := &v1alpha1.Rollout{}
	w.must(w.user.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "odd"}, got))
	if cond := v1alpha1.FindCondition(got.Status.Conditions, v1alpha1.ConditionTrafficReady); cond == nil || cond.Status != metav1.ConditionFalse {
		t.Errorf("the odd one's condition: %+v", cond)
	} else {
		contains(t, "the odd one's condition", cond.Message, "Service app exists but was not made by this Rollout")
	}
}

func TestForeignReplicaSetIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	rev := hash(t, "v2")
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: app + "-2"},
		Spec: v1alpha1.AnalysisRunSpec{Metrics: w.template().Spec.Metrics}}
	w.must(w.user.Create(t.Context(), run))
	w.deploy("v2")
	w.record.refused = 1 // errors are the point
	for range 12 {
		w.look()
		w.clock.Step(time.Second)
	}
	contains(t, "blockedBy", w.get().Status.BlockedBy, "AnalysisRun app-2", "does not belong to this Rollout")
	w.must(w.user.Delete(t.Context(), run))
	w.until("promoted", finished(v1alpha1.OutcomePromoted))
	if ro := w.until("v2", func(ro *v1alpha1.Rollout) bool { return ro.Status.Stable.Revision == rev }); ro.Status.Attempts != 2 {
		t.Errorf("attempts: %d", ro.Status.Attempts)
	}
}

func TestScaleSubresource(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	scale := &autoscalingScale{Spec: autoscalingSpec{Replicas: 4}}
	w.must(w.user.SubResource("scale").Update(t.Context(), w.get(), client.WithSubResourceBody(scale)))
	w.rest()
	got := &autoscalingScale{}
	w.must(w.user.SubResource("scale").Get(t.Context(), w.get(), got))
	if got.Status.Replicas != 4 || got.Status.Selector != "app=app" {
		t.Errorf("scale: %+v", got.Status)
	}
	w.idle()
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = nil }) // as for an HPA to come
	if ro := w.rest(); ro.Spec.Replicas == nil || *ro.Spec.Replicas != 4 || ro.Status.Replicas != 4 {
		t.Errorf("without a number declared: %v, status: %s", ro.Spec.Replicas, statusText(&ro.Status))
	}
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](3) })
	if ro := w.rest(); ro.Status.Replicas != 3 || ro.Status.Phase != "Healthy" {
		t.Errorf("status: %s", statusText(&ro.Status))
	}
}

func TestServiceWithoutSelectorIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t).started()
	w.watch.lenient = true // who takes the selector away empties the Service
	service := w.service(app)
	service.Spec.Selector = nil
	w.must(w.user.Update(t.Context(), service))
	w.deploy("v2")
	var err error
	for range 3 {
		_, _, err = w.look()
	}
	if err == nil || !strings.Contains(err.Error(), "selects no pods") {
		t.Errorf("error %v, want one that says what is wrong with the Service", err)
	}
	contains(t, "blockedBy", w.get().Status.BlockedBy, "service app selects no pods")
	if got := w.service(app).Spec.Selector; len(got) > 0 {
		t.Errorf("a selector was written: %v", got)
	}
}
