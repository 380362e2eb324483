package analysisrun

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/condition"
	"github.com/belay-delivery/belay/analysis/web"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Asker asks HTTP servers.
type Asker interface {
	Do(context.Context, web.Request) (condition.Answer, error)
}

// poseWeb makes the question of a web metric. Secrets are read anew for each: a rotated one counts at once.
func (r *Reconciler) poseWeb(ctx context.Context, run *v1alpha1.AnalysisRun, m v1alpha1.Metric, vars analysis.Variables) question {
	q := question{metric: m.Name, args: vars.Args, spec: m.Web}
	var err error
	var field string
	if q.expressions, field, err = analysis.Compile(m); err != nil {
		return q.failed(analysis.ReasonBadQuery, fmt.Errorf("%s: %w", field, err))
	}
	text, field, err := analysis.ExpandWeb(m.Web, vars)
	if err != nil {
		return q.failed(analysis.ReasonBadQuery, fmt.Errorf("%s: %w", field, err))
	}
	q.request = web.Request{Method: text.Method, URL: text.URL, Body: text.Body, Header: text.Header, Timeout: m.Web.Timeout.Or(10 * time.Second)}
	if ref := m.Web.SecretRef; ref != nil {
		s := r.readSecret(ctx, run.Namespace, ref.Name)
		if s.err != nil {
			return q.failed(s.reason, s.err)
		}
		q.request.Credentials = s.value
	}
	for i, h := range m.Web.Headers {
		if h.SecretKeyRef == nil {
			continue
		}
		value, reason, err := r.secretKey(ctx, run.Namespace, *h.SecretKeyRef)
		if err != nil {
			return q.failed(reason, fmt.Errorf("web.headers[%d].secretKeyRef: %w", i, err))
		}
		q.request.Header.Set(h.Name, value)
		q.request.Secrets = append(q.request.Secrets, value)
	}
	return q
}

// secretKey reads one value of a Secret; an error comes with its reason, and without the value.
func (r *Reconciler) secretKey(ctx context.Context, namespace string, ref v1alpha1.SecretKeyReference) (value, reason string, err error) {
	secret := &corev1.Secret{}
	err = r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return "", analysis.ReasonSecretNotFound, fmt.Errorf("Secret %q does not exist", ref.Name)
	case err != nil:
		return "", analysis.ReasonSecretUnreadable, fmt.Errorf("reading Secret %q: %w", ref.Name, err)
	}
	raw, there := secret.Data[ref.Key]
	if !there {
		return "", analysis.ReasonBadSecret, fmt.Errorf("Secret %q has no key %q; it has %s", ref.Name, ref.Key, strings.Join(slices.Sorted(maps.Keys(secret.Data)), ", "))
	}
	value = strings.TrimRight(string(raw), "\r\n")
	if value == "" || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", analysis.ReasonBadSecret, fmt.Errorf("key %q of Secret %q must be one line of text", ref.Key, ref.Name)
	}
	return value, "", nil
}

// askWeb asks a server, and judges its answer.
func (r *Reconciler) askWeb(ctx context.Context, q question, o *analysis.Outcome) {
	answer, err := r.Asker.Do(ctx, q.request)
	o.Done = r.Clock.Now()
	queryDuration.Observe(o.Done.Sub(o.At).Seconds())
	if err != nil {
		o.Err, o.Reason = err, reasonOf(err)
		return
	}
	judging, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	q.expressions.JudgeAnswer(judging, q.spec, answer, q.args, o)
	if o.Err != nil {
		o.Err = redacted{error: o.Err, text: q.request.Redact(o.Err.Error())}
	}
}

// redacted is an error whose text does not tell what is secret.
type redacted struct {
	error
	text string
}

// Error implements error.
func (r redacted) Error() string { return r.text }

// decide adds what the condition of a threshold says.
func (q question) decide(ctx context.Context, o *analysis.Outcome) {
	o.NoData = o.NoData || o.Value != o.Value
	q.expressions.Decide(ctx, o, condition.Input{Value: o.Value, Args: q.args})
}
