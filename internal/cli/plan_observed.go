package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/presets"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// observed is what the stable revision does, and where that comes from.
type observed struct {
	rate, bad float64
	from      string
}

// observe takes the traffic from the flags, from Prometheus, or from what the manager wrote.
func (a *app) observe(ctx context.Context, o *planOptions, r *v1alpha1.Rollout, templates []v1alpha1.AnalysisTemplate) (observed, error) {
	seen := observed{rate: o.rps, bad: o.errorRatio}
	var err error
	switch {
	case o.rps > 0:
		return seen, nil
	case o.prometheus != "":
		seen, err = askTraffic(ctx, o.prometheus, r, templates)
	default:
		seen, err = a.traffic(ctx, r)
	}
	if o.ratioGiven {
		seen.bad = o.errorRatio
	}
	return seen, err
}

// traffic is what the manager observed when the Rollout's last attempt began.
func (a *app) traffic(ctx context.Context, r *v1alpha1.Rollout) (observed, error) {
	c, namespace, err := a.connect()
	if err != nil {
		return observed{}, fmt.Errorf("the traffic is not given with --rps or --prometheus, and the cluster cannot be asked: %w", err)
	}
	if r.Namespace != "" {
		namespace = r.Namespace
	}
	live, err := getRollout(ctx, c, namespace, r.Name)
	if err != nil {
		return observed{}, err
	}
	f := live.Status.Forecast
	if f == nil {
		return observed{}, errors.New("the manager has not observed its traffic yet, which it does when an attempt with compare metrics of errors begins: give --rps or --prometheus")
	}
	assumed, err := analysis.AssumedOf(f.Traffic)
	return observed{rate: assumed.RequestsPerSecond, bad: assumed.BadRatio, from: fmt.Sprintf("as observed before attempt %d, %s", f.Attempt, f.At.UTC().Format(time.DateTime)+" UTC")}, err
}

// lookBack is how much of the past Prometheus is asked for.
const lookBack = 20 * time.Minute

// askTraffic asks a server for the series of the Rollout's first metric of errors.
func askTraffic(ctx context.Context, address string, r *v1alpha1.Rollout, templates []v1alpha1.AnalysisTemplate) (observed, error) {
	total, bad, err := seriesOf(r, templates)
	if err != nil {
		return observed{}, err
	}
	server, err := prometheus.New(prometheus.Config{Address: address})
	if err != nil {
		return observed{}, fmt.Errorf("--prometheus: %w", err)
	}
	defer server.Close()
	sum := func(s analysis.Selector) (float64, bool, error) {
		v, err := server.Query(ctx, fmt.Sprintf("sum(increase(%s[%ds]))", s, int(lookBack.Seconds())), time.Now())
		if errors.Is(err, prometheus.ErrNoData) || err == nil && math.IsNaN(v) {
			return 0, false, nil
		}
		return v, err == nil, err
	}
	requests, found, err := sum(total)
	if err == nil && !found {
		err = fmt.Errorf("no series of the last %s match %s", lookBack, total)
	}
	if err != nil {
		return observed{}, err
	}
	badOnes, _, err := sum(bad) // counters of errors appear with the first error
	if err != nil {
		return observed{}, err
	}
	text := v1alpha1.ObservedTraffic{RequestsPerSecond: fmt.Sprintf("%g", requests/lookBack.Seconds()), BadRatio: fmt.Sprintf("%g", badOnes/math.Max(requests, 1))}
	assumed, err := analysis.AssumedOf(text)
	if err == nil && assumed.RequestsPerSecond == 0 {
		err = fmt.Errorf("there were no requests in the last %s: %s", lookBack, total)
	}
	return observed{rate: math.Round(assumed.RequestsPerSecond*100) / 100, bad: assumed.BadRatio, from: fmt.Sprintf("as Prometheus observed in the last %s", lookBack)}, err
}

// seriesOf are the selectors of the Rollout's first metric of errors. At rest all series are stable's; where a label tells the
// arms apart, stable's alone are taken.
func seriesOf(r *v1alpha1.Rollout, templates []v1alpha1.AnalysisTemplate) (total, bad analysis.Selector, err error) {
	if r.Spec.Analysis == nil {
		return total, bad, errors.New("it has no spec.analysis: give --rps")
	}
	metrics, args, err := analysis.Resolve(templates, *r.Spec.Analysis)
	if err != nil {
		return total, bad, fmt.Errorf("spec.analysis: %w", err)
	}
	vars := analysis.Variables{Namespace: r.Namespace, Args: map[string]string{},
		Stable: &analysis.Arm{Service: r.Spec.Traffic.StableService}, Canary: &analysis.Arm{Service: r.Spec.Traffic.StableService + "-canary"}}
	if r.Spec.Traffic.CanaryService != "" {
		vars.Canary.Service = r.Spec.Traffic.CanaryService
	}
	for _, arg := range args {
		vars.Args[arg.Name] = *arg.Value
	}
	for _, m := range metrics {
		c, err := presets.Fill(m.Compare)
		if err != nil || c == nil || c.Errors == nil {
			continue
		}
		if total, err = selectorOf(c.Errors.Total, c, vars); err != nil {
			return total, bad, fmt.Errorf("metric %s: %w", m.Name, err)
		}
		bad, err = selectorOf(c.Errors.Bad, c, vars)
		return total, bad, err
	}
	return total, bad, errors.New("none of its metrics compares errors: give --rps")
}

func selectorOf(text string, c *v1alpha1.Compare, vars analysis.Variables) (analysis.Selector, error) {
	expanded, err := analysis.Expand(text, vars)
	if err != nil {
		return analysis.Selector{}, err
	}
	s, err := analysis.ParseSelector(expanded)
	if err != nil || c.Arms == nil || c.Arms.Stable == "" {
		return s, err
	}
	stable, err := analysis.ExpandRegexp(c.Arms.Stable, vars)
	if err != nil {
		return s, err
	}
	if _, err := regexp.Compile(stable); err != nil {
		return s, errors.New("compare.arms.stable is no regular expression")
	}
	return s.With(analysis.Matcher{Label: c.Arms.Label, Op: "=~", Value: stable}), nil
}
