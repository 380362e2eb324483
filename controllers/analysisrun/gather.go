package analysisrun

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/analysis/web"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// question is one metric's query, ready to be asked, or why it cannot be.
type question struct {
	metric string
	query  string
	config prometheus.Config
	err    error
	reason string // for err

	args        map[string]string
	expressions analysis.Expressions
	// spec of a web metric, and its request; nil: config is asked query.
	spec    *v1alpha1.Web
	request web.Request
}

func (q question) failed(reason string, err error) question {
	q.reason, q.err = reason, err
	return q
}

// credentials is a Secret's content, or why there is none.
type credentials struct {
	value  prometheus.Credentials
	err    error
	reason string
}

// gather reads what the metrics' queries need. Its error means that the state of the cluster could not be read: nothing
// is asked then, since no pods known is not the same as no pods.
func (r *Reconciler) gather(ctx context.Context, run *v1alpha1.AnalysisRun, metrics []v1alpha1.Metric) ([]question, error) {
	if len(metrics) == 0 {
		return nil, nil
	}
	vars, err := r.variables(ctx, run)
	if err != nil {
		return nil, err
	}
	secrets := map[string]secretData{}
	questions := make([]question, 0, len(metrics))
	for _, m := range metrics {
		if m.Job != nil {
			continue // addJobs looks after it
		}
		if m.Web != nil {
			questions = append(questions, r.poseWeb(ctx, run, m, vars))
			continue
		}
		if ref := m.Threshold.Prometheus.SecretRef; ref != nil {
			if _, known := secrets[ref.Name]; !known {
				secrets[ref.Name] = r.readData(ctx, run.Namespace, ref.Name)
			}
		}
		questions = append(questions, r.pose(m, vars, secrets))
	}
	return questions, nil
}

// pose makes the question of one metric.
func (r *Reconciler) pose(m v1alpha1.Metric, vars analysis.Variables, secrets map[string]secretData) question {
	spec := m.Threshold.Prometheus
	q := question{metric: m.Name, config: prometheus.Config{
		Address: spec.Address, Timeout: spec.Timeout.Or(10 * time.Second),
	}}
	if spec.Address == "" {
		q.config.Address = r.DefaultAddress
	}
	if q.config.Address == "" {
		return q.failed(analysis.ReasonBadAddress,
			errors.New("it has no address, and the manager was started without --prometheus-address"))
	}
	if (spec.SecretRef != nil || len(spec.Headers) > 0) && spec.Address == "" {
		return q.failed(analysis.ReasonBadAddress, errors.New("secretRef and headers need address: credentials are never sent to the default server"))
	}
	creds := credentialsOf(spec, secrets)
	if creds.err != nil {
		return q.failed(creds.reason, creds.err)
	}
	q.config.Credentials = creds.value
	query, err := analysis.Expand(spec.Query, vars)
	if err != nil {
		return q.failed(analysis.ReasonBadQuery, fmt.Errorf("expanding the query: %w", err))
	}
	q.query, q.args = query, vars.Args
	var field string
	if q.expressions, field, err = analysis.Compile(m); err != nil {
		return q.failed(analysis.ReasonBadQuery, fmt.Errorf("%s: %w", field, err))
	}
	return q
}

// secretData is what a Secret holds, or why it could not be read.
type secretData struct {
	data   map[string][]byte
	err    error
	reason string
}

func (r *Reconciler) readData(ctx context.Context, namespace, name string) secretData {
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return secretData{reason: analysis.ReasonSecretNotFound, err: fmt.Errorf("Secret %q does not exist", name)}
	case err != nil:
		return secretData{reason: analysis.ReasonSecretUnreadable, err: fmt.Errorf("reading Secret %q: %w", name, err)}
	}
	return secretData{data: secret.Data}
}

func (r *Reconciler) readSecret(ctx context.Context, namespace, name string) credentials {
	return use(name, r.readData(ctx, namespace, name), nil)
}

// use makes credentials of a Secret and headers.
func use(name string, s secretData, headers []prometheus.Header) credentials {
	if s.err != nil {
		return credentials{reason: s.reason, err: s.err}
	}
	value, err := prometheus.CredentialsFromSecret(s.data, headers...)
	switch {
	case err != nil && name == "":
		return credentials{reason: analysis.ReasonBadSecret, err: fmt.Errorf("headers: %w", err)}
	case err != nil:
		return credentials{reason: analysis.ReasonBadSecret, err: fmt.Errorf("Secret %q cannot be used: %w", name, err)}
	}
	return credentials{value: value}
}

// credentialsOf are what a query is sent with; none where it asks for none.
func credentialsOf(spec v1alpha1.PrometheusQuery, secrets map[string]secretData) credentials {
	headers := make([]prometheus.Header, 0, len(spec.Headers))
	for _, h := range spec.Headers {
		headers = append(headers, prometheus.Header{Name: h.Name, Value: h.Value, SecretKey: h.SecretKey})
	}
	switch {
	case spec.SecretRef != nil:
		return use(spec.SecretRef.Name, secrets[spec.SecretRef.Name], headers)
	case len(headers) > 0:
		return use("", secretData{}, headers)
	}
	return credentials{}
}

// variables are the values that the run's queries may use.
func (r *Reconciler) variables(ctx context.Context, run *v1alpha1.AnalysisRun) (analysis.Variables, error) {
	vars := analysis.Variables{Namespace: run.Namespace, Args: map[string]string{}}
	for _, a := range run.Spec.Args {
		if a.Value != nil {
			vars.Args[a.Name] = *a.Value
		}
	}
	arms := run.Spec.Arms
	if arms == nil {
		return vars, nil
	}
	var err error
	if vars.Canary, err = r.arm(ctx, run.Namespace, arms.CanaryRevision, arms.CanaryService); err != nil {
		return vars, err
	}
	vars.Stable, err = r.arm(ctx, run.Namespace, arms.StableRevision, arms.StableService)
	return vars, err
}

func (r *Reconciler) arm(ctx context.Context, namespace, revision, service string) (*analysis.Arm, error) {
	arm := &analysis.Arm{Revision: revision, Service: service}
	if revision == "" {
		return arm, nil
	}
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelRevision: revision}); err != nil {
		return nil, fmt.Errorf("listing the pods of revision %s: %w", revision, err)
	}
	for _, p := range pods.Items {
		arm.Pods = append(arm.Pods, p.Name)
		for _, ip := range p.Status.PodIPs {
			arm.Addresses = append(arm.Addresses, ip.IP)
		}
	}
	return arm, nil
}
