package integration

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout"
	"github.com/belay-delivery/belay/internal/revision"
	"github.com/belay-delivery/belay/internal/testenv"
)

const (
	app  = "app"
	node = "it-node"
	// patience with the real controllers: the machine may be slow, and shared.
	patience = 120 * time.Second
	poll     = 15 * time.Millisecond
)

var (
	update   = flag.Bool("update", false, "write golden files anew")
	routeGVK = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "HTTPRoute"}
)

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	// The tests wait for other processes, not for the processor.
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && os.Getenv("BELAY_TEST_KUBECONFIG") != "" {
		code = compareRights()
	}
	os.Exit(code)
}

// world is a namespace with one workload in it, and everybody who acts on it.
type world struct {
	t         *testing.T
	env       *testenv.Env
	user      client.Client
	ns        string
	clock     *clocktesting.FakeClock
	told      *told
	record    *record
	reconcile *rollout.Reconciler

	kubelet kubelet
	gateway gateway
	analyst analyst
	watch   watcher
	alias   *aliases
	// deploys: there is a Deployment too.
	deploys bool
}

// newWorld has a Service, a route, an AnalysisTemplate and a Rollout that waits for its first look.
func newWorld(t *testing.T, change ...func(*v1alpha1.Rollout)) *world {
	t.Helper()
	w := bareWorld(t)
	w.must(w.user.Create(t.Context(), w.stableService()))
	w.must(w.user.Create(t.Context(), w.route(app, nil)))
	w.must(w.user.Create(t.Context(), w.template()))
	w.must(w.user.Create(t.Context(), w.rollout(change...)))
	return w
}

func bareWorld(t *testing.T) *world {
	t.Helper()
	env := testenv.New(t)
	w := &world{t: t, env: env, user: env.Client, ns: env.Namespace, told: &told{}, alias: &aliases{},
		clock:   clocktesting.NewFakeClock(time.Now().Truncate(time.Second).Add(time.Second)),
		kubelet: kubelet{modes: map[string]podMode{}}, analyst: analyst{verdicts: map[string]v1alpha1.RunVerdict{}}}
	w.watch.seen = map[string]int32{}
	w.record = newRecord(w)
	w.rebuild()
	w.node()
	t.Cleanup(w.leave)
	w.poll("the service account", func(ctx context.Context) string {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "default"}}
		if err := w.user.Get(ctx, client.ObjectKeyFromObject(sa), sa); err != nil {
			return err.Error()
		}
		return ""
	})
	return w
}

// rebuild makes a controller without any memory.
func (w *world) rebuild() {
	c := w.record.client()
	w.reconcile = &rollout.Reconciler{Client: c, Reader: c, Scheme: w.env.Scheme, Clock: w.clock, Recorder: w.told}
}

// leave takes the finalizers off: without a controller they would hold the namespace for ever.
func (w *world) leave() {
	ctx := context.WithoutCancel(w.t.Context())
	var list v1alpha1.RolloutList
	if err := w.user.List(ctx, &list, client.InNamespace(w.ns)); err != nil {
		w.t.Errorf("leaving: %v", err)
	}
	for i := range list.Items {
		err := w.user.Patch(ctx, &list.Items[i], client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
		if ignoreGone(err) != nil {
			w.t.Errorf("leaving: %v", err)
		}
	}
}

func (w *world) node() {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := w.user.Create(w.t.Context(), n); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) poll(what string, ready func(context.Context) string) {
	w.t.Helper()
	why := ""
	err := wait.PollUntilContextTimeout(w.t.Context(), poll, patience, true, func(ctx context.Context) (bool, error) {
		if say := ready(ctx); ctx.Err() == nil && !strings.Contains(say, "would exceed context deadline") {
			why = say
		}
		return why == "", nil
	})
	if err != nil {
		w.t.Fatalf("waiting for %s: %v: %s", what, err, why)
	}
}

func (w *world) stableService() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: app},
		Spec: corev1.ServiceSpec{Selector: map[string]string{app: app},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}}}}
}

func (w *world) route(name string, rules []any) *unstructured.Unstructured {
	if rules == nil {
		rules = []any{map[string]any{"backendRefs": []any{map[string]any{"name": app, "port": int64(80)}}}}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"parentRefs": []any{map[string]any{"name": "gate"}}, "rules": rules}}}
	u.SetGroupVersionKind(routeGVK)
	u.SetNamespace(w.ns)
	u.SetName(name)
	return u
}

func (w *world) template() *v1alpha1.AnalysisTemplate {
	return &v1alpha1.AnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "golden"},
		Spec: v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{Name: "errors",
			Threshold: v1alpha1.Threshold{Max: ptr.To("1"), Prometheus: v1alpha1.PrometheusQuery{Query: "vector(0)"}}}}}}
}

func (w *world) rollout(change ...func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	step := func(name string, weight int32) v1alpha1.Step {
		return v1alpha1.Step{Name: name, Weight: &weight, Hold: "1s"}
	}
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: app},
		Spec: v1alpha1.RolloutSpec{Replicas: ptr.To[int32](2), Selector: v1alpha1.Selector{MatchLabels: map[string]string{app: app}},
			Template: podTemplate("v1"), ProgressDeadline: "60s",
			Traffic:   v1alpha1.Traffic{StableService: app, Settle: "1s", Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: app}}},
			Strategy:  v1alpha1.Strategy{Canary: &v1alpha1.CanaryStrategy{Steps: []v1alpha1.Step{step("half", 50), step("all", 100)}, Bake: "0s", ScaleDownDelay: "1s"}},
			Analysis:  &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "golden"}}},
			OnFailure: v1alpha1.OnFailure{Revert: &v1alpha1.Revert{Repository: "fleet", Path: "apps/app"}}}}
	for _, c := range change {
		c(ro)
	}
	return ro
}

// podTemplate is bound to the node from the start: there is no scheduler.
func podTemplate(version string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{app: app}},
		Spec: corev1.PodSpec{NodeName: node, AutomountServiceAccountToken: ptr.To(false), TerminationGracePeriodSeconds: ptr.To[int64](0),
			Containers: []corev1.Container{{Name: app, Image: "example.com/app:" + version}}}}
}

// deploy changes the pod template, as Git would, and returns its revision.
func (w *world) deploy(version string) string {
	w.t.Helper()
	w.edit(func(ro *v1alpha1.Rollout) { ro.Spec.Template = podTemplate(version) })
	rev := hash(w.t, version)
	w.alias.add(rev, version)
	return rev
}

func hash(t *testing.T, version string) string {
	t.Helper()
	template := podTemplate(version)
	rev, err := revision.Hash(&template)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func (w *world) edit(change func(*v1alpha1.Rollout)) {
	w.t.Helper()
	ro := w.get()
	before := ro.DeepCopy()
	change(ro)
	w.must(w.user.Patch(w.t.Context(), ro, client.MergeFrom(before)))
}

func (w *world) get() *v1alpha1.Rollout {
	w.t.Helper()
	ro := &v1alpha1.Rollout{}
	w.must(w.user.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: app}, ro))
	return ro
}

func (w *world) getRoute(name string) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(routeGVK)
	w.must(w.user.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, u))
	return u
}

func (w *world) service(name string) *corev1.Service {
	w.t.Helper()
	s := &corev1.Service{}
	w.must(w.user.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, s))
	return s
}

// look lets the others act until they rest, and then the controller once.
func (w *world) look() (ctrl.Result, int, error) {
	w.t.Helper()
	w.settle()
	before := w.record.count()
	result, err := w.reconcile.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: w.ns, Name: app}})
	return result, w.record.count() - before, err
}

// step looks until nothing more is written, and then lets the time pass until the next look. It says whether there is
// one. Errors are borne where the test caused them.
func (w *world) step() bool {
	w.t.Helper()
	for range 30 {
		result, wrote, err := w.look()
		if err != nil && !w.record.expected() {
			w.t.Fatalf("reconciling: %v\n%s", err, w.record.text(0))
		}
		if w.record.crashed() {
			w.rebuild()
		}
		if wrote > 0 || err != nil {
			w.clock.Step(time.Millisecond) // as in life, no two looks are at the same moment
			continue
		}
		switch {
		case result.RequeueAfter > 0:
			w.clock.Step(result.RequeueAfter)
			return true
		case w.analyst.busy:
			w.clock.Step(time.Second) // the next measurement
			return true
		}
		return false
	}
	w.t.Fatalf("30 looks and still writing:\n%s", w.record.text(0))
	return false
}

// until steps on until something holds of the Rollout.
func (w *world) until(what string, holds func(*v1alpha1.Rollout) bool) *v1alpha1.Rollout {
	w.t.Helper()
	for range 60 {
		more := w.step()
		ro := w.get()
		if holds(ro) {
			return ro
		}
		if !more {
			w.t.Fatalf("at rest, and not yet %s: blocked by %q\n%s", what, ro.Status.BlockedBy, w.record.text(0))
		}
	}
	w.t.Fatalf("60 steps, and not yet %s: blocked by %q\n%s", what, w.get().Status.BlockedBy, w.record.text(0))
	return nil
}

// rest steps on until nothing is left to be done at any later time.
func (w *world) rest() *v1alpha1.Rollout {
	w.t.Helper()
	for range 80 {
		if !w.step() {
			return w.get()
		}
	}
	w.t.Fatalf("80 steps, and no rest: blocked by %q\n%s", w.get().Status.BlockedBy, w.record.text(0))
	return nil
}

// started has the first revision in place, everything at rest and nothing recorded.
func (w *world) started() *world {
	w.t.Helper()
	w.alias.add(hash(w.t, "v1"), "v1")
	w.until("healthy", func(ro *v1alpha1.Rollout) bool { return ro.Status.Stable != nil && ro.Status.Attempt == nil })
	w.rest()
	w.record.forget()
	return w
}

// atStep says whether an attempt's traffic is confirmed at a step.
func atStep(step int32) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.Verdict == nil && a.Stage == v1alpha1.StageStepping && a.Step == step && a.ConfirmedAt != nil
	}
}

func finished(outcome v1alpha1.Outcome) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Attempt == nil && len(ro.Status.History) > 0 && ro.Status.History[0].Outcome == outcome
	}
}

// aliases give revisions names that people can read.
type aliases struct {
	mu    sync.Mutex
	names map[string]string
}

func (a *aliases) add(rev, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := maps.Clone(a.names)
	if next == nil {
		next = map[string]string{}
	}
	next[rev] = name
	a.names = next
}

func (a *aliases) in(s string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for rev, name := range a.names {
		s = strings.ReplaceAll(s, rev, name)
	}
	return s
}

// told keeps the events.
type told struct {
	mu   sync.Mutex
	list []string
}

// Eventf implements events.EventRecorder.
func (e *told) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, kind+" "+reason+": "+fmt.Sprintf(note, args...))
}

func (e *told) count(reason string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, s := range e.list {
		if strings.Contains(s, " "+reason+":") {
			n++
		}
	}
	return n
}

// countedClient asks the API server through a transport that notes every request.
func countedClient(t *testing.T, cfg *rest.Config, scheme *runtime.Scheme) client.WithWatch {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(rights.wrap)
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
