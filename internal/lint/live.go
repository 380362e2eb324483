package lint

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// lookBack is how much of the past a server is asked for.
const lookBack = 5 * time.Minute

// Server is the Prometheus that is asked.
type Server interface {
	prometheus.Querier
	prometheus.Sampler
}

// RunLive is Run, and asks a server, as of a time, whether it has the series of each compare and threshold metric, and whether
// they are what the metric takes them for. The error is that of a server that does not answer at all.
func RunLive(ctx context.Context, schemas *Schemas, sources []Source, server Server, at time.Time) (Report, error) {
	if _, err := server.Query(ctx, "vector(1)", at); err != nil {
		return Report{}, err
	}
	docs, findings, report, err := read(ctx, schemas, sources)
	if err != nil {
		return report, err
	}
	findings = append(findings, checkTogether(docs)...)
	b := &bundle{}
	for _, doc := range docs {
		if !doc.invalid {
			_ = b.add(doc) // checkTogether has reported it
		}
	}
	l := &live{server: server, at: at}
	for _, t := range b.templates {
		if len(checkTemplate(t)) == 0 {
			findings = append(findings, l.template(ctx, b, t)...)
		}
	}
	report.finish(findings)
	return report, nil
}

// live asks a server about metrics.
type live struct {
	server Server
	at     time.Time
}

// use is a template with the values that a Rollout gives it; without a Rollout, with its defaults.
type use struct {
	rollout *v1alpha1.Rollout
	ref     v1alpha1.AnalysisReference
}

// remark is a finding whose place in the files is not known yet.
type remark struct {
	field, message, remedy string
	severity               Severity
}

func wrong(field, remedy, format string, args ...any) remark {
	return remark{field: field, remedy: remedy, severity: SeverityError, message: fmt.Sprintf(format, args...)}
}

func doubtful(field, remedy, format string, args ...any) remark {
	return remark{field: field, remedy: remedy, severity: SeverityWarning, message: fmt.Sprintf(format, args...)}
}

func (l *live) template(ctx context.Context, b *bundle, t typed[v1alpha1.AnalysisTemplate]) []Finding {
	var out []Finding
	for _, u := range b.uses(t) {
		metrics, args, err := analysis.Resolve([]v1alpha1.AnalysisTemplate{*t.v}, u.ref)
		if err != nil {
			out = append(out, t.warnf("spec.args", "give lint the Rollout that uses it, or defaults", "the server was not asked about it: %s", err))
			continue
		}
		vars, of := u.variables(t, args)
		for i, m := range metrics {
			for _, r := range l.metric(ctx, m, vars, u.rollout) {
				out = append(out, t.finding(fieldPath(i, r.field), r.severity, of+r.message, r.remedy))
			}
		}
	}
	return out
}

// uses of a template by the Rollouts in the files; one without a Rollout where there is none.
func (b *bundle) uses(t typed[v1alpha1.AnalysisTemplate]) []use {
	var out []use
	self := v1alpha1.TemplateReference{Kind: t.v.TemplateKind(), Name: t.v.Name}
	for _, r := range b.rollouts {
		refs := []*v1alpha1.AnalysisReference{r.v.Spec.Analysis}
		for _, s := range r.v.Spec.Steps() {
			refs = append(refs, s.Checks)
		}
		for _, ref := range refs {
			if ref == nil || !slices.ContainsFunc(ref.Templates, func(named v1alpha1.TemplateReference) bool {
				found, ok := b.findTemplate(r.document, named)
				return ok && found.document == t.document
			}) {
				continue
			}
			args := slices.DeleteFunc(slices.Clone(ref.Args), func(a v1alpha1.Argument) bool {
				return !slices.ContainsFunc(t.v.Spec.Args, func(d v1alpha1.Argument) bool { return d.Name == a.Name })
			})
			out = append(out, use{r.v, v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{self}, Args: args}})
		}
	}
	if len(out) == 0 {
		out = []use{{ref: v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{self}}}}
	}
	return out
}

// variables for queries, and the beginning of a message that says for whom. Pods and revisions are not known from files.
func (u use) variables(t typed[v1alpha1.AnalysisTemplate], args []v1alpha1.Argument) (analysis.Variables, string) {
	vars := variables(args)
	vars.Canary, vars.Stable = &analysis.Arm{}, &analysis.Arm{}
	vars.Namespace = t.object.GetNamespace()
	of := ""
	if u.rollout != nil {
		of = "for Rollout " + u.rollout.Name + ": "
		vars.Canary.Service, vars.Stable.Service = u.rollout.Spec.Traffic.CanaryService, u.rollout.Spec.Traffic.StableService
		if u.rollout.Namespace != "" {
			vars.Namespace = u.rollout.Namespace
		}
	}
	if vars.Namespace == "" {
		vars.Namespace = "default"
	}
	return vars, of
}

func (l *live) metric(ctx context.Context, m v1alpha1.Metric, vars analysis.Variables, rollout *v1alpha1.Rollout) []remark {
	switch {
	case m.Compare != nil:
		return l.compare(ctx, m.Compare, vars, rollout)
	case m.Threshold.Prometheus.Query != "":
		return l.threshold(ctx, m.Threshold.Prometheus.Query, vars)
	}
	return nil
}

// ofArms are placeholders whose values are known in an attempt only.
var ofArms = regexp.MustCompile(`\{\{\s*(canary|stable)\.(pods|addresses|revision)\s*\}\}`)

func (l *live) threshold(ctx context.Context, query string, vars analysis.Variables) []remark {
	const field = "threshold.prometheus.query"
	expanded, err := analysis.Expand(query, vars)
	if err != nil {
		return []remark{wrong(field, "", "%s", err)}
	}
	_, err = l.server.Query(ctx, expanded, l.at)
	switch {
	case errors.Is(err, prometheus.ErrNoData) && ofArms.MatchString(query):
		return []remark{doubtful(field, "", "the query speaks of pods or revisions, which are not known from files: that the server has its series was not checked")}
	case errors.Is(err, prometheus.ErrNoData):
		return []remark{wrong(field, "correct the query, or have its series scraped", "the query gives no data")}
	case err != nil:
		return []remark{wrong(field, "", "%s", err)}
	}
	return nil
}

// arms is how the two revisions are told apart, as far as it can be known from files.
type arms struct {
	label string
	// canary and stable match the label's values; nil where they are not known from files.
	canary, stable *regexp.Regexp
	// values are matched by those of either arm, and said tells a person what they are.
	values, said string
}

func armsOf(spec *v1alpha1.CompareArms, vars analysis.Variables, rollout *v1alpha1.Rollout) (arms, error) {
	a := arms{label: "pod", values: ".+", said: "a pod's name"}
	if spec != nil && spec.Label != "" {
		a.label = spec.Label
	}
	switch {
	case spec != nil && spec.Canary != "" && ofArms.MatchString(spec.Canary+spec.Stable):
		a.said = "a value"
		return a, nil
	case spec != nil && spec.Canary != "":
		canary, err := analysis.ExpandRegexp(spec.Canary, vars)
		if err != nil {
			return a, err
		}
		stable, err := analysis.ExpandRegexp(spec.Stable, vars)
		if err != nil {
			return a, err
		}
		a.canary, a.stable = regexp.MustCompile("^(?s:"+canary+")$"), regexp.MustCompile("^(?s:"+stable+")$") // ExpandRegexp has compiled them
		a.values, a.said = "(?:"+canary+")|(?:"+stable+")", fmt.Sprintf("the Service %s or %s", vars.Stable.Service, vars.Canary.Service)
	case rollout != nil:
		names := []string{regexp.QuoteMeta(rollout.Name)}
		if ref := rollout.Spec.WorkloadRef; ref != nil {
			names = append(names, regexp.QuoteMeta(ref.Name))
		}
		a.values, a.said = "(?:"+strings.Join(names, "|")+")-.+", "a pod of Rollout "+rollout.Name
	}
	return a, nil
}

// compare looks at the series of a compare metric whose preset was filled in.
func (l *live) compare(ctx context.Context, c *v1alpha1.Compare, vars analysis.Variables, rollout *v1alpha1.Rollout) []remark {
	a, err := armsOf(c.Arms, vars, rollout)
	if err != nil {
		return []remark{wrong("compare.arms", "", "%s", err)}
	}
	if c.Latency != nil {
		q, err := selectorOf(c.Latency.Histogram, vars)
		if err != nil {
			return []remark{wrong("compare.latency.histogram", "", "%s", err)}
		}
		name := analysis.Matcher{Label: "__name__", Op: "=~", Value: regexp.QuoteMeta(q.Name) + "(_bucket|_sum)?"}
		found, remarks := l.find(ctx, "compare.latency.histogram", q, analysis.Selector{Matchers: append([]analysis.Matcher{name}, q.Matchers...)}, a)
		if len(found) == 0 {
			return remarks
		}
		return append(remarks, histogramRemarks("compare.latency", q.Name, c.Latency.Unit, found)...)
	}
	if c.Gauge != nil {
		q, err := selectorOf(c.Gauge.Series, vars)
		if err != nil {
			return []remark{wrong("compare.gauge.series", "", "%s", err)}
		}
		_, remarks := l.find(ctx, "compare.gauge.series", q, q, a)
		return remarks
	}
	if c.Errors == nil { // restarts are counted from the pods themselves
		return nil
	}
	total, err := selectorOf(c.Errors.Total, vars)
	if err != nil {
		return []remark{wrong("compare.errors.total", "", "%s", err)}
	}
	bad, err := selectorOf(c.Errors.Bad, vars)
	if err != nil {
		return []remark{wrong("compare.errors.bad", "", "%s", err)}
	}
	found, remarks := l.find(ctx, "compare.errors.total", total, total, a)
	if len(found) == 0 {
		return remarks
	}
	remarks = append(remarks, counterRemarks("compare.errors.total", total.Name, found)...)
	return append(remarks, l.bad(ctx, bad, total, found, a)...)
}

// bad says whether the counter of bad requests can be what it is meant to be. That there is none yet is no fault.
func (l *live) bad(ctx context.Context, bad, total analysis.Selector, found []prometheus.Samples, a arms) []remark {
	const field = "compare.errors.bad"
	var matching []prometheus.Samples
	more, part := bad.Beyond(total)
	if part {
		match, err := analysis.Filter(more)
		if err != nil {
			return []remark{wrong(field, "", "%s", err)}
		}
		for _, s := range found {
			if match(s.Labels) {
				matching = append(matching, s)
			}
		}
	} else {
		var err error
		if matching, err = l.server.Samples(ctx, bad.With(analysis.Matcher{Label: a.label, Op: "=~", Value: a.values}).String(), l.at, lookBack); err != nil {
			return []remark{wrong(field, "", "%s", err)}
		}
	}
	switch {
	case len(matching) == 0 && part:
		missing, values := labelsOf(more, found)
		if missing != "" {
			return []remark{wrong(field, "correct the label's name", "no series of %s has the label %s: errors would never be seen", total.Name, missing)}
		}
		return []remark{doubtful(field, "", "no series matches %s so far, which is right if there were no errors: there is %s", bad, values)}
	case len(matching) == 0:
		return []remark{doubtful(field, "", "no series matches %s so far, which is right if there were no errors", bad)}
	case len(matching) == len(found) && part:
		return []remark{wrong(field, "narrow it to errors", "every request counts as bad: all series of %s match", total.Name)}
	}
	return counterRemarks(field, bad.Name, matching)
}

func selectorOf(text string, vars analysis.Variables) (analysis.Selector, error) {
	expanded, err := analysis.Expand(text, vars)
	if err != nil {
		return analysis.Selector{}, err
	}
	return analysis.ParseSelector(expanded)
}

// find gives the series of both arms, or says why there are none.
func (l *live) find(ctx context.Context, field string, named, q analysis.Selector, a arms) ([]prometheus.Samples, []remark) {
	found, err := l.server.Samples(ctx, q.With(analysis.Matcher{Label: a.label, Op: "=~", Value: a.values}).String(), l.at, lookBack)
	if err != nil {
		return nil, []remark{wrong(field, "", "%s", err)}
	}
	if len(found) > 0 {
		return found, apartRemarks(field, named, found, a)
	}
	all, err := l.server.Samples(ctx, q.String(), l.at, lookBack)
	if err != nil {
		return nil, []remark{wrong(field, "", "%s", err)}
	}
	return nil, []remark{missingRemark(field, named, all, a)}
}
