package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// verdictRate is the rate, in requests per second, at which verdicts are asked for: many users have no more.
const verdictRate = 100

// long is how long a comparison may take: two minutes for each step at the least.
const long = 12 * time.Minute

// A version that fails 5 % of its requests, which no threshold was set for, is halted.
func TestVerdictFivePercentWorse(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: verdictRate, change: compared})
	s.release("v2", stage.Release("v1", "v2", "0.05"))
	s.halted("5 % more errors", "errors")
}

func TestVerdictTwiceAsSlow(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: verdictRate, change: compared, edit: latency("5", "20")})
	s.release("v2", func(text string) string { return latency("20", "40")(stage.Release("v1", "v2", "")(text)) })
	s.halted("twice as slow", "latency")
}

func latency(from, to string) func(string) string {
	return env(`{name: LATENCY_MS, value: "`+from+`"}`, `{name: LATENCY_MS, value: "`+to+`"}`)
}

func env(from, to string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, from, to) }
}

// leaking compares what pods take: nobody has to know how much is normal.
const leaking = `  - name: memory
    compare:
      gauge: {series: 'process_resident_memory_bytes{namespace="{{namespace}}"}', onWorse: Halt}
`

func TestVerdictLeak(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: verdictRate, change: func(a *stage.App) { compared(a); a.Query += leaking }})
	s.release("v2", func(text string) string {
		return env(`{name: VERSION, value: v2}`, "{name: VERSION, value: v2}\n        - {name: LEAK_KIB, value: \"256\"}")(stage.Release("v1", "v2", "")(text))
	})
	// On a busy machine its garbage collector slows one request in a hundred before its memory is too much: that is the leak as well.
	s.halted("a leak of 256 KiB a request", "memory", "latency")
}

// A dependency that fails hits both versions: that is no reason to take one back, nor one to go on. Once it is over the version,
// which is as good as the other, is promoted.
func TestVerdictSharedBrownOut(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var broken atomic.Bool
	dependency := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%10 < 7 && broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(dependency.Close)
	s := newScene(t, plan{rate: verdictRate, change: compared,
		edit: env(`{name: ERROR_RATE, value: "0"}`, "{name: ERROR_RATE, value: \"0\"}\n        - {name: DEPENDENCY, value: \""+dependency.URL+"\"}")})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("the first step", at(2, 0))
	broken.Store(true)
	began := time.Now()
	held := s.await("stable to be known as broken", s.says("errors", v1alpha1.VerdictHold))
	s.stays(held.Rollout, 50)
	t.Logf("7 of 10 requests of both versions failed: held %s later: %s", time.Since(began).Round(time.Second), s.metric("errors").Message)
	broken.Store(false)
	s.awaitFor(long, "the version to be given all of the traffic", at(2, 1))
	t.Logf("once it had passed, all of the traffic was proven safe %s after it began", time.Since(began).Round(time.Second))
	s.plugin("promote", "--full", "--reason", "enough seen")
	s.promoted("a brown-out of both that passed")
	samples, err := s.load.Finish()
	s.must(err)
	s.answeredBy(samples, "v2")
	s.restored()
}

// Without requests there is no evidence, and without evidence neither a promotion nor a way back: a person is asked.
func TestVerdictNoTraffic(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: noTraffic, change: compared, edit: env("weight: 50, hold: 1s", "weight: 50, hold: 1s, maxHold: 45s")})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("the first step", at(2, 0))
	ro := s.await("the pause", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil && ro.Status.Attempt.Pause != nil }).Rollout
	s.stays(ro, 50)
	for _, m := range []string{"errors", "latency"} {
		if got := s.metric(m); got.Verdict != v1alpha1.VerdictPending {
			t.Errorf("without traffic metric %s says %s, want Pending: %s", m, got.Verdict, got.Message)
		}
	}
	t.Logf("no traffic at all: paused, %s", ro.Status.BlockedBy)
	s.plugin("abort", "--reason", "nobody uses it")
	s.awaitOutcome(2, v1alpha1.OutcomeAborted)
	s.restored()
}

func TestVerdictPrometheusStopped(t *testing.T) {
	t.Parallel()
	requireBed(t)
	own, err := bed.OwnPrometheus(t.Context(), fmt.Sprintf("prometheus-%x", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Stop() })
	s := newScene(t, plan{rate: verdictRate, change: func(a *stage.App) {
		compared(a)
		a.Query = env("{preset: http-server,", "{preset: http-server, providerErrorLimit: 1, prometheus: {address: "+own.URL+"},")(a.Query)
	}})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("the first requests to be compared", func(*v1alpha1.Rollout) bool { return s.counted("errors") > 0 })
	s.must(own.Stop())
	stopped := time.Now()
	held := s.await("the broken provider to be the reason", s.says("errors", v1alpha1.VerdictHold))
	s.stays(held.Rollout, 50)
	t.Logf("Prometheus stopped mid-rollout: held %s later: %s", time.Since(stopped).Round(time.Second), s.metric("errors").Message)
	s.must(own.Start(t.Context()))
	s.promoted("Prometheus away for " + time.Since(stopped).Round(time.Second).String())
	s.answeredBy(s.finish(""), "v2")
	s.restored()
}

// TestVerdictAfterRestart is not parallel: it kills the one Belay while two attempts are being judged.
func TestVerdictAfterRestart(t *testing.T) {
	good, bad := newScene(t, plan{rate: verdictRate, change: compared}), newScene(t, plan{rate: verdictRate, change: compared})
	good.release("v2", stage.Release("v1", "v2", ""))
	bad.release("v2", stage.Release("v1", "v2", "0.05"))
	for _, s := range []*scene{good, bad} {
		s.await("the first requests to be compared", func(*v1alpha1.Rollout) bool { return s.counted("errors") > 0 })
	}
	before := good.counted("errors")
	good.crash()
	bad.halted("5 % more errors, Belay killed meanwhile", "errors")
	good.promoted("as good, Belay killed meanwhile")
	if after := good.counted("errors"); after <= before {
		t.Errorf("%d requests of the canary were counted before Belay was killed, and %d in the end", before, after)
	}
	good.answeredBy(good.finish(""), "v2")
	good.restored()
}

// halted waits until attempt 2 has been taken back because of one of the metrics, and prints what it cost.
func (s *scene) halted(what string, metrics ...string) {
	s.t.Helper()
	state, err := s.timeline.Await(s.t.Context(), "the end of attempt 2", long, func(ro *v1alpha1.Rollout) bool { _, over := stage.Over(ro, 2); return over })
	s.must(err)
	ro := s.await("rest", stage.AtRest).Rollout
	if outcome, _ := stage.Over(state.Rollout, 2); outcome != v1alpha1.OutcomeRolledBack {
		s.t.Fatalf("%s: attempt 2 ended as %s, want RolledBack: %s", what, outcome, stage.Describe(ro))
	}
	h := ro.Status.History[0]
	if h.Reason != "AnalysisFailed" || !slices.Contains(metrics, h.Metric) {
		s.t.Errorf("%s: the attempt ended because of %s, metric %q (%s), want AnalysisFailed by %s", what, h.Reason, h.Metric, h.Message, strings.Join(metrics, " or "))
	}
	samples := s.finish("v2")
	own := samples.Of("v2")
	var exposed time.Duration
	if len(own) > 0 {
		exposed = own[len(own)-1].Sent.Sub(own[0].Sent)
	}
	s.t.Logf("%s: halted %s after the first request, which exposed %d requests, %d of them failed: %s", what, exposed.Round(time.Second), len(own), len(own.Failed()), h.Message)
	s.answeredBy(samples, "v1")
	s.restored()
}

// promoted waits until attempt 2 has been promoted, and prints how long it took.
func (s *scene) promoted(what string) {
	s.t.Helper()
	state, err := s.timeline.Await(s.t.Context(), "the end of attempt 2", long, func(ro *v1alpha1.Rollout) bool { _, over := stage.Over(ro, 2); return over })
	s.must(err)
	if outcome, _ := stage.Over(state.Rollout, 2); outcome != v1alpha1.OutcomePromoted {
		s.t.Fatalf("%s: attempt 2 ended as %s, want Promoted: %s", what, outcome, stage.Describe(state.Rollout))
	}
	h := state.Rollout.Status.History[0]
	s.t.Logf("%s: promoted %s after it began", what, h.EndedAt.Sub(h.StartedAt.Time))
	s.await("rest", stage.AtRest)
}

// stays fails the test unless attempt 2 is under way at a weight, neither taken back nor promoted.
func (s *scene) stays(ro *v1alpha1.Rollout, weight int32) {
	s.t.Helper()
	if a := ro.Status.Attempt; a == nil || a.Number != 2 || a.Verdict != nil || a.Weight != weight || a.Step != 0 {
		s.t.Errorf("attempt 2 is to wait at step 0 and weight %d: %s", weight, stage.Describe(ro))
	}
}

// metric is what the run of attempt 2 says of one of its metrics.
func (s *scene) metric(metric string) v1alpha1.MetricStatus {
	run := s.timeline.Run(name + "-2")
	if run == nil {
		return v1alpha1.MetricStatus{}
	}
	for _, m := range run.Status.Metrics {
		if m.Name == metric {
			return m
		}
	}
	return v1alpha1.MetricStatus{}
}

func (s *scene) says(metric string, verdict v1alpha1.RunVerdict) func(*v1alpha1.Rollout) bool {
	return func(*v1alpha1.Rollout) bool { return s.metric(metric).Verdict == verdict }
}

// counted is how many requests of the canary have been compared.
func (s *scene) counted(metric string) int64 {
	return cmp.Or(s.metric(metric).Comparison, &v1alpha1.Comparison{}).CanaryRequests
}
