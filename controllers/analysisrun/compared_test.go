package analysisrun

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// service is what a Prometheus would have scraped: pods that count requests since two hours ago, every 15 seconds.
type service struct {
	pods map[string]float64 // bad share by pod
	down error
	// label of the pod's name.
	label string
	asked []string
	// since is when a pod began to count; two hours ago where it is left out.
	since map[string]time.Time
	// levels of a gauge by pod, at a time.
	levels func(pod string, at time.Time) float64
}

// Samples implements prometheus.Sampler for the two counters of the test.
func (s *service) Samples(_ context.Context, selector string, until time.Time, span time.Duration) ([]prometheus.Samples, error) {
	s.asked = append(s.asked, fmt.Sprintf("%s[%s] @ %s", selector, span, until.Sub(t0)))
	if s.down != nil {
		return nil, s.down
	}
	arm := regexp.MustCompile("^(?:" + regexp.MustCompile(s.label + `=~"([^"]*)"`).FindStringSubmatch(selector)[1] + ")$")
	var out []prometheus.Samples
	for pod, share := range s.pods {
		if !arm.MatchString(pod) {
			continue
		}
		if strings.HasPrefix(selector, "memory_bytes") {
			one := prometheus.Samples{Labels: map[string]string{"__name__": "memory_bytes", s.label: pod, "job": "app", "instance": pod}}
			for at := until.Add(-span).Truncate(15 * time.Second).Add(15 * time.Second); !at.After(until); at = at.Add(15 * time.Second) {
				one.Points = append(one.Points, compare.Point{At: at, Value: s.levels(pod, at)})
			}
			out = append(out, one)
			continue
		}
		for code, rate := range map[string]float64{"200": 10 * (1 - share), "500": 10 * share} {
			one := prometheus.Samples{Labels: map[string]string{"__name__": "requests_total", s.label: pod, "code": code, "job": "app", "instance": pod}}
			since, young := s.since[pod]
			if !young {
				since = t0.Add(-2 * time.Hour)
			}
			for at := until.Add(-span).Truncate(15 * time.Second).Add(15 * time.Second); !at.After(until); at = at.Add(15 * time.Second) {
				if at.After(since) {
					one.Points = append(one.Points, compare.Point{At: at, Value: float64(int(rate * at.Sub(since).Seconds()))})
				}
			}
			out = append(out, one)
		}
	}
	return out, nil
}

type sampling struct {
	fakeQuerier
	*service
}

func (w *world) serve(s *service) {
	w.r.NewQuerier = func(cfg prometheus.Config) (prometheus.Querier, error) {
		return sampling{fakeQuerier{server: w.server, cfg: cfg}, s}, nil
	}
}

func compared(change func(*v1alpha1.Compare)) v1alpha1.Metric {
	m := v1alpha1.Metric{Name: "errors", Compare: &v1alpha1.Compare{Errors: &v1alpha1.CompareErrors{
		Total: `requests_total`, Bad: `requests_total{code=~"5.."}`}}}
	if change != nil {
		change(m.Compare)
	}
	return m
}

// rollout is a run that compares two stable pods with one canary pod.
func (w *world) rollout(s *service, change func(*v1alpha1.Compare)) {
	w.t.Helper()
	for name, revision := range map[string]string{"stable-1": "a", "stable-2": "a", "canary-1": "b"} {
		w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelRevision: revision}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}})
	}
	s.label = "pod"
	if s.pods == nil {
		s.pods = map[string]float64{"stable-1": 0.01, "stable-2": 0.01, "canary-1": 0.01}
	}
	w.serve(s)
	w.createRun(func(run *v1alpha1.AnalysisRun) {
		run.Spec.Metrics = []v1alpha1.Metric{compared(change)}
		run.Spec.Arms = &v1alpha1.Arms{Rollout: "shop", CanaryRevision: "b", StableRevision: "a", CanaryService: "shop-canary", StableService: "shop"}
	})
	w.look()
}

func (w *world) look() {
	w.t.Helper()
	if _, err := w.r.Reconcile(w.t.Context(), w.request()); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time pass, and looks every five seconds.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for end := w.clock.Now().Add(d); w.clock.Now().Before(end); {
		w.stepClock(5 * time.Second)
		w.look()
	}
}

func (w *world) step(since time.Time, weight, next int32) {
	w.t.Helper()
	run := w.run()
	run.Spec.Steps = append(run.Spec.Steps, v1alpha1.RunStep{Since: metav1.NewTime(since), Weight: weight, NextWeight: next, TotalWeight: 100})
	if err := w.Client.Update(w.t.Context(), run); err != nil {
		w.t.Fatal(err)
	}
}

func TestCompareProvesEachStep(t *testing.T) {
	w, s := newWorld(t), &service{}
	w.rollout(s, nil)
	w.step(t0, 10, 50)
	w.pass(time.Minute)
	m := w.run().Status.Metrics[0]
	if m.Verdict != v1alpha1.VerdictPending || m.LastPassedAt != nil {
		t.Fatalf("before it was there long enough: %+v", m)
	}
	w.pass(3 * time.Minute)
	m = w.run().Status.Metrics[0]
	if m.Verdict != v1alpha1.VerdictPass || m.LastPassedAt == nil || !strings.Contains(m.Message, "an excess of 1 % is ruled out") {
		t.Fatalf("as good as stable: %+v", m)
	}
	first, at := *m.LastPassedAt, w.clock.Now()
	w.step(at, 50, 100)
	w.pass(30 * time.Second)
	if m = w.run().Status.Metrics[0]; m.Verdict != v1alpha1.VerdictPending || !m.LastPassedAt.Equal(&first) {
		t.Fatalf("a step that just began: %+v", m)
	}
	w.pass(6 * time.Minute)
	if m = w.run().Status.Metrics[0]; m.Verdict != v1alpha1.VerdictPass || !m.LastPassedAt.After(at.Add(2*time.Minute)) {
		t.Fatalf("the second step: %+v", m)
	}
	if c := m.Comparison; c == nil || c.CanaryRequests < 4000 || c.StableRequests < 8000 || c.CanaryBad < 40 || c.Dispersion == "" {
		t.Errorf("comparison: %+v", c)
	}
}

func TestCompareHaltsAndSaysWhy(t *testing.T) {
	w, s := newWorld(t), &service{pods: map[string]float64{"stable-1": 0.01, "stable-2": 0.01, "canary-1": 0.2}}
	w.rollout(s, nil)
	w.step(t0, 10, 50)
	w.pass(2 * time.Minute)
	run := w.run()
	m := run.Status.Metrics[0]
	if run.Status.Verdict != v1alpha1.VerdictFail || !strings.Contains(m.Message, "times its share") || run.Status.FinishedAt == nil {
		t.Fatalf("a canary with 20 %% errors: %s, %+v", run.Status.Verdict, m)
	}
	if took := m.Recent[0].At.Sub(t0); took > 75*time.Second {
		t.Errorf("halted after %s", took)
	}
	s.asked = nil
	w.pass(time.Minute)
	if len(s.asked) > 0 {
		t.Errorf("a run that ended is measured: %q", s.asked)
	}
}

// No write per scrape: a verdict that stays the same is written once a minute. And one query for both arms and both counters.
func TestCompareIsThrottled(t *testing.T) {
	w, s := newWorld(t), &service{}
	w.rollout(s, nil)
	w.pass(time.Minute)
	w.writes, s.asked = nil, nil
	w.pass(10 * time.Minute)
	if n := len(w.writes); n > 11 {
		t.Errorf("%d writes in ten minutes: %q", n, w.writes)
	}
	if n := len(w.run().Status.Metrics[0].History); n < 8 || n > 60 {
		t.Errorf("%d points of history after eleven minutes", n)
	}
	if n := len(s.asked); n < 39 || n > 41 {
		t.Errorf("%d queries in ten minutes, want one for each block of 15 s: %q", n, s.asked[:min(3, n)])
	}
}

// A restart loses no evidence, and changes not a bit of what is concluded.
func TestCompareAfterRestart(t *testing.T) {
	verdict := func(restarts bool) v1alpha1.AnalysisRunStatus {
		w, s := newWorld(t), &service{pods: map[string]float64{"stable-1": 0.01, "stable-2": 0.012, "canary-1": 0.02}}
		w.rollout(s, nil)
		w.step(t0, 10, 50)
		for range 8 {
			w.pass(time.Minute)
			if restarts {
				w.restart()
				w.serve(s)
			}
		}
		return w.run().Status
	}
	plain, restarted := verdict(false), verdict(true)
	for _, status := range []*v1alpha1.AnalysisRunStatus{&plain, &restarted} {
		status.Conditions = nil
	}
	if diff := cmp.Diff(plain.Metrics[0].Comparison, restarted.Metrics[0].Comparison); diff != "" {
		t.Error(diff)
	}
	if plain.Verdict != restarted.Verdict || plain.Metrics[0].Message != restarted.Metrics[0].Message {
		t.Errorf("%s %s; after restarts %s %s", plain.Verdict, plain.Metrics[0].Message, restarted.Verdict, restarted.Metrics[0].Message)
	}
}

// Pods that are gone count also after a restart of the controller: a canary pod that failed was evicted, another one is there.
func TestCompareCountsPodsThatAreGone(t *testing.T) {
	verdict := func(restarts bool) v1alpha1.AnalysisRunStatus {
		w, s := newWorld(t), &service{pods: map[string]float64{"stable-1": 0.01, "stable-2": 0.012, "canary-1": 0.04, "canary-2": 0.01}}
		w.rollout(s, nil)
		w.step(t0, 10, 50)
		w.pass(90 * time.Second)
		if err := w.Client.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "canary-1"}}, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
		s.since = map[string]time.Time{"canary-2": w.clock.Now()}
		w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "canary-2", Labels: map[string]string{v1alpha1.LabelRevision: "b"}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}})
		w.pass(30 * time.Second)
		for range 3 {
			if restarts {
				w.restart()
				w.serve(s)
			}
			w.pass(30 * time.Second)
		}
		return w.run().Status
	}
	plain, restarted := verdict(false), verdict(true)
	if diff := cmp.Diff(plain.Metrics[0].Comparison, restarted.Metrics[0].Comparison); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(plain.Metrics[0].History, restarted.Metrics[0].History); diff != "" {
		t.Error(diff)
	}
	if plain.Verdict != restarted.Verdict || plain.Metrics[0].Message != restarted.Metrics[0].Message {
		t.Errorf("%s %s; after restarts %s %s", plain.Verdict, plain.Metrics[0].Message, restarted.Verdict, restarted.Metrics[0].Message)
	}
	if n := restarted.Metrics[0].Comparison.CanaryBad; n < 30 {
		t.Errorf("%d bad canary requests: those of the pod that is gone are missing", n)
	}
	gone := 0
	for _, p := range restarted.Pods {
		if p.GoneAt != nil {
			gone++
		}
	}
	if len(restarted.Pods) != 4 || gone != 1 {
		t.Errorf("pods: %+v", restarted.Pods)
	}
}

// A canary whose containers run out of memory again and again is halted by what the API server knows of its pods, without any
// metrics; a restart of the controller forgets none of it.
func TestCompareRestarts(t *testing.T) {
	w := newWorld(t)
	began := time.Now().Add(2 * time.Second).Truncate(time.Second)
	w.clock.SetTime(began)
	w.rollout(&service{}, func(c *v1alpha1.Compare) {
		*c = v1alpha1.Compare{Restarts: &v1alpha1.CompareRestarts{Reason: v1alpha1.RestartOOMKilled}}
	})
	w.step(began, 10, 50)
	for n := int32(1); n <= 8 && w.run().Status.FinishedAt == nil; n++ {
		w.pass(75 * time.Second)
		if n == 3 {
			w.restart()
		}
		pod := &corev1.Pod{}
		if err := w.Client.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: "canary-1"}, pod); err != nil {
			t.Fatal(err)
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", Image: "app", ImageID: "x", RestartCount: n, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", FinishedAt: metav1.NewTime(w.clock.Now())}}}}
		if err := w.Client.Status().Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		w.pass(30 * time.Second)
	}
	run := w.run()
	if m := run.Status.Metrics[0]; run.Status.Verdict != v1alpha1.VerdictFail || !strings.Contains(m.Message, "containers of canary pods restarted") || m.Comparison.State != v1alpha1.StateHalt {
		t.Fatalf("a canary that runs out of memory: %s, %+v", run.Status.Verdict, m)
	}
	for _, p := range run.Status.Pods {
		if p.Arm == v1alpha1.ArmCanary && (len(p.Restarts) < 3 || p.Restarts[0].Reason != "OOMKilled") || p.Arm == v1alpha1.ArmStable && len(p.Restarts) > 0 {
			t.Errorf("%+v", p)
		}
	}
}

// A version that leaks: its memory grows past the margin. A gauge advises, and halts where it is told to.
func TestCompareGauge(t *testing.T) {
	for consequence, want := range map[v1alpha1.GaugeConsequence]v1alpha1.RunVerdict{v1alpha1.GaugeAdvise: v1alpha1.VerdictPass, v1alpha1.GaugeHalt: v1alpha1.VerdictFail} {
		w, began := newWorld(t), time.Now().Add(2*time.Second).Truncate(time.Second)
		s := &service{pods: map[string]float64{"stable-1": 0, "stable-2": 0, "canary-1": 0}, levels: func(pod string, at time.Time) float64 {
			if pod != "canary-1" {
				return 1e8 + float64(at.Unix()%60)*1e4
			}
			return 1e8 * (1 + 0.08*max(0, at.Sub(began).Minutes()))
		}}
		w.clock.SetTime(began)
		w.rollout(s, func(c *v1alpha1.Compare) {
			*c = v1alpha1.Compare{Gauge: &v1alpha1.CompareGauge{Series: "memory_bytes", OnWorse: consequence}}
		})
		w.step(began, 10, 50)
		for minute := 0; minute < 20 && w.run().Status.FinishedAt == nil; minute++ {
			w.pass(time.Minute)
		}
		run := w.run()
		m := run.Status.Metrics[0]
		if consequence == v1alpha1.GaugeHalt && (run.Status.Verdict != want || !strings.Contains(m.Message, "times as much")) {
			t.Errorf("%s: %s, %+v", consequence, run.Status.Verdict, m)
		}
		if consequence == v1alpha1.GaugeAdvise && (run.Status.Verdict == v1alpha1.VerdictFail || m.Mode != v1alpha1.MetricDryRun || m.Comparison.CanaryMean == "") {
			t.Errorf("%s: %s, %+v", consequence, run.Status.Verdict, m)
		}
	}
}

// A provider that is down counts neither for nor against; what it has when it is back is evidence.
func TestCompareWithoutProvider(t *testing.T) {
	w, s := newWorld(t), &service{}
	w.rollout(s, nil)
	w.step(t0, 10, 50)
	s.down = errors.New("connection refused")
	w.pass(4 * time.Minute)
	if run := w.run(); run.Status.Verdict != v1alpha1.VerdictHold || !strings.Contains(run.Status.Message, "connection refused") {
		t.Fatalf("a provider that is down: %s %s", run.Status.Verdict, run.Status.Message)
	}
	s.down = nil
	w.pass(30 * time.Second)
	if run := w.run(); run.Status.Verdict != v1alpha1.VerdictPass {
		t.Fatalf("four minutes of samples were there: %s %s", run.Status.Verdict, run.Status.Message)
	}
}

func TestCompareWithoutTraffic(t *testing.T) {
	w, s := newWorld(t), &service{pods: map[string]float64{}}
	w.rollout(s, nil)
	w.step(t0, 10, 50)
	w.pass(20 * time.Minute)
	if run := w.run(); run.Status.Verdict != v1alpha1.VerdictPending {
		t.Fatalf("no traffic: %s %s", run.Status.Verdict, run.Status.Message)
	}
}

// Arms by a label of the gateway's series, whose values are told by expressions.
func TestCompareByBackend(t *testing.T) {
	w := newWorld(t)
	s := &service{pods: map[string]float64{w.Namespace + "-shop-8080": 0.01, w.Namespace + "-shop-canary-8080": 0.3, "other-shop-8080": 0.9}}
	w.rollout(s, func(c *v1alpha1.Compare) {
		c.Arms = &v1alpha1.CompareArms{Label: "service", Canary: "{{namespace}}-{{canary.service}}-[0-9]+", Stable: "{{namespace}}-{{stable.service}}-[0-9]+"}
		s.label = "service"
	})
	s.label = "service"
	w.step(t0, 10, 50)
	w.pass(2 * time.Minute)
	m := w.run().Status.Metrics[0]
	if m.Verdict != v1alpha1.VerdictFail || m.Comparison.CanaryRequests > m.Comparison.StableRequests*11/10 {
		t.Fatalf("%s %+v", m.Message, m.Comparison)
	}
}

func TestCompareRefusesWhatIsNoSelector(t *testing.T) {
	w, s := newWorld(t), &service{}
	w.rollout(s, func(c *v1alpha1.Compare) { c.Errors.Bad = `rate(requests_total{code=~"5.."}[1m])` })
	w.pass(30 * time.Second)
	run := w.run()
	if c := v1alpha1.FindCondition(run.Status.Conditions, v1alpha1.ConditionStalled); c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "compare.errors.bad") {
		t.Errorf("%+v", c)
	}
}

// TestTrafficBeforeTheRun is written with the first verdict, and stands.
func TestTrafficBeforeTheRun(t *testing.T) {
	w, s := newWorld(t), &service{}
	w.rollout(s, nil)
	w.step(t0, 10, 50)
	w.pass(time.Minute)
	got := w.run().Status.Traffic
	if got == nil || got.RequestsPerSecond != "20" || got.BadRatio != "0.01" {
		t.Fatalf("traffic %+v, want 20 requests per second, 0.01 of them bad", got)
	}
	w.restart()
	w.serve(s)
	w.pass(time.Minute)
	if again := w.run().Status.Traffic; *again != *got {
		t.Errorf("traffic %+v after a restart, want %+v", again, got)
	}
}

// Runs that look within the same five seconds ask for the same span of time, so that they can share the answer.
func TestCompareAsksAtCommonTimes(t *testing.T) {
	w, s := newWorld(t), &service{}
	w.stepClock(2 * time.Second)
	w.rollout(s, nil)
	s.asked = nil
	w.pass(2 * time.Minute)
	if len(s.asked) < 6 {
		t.Fatalf("asked %q", s.asked)
	}
	for _, question := range s.asked {
		_, at, _ := strings.Cut(question, " @ ")
		if d, err := time.ParseDuration(at); err != nil || d%(5*time.Second) != 0 {
			t.Errorf("asked %q", question)
		}
	}
}
