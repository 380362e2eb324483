package analysisrun

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/web"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// webWorld has a real HTTP server beside the API server.
func webWorld(t *testing.T, answer http.HandlerFunc) (*world, string) {
	w := newWorld(t)
	w.r.Asker = web.Client{AllowLocal: true}
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return w, s.URL
}

func webRun(change func(*v1alpha1.Web)) func(*v1alpha1.AnalysisRun) {
	return func(run *v1alpha1.AnalysisRun) {
		check := &v1alpha1.Web{Measuring: v1alpha1.Measuring{Interval: "30s"}}
		change(check)
		run.Spec.Metrics = []v1alpha1.Metric{{Name: "check", Web: check}}
		value := `it's "shop"`
		run.Spec.Args = []v1alpha1.Argument{{Name: "service", Value: &value}}
	}
}

// TestAWebMetric: from a request with a value of a Secret and a body with an argument, to failure; what is secret stays so.
func TestAWebMetric(t *testing.T) {
	const secret = "s3cr3t-t0ken"
	var got atomic.Value
	state := atomic.Value{}
	state.Store("ok")
	w, url := webWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.Store(fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("X-Token"), body))
		_ = json.NewEncoder(rw).Encode(map[string]any{"state": state.Load(), "echo": r.Header.Get("X-Token")})
	})
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "creds"}, Data: map[string][]byte{"token": []byte(secret + "\n")}})
	w.createRun(webRun(func(c *v1alpha1.Web) {
		c.URL, c.Method, c.Body = url+"/check?s={{args.service}}", "POST", `{"service":"{{args.service}}"}`
		c.Headers = []v1alpha1.WebHeader{{Name: "X-Token", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "creds", Key: "token"}}}
		c.Condition = `json.state == "ok"`
	}))
	w.reconcile("good", 30*time.Second, 1, 0)
	if want := "POST /check?s=it%27s+%22shop%22 " + secret + ` {"service":"it's \"shop\""}`; got.Load() != want {
		t.Errorf("asked %q, want %q", got.Load(), want)
	}
	w.wantEvents(`Normal AnalysisPassed metric check: condition holds: json.state == "ok"`)
	state.Store("bad")
	w.stepClock(30 * time.Second)
	w.reconcile("bad", 0, 1, 0)
	run := w.run()
	if run.Status.Verdict != v1alpha1.VerdictFail || run.Status.FinishedAt == nil {
		t.Errorf("verdict %s: %s", run.Status.Verdict, run.Status.Message)
	}
	raw, err := json.Marshal(run)
	if err != nil || strings.Contains(string(raw), secret) {
		t.Errorf("the run tells the secret (%v): %s", err, raw)
	}
}

// TestAWebAnswerThatEchoesTheSecret: an error that is made of an answer does not tell it.
func TestAWebAnswerThatEchoesTheSecret(t *testing.T) {
	const secret = "s3cr3t-t0ken"
	w, url := webWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"rate": r.Header.Get("X-Token")})
	})
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "creds"}, Data: map[string][]byte{"token": []byte(secret)}})
	limit := "1"
	w.createRun(webRun(func(c *v1alpha1.Web) {
		c.URL, c.Value, c.Max = url, "double(json.rate)", &limit
		c.Headers = []v1alpha1.WebHeader{{Name: "X-Token", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "creds", Key: "token"}}}
	}))
	w.reconcile("an answer that is no number", 10*time.Second, 1, 0)
	w.wantCondition("Ready", "False", analysis.ReasonBadResult, "value: evaluating the expression")
	raw, err := json.Marshal(w.run())
	if err != nil || strings.Contains(string(raw), secret) {
		t.Errorf("the run tells the secret (%v): %s", err, raw)
	}
}

// TestWhatAWebMetricCannotAsk: each is an error of the provider, with its reason, and speaks for nothing.
func TestWhatAWebMetricCannotAsk(t *testing.T) {
	for name, tc := range map[string]struct {
		change       func(*v1alpha1.Web)
		local        bool
		reason, text string
	}{
		"local address": {change: func(*v1alpha1.Web) {}, reason: analysis.ReasonBadAddress, text: "is not asked: it is a loopback address"},
		"status":        {change: func(c *v1alpha1.Web) { c.URL += "/503" }, local: true, reason: analysis.ReasonProviderError, text: "the answer has status 503, which is not judged"},
		"no Secret":     {change: func(c *v1alpha1.Web) { c.SecretRef = &v1alpha1.LocalReference{Name: "none"} }, local: true, reason: analysis.ReasonSecretNotFound, text: `Secret "none" does not exist`},
		"no Secret's key": {change: func(c *v1alpha1.Web) {
			c.Headers = []v1alpha1.WebHeader{{Name: "A", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "creds", Key: "no"}}}
		}, local: true, reason: analysis.ReasonBadSecret, text: `Secret "creds" has no key "no"; it has token`},
		"unknown argument": {change: func(c *v1alpha1.Web) { c.URL += "/{{args.no}}" }, local: true, reason: analysis.ReasonBadQuery, text: "web.url: "},
		"condition":        {change: func(c *v1alpha1.Web) { c.Condition = "state ==" }, local: true, reason: analysis.ReasonBadQuery, text: "web.condition: Syntax error"},
	} {
		t.Run(name, func(t *testing.T) {
			w, url := webWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/503" {
					rw.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			w.r.Asker = web.Client{AllowLocal: tc.local}
			w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "creds"}, Data: map[string][]byte{"token": []byte("x")}})
			w.createRun(webRun(func(c *v1alpha1.Web) { c.URL = url; tc.change(c) }))
			w.reconcile("asked", 10*time.Second, 1, 0)
			w.wantCondition("Ready", "False", tc.reason, tc.text)
			if m := w.run().Status.Metrics[0]; m.ProviderErrors != 1 || m.Failed+m.Passed != 0 || m.Verdict != v1alpha1.VerdictPending {
				t.Errorf("counted as %+v", m)
			}
		})
	}
}

// TestAThresholdWithACondition: what Prometheus says is judged by CEL.
func TestAThresholdWithACondition(t *testing.T) {
	w := newWorld(t)
	w.createRun(func(run *v1alpha1.AnalysisRun) {
		m := metric("errors", "err")
		limit := "0.01"
		m.Threshold.Max, m.Threshold.Condition = nil, "value < double(args.limit)"
		run.Spec.Metrics, run.Spec.Args = []v1alpha1.Metric{m}, []v1alpha1.Argument{{Name: "limit", Value: &limit}}
	})
	w.reconcile("good", 30*time.Second, 1, 1)
	w.wantEvents("Normal AnalysisPassed metric errors: 0.005, condition holds: value < double(args.limit)")
	w.server.answer = says(0.02)
	w.stepClock(30 * time.Second)
	w.reconcile("bad", 0, 1, 1)
	w.wantEvents("Warning AnalysisFailed metric errors: 0.02, condition does not hold: value < double(args.limit) (1 of 2 measurements failed, limit 0)")
}
