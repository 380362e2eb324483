package analysis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/analysis/condition"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

var webVariables = Variables{Namespace: "shop", Args: map[string]string{"service": "check/out", "words": `a "b" & c`, "host": "x.example", "up": ".."},
	Canary: &Arm{Service: "checkout-canary", Revision: "abc", Pods: []string{"p"}}, Stable: &Arm{Service: "checkout"}}

// TestExpandWeb: a value never changes which host, path, parameter or member of an object is meant.
func TestExpandWeb(t *testing.T) {
	header := func(name, value string) []v1alpha1.WebHeader {
		return []v1alpha1.WebHeader{{Name: name, Value: &value}}
	}
	for name, tc := range map[string]struct {
		web       v1alpha1.Web
		url, body string
		header    string // of X
		err       string
	}{
		"service of the canary": {web: v1alpha1.Web{URL: "http://{{canary.service}}.{{namespace}}.svc:8080/healthz"}, url: "http://checkout-canary.shop.svc:8080/healthz"},
		"path and query":        {web: v1alpha1.Web{URL: "https://x/{{args.service}}?q={{ args.words }}"}, url: "https://x/check%2Fout?q=a+%22b%22+%26+c"},
		"host":                  {web: v1alpha1.Web{URL: "https://{{args.host}}/"}, url: "https://x.example/"},
		"host that is none":     {web: v1alpha1.Web{URL: "https://{{args.service}}.x/"}, err: "web.url: a value in the host of a URL must be letters"},
		"out of the path":       {web: v1alpha1.Web{URL: "https://x/a/{{args.up}}/b"}, err: "web.url: a value in the path of a URL must not be . or .."},
		"pods":                  {web: v1alpha1.Web{URL: "https://x/{{canary.pods}}"}, err: "web.url: placeholder {{canary.pods}} is a regular expression"},
		"unknown":               {web: v1alpha1.Web{URL: "https://x/{{args.nobody}}"}, err: "web.url: "},
		"body in JSON":          {web: v1alpha1.Web{URL: "https://x", Body: `{"w":"{{args.words}}"}`}, url: "https://x", body: `{"w":"a \"b\" \u0026 c"}`},
		"body of a form":        {web: v1alpha1.Web{URL: "https://x", Body: `w={{args.words}}`, Headers: header("content-type", "application/x-www-form-urlencoded; charset=utf-8")}, url: "https://x", body: "w=a+%22b%22+%26+c"},
		"body as it is":         {web: v1alpha1.Web{URL: "https://x", Body: `{{args.words}}`, Headers: header("Content-Type", "text/plain")}, url: "https://x", body: `a "b" & c`},
		"header":                {web: v1alpha1.Web{URL: "https://x", Headers: header("X", "{{canary.revision}}")}, url: "https://x", header: "abc"},
		"header of two lines":   {web: v1alpha1.Web{URL: "https://x", Headers: header("X", "a\nb")}, err: "web.headers[0].value: a header must be one line of text"},
		"no arms":               {web: v1alpha1.Web{URL: "https://x/{{stable.revision}}"}, url: "https://x/none"},
	} {
		t.Run(name, func(t *testing.T) {
			r, field, err := ExpandWeb(&tc.web, webVariables)
			if tc.err != "" {
				if err == nil || !strings.Contains(field+": "+err.Error(), tc.err) {
					t.Errorf("got %s: %v, want %q", field, err, tc.err)
				}
				return
			}
			if err != nil || r.URL != tc.url || r.Body != tc.body || r.Header.Get("X") != tc.header {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

func TestJudgeAnswer(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, tc := range map[string]struct {
		web    v1alpha1.Web
		status int
		body   string
		result string
		value  string
		says   string
	}{
		"status alone":                {status: 204, result: ResultPassed, says: "the answer has status 204"},
		"another status":              {status: 503, result: ResultError, says: "the answer has status 503, which is not judged"},
		"another status that fails":   {web: v1alpha1.Web{JudgedStatuses: []int32{503}}, status: 503, result: ResultFailed, says: "the answer has status 503"},
		"condition":                   {web: v1alpha1.Web{Condition: `json.state == "ok"`}, status: 200, body: `{"state":"ok"}`, result: ResultPassed, says: `holds: json.state == "ok"`},
		"condition that does not":     {web: v1alpha1.Web{Condition: `json.state == "ok"`}, status: 200, body: `{"state":"bad"}`, result: ResultFailed, says: "does not hold: json.state"},
		"condition on a bad answer":   {web: v1alpha1.Web{Condition: `json.state == "ok"`}, status: 200, body: `oops`, result: ResultError, says: "the answer is not JSON"},
		"value within bounds":         {web: v1alpha1.Web{Value: "json.rate", Max: text("0.5")}, status: 200, body: `{"rate":0.25}`, result: ResultPassed, value: "0.25", says: "0.25 is within max 0.5"},
		"value out of bounds":         {web: v1alpha1.Web{Value: "json.rate", Max: text("0.1")}, status: 200, body: `{"rate":0.25}`, result: ResultFailed, value: "0.25", says: "0.25 is above max 0.1"},
		"value with a condition":      {web: v1alpha1.Web{Value: "json.rate", Condition: "value < 0.1"}, status: 200, body: `{"rate":0.25}`, result: ResultFailed, value: "0.25", says: "0.25, condition does not hold: value < 0.1"},
		"null is no data":             {web: v1alpha1.Web{Value: "json.rate", Max: text("1")}, status: 200, body: `{"rate":null}`, result: ResultNoData, says: "no data"},
		"null with a condition":       {web: v1alpha1.Web{Value: "json.rate", Condition: "value < 0.1"}, status: 200, body: `{"rate":null}`, result: ResultNoData, says: "no data"},
		"a value that is not there":   {web: v1alpha1.Web{Value: "json.rate", Max: text("1")}, status: 200, body: `{}`, result: ResultError, says: "no such key: rate"},
		"a judged status as an input": {web: v1alpha1.Web{JudgedStatuses: []int32{404}, Condition: "status != 404"}, status: 404, result: ResultFailed, says: "does not hold: status != 404"},
	} {
		t.Run(name, func(t *testing.T) {
			m := v1alpha1.Metric{Name: "m", Web: &tc.web}
			x, field, err := Compile(m)
			if err != nil {
				t.Fatal(field, err)
			}
			o := Outcome{At: time.Unix(100, 0)}
			x.JudgeAnswer(t.Context(), &tc.web, condition.Answer{Status: tc.status, Body: []byte(tc.body)}, nil, &o)
			s := Observe(v1alpha1.MetricStatus{}, m, o)
			if got := s.Recent[0]; got.Result != tc.result || got.Value != tc.value || !strings.Contains(s.Message, tc.says) {
				t.Errorf("got %+v, %q: want %s %q %q", got, s.Message, tc.result, tc.value, tc.says)
			}
		})
	}
}

// TestLimitsOfWebMetrics: they are those of the web metric, as of a threshold.
func TestLimitsOfWebMetrics(t *testing.T) {
	bad, good := false, true
	two := int32(1)
	m := v1alpha1.Metric{Name: "m", Web: &v1alpha1.Web{URL: "http://x", Measuring: v1alpha1.Measuring{Interval: "10s", Count: 2, FailureLimit: &two}}}
	s := v1alpha1.MetricStatus{}
	see := func(want v1alpha1.RunVerdict, o Outcome) {
		t.Helper()
		o.At, o.Valueless = time.Unix(1000, 0), true
		if s = Observe(s, m, o); s.Verdict != want {
			t.Errorf("verdict %s, want %s: %s", s.Verdict, want, s.Message)
		}
	}
	see(v1alpha1.VerdictPending, Outcome{Passed: &good})
	if s.NextAt == nil || !s.NextAt.Time.Equal(time.Unix(1010, 0)) {
		t.Errorf("measured next at %v, want 10s later", s.NextAt)
	}
	see(v1alpha1.VerdictPending, Outcome{Passed: &bad, Said: "the answer has status 503"})
	see(v1alpha1.VerdictPending, Outcome{Err: errors.New("no answer")})
	see(v1alpha1.VerdictPass, Outcome{Passed: &good})
	if !Done(s, m) {
		t.Error("two good measurements, and it is measured on")
	}
	s = v1alpha1.MetricStatus{Failed: 1, Measured: 1, Verdict: v1alpha1.VerdictPending}
	see(v1alpha1.VerdictFail, Outcome{Passed: &bad, Said: "the answer has status 503"})
	if want := "metric m: the answer has status 503 (2 of 2 measurements failed, limit 1)"; s.Message != want {
		t.Errorf("message %q, want %q", s.Message, want)
	}
}

// TestThresholdCondition: a condition stands in for bounds, and its fault is found before anything is measured.
func TestThresholdCondition(t *testing.T) {
	m := v1alpha1.Metric{Name: "m", Threshold: v1alpha1.Threshold{Prometheus: v1alpha1.PrometheusQuery{Query: "up"}, Condition: "value < 0.01 || value == 1.0"}}
	x, _, err := Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[float64]string{0.001: ResultPassed, 1: ResultPassed, 0.5: ResultFailed} {
		o := Outcome{Value: value}
		x.Decide(t.Context(), &o, condition.Input{Value: value})
		if s := Observe(v1alpha1.MetricStatus{}, m, o); s.Recent[0].Result != want {
			t.Errorf("%g: %s, want %s", value, s.Recent[0].Result, want)
		}
	}
	if s := Observe(v1alpha1.MetricStatus{}, m, Outcome{Value: 0.001}); s.Recent[0].Result != ResultError {
		t.Errorf("a condition that was not evaluated: %s, want an error", s.Recent[0].Result)
	}
	m.Threshold.Condition = "value <"
	if _, _, err := Resolve([]v1alpha1.AnalysisTemplate{template("t", nil, m)}, reference(nil, "t")); err == nil || !strings.Contains(err.Error(), `AnalysisTemplate "t", metric "m": threshold.condition: Syntax error`) {
		t.Errorf("resolved: %v", err)
	}
	if field, err := Check(m, Variables{}); field != "threshold.condition" || err == nil {
		t.Errorf("checked: %s: %v", field, err)
	}
}
