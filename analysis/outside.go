package analysis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/belay-delivery/belay/analysis/condition"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// ruleOf is how a metric that is measured value by value is judged, in the form of a threshold.
func ruleOf(m v1alpha1.Metric) v1alpha1.Threshold {
	if w := m.Web; w != nil {
		return v1alpha1.Threshold{Min: w.Min, Max: w.Max, Condition: w.Condition, Interval: w.Interval, Count: w.Count, FailureLimit: w.FailureLimit,
			ConsecutiveFailureLimit: w.ConsecutiveFailureLimit, ProviderErrorLimit: w.ProviderErrorLimit}
	}
	if j := m.Job; j != nil {
		return v1alpha1.Threshold{Interval: j.Interval, Count: m.PassCount(), FailureLimit: &j.FailureLimit, ProviderErrorLimit: j.ProviderErrorLimit}
	}
	return m.Threshold
}

// Expressions are the compiled expressions of a metric; nil where it has none.
type Expressions struct {
	// Value reads a number out of an answer.
	Value *condition.Program
	// Condition says whether a value, or an answer, is good.
	Condition *condition.Program
	text      string
}

// Compile compiles the expressions of a metric, and checks the pod of a Job. An error comes with its field.
func Compile(m v1alpha1.Metric) (x Expressions, field string, err error) {
	if w := m.Web; w != nil {
		if w.Value != "" {
			if x.Value, err = condition.Reading(w.Value); err != nil {
				return x, "web.value", err
			}
		}
		if x.text = w.Condition; x.text != "" {
			x.Condition, err = condition.OfAnswer(w.Condition, w.Value != "")
		}
		return x, "web.condition", err
	}
	if m.Job != nil {
		_, field, err = podAsGiven(m.Job)
		return x, field, err
	}
	if x.text = m.Threshold.Condition; x.text != "" {
		x.Condition, err = condition.OfValue(x.text)
	}
	return x, "threshold.condition", err
}

// Decide adds to an outcome what the condition says of its value.
func (x Expressions) Decide(ctx context.Context, o *Outcome, in condition.Input) {
	if x.Condition == nil || o.Err != nil || o.NoData {
		return
	}
	good, err := x.Condition.True(ctx, in)
	if err != nil {
		o.Err, o.Reason = fmt.Errorf("condition: %w", err), ReasonBadResult
		return
	}
	o.Passed = &good
	verb := "condition does not hold"
	if good {
		verb = "condition holds"
	}
	o.Said = fmt.Sprintf("%s: %s", verb, clip(x.text, 200))
}

// JudgeAnswer makes an outcome of the answer of a server. What cannot be read out of it, and a status that is not judged, is an
// error of the provider.
func (x Expressions) JudgeAnswer(ctx context.Context, w *v1alpha1.Web, answer condition.Answer, args map[string]string, o *Outcome) {
	good := answer.Status >= 200 && answer.Status < 300
	if !good && !judged(w, answer.Status) {
		o.Err, o.Reason = fmt.Errorf("the answer has status %d, which is not judged", answer.Status), ReasonProviderError
		return
	}
	in := condition.Input{Args: args, Answer: &answer}
	if x.Value != nil {
		v, there, err := x.Value.Number(ctx, in)
		if err != nil {
			o.Err, o.Reason = fmt.Errorf("value: %w", err), ReasonBadResult
			return
		}
		o.Value, o.NoData, in.Value = v, !there || v != v, v
	} else {
		o.Valueless = true
	}
	if x.Value == nil && x.Condition == nil {
		o.Passed, o.Said = &good, fmt.Sprintf("the answer has status %d", answer.Status)
		return
	}
	x.Decide(ctx, o, in)
}

func judged(w *v1alpha1.Web, status int) bool {
	for _, s := range w.JudgedStatuses {
		if int(s) == status {
			return true
		}
	}
	return false
}

// WebRequest is the text of a request, with its placeholders expanded. Headers whose values are in Secrets are not in it.
type WebRequest struct {
	Method, URL, Body string
	Header            http.Header
}

// ExpandWeb makes the request of a web metric. An error comes with its field.
func ExpandWeb(w *v1alpha1.Web, vars Variables) (r WebRequest, field string, err error) {
	r = WebRequest{Method: w.Method, Header: http.Header{}}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.URL, err = expandURL(w.URL, vars); err != nil {
		return r, "web.url", err
	}
	for i, h := range w.Headers {
		if h.Value == nil {
			continue
		}
		v, err := expandPlain(*h.Value, vars, asIs)
		if err == nil && hasControl(v) {
			err = errors.New("a header must be one line of text")
		}
		if err != nil {
			return r, fmt.Sprintf("web.headers[%d].value", i), err
		}
		r.Header.Set(h.Name, v)
	}
	if w.Body == "" {
		return r, "", nil
	}
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body, err = expandPlain(w.Body, vars, escaping(r.Header.Get("Content-Type")))
	return r, "web.body", err
}

// escaping of values in a body of a type.
func escaping(contentType string) func(string) (string, error) {
	switch kind, _, _ := strings.Cut(strings.ToLower(contentType), ";"); {
	case strings.TrimSpace(kind) == "application/x-www-form-urlencoded":
		return func(s string) (string, error) { return url.QueryEscape(s), nil }
	case strings.HasSuffix(strings.TrimSpace(kind), "json"):
		return inJSON
	}
	return asIs
}
