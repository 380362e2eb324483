package reading

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/analysis/presets"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Reading is how the samples of one compare metric are asked for and told apart.
type Reading struct {
	metric  int
	latency bool
	scale   float64 // how many units of latency are a second
	gauge   bool
	label   string
	canary  *regexp.Regexp // nil: values are names of pods
	queries []analysis.Selector
	bad     func(map[string]string) bool // nil: the second query has the bad ones
	pods    []compare.Pod
	born    time.Time
	arms    *regexp.Regexp
}

// Arms are the two revisions of a run, as far as reading needs to know them.
type Arms struct {
	// Variables are the values of placeholders.
	Variables analysis.Variables
	// Pods of both revisions.
	Pods []compare.Pod
	// Started is when the run began.
	Started time.Time
}

// New makes the reading of a compare metric with an index among those of a run. What the metric's preset says is filled in.
// The error names the field.
func New(spec *v1alpha1.Compare, arms Arms, metric int) (*Reading, error) {
	spec, err := presets.Fill(spec)
	if err != nil {
		return nil, fmt.Errorf("compare.preset: %w", err)
	}
	vars := arms.Variables
	q := &Reading{metric: metric, label: "pod", pods: arms.Pods, born: arms.Started}
	values, err := q.tell(spec.Arms, vars)
	if err != nil {
		return nil, err
	}
	arm := analysis.Matcher{Label: q.label, Op: "=~", Value: values}
	if l := spec.Latency; l != nil {
		s, err := selector("latency.histogram", l.Histogram, vars)
		if err != nil {
			return nil, err
		}
		q.latency, q.scale = true, 1
		if l.Unit == v1alpha1.UnitMilliseconds {
			q.scale = 1000
		}
		either := analysis.Selector{Matchers: slices.Concat([]analysis.Matcher{{Label: "__name__", Op: "=~", Value: regexp.QuoteMeta(s.Name) + "(_bucket|_sum)?"}}, s.Matchers)}
		q.queries = []analysis.Selector{either.With(arm)}
		return q, nil
	}
	if g := spec.Gauge; g != nil {
		s, err := selector("gauge.series", g.Series, vars)
		if err != nil {
			return nil, err
		}
		q.gauge, q.queries = true, []analysis.Selector{s.With(arm)}
		return q, nil
	}
	if spec.Errors == nil {
		return nil, errors.New("compare.restarts are counted from the pods themselves: there are no series to ask for")
	}
	total, err := selector("errors.total", spec.Errors.Total, vars)
	if err != nil {
		return nil, err
	}
	bad, err := selector("errors.bad", spec.Errors.Bad, vars)
	if err != nil {
		return nil, err
	}
	q.queries = []analysis.Selector{total.With(arm)}
	if more, part := bad.Beyond(total); part {
		q.bad, err = analysis.Filter(more)
		return q, err
	}
	q.queries = append(q.queries, bad.With(arm))
	return q, nil
}

func selector(field, text string, vars analysis.Variables) (analysis.Selector, error) {
	expanded, err := analysis.Expand(text, vars)
	if err != nil {
		return analysis.Selector{}, fmt.Errorf("compare.%s: %w", field, err)
	}
	s, err := analysis.ParseSelector(expanded)
	if err != nil {
		return s, fmt.Errorf("compare.%s: %w", field, err)
	}
	return s, nil
}

// tell finds out how the arms are told apart, and gives an expression for the values of both.
func (q *Reading) tell(arms *v1alpha1.CompareArms, vars analysis.Variables) (string, error) {
	if arms != nil && arms.Label != "" {
		q.label = arms.Label
	}
	if arms == nil || arms.Canary == "" {
		names := make([]string, len(q.pods))
		for i, p := range q.pods {
			names[i] = regexp.QuoteMeta(p.Name)
		}
		if len(names) == 0 {
			return "none^", nil
		}
		return strings.Join(names, "|"), nil
	}
	canary, err := analysis.ExpandRegexp(arms.Canary, vars)
	if err != nil {
		return "", fmt.Errorf("compare.arms.canary: %w", err)
	}
	stable, err := analysis.ExpandRegexp(arms.Stable, vars)
	if err != nil {
		return "", fmt.Errorf("compare.arms.stable: %w", err)
	}
	if q.canary, err = regexp.Compile("^(?s:" + canary + ")$"); err != nil {
		return "", errors.New("compare.arms.canary is no regular expression")
	}
	if q.arms, err = regexp.Compile("^(?s:" + stable + ")$"); err != nil {
		return "", errors.New("compare.arms.stable is no regular expression")
	}
	q.pods = nil
	return "(?:" + canary + ")|(?:" + stable + ")", nil
}

// Pods whose series count; none where arms are told apart by an expression: Backends gives them then.
func (q *Reading) Pods() []compare.Pod { return q.pods }

// Ask gives the series of both arms, ready for the builder.
func (q *Reading) Ask(ctx context.Context, sampler prometheus.Sampler, until time.Time, span time.Duration) ([]compare.Series, error) {
	var out []compare.Series
	for i, selector := range q.queries {
		samples, err := sampler.Samples(ctx, selector.String(), until, span)
		if err != nil {
			return nil, err
		}
		if q.latency {
			if samples, err = q.once(samples); err != nil {
				return nil, err
			}
		}
		for _, s := range samples {
			one, err := q.series(s)
			if err != nil {
				return nil, err
			}
			if i == 1 {
				one.Part = compare.Bad
			}
			out = append(out, one)
			if i == 0 && q.bad != nil && q.bad(s.Labels) {
				one.Part = compare.Bad
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// once leaves of a histogram that is kept both ways the native one, which resolves more, and what else belongs to no histogram out.
func (q *Reading) once(samples []prometheus.Samples) ([]prometheus.Samples, error) {
	native := slices.ContainsFunc(samples, func(s prometheus.Samples) bool { return s.Labels["le"] != "" && !classic(s) })
	if native && q.scale != 1 {
		if !slices.ContainsFunc(samples, classic) {
			return nil, errors.New("a native histogram of milliseconds is not understood: have Prometheus scrape it as a classic one (always_scrape_classic_histograms)")
		}
		return slices.DeleteFunc(slices.Clone(samples), func(s prometheus.Samples) bool { return !classic(s) && !summing(s) }), nil
	}
	return slices.DeleteFunc(slices.Clone(samples), func(s prometheus.Samples) bool {
		return s.Labels["le"] == "" && !summing(s) || native && classic(s)
	}), nil
}

func classic(s prometheus.Samples) bool { return strings.HasSuffix(s.Labels["__name__"], "_bucket") }

func summing(s prometheus.Samples) bool {
	return s.Labels["le"] == "" && strings.HasSuffix(s.Labels["__name__"], "_sum")
}

func (q *Reading) series(s prometheus.Samples) (compare.Series, error) {
	out := compare.Series{Metric: q.metric, Pod: s.Labels[q.label], ID: analysis.Identity(s.Labels), Points: s.Points}
	out.Source = s.Labels["prometheus_replica"] + s.Labels["__replica__"] // two servers that scrape the same, and nobody who leaves out one
	if q.canary == nil {
		out.Source = s.Labels["job"] + "/" + s.Labels["instance"] + "/" + out.Source
	}
	if q.gauge {
		out.Part = compare.Gauge
	}
	if !q.latency {
		return out, nil
	}
	if summing(s) {
		out.Part = compare.Sum
		if q.scale != 1 {
			out.Points = slices.Clone(s.Points) // others may read the same answer
			for i := range out.Points {
				out.Points[i].Value /= q.scale
			}
		}
		return out, nil
	}
	bound, err := strconv.ParseFloat(s.Labels["le"], 64)
	if err != nil || math.IsNaN(bound) {
		return out, fmt.Errorf("series of %s have no bucket bounds (label le): it is no histogram", s.Labels["__name__"])
	}
	out.Part, out.Bound = compare.Bucket, bound/q.scale
	return out, nil
}

// Backends are what stands in the place of pods where arms are told apart by an expression.
func (q *Reading) Backends(series []compare.Series) ([]compare.Pod, bool) {
	if q.canary == nil {
		return nil, false
	}
	var out []compare.Pod
	for _, s := range series {
		canary := q.canary.MatchString(s.Pod)
		if canary == q.arms.MatchString(s.Pod) { // neither, or both: it tells nothing
			continue
		}
		out = append(out, compare.Pod{Name: s.Pod, Canary: canary, Born: q.born})
	}
	return out, true
}
