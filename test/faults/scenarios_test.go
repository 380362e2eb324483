package faults

import (
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// scenario is a story with an end.
type scenario struct {
	name   string
	change func(*v1alpha1.Rollout)
	// before is played undisturbed; story is what is broken.
	before, story func(*world)
}

func first(w *world) { w.rest() }

func deployed(version string) func(*world) {
	return func(w *world) { w.deploy(version); w.rest() }
}

func blueGreen(ro *v1alpha1.Rollout) {
	ro.Spec.Strategy = v1alpha1.Strategy{BlueGreen: &v1alpha1.BlueGreenStrategy{Hold: "1s", Bake: "10s", ScaleDownDelay: "1s"}}
}

func scenarios() []scenario {
	halfway := func(then func(*world)) func(*world) {
		return func(w *world) {
			w.deploy("v2")
			w.until("half, and judged", func(ro *v1alpha1.Rollout) bool { return atStep("half")(ro) && w.judged("app-2") })
			then(w)
			w.rest()
		}
	}
	return []scenario{
		{name: "first revision", story: first},
		{name: "promotion", before: first, story: deployed("v2")},
		{name: "promotion with a bake", change: func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Bake = "10s" }, before: first, story: deployed("v2")},
		{name: "analysis fails", before: first, story: func(w *world) { w.bad[hash("v2")] = true; deployed("v2")(w) }},
		{name: "pods fail", before: first, story: func(w *world) { w.broken[hash("v2")] = true; deployed("v2")(w) }},
		{name: "a person aborts", before: first, story: halfway(func(w *world) { w.decide(v1alpha1.ActionAbort) })},
		{name: "superseded", before: first, story: halfway(func(w *world) { w.deploy("v3") })},
		{name: "template goes back", before: first, story: halfway(func(w *world) { w.deploy("v1") })},
		{name: "back to a known good revision", before: func(w *world) { first(w); deployed("v2")(w) }, story: deployed("v1")},
		{name: "deleted in the middle", before: first, story: halfway(func(w *world) { w.must(w.store.Delete(w.t.Context(), w.get())) })},
		{name: "scaled in the middle", before: first, story: halfway(func(w *world) {
			w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](4) })
			w.until("all", atStep("all"))
			w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = ptr.To[int32](1) })
		})},
		{name: "bad in the bake", change: func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Bake = "20s" }, before: first, story: func(w *world) {
			w.deploy("v2")
			w.until("baking", inStage(v1alpha1.StageBaking))
			w.bad[hash("v2")] = true
			w.rest()
		}},
		{name: "dark canary", change: func(ro *v1alpha1.Rollout) {
			team := v1alpha1.Step{Name: "team", Hold: "1s", Match: &v1alpha1.Match{Headers: []v1alpha1.ValueMatch{{Type: v1alpha1.MatchExact, Name: "x-team", Value: "shop"}}}}
			c := ro.Spec.Strategy.Canary
			c.Steps = append([]v1alpha1.Step{team}, c.Steps...)
		}, before: first, story: deployed("v2")},
		{name: "mirror", change: func(ro *v1alpha1.Rollout) {
			shadow := v1alpha1.Step{Name: "shadow", Hold: "2s", Mirror: &v1alpha1.Mirror{Percent: 50}}
			c := ro.Spec.Strategy.Canary
			c.Steps = append([]v1alpha1.Step{shadow}, c.Steps...)
		}, before: func(w *world) { w.able(); first(w) }, story: deployed("v2")},
		{name: "two routes", change: func(ro *v1alpha1.Rollout) {
			ro.Spec.Traffic.Routes = append(ro.Spec.Traffic.Routes, v1alpha1.RouteReference{Kind: "HTTPRoute", Name: app + "-too"})
		}, before: func(w *world) { w.apply(secondRoute()); first(w) }, story: deployed("v2")},
		{name: "route applied anew", before: first, story: halfway(func(w *world) { w.applyAnew() })},
		{name: "saving pods", change: saving, before: first, story: deployed("v2")},
		{name: "saving pods, aborted", change: saving, before: first, story: func(w *world) {
			w.deploy("v2")
			w.until("most, with fewer stable pods", func(ro *v1alpha1.Rollout) bool {
				return atStep("most")(ro) && *w.see().sets[hash("v1")].Spec.Replicas < 4 && w.judged("app-2")
			})
			w.decide(v1alpha1.ActionAbort)
			w.rest()
		}},
		{name: "blue-green", change: blueGreen, before: first, story: deployed("v2")},
		{name: "blue-green and back", change: blueGreen, before: first, story: func(w *world) {
			w.deploy("v2")
			w.until("baking", inStage(v1alpha1.StageBaking))
			w.deploy("v1")
			w.rest()
		}},
		{name: "restart", before: first, story: func(w *world) {
			w.clock.Step(5e9)
			now := metav1.NewTime(w.clock.Now())
			w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.RestartAt = &now })
			w.rest()
		}},
		{name: "adoption", change: refer, before: deployment, story: func(w *world) { w.create(adopting()); w.rest() }},
		{name: "release", change: refer, before: func(w *world) { deployment(w); w.create(adopting()); w.rest() }, story: func(w *world) {
			w.must(w.store.Delete(w.t.Context(), w.get()))
			w.rest()
		}},
	}
}

// saving keeps only as many stable pods as the canary leaves traffic.
func saving(ro *v1alpha1.Rollout) {
	ro.Spec.Replicas = ptr.To[int32](4)
	c := ro.Spec.Strategy.Canary
	c.StableScale = v1alpha1.StableScaleDynamic
	c.Steps = append(c.Steps[:1:1], v1alpha1.Step{Name: "most", Weight: ptr.To[int32](75), Hold: "5s"}, c.Steps[1])
}

// applyAnew is what a person does who changes a timeout in Git, and applies the route over what Belay has written.
func (w *world) applyAnew() {
	edited := gitRoute()
	rule := edited.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	rule["timeouts"] = map[string]any{"request": "9s"}
	w.apply(edited)
	w.check.disturbed = w.clock.Now()
}

// able is a Gateway of a class that can do everything.
func (w *world) able() {
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "able"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: "example.com/gate"}}
	for _, f := range []gatewayv1.FeatureName{"Gateway", "HTTPRoute", gatewayapi.FeatureMirror, gatewayapi.FeaturePercentMirror, gatewayapi.FeatureMethods} {
		class.Status.SupportedFeatures = append(class.Status.SupportedFeatures, gatewayv1.SupportedFeature{Name: f})
	}
	w.create(class)
	w.create(&gatewayv1.Gateway{ObjectMeta: meta("gate"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "able"}})
}

func refer(ro *v1alpha1.Rollout) { ro.Spec.WorkloadRef = &v1alpha1.WorkloadReference{Name: app} }

func adopting() *v1alpha1.Rollout {
	ro := newRollout()
	refer(ro)
	ro.Spec.WorkloadRef.APIVersion, ro.Spec.WorkloadRef.Kind = "apps/v1", "Deployment"
	ro.Spec.Template, ro.Spec.Selector, ro.Spec.OnFailure.Revert = podTemplate("v1"), v1alpha1.Selector{}, nil
	ro.Spec.Template.Labels, ro.Spec.Template.Spec.Containers = nil, nil
	return ro
}

// deployment is one that runs, with its ReplicaSet and pods.
func deployment(w *world) {
	d := &appsv1.Deployment{ObjectMeta: meta(app)}
	d.Spec = appsv1.DeploymentSpec{Replicas: ptr.To[int32](2), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{app: app}}, Template: podTemplate("v1")}
	w.create(d)
	rs := &appsv1.ReplicaSet{ObjectMeta: meta(app + "-5d4c")}
	rs.Labels = map[string]string{app: app, appsv1.DefaultDeploymentUniqueLabelKey: "5d4c"}
	rs.Annotations = map[string]string{"deployment.kubernetes.io/revision": "1"}
	rs.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	rs.Spec = appsv1.ReplicaSetSpec{Replicas: ptr.To[int32](2), Selector: &metav1.LabelSelector{MatchLabels: rs.Labels}, Template: podTemplate("v1")}
	rs.Spec.Template.Labels = map[string]string{app: app, appsv1.DefaultDeploymentUniqueLabelKey: "5d4c"}
	w.create(rs)
	w.play()
	var ds appsv1.DeploymentList
	w.list(w.t.Context(), &ds)
	got := &ds.Items[0]
	got.Status.Replicas, got.Status.UpdatedReplicas, got.Status.ReadyReplicas, got.Status.AvailableReplicas, got.Status.ObservedGeneration = 2, 2, 2, 2, got.Generation
	w.must(w.store.Status().Update(w.t.Context(), got))
}
