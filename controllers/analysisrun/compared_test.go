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
		for code, rate := range map[string]float64{"200": 10 * (1 - share), "500": 10 * share} {
			one := prometheus.Samples{Labels: map[string]string{"__name__": "requests_total", s.label: pod, "code": code, "job": "app", "instance": pod}}
			for at := until.Add(-span).Truncate(15 * time.Second).Add(15 * time.Second); !at.After(until); at = at.Add(15 * time.Second) {
				one.Points = append(one.Points, compare.Point{At: at, Value: float64(int(rate * at.Sub(t0.Add(-2*time.Hour)).Seconds()))})
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
