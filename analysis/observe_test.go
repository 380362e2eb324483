package analysis

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// outcomes writes a sequence of outcomes as text: g(ood) b(ad) n(o data) N(aN) e(rror).
func outcomes(t *testing.T, script string) []Outcome {
	t.Helper()
	var all []Outcome
	for i, c := range script {
		o := Outcome{At: t0.Add(time.Duration(i) * 30 * time.Second)}
		switch c {
		case 'g':
			o.Value = 0.005
		case 'b':
			o.Value = 0.062
		case 'n':
			o.NoData = true
		case 'N':
			o.Value = math.NaN()
		case 'e':
			o.Err = errors.New("connection refused")
		default:
			t.Fatalf("unknown outcome %q", c)
		}
		all = append(all, o)
	}
	return all
}

func observeAll(m v1alpha1.Metric, all []Outcome) v1alpha1.MetricStatus {
	s := statusOf(v1alpha1.AnalysisRunStatus{}, m)
	for _, o := range all {
		s = Observe(s, m, o)
	}
	return s
}

func errorsMetric(change func(*v1alpha1.Metric)) v1alpha1.Metric {
	m := metric("errors", "q")
	if change != nil {
		change(&m)
	}
	return m
}

func TestVerdictsOfAMetric(t *testing.T) {
	type change = func(*v1alpha1.Metric)
	failures := func(n int32) change { return func(m *v1alpha1.Metric) { m.Threshold.FailureLimit = &n } }
	inARow := func(n int32) change { return func(m *v1alpha1.Metric) { m.Threshold.ConsecutiveFailureLimit = n } }
	upTo := func(n int32) change { return func(m *v1alpha1.Metric) { m.Threshold.Count = n } }
	onError := func(limit int32, what v1alpha1.OnProviderError) change {
		return func(m *v1alpha1.Metric) { m.Threshold.ProviderErrorLimit, m.OnProviderError = &limit, what }
	}
	noData := func(what v1alpha1.OnNoData) change { return func(m *v1alpha1.Metric) { m.OnNoData = what } }
	both := func(a, b change) change { return func(m *v1alpha1.Metric) { a(m); b(m) } }
	for _, tc := range []struct {
		name    string
		change  change
		script  string
		verdict v1alpha1.RunVerdict
		message string
	}{
		{"nothing yet", nil, "", "Pending", "metric errors: not measured yet"},
		{"one good", nil, "g", "Pass", "metric errors: 0.005 is within max 0.01"},
		{"one bad, no limit set", nil, "b", "Fail", "metric errors: 0.062 is above max 0.01 (1 of 1 measurement failed, limit 0)"},
		{"third bad", nil, "ggb", "Fail", "metric errors: 0.062 is above max 0.01 (1 of 3 measurements failed, limit 0)"},
		{"fail is final", nil, "bgggne", "Fail", "metric errors: 0.062 is above max 0.01 (1 of 1 measurement failed, limit 0)"},
		{"bad, borne", failures(1), "gb", "Pending", "metric errors: 0.062 is above max 0.01 (1 of 2 measurements failed, limit 1)"},
		{"good after bad", failures(1), "gbg", "Pass", "metric errors: 0.005 is within max 0.01"},
		{"one too many", failures(1), "gbgb", "Fail", "metric errors: 0.062 is above max 0.01 (2 of 4 measurements failed, limit 1)"},
		{"in a row: one", inARow(2), "gb", "Pending", "metric errors: 0.062 is above max 0.01 (1 failed in a row, the metric fails at 2)"},
		{"in a row: many, apart", inARow(2), "bgbgbgbg", "Pass", "metric errors: 0.005 is within max 0.01"},
		{"in a row: reached", inARow(2), "gbb", "Fail", "metric errors: 0.062 is above max 0.01 (2 failed in a row, the metric fails at 2)"},
		{"in a row: no data between does not part them", inARow(2), "bnb", "Fail", ""},
		{"in a row: errors between do not part them", inARow(2), "beb", "Fail", ""},
		{"both limits, set to 0", both(failures(0), inARow(3)), "b", "Fail", "metric errors: 0.062 is above max 0.01 (1 of 1 measurement failed, limit 0; 1 failed in a row, the metric fails at 3)"},
		{"both limits", both(failures(2), inARow(3)), "bgbgb", "Fail", ""},
		{"count: not yet", upTo(3), "gg", "Pending", "metric errors: 0.005 is within max 0.01 (2 of 3 good measurements)"},
		{"count: reached, final", both(upTo(3), failures(1)), "ggbgbbb", "Pass", "metric errors: 0.005 is within max 0.01 (3 of 3 good measurements)"},
		{"no data waits", nil, "nN", "Pending", "metric errors: no data, which counts neither for nor against (2 of 2 answers); it is measured again"},
		{"no data after good", nil, "gn", "Pass", "metric errors: no data, which counts neither for nor against (1 of 2 answers); it is measured again"},
		{"no data after bad", failures(1), "bn", "Pending", ""},
		{"no data passes", noData(v1alpha1.NoDataPass), "nN", "Pass", "metric errors: no data, which onNoData counts as passed"},
		{"no data fails", noData(v1alpha1.NoDataFail), "gN", "Fail", "metric errors: no data, which onNoData counts as failed (1 of 2 measurements failed, limit 0)"},
		{"errors, borne", nil, "eeee", "Pending", "metric errors: could not be measured 4 times in a row, limit 4: connection refused"},
		{"errors, borne after good", nil, "geeee", "Pass", ""},
		{"errors: hold", nil, "geeeee", "Hold", "metric errors: could not be measured 5 times in a row, limit 4; no step forward until it answers: connection refused"},
		{"errors: pause", onError(1, v1alpha1.ProviderErrorPause), "ee", "Pause", "metric errors: could not be measured 2 times in a row, limit 1, and onProviderError is Pause: connection refused"},
		{"errors: rollback", onError(0, v1alpha1.ProviderErrorRollback), "e", "Fail", "metric errors: could not be measured 1 time in a row, limit 0, and onProviderError is Rollback: connection refused"},
		{"errors: rollback is final", onError(0, v1alpha1.ProviderErrorRollback), "egggg", "Fail", ""},
		{"errors: an answer ends the hold", onError(0, v1alpha1.ProviderErrorHold), "geg", "Pass", ""},
		{"errors: no data is an answer", onError(0, v1alpha1.ProviderErrorHold), "en", "Pending", ""},
		{"errors: counted in a row only", onError(1, v1alpha1.ProviderErrorHold), "egege", "Pass", ""},
		{"dry run", func(m *v1alpha1.Metric) { m.Mode = v1alpha1.MetricDryRun }, "b", "Fail", "metric errors (dry run): 0.062 is above max 0.01 (1 of 1 measurement failed, limit 0)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := observeAll(errorsMetric(tc.change), outcomes(t, tc.script))
			if got.Verdict != tc.verdict {
				t.Errorf("verdict %s, want %s (%s)", got.Verdict, tc.verdict, got.Message)
			}
			if tc.message != "" && got.Message != tc.message {
				t.Errorf("message %q\n   want %q", got.Message, tc.message)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	inf := math.Inf(1)
	for _, tc := range []struct {
		name     string
		min, max *string
		value    float64
		result   string
		message  string
	}{
		{"at max", nil, ptr("0.01"), 0.01, ResultPassed, "0.01 is within max 0.01"},
		{"a hair above max", nil, ptr("0.01"), 0.010000000001, ResultFailed, "0.010000000001 is above max 0.01"},
		{"at min", ptr("-1"), nil, -1, ResultPassed, "-1 is within min -1"},
		{"below min", ptr("99.5"), nil, 12.34567, ResultFailed, "12.35 is below min 99.5"},
		{"between", ptr("1"), ptr("2e0"), 1.5, ResultPassed, "1.5 is within min 1 and max 2e0"},
		{"+Inf above max", nil, ptr("1"), inf, ResultFailed, "+Inf is above max 1"},
		{"+Inf with min only", ptr("1"), nil, inf, ResultPassed, "+Inf is within min 1"},
		{"-Inf below min", ptr("1"), nil, -inf, ResultFailed, "-Inf is below min 1"},
		{"bound beyond float64", nil, ptr("1e999"), 1, ResultError, `threshold.max "1e999" is not a finite number`},
		{"bound that is no number", ptr("x"), nil, 1, ResultError, `threshold.min "x" is not a finite number`},
		{"no bound", nil, nil, 1, ResultError, "neither min nor max"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := metric("m", "q")
			m.Threshold.Min, m.Threshold.Max = tc.min, tc.max
			s := Observe(v1alpha1.MetricStatus{}, m, Outcome{At: t0, Value: tc.value})
			if s.Recent[0].Result != tc.result || !strings.Contains(s.Message, tc.message) {
				t.Errorf("%s: %s, want %s with %q", s.Recent[0].Result, s.Message, tc.result, tc.message)
			}
		})
	}
}

func TestStatusOfAMetric(t *testing.T) {
	m := errorsMetric(func(m *v1alpha1.Metric) { m.Threshold.FailureLimit = ptr(int32(5)) })
	got := observeAll(m, outcomes(t, "gbneg"))
	at := func(i int) metav1.Time { return metav1.NewTime(t0.Add(time.Duration(i) * 30 * time.Second)) }
	want := v1alpha1.MetricStatus{
		Name: "errors", Mode: v1alpha1.MetricEnforce, Verdict: v1alpha1.VerdictPass, Message: "metric errors: 0.005 is within max 0.01",
		Measured: 3, Passed: 2, Failed: 1, NoData: 1, ProviderErrors: 1, LastPassedAt: ptr(at(4)), NextAt: ptr(at(5)),
		Recent: []v1alpha1.Measurement{
			{At: at(4), Value: "0.005", Result: ResultPassed},
			{At: at(3), Result: ResultError, Message: "connection refused"},
			{At: at(2), Result: ResultNoData},
			{At: at(1), Value: "0.062", Result: ResultFailed},
			{At: at(0), Value: "0.005", Result: ResultPassed},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTimesOfMeasurements(t *testing.T) {
	ms := time.Millisecond
	for _, tc := range []struct {
		name     string
		interval v1alpha1.Duration
		errors   int32 // in a row, before
		fail     bool
		sent     time.Duration
		took     time.Duration
		taken    time.Duration
		next     time.Duration
	}{
		{name: "rounded down", interval: "30s", sent: 900 * ms, taken: 0, next: 31 * time.Second},
		{name: "no drift", interval: "30s", sent: 41 * time.Second, taken: 41 * time.Second, next: 71 * time.Second},
		{name: "little lateness does not add up", interval: "1s", sent: 1100 * ms, taken: time.Second, next: 2 * time.Second},
		{name: "a slow answer does not delay the next", interval: "30s", took: 8 * time.Second, next: 30 * time.Second},
		{name: "default interval", sent: 0, next: 30 * time.Second},
		{name: "first error", interval: "5m", fail: true, next: 10 * time.Second},
		{name: "first error, after its timeout", interval: "5m", fail: true, took: 10 * time.Second, next: 20 * time.Second},
		{name: "second error", interval: "5m", errors: 1, fail: true, next: 20 * time.Second},
		{name: "fifth error", interval: "5m", errors: 4, fail: true, next: 160 * time.Second},
		{name: "sixth error", interval: "5m", errors: 5, fail: true, next: 5 * time.Minute},
		{name: "very many errors", interval: "5m", errors: math.MaxInt32 - 1, fail: true, next: 5 * time.Minute},
		{name: "short interval, first error", interval: "1s", fail: true, next: time.Second},
		{name: "short interval, many errors", interval: "1s", errors: 9, fail: true, next: 10 * time.Second},
		{name: "an answer after errors", interval: "5m", errors: 5, next: 5 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := metric("m", "q")
			m.Threshold.Interval = tc.interval
			o := Outcome{At: t0.Add(tc.sent), Done: t0.Add(tc.sent + tc.took)}
			if tc.fail {
				o.Err = errors.New("down")
			}
			s := Observe(v1alpha1.MetricStatus{ConsecutiveErrors: tc.errors}, m, o)
			if got := s.Recent[0].At.Sub(t0); got != tc.taken {
				t.Errorf("taken at %s, want %s", got, tc.taken)
			}
			if got := s.NextAt.Sub(t0); got != tc.next {
				t.Errorf("next at %s, want %s", got, tc.next)
			}
			if !tc.fail && (s.LastPassedAt == nil || s.LastPassedAt.After(o.At)) {
				t.Errorf("last passed at %v, newer than the query (%s)", s.LastPassedAt, o.At)
			}
		})
	}
}

func TestDue(t *testing.T) {
	m := metric("m", "q")
	next := metav1.NewTime(t0.Add(10 * time.Second))
	for _, tc := range []struct {
		name   string
		status v1alpha1.MetricStatus
		now    time.Time
		due    bool
		next   time.Time
	}{
		{"never measured", v1alpha1.MetricStatus{}, t0, true, t0},
		{"early", v1alpha1.MetricStatus{NextAt: &next}, t0.Add(9 * time.Second), false, next.Time},
		{"on time", v1alpha1.MetricStatus{NextAt: &next}, next.Time, true, next.Time},
		{"late", v1alpha1.MetricStatus{NextAt: &next}, t0.Add(time.Hour), true, next.Time},
		{"clock set back", v1alpha1.MetricStatus{NextAt: &next}, t0.Add(-time.Hour), true, next.Time},
		{"failed", v1alpha1.MetricStatus{NextAt: &next, Verdict: v1alpha1.VerdictFail}, next.Time, false, time.Time{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			due, next := Due(tc.status, m, tc.now)
			if due != tc.due || !next.Equal(tc.next) {
				t.Errorf("due %t at %s, want %t at %s", due, next, tc.due, tc.next)
			}
		})
	}
}

func drawMetric(t *rapid.T) v1alpha1.Metric {
	m := metric("m", "q")
	m.Threshold.Interval = rapid.SampledFrom([]v1alpha1.Duration{"", "1s", "30s", "5m"}).Draw(t, "interval")
	m.Threshold.Count = rapid.Int32Range(0, 4).Draw(t, "count")
	m.Threshold.FailureLimit = rapid.Ptr(rapid.Int32Range(0, 3), true).Draw(t, "failureLimit")
	m.Threshold.ConsecutiveFailureLimit = rapid.Int32Range(0, 3).Draw(t, "consecutive")
	m.Threshold.ProviderErrorLimit = rapid.Ptr(rapid.Int32Range(0, 3), true).Draw(t, "errorLimit")
	m.OnNoData = rapid.SampledFrom([]v1alpha1.OnNoData{"", v1alpha1.NoDataWait, v1alpha1.NoDataPass, v1alpha1.NoDataFail}).Draw(t, "onNoData")
	m.OnProviderError = rapid.SampledFrom([]v1alpha1.OnProviderError{"", v1alpha1.ProviderErrorHold, v1alpha1.ProviderErrorPause, v1alpha1.ProviderErrorRollback}).Draw(t, "onError")
	return m
}

func drawOutcome(t *rapid.T, at time.Time) Outcome {
	o := Outcome{At: at, Done: at.Add(time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "took")))}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		o.Value = rapid.SampledFrom([]float64{0, 0.01, 0.02, math.Inf(1), math.Inf(-1)}).Draw(t, "value")
	case 1:
		o.NoData = true
	case 2:
		o.Value = math.NaN()
	default:
		o.Err = errors.New(rapid.String().Draw(t, "error"))
	}
	return o
}

// After every step of any sequence: Fail is final, no data under Wait and errors leave the counters of evidence alone,
// the counters add up, times are in order, sizes are bounded, and the verdict is no better than the evidence.
func TestObserveProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMetric(t)
		s, at := statusOf(v1alpha1.AnalysisRunStatus{}, m), t0
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "gap")))
			o := drawOutcome(t, at)
			before := s.DeepCopy()
			s = Observe(s, m, o)
			checkStep(t, m, *before, s, o)
		}
	})
}

func checkStep(t *rapid.T, m v1alpha1.Metric, before, after v1alpha1.MetricStatus, o Outcome) {
	if Done(before, m) {
		if d := cmp.Diff(before, after); d != "" {
			t.Fatalf("a metric that is done changed: %s", d)
		}
		return
	}
	noValue := o.NoData || math.IsNaN(o.Value)
	if o.Err != nil || noValue && m.OnNoData != v1alpha1.NoDataPass && m.OnNoData != v1alpha1.NoDataFail {
		evidence := func(s v1alpha1.MetricStatus) []any {
			return []any{s.Measured, s.Passed, s.Failed, s.ConsecutiveFailed, s.LastPassedAt}
		}
		if d := cmp.Diff(evidence(before), evidence(after)); d != "" {
			t.Fatalf("no evidence was counted as some: %s", d)
		}
		if o.Err == nil && after.Verdict == v1alpha1.VerdictFail {
			t.Fatal("no data failed the metric")
		}
	}
	total := func(s v1alpha1.MetricStatus) int32 { return s.Passed + s.Failed + s.NoData + s.ProviderErrors }
	if after.Measured != after.Passed+after.Failed || total(after) != total(before)+1 {
		t.Fatalf("counters do not add up: %+v", after)
	}
	if len(after.Recent) > maxRecent || utf8.RuneCountInString(after.Message) > 1024 || utf8.RuneCountInString(after.Recent[0].Message) > 512 {
		t.Fatal("sizes are not bounded")
	}
	if (after.NextAt == nil) != Done(after, m) || after.NextAt != nil && after.NextAt.Time.Before(o.At) {
		t.Fatalf("next at %v after %s", after.NextAt, o.At)
	}
	if after.Verdict == v1alpha1.VerdictPass && (after.Passed == 0 || after.LastPassedAt == nil) {
		t.Fatal("passed without evidence")
	}
	if due, next := Due(after, m, o.Done); due && after.NextAt.After(o.Done) {
		t.Fatalf("due at %s although next is %s", o.Done, next)
	}
}
