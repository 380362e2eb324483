package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout"
	"github.com/belay-delivery/belay/internal/revision"
)

const (
	app       = "app"
	namespace = "shop"
)

var (
	request  = ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: app}}
	key      = types.NamespacedName{Namespace: namespace, Name: app}
	routeGVK = schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: "v1", Kind: "HTTPRoute"}
	scheme   = newScheme()
)

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, policyv1.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// mapper knows every kind of the scheme.
func mapper() apimeta.RESTMapper {
	m := apimeta.NewDefaultRESTMapper(scheme.PrioritizedVersionsAllGroups())
	for gvk := range scheme.AllKnownTypes() {
		m.Add(gvk, apimeta.RESTScopeNamespace)
	}
	return m
}

// silent is a recorder of events that nobody reads.
type silent struct{}

func (silent) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// world is one namespace with one workload.
type world struct {
	t     *testing.T
	store client.WithWatch // what is stored, and nobody in between
	clock *clocktesting.FakeClock
	api   *api // what the reconciler sees of it
	rec   *rollout.Reconciler
	// bad revisions fail their metrics, broken revisions have pods that never become ready, unready ones pods that are not, and run.
	bad, broken, unready map[string]bool
	pods                 int
	// skips reconciliations by chance, where set.
	skips *rand.Rand
	// git is what the specs of routes should be when nothing is under way.
	git    map[string]map[string]any
	ledger ledger
	// quiet is the count of writes at which the others had nothing to do.
	quiet int
	check checks
	plane *plane // carries requests, where set
	mode  mode
}

func newWorld(t *testing.T, change func(*v1alpha1.Rollout)) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), bad: map[string]bool{}, broken: map[string]bool{}, unready: map[string]bool{}}
	w.store = w.newStore()
	w.api = newAPI(w)
	w.restart()
	w.create(&corev1.Service{ObjectMeta: meta(app), Spec: corev1.ServiceSpec{Selector: map[string]string{app: app},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}}}})
	w.git = map[string]map[string]any{}
	w.apply(gitRoute())
	w.create(&v1alpha1.AnalysisTemplate{ObjectMeta: meta("golden"), Spec: v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{Name: "errors",
		Threshold: v1alpha1.Threshold{Max: ptr.To("1"), Prometheus: v1alpha1.PrometheusQuery{Query: "vector(0)"}}}}}})
	ro := newRollout()
	if change != nil {
		change(ro)
	}
	if ro.Spec.WorkloadRef == nil {
		w.create(ro)
	}
	return w
}

func newRollout() *v1alpha1.Rollout {
	step := func(name string, weight int32, hold v1alpha1.Duration) v1alpha1.Step {
		return v1alpha1.Step{Name: name, Weight: &weight, Hold: hold}
	}
	return &v1alpha1.Rollout{ObjectMeta: meta(app), Spec: v1alpha1.RolloutSpec{Replicas: ptr.To[int32](2), Selector: v1alpha1.Selector{MatchLabels: map[string]string{app: app}},
		Template: podTemplate("v1"), ProgressDeadline: "10m", RevisionHistoryLimit: ptr.To[int32](5),
		Traffic:   v1alpha1.Traffic{StableService: app, Settle: "1s", TotalWeight: 100, Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: app}}},
		Strategy:  v1alpha1.Strategy{Canary: &v1alpha1.CanaryStrategy{Steps: []v1alpha1.Step{step("half", 50, "5s"), step("all", 100, "1s")}, ScaleDownDelay: "1s"}},
		Analysis:  &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "golden"}}},
		OnFailure: v1alpha1.OnFailure{Action: v1alpha1.FailureRollback, Revert: &v1alpha1.Revert{Repository: "fleet", Path: "apps/app"}}}}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1}
}

// gitRoute has a rule of the workload's, one that also has another backend, and one that is not about it.
func gitRoute() *unstructured.Unstructured {
	ref := func(name string, weight int64) any {
		return map[string]any{"group": "", "kind": "Service", "name": name, "port": int64(80), "weight": weight}
	}
	path := func(p string) any {
		return []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": p}}}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": app, "namespace": namespace, "generation": int64(1)}, "spec": map[string]any{
		"parentRefs": []any{map[string]any{"group": gatewayv1.GroupName, "kind": "Gateway", "name": "gate"}},
		"rules": []any{
			map[string]any{"name": "shop", "matches": path("/shop"), "timeouts": map[string]any{"request": "7s"}, "backendRefs": []any{ref(app, 1)}},
			map[string]any{"name": "mixed", "matches": path("/mixed"), "backendRefs": []any{ref("other", 3), ref(app, 1)}},
			map[string]any{"name": "else", "matches": path("/else"), "backendRefs": []any{ref("other", 1)}},
		}}}}
	u.SetGroupVersionKind(routeGVK)
	return u
}

// secondRoute has one rule of the workload's, for another path.
func secondRoute() *unstructured.Unstructured {
	u := gitRoute()
	u.SetName(app + "-too")
	rules := u.Object["spec"].(map[string]any)["rules"].([]any)
	rule := rules[0].(map[string]any)
	rule["name"], rule["matches"] = "too", []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/too"}}}
	u.Object["spec"].(map[string]any)["rules"] = rules[:1]
	return u
}

func podTemplate(version string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{app: app}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: app, Image: "example.com/app:" + version}}}}
}

func hash(version string) string {
	template := podTemplate(version)
	rev, err := revision.Hash(&template)
	if err != nil {
		panic(err)
	}
	return rev
}

// restart makes a reconciler without any memory.
func (w *world) restart() {
	w.rec = &rollout.Reconciler{Client: w.api.client(true), Reader: w.api.client(false), Scheme: scheme, Clock: w.clock, Recorder: silent{}}
	w.api.forget()
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatalf("%s: %v", w.t.Name(), err)
	}
}

// create stores an object as the API server would: with an identity.
func (w *world) create(o client.Object) {
	w.t.Helper()
	stamp(o, w.clock.Now())
	w.must(w.store.Create(w.t.Context(), o))
	w.api.remember()
}

var made atomic.Int64

func stamp(o client.Object, now time.Time) {
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", made.Add(1))))
	}
	o.SetCreationTimestamp(metav1.NewTime(now.Truncate(time.Second)))
	o.SetGeneration(1)
}

// get is the Rollout, or nil once it is gone.
func (w *world) get() *v1alpha1.Rollout {
	w.t.Helper()
	ro := &v1alpha1.Rollout{}
	err := w.store.Get(w.t.Context(), key, ro)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return ro
}

func (w *world) edit(change func(*v1alpha1.Rollout)) {
	w.t.Helper()
	ro := w.get()
	change(ro)
	ro.Generation++
	w.must(w.store.Update(w.t.Context(), ro))
}

func (w *world) deploy(version string) {
	w.t.Helper()
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Template = podTemplate(version) })
}

// route of the workload; where it has two, the first.
func (w *world) route() *unstructured.Unstructured { return w.routes()[0] }

// routes by name.
func (w *world) routes() []*unstructured.Unstructured {
	l := newRoutes()
	w.list(w.t.Context(), l)
	out := make([]*unstructured.Unstructured, len(l.Items))
	for i := range l.Items {
		out[i] = &l.Items[i]
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// apply makes a route what a manifest says, whoever else has written it.
func (w *world) apply(manifest *unstructured.Unstructured) {
	w.git[manifest.GetName()] = manifest.DeepCopy().Object["spec"].(map[string]any)
	for _, r := range w.routes() {
		if r.GetName() == manifest.GetName() {
			r.Object["spec"] = manifest.Object["spec"]
			r.SetGeneration(r.GetGeneration() + 1)
			w.must(w.store.Update(w.t.Context(), r))
			return
		}
	}
	w.create(manifest)
}

func (w *world) decide(action v1alpha1.DecisionAction) {
	w.t.Helper()
	a := w.get().Status.Attempt
	w.create(&v1alpha1.Decision{ObjectMeta: meta("decision"), Spec: v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Rollout", Name: app},
		Action: action, Attempt: &a.Number, Step: &a.Step, Actor: "kim", Reason: "asked"}})
}

// look lets everybody else act, and then the reconciler once. It says whether anything is left to be done.
func (w *world) look() (more bool) {
	w.t.Helper()
	w.play()
	w.plane.requests()
	if w.skips != nil && w.skips.IntN(2) == 0 {
		w.pass(time.Second)
		return true
	}
	before := w.api.tried
	w.api.turn()
	result, err := w.rec.Reconcile(w.t.Context(), request)
	if w.api.dead {
		w.restart()
		return true
	}
	if err != nil && !w.api.struck {
		w.t.Errorf("%s: reconciling, undisturbed: %v", w.t.Name(), err)
	}
	w.api.struck = false
	if w.api.lagged {
		w.pass(time.Second) // an event is on its way
		return true
	}
	w.pass(max(time.Second, result.RequeueAfter))
	return err != nil || result.RequeueAfter > 0 || w.api.tried != before
}

// until goes on until something holds.
func (w *world) until(what string, holds func(*v1alpha1.Rollout) bool) {
	w.t.Helper()
	for range 300 {
		if ro := w.get(); ro == nil || holds(ro) {
			return
		}
		w.look()
	}
	w.t.Fatalf("%s: never %s: %s", w.t.Name(), what, w.told())
}

// rest goes on until a look finds nothing to do, and the world nothing either.
func (w *world) rest() {
	w.t.Helper()
	w.skips = nil
	for range 400 {
		if more := w.look(); !more && !w.play() {
			return
		}
	}
	w.t.Fatalf("%s: L1: no rest after 400 looks: %s", w.t.Name(), w.told())
}

func (w *world) told() string {
	ro := w.get()
	if ro == nil {
		return "the Rollout is gone"
	}
	a := "no attempt"
	if ro.Status.Attempt != nil {
		a = fmt.Sprintf("%+v", *ro.Status.Attempt)
	}
	return fmt.Sprintf("phase %s, blocked by %q, %s", ro.Status.Phase, ro.Status.BlockedBy, a)
}

func atStep(name string) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.StepName == name && a.ConfirmedAt != nil
	}
}

func inStage(s v1alpha1.Stage) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil && ro.Status.Attempt.Stage == s }
}

// judged says whether there is a run of a name.
func (w *world) judged(run string) bool {
	err := w.store.Get(w.t.Context(), types.NamespacedName{Namespace: namespace, Name: run}, &v1alpha1.AnalysisRun{})
	if !apierrors.IsNotFound(err) {
		w.must(err)
	}
	return err == nil
}
