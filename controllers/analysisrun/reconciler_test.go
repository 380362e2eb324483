package analysisrun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fakeServer answers queries, and remembers what it was asked.
type fakeServer struct {
	mu     sync.Mutex
	asked  []string // address, query
	at     []time.Time
	creds  []prometheus.Credentials
	answer func(ctx context.Context, query string) (float64, error)
}

type fakeQuerier struct {
	server *fakeServer
	cfg    prometheus.Config
}

func (q fakeQuerier) Query(ctx context.Context, query string, at time.Time) (float64, error) {
	q.server.mu.Lock()
	q.server.asked = append(q.server.asked, q.cfg.Address+" "+query)
	q.server.at = append(q.server.at, at)
	q.server.creds = append(q.server.creds, q.cfg.Credentials)
	q.server.mu.Unlock()
	return q.server.answer(ctx, query)
}

func says(v float64) func(context.Context, string) (float64, error) {
	return func(context.Context, string) (float64, error) { return v, nil }
}

func fails(err error) func(context.Context, string) (float64, error) {
	return func(context.Context, string) (float64, error) { return 0, err }
}

// world is a real API server, a fake Prometheus, a fake clock, and a reconciler whose writes are counted.
type world struct {
	*testenv.Env
	t       *testing.T
	clock   *clocktesting.FakePassiveClock
	server  *fakeServer
	events  *events.FakeRecorder
	writes  []string
	onWrite func() // before each write of status
	r       *Reconciler
}

func newWorld(t *testing.T) *world {
	w := &world{Env: testenv.New(t), t: t, clock: clocktesting.NewFakePassiveClock(t0), server: &fakeServer{answer: says(0.005)}, events: events.NewFakeRecorder(100)}
	w.restart()
	return w
}

// restart makes a new reconciler, as a new process would.
func (w *world) restart() {
	w.t.Helper()
	base, err := client.NewWithWatch(w.Config, client.Options{Scheme: w.Scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	note := func(verb string, obj client.Object) { w.writes = append(w.writes, fmt.Sprintf("%s %T", verb, obj)) }
	counted := interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			note("create", o)
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			note("update", o)
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			note("patch", o)
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			note("update "+sub, o)
			if w.onWrite != nil {
				w.onWrite()
			}
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	})
	w.r = &Reconciler{
		Client: counted, Reader: w.Client, Recorder: w.events, Clock: w.clock, DefaultAddress: "http://default:9090",
		NewQuerier: func(cfg prometheus.Config) (prometheus.Querier, error) {
			return fakeQuerier{server: w.server, cfg: cfg}, nil
		},
	}
}

func (w *world) create(obj client.Object) {
	w.t.Helper()
	obj.SetNamespace(w.Namespace)
	if err := w.Client.Create(w.t.Context(), obj); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) createRun(change func(*v1alpha1.AnalysisRun)) {
	w.t.Helper()
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Name: "run"}, Spec: v1alpha1.AnalysisRunSpec{Metrics: []v1alpha1.Metric{metric("errors", "err")}}}
	if change != nil {
		change(run)
	}
	w.create(run)
}

func metric(name, query string) v1alpha1.Metric {
	maximum, none := "0.01", int32(0)
	return v1alpha1.Metric{Name: name, Threshold: v1alpha1.Threshold{
		Prometheus: v1alpha1.PrometheusQuery{Query: query}, Max: &maximum, FailureLimit: &none,
	}}
}

func (w *world) request() ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: w.Namespace, Name: "run"}}
}

func (w *world) run() *v1alpha1.AnalysisRun {
	w.t.Helper()
	run := &v1alpha1.AnalysisRun{}
	if err := w.Client.Get(w.t.Context(), w.request().NamespacedName, run); err != nil {
		w.t.Fatal(err)
	}
	return run
}

// reconcile runs one round and checks when it wants the next, and how many writes and queries it took.
func (w *world) reconcile(when string, after time.Duration, writes, queries int) {
	w.t.Helper()
	w.writes, w.server.asked = nil, nil
	result, err := w.r.Reconcile(w.t.Context(), w.request())
	if err != nil {
		w.t.Fatalf("%s: %v", when, err)
	}
	if result.RequeueAfter != after {
		w.t.Errorf("%s: looks again after %s, want %s", when, result.RequeueAfter, after)
	}
	var want []string
	for range writes {
		want = append(want, "update status *v1alpha1.AnalysisRun")
	}
	if d := cmp.Diff(want, w.writes); d != "" {
		w.t.Errorf("%s: writes: %s", when, d)
	}
	if len(w.server.asked) != queries {
		w.t.Errorf("%s: asked %q, want %d queries", when, w.server.asked, queries)
	}
}

func (w *world) stepClock(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	var got []string
	for len(w.events.Events) > 0 {
		got = append(got, <-w.events.Events)
	}
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("events: %s", d)
	}
}

func (w *world) wantCondition(kind string, status metav1.ConditionStatus, reason, text string) {
	w.t.Helper()
	run := w.run()
	c := v1alpha1.FindCondition(run.Status.Conditions, kind)
	if c == nil || c.Status != status || reason != "" && c.Reason != reason || !strings.Contains(c.Message, text) || c.ObservedGeneration != run.Generation {
		w.t.Errorf("condition %s is %+v, want %s, %s with %q", kind, c, status, reason, text)
	}
}

func TestARunFromFirstLookToFailure(t *testing.T) {
	w := newWorld(t)
	w.createRun(nil)
	w.stepClock(400 * time.Millisecond)
	w.reconcile("first look", 29600*time.Millisecond, 1, 1)
	if d := cmp.Diff([]string{"http://default:9090 err"}, w.server.asked); d != "" {
		t.Error(d)
	}
	if !w.server.at[0].Equal(t0) || !w.run().Status.Metrics[0].LastPassedAt.Time.Equal(t0) {
		t.Errorf("asked for %s and stored %s, want the second in which it was sent", w.server.at[0], w.run().Status.Metrics[0].LastPassedAt)
	}
	w.wantCondition("Ready", "True", analysis.ReasonMeasuring, "")
	w.wantCondition("Stalled", "False", "", "")
	w.wantEvents("Normal AnalysisPassed metric errors: 0.005 is within max 0.01")
	w.stepClock(10 * time.Second)
	w.reconcile("too early", 19600*time.Millisecond, 0, 0)
	w.stepClock(19600 * time.Millisecond)
	w.reconcile("due, good again", 30*time.Second, 1, 1)
	w.wantEvents()
	w.server.answer = says(0.062)
	w.stepClock(30 * time.Second)
	w.reconcile("bad", 0, 1, 1)
	run := w.run()
	if run.Status.Verdict != v1alpha1.VerdictFail || run.Status.FinishedAt == nil || run.Status.Metrics[0].Measured != 3 || run.Status.Metrics[0].NextAt != nil {
		t.Errorf("status %+v", run.Status)
	}
	w.wantEvents("Warning AnalysisFailed metric errors: 0.062 is above max 0.01 (1 of 3 measurements failed, limit 0)")
	w.stepClock(time.Hour)
	w.reconcile("at rest", 0, 0, 0)
}

func TestStop(t *testing.T) {
	w := newWorld(t)
	w.server.answer = fails(prometheus.ErrNoData)
	w.createRun(nil)
	w.reconcile("no data", 30*time.Second, 1, 1)
	run := w.run()
	run.Spec.State = v1alpha1.RunStopped
	if err := w.Client.Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	w.stepClock(time.Minute)
	w.reconcile("stopped", 0, 1, 0)
	w.reconcile("at rest", 0, 0, 0)
	if s := w.run().Status; s.Verdict != v1alpha1.VerdictPending || s.FinishedAt == nil || s.ObservedGeneration != 2 {
		t.Errorf("status %+v", s)
	}
	w.wantEvents()
}

func TestGone(t *testing.T) {
	w := newWorld(t)
	w.reconcile("no such run", 0, 0, 0)
	w.createRun(func(r *v1alpha1.AnalysisRun) { r.Finalizers = []string{"belay.dev/test"} })
	if err := w.Client.Delete(t.Context(), w.run()); err != nil {
		t.Fatal(err)
	}
	w.reconcile("being deleted", 0, 0, 0)
	run := w.run()
	run.Finalizers = nil
	if err := w.Client.Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
}

func TestProviderErrorsHoldAndHeal(t *testing.T) {
	w := newWorld(t)
	w.server.answer = fails(errors.New("asking Prometheus at default:9090: connection refused"))
	w.createRun(nil)
	for i, wait := range []time.Duration{10, 20, 30, 30, 30} {
		w.reconcile(fmt.Sprintf("error %d", i), wait*time.Second, 1, 1)
		w.stepClock(wait * time.Second)
	}
	w.wantEvents("Warning AnalysisHeld metric errors: could not be measured 5 times in a row, limit 4; no step forward until it answers: asking Prometheus at default:9090: connection refused")
	w.wantCondition("Ready", "False", analysis.ReasonProviderError, "connection refused")
	if s := w.run().Status.Metrics[0]; s.Failed != 0 || s.Measured != 0 || s.ProviderErrors != 5 {
		t.Errorf("provider errors count as evidence: %+v", s)
	}
	w.server.answer = says(0)
	w.reconcile("healed", 30*time.Second, 1, 1)
	w.wantEvents("Normal AnalysisPassed metric errors: 0 is within max 0.01")
	w.wantCondition("Ready", "True", analysis.ReasonMeasuring, "")
}

func TestWhatCannotBeAskedIsAConditionThatNamesIt(t *testing.T) {
	secretRef := func(m *v1alpha1.Metric) {
		m.Threshold.Prometheus.Address, m.Threshold.Prometheus.SecretRef = "http://own", &v1alpha1.LocalReference{Name: "prom"}
	}
	for _, tc := range []struct {
		name, reason, text string
		stalled            metav1.ConditionStatus
		change             func(*v1alpha1.Metric)
		prepare            func(*world)
	}{
		{"no Secret", analysis.ReasonSecretNotFound, `Secret "prom" does not exist`, "False", secretRef, nil},
		{"useless Secret", analysis.ReasonBadSecret, `Secret "prom" cannot be used`, "False", secretRef, func(w *world) {
			w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "prom"}, Data: map[string][]byte{"token": []byte("hunter2")}})
		}},
		{"no address", analysis.ReasonBadAddress, "--prometheus-address", "False", nil, func(w *world) { w.r.DefaultAddress = "" }},
		{"bad address", analysis.ReasonBadAddress, "no host", "False", nil, func(w *world) {
			w.r.DefaultAddress = "http://"
			w.r.NewQuerier = new(prometheus.Pool).Querier
		}},
		{"unknown placeholder", analysis.ReasonBadQuery, "{{canary.pod}}", "True", func(m *v1alpha1.Metric) { m.Threshold.Prometheus.Query = "{{canary.pod}}" }, nil},
		{"refused query", analysis.ReasonBadQuery, "refuses the query", "True", nil, func(w *world) {
			w.server.answer = fails(&prometheus.QueryError{Host: "x", Text: "parse error"})
		}},
		{"several series", analysis.ReasonBadResult, "gives 3 series", "False", nil, func(w *world) {
			w.server.answer = fails(&prometheus.ResultError{Type: "vector", Series: 3})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			other := metric("other", "fine")
			m := metric("errors", "err")
			if tc.change != nil {
				tc.change(&m)
			}
			if tc.prepare != nil {
				tc.prepare(w)
			}
			other.Threshold.Prometheus.Address = "http://elsewhere"
			w.createRun(func(r *v1alpha1.AnalysisRun) { r.Spec.Metrics = []v1alpha1.Metric{m, other} })
			if _, err := w.r.Reconcile(t.Context(), w.request()); err != nil {
				t.Fatal(err)
			}
			w.wantCondition("Ready", "False", tc.reason, tc.text)
			w.wantCondition("Stalled", tc.stalled, "", "")
			s := w.run().Status
			if s.Verdict != v1alpha1.VerdictPending || s.Metrics[0].Failed != 0 || s.Metrics[0].ProviderErrors != 1 || s.Metrics[0].NextAt == nil {
				t.Errorf("status %+v", s)
			}
			if strings.Contains(fmt.Sprint(s), "hunter2") {
				t.Error("the status holds a credential")
			}
			if len(w.writes) != 1 {
				t.Errorf("writes %q", w.writes)
			}
		})
	}
}

func TestSecretHealsAndGoesToItsAddressAlone(t *testing.T) {
	w := newWorld(t)
	own := metric("own", "q1")
	own.Threshold.Prometheus.Address, own.Threshold.Prometheus.SecretRef = "https://own", &v1alpha1.LocalReference{Name: "prom"}
	w.createRun(func(r *v1alpha1.AnalysisRun) { r.Spec.Metrics = []v1alpha1.Metric{own, metric("default", "q2")} })
	w.reconcile("no Secret", 10*time.Second, 1, 1)
	data := map[string][]byte{"bearerToken": []byte("hunter2")}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "prom"}, Data: data})
	w.stepClock(30 * time.Second)
	w.server.creds = nil
	w.reconcile("with Secret", 30*time.Second, 1, 2)
	want, _ := prometheus.CredentialsFromSecret(data)
	for i, asked := range w.server.asked {
		if ours := strings.HasPrefix(asked, "https://own "); ours != (w.server.creds[i] == want) || !ours && w.server.creds[i] != (prometheus.Credentials{}) {
			t.Errorf("%s: credentials present: %t", asked, w.server.creds[i] == want)
		}
	}
	w.wantCondition("Ready", "True", analysis.ReasonMeasuring, "")
}

func TestArmsAreToldApartByPod(t *testing.T) {
	w := newWorld(t)
	for name, revision := range map[string]string{"web-new-2": "new", "web-new-1": "new", "web-old": "old", "alien": ""} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		if revision != "" {
			pod.Labels[v1alpha1.LabelRevision] = revision
		}
		w.create(pod)
	}
	w.createRun(func(r *v1alpha1.AnalysisRun) {
		value := `it"s`
		r.Spec.Args = []v1alpha1.Argument{{Name: "a", Value: &value}}
		r.Spec.Arms = &v1alpha1.Arms{Rollout: "web", CanaryRevision: "new", StableRevision: "old", CanaryService: "web-canary"}
		r.Spec.Metrics = []v1alpha1.Metric{metric("m", `x{c=~"{{canary.pods}}",s=~"{{stable.pods}}",r="{{canary.revision}}",v="{{canary.service}}",n="{{namespace}}",a="{{args.a}}"}`)}
	})
	w.reconcile("arms", 30*time.Second, 1, 1)
	want := `http://default:9090 x{c=~"web-new-1|web-new-2",s=~"web-old",r="new",v="web-canary",n="` + w.Namespace + `",a="it\"s"}`
	if d := cmp.Diff([]string{want}, w.server.asked); d != "" {
		t.Error(d)
	}
}

func TestRestartsNeitherRepeatNorLoseMeasurements(t *testing.T) {
	w := newWorld(t)
	w.createRun(nil)
	const rounds = 12
	for i := range rounds {
		w.restart()
		w.reconcile(fmt.Sprintf("round %d", i), 30*time.Second, 1, 1)
		w.restart()
		w.reconcile(fmt.Sprintf("again after round %d", i), 30*time.Second, 0, 0)
		w.stepClock(30 * time.Second)
	}
	s := w.run().Status.Metrics[0]
	if s.Measured != rounds || s.Passed != rounds || len(s.Recent) != 10 || !s.LastPassedAt.Time.Equal(t0.Add((rounds-1)*30*time.Second)) {
		t.Errorf("status %+v", s)
	}
	// Killed between asking and writing: the measurement never was, and is made again.
	ctx, cancel := context.WithCancel(t.Context())
	w.server.answer = func(context.Context, string) (float64, error) { cancel(); return 1, nil }
	w.writes = nil
	if _, err := w.r.Reconcile(ctx, w.request()); !errors.Is(err, context.Canceled) || len(w.writes) != 0 {
		t.Errorf("error %v, writes %q", err, w.writes)
	}
	w.server.answer = says(0)
	w.restart()
	w.reconcile("after the kill", 30*time.Second, 1, 1)
	if got := w.run().Status.Metrics[0]; got.Measured != rounds+1 || got.Failed != 0 {
		t.Errorf("status %+v", got)
	}
}

func TestLostRaces(t *testing.T) {
	t.Run("to a stop: the answers came too late", func(t *testing.T) {
		w := newWorld(t)
		w.createRun(nil)
		w.onWrite = func() {
			w.onWrite = nil
			run := w.run()
			run.Spec.State = v1alpha1.RunStopped
			if err := w.Client.Update(t.Context(), run); err != nil {
				t.Error(err)
			}
		}
		w.reconcile("stopped meanwhile", 0, 2, 1)
		if s := w.run().Status; s.FinishedAt == nil || s.Metrics[0].Measured != 0 {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("to a label: judged again, asked once", func(t *testing.T) {
		w := newWorld(t)
		w.createRun(nil)
		w.onWrite = func() {
			w.onWrite = nil
			run := w.run()
			run.Labels = map[string]string{"a": "b"}
			if err := w.Client.Update(t.Context(), run); err != nil {
				t.Error(err)
			}
		}
		w.reconcile("labelled meanwhile", 30*time.Second, 2, 1)
		if s := w.run().Status; s.Metrics[0].Measured != 1 {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("to another reconciler: counted once", func(t *testing.T) {
		w := newWorld(t)
		w.createRun(nil)
		w.onWrite = func() {
			w.onWrite = nil
			run := w.run()
			run.Status = analysis.Judge(run, map[string]analysis.Outcome{"errors": {At: t0}}, t0)
			if err := w.Client.Status().Update(t.Context(), run); err != nil {
				t.Error(err)
			}
		}
		w.reconcile("measured meanwhile", 30*time.Second, 1, 1)
		if s := w.run().Status; s.Metrics[0].Measured != 1 {
			t.Errorf("status %+v", s)
		}
		w.wantEvents()
	})
}

func TestMetricsAreAskedAtOnceAndBounded(t *testing.T) {
	w := newWorld(t)
	var metrics []v1alpha1.Metric
	for i := range maxPerRound + 3 {
		metrics = append(metrics, metric(fmt.Sprintf("m%02d", i), fmt.Sprintf("q%02d", i)))
	}
	var together sync.WaitGroup // met only if all of a round are under way at once
	w.server.answer = func(context.Context, string) (float64, error) { together.Done(); together.Wait(); return 0, nil }
	w.createRun(func(r *v1alpha1.AnalysisRun) { r.Spec.Metrics = metrics })
	together.Add(maxPerRound)
	w.reconcile("first round", soonest, 1, maxPerRound)
	first := slices.Clone(w.server.asked)
	together.Add(3)
	w.reconcile("the rest", 30*time.Second, 1, 3)
	for _, q := range w.server.asked {
		if slices.Contains(first, q) {
			t.Errorf("%s was asked twice", q)
		}
	}
	if s := w.run().Status; s.Verdict != v1alpha1.VerdictPass || s.Message != fmt.Sprintf("all %d metrics are within bounds", len(metrics)) {
		t.Errorf("status %s: %s", s.Verdict, s.Message)
	}
}
