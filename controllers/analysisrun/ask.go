package analysisrun

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/analysis/web"
)

// ask asks all questions at once, and waits for all of the answers: each ends with its timeout.
func (r *Reconciler) ask(ctx context.Context, questions []question) map[string]analysis.Outcome {
	answers := make([]analysis.Outcome, len(questions))
	var wg sync.WaitGroup
	for i, q := range questions {
		wg.Go(func() { answers[i] = r.askOne(ctx, q) })
	}
	wg.Wait()
	outcomes := make(map[string]analysis.Outcome, len(questions))
	for i, q := range questions {
		outcomes[q.metric] = answers[i]
	}
	return outcomes
}

// askOne asks for the value at the current second, which is the time that the status keeps of it.
func (r *Reconciler) askOne(ctx context.Context, q question) analysis.Outcome {
	sent := r.Clock.Now()
	o := analysis.Outcome{At: sent, Done: sent, Err: q.err, Reason: q.reason}
	if q.err != nil {
		return o
	}
	if q.spec != nil {
		r.askWeb(ctx, q, &o)
		return o
	}
	querier, err := r.NewQuerier(q.config)
	if err != nil {
		o.Err, o.Reason = err, reasonOf(err)
		return o
	}
	o.Value, err = querier.Query(ctx, q.query, sent.Truncate(time.Second))
	o.Done = r.Clock.Now()
	queryDuration.Observe(o.Done.Sub(sent).Seconds())
	switch {
	case errors.Is(err, prometheus.ErrNoData):
		o.NoData = true
	case err != nil:
		o.Err, o.Reason = err, reasonOf(err)
	}
	q.decide(ctx, &o)
	return o
}

// reasonOf is the condition reason for an error of the provider.
func reasonOf(err error) string {
	var (
		address *prometheus.AddressError
		refused *web.AddressError
		creds   *prometheus.CredentialsError
		query   *prometheus.QueryError
		result  *prometheus.ResultError
	)
	switch {
	case errors.As(err, &address), errors.As(err, &refused):
		return analysis.ReasonBadAddress
	case errors.As(err, &creds):
		return analysis.ReasonBadSecret
	case errors.As(err, &query):
		return analysis.ReasonBadQuery
	case errors.As(err, &result):
		return analysis.ReasonBadResult
	default:
		return analysis.ReasonProviderError
	}
}
