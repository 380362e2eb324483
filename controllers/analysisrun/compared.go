package analysisrun

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/analysis/reading"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// reference is how much of stable's past is looked at before a run.
	reference = 20 * time.Minute
	// scrapeLag is how long after a block's end its last samples are waited for.
	scrapeLag = 5 * time.Second
	// maxSpan is the longest span of time that one query asks for.
	maxSpan = 5 * time.Minute
	// overlap is asked for again: samples that came late.
	overlap = 30 * time.Second
)

// comparisons are the judgements of the runs with compare metrics. Nothing in them is lost with the process: they are made
// again from the provider's samples.
type comparisons struct {
	mu    sync.Mutex
	byRun map[types.UID]*comparison
}

func (c *comparisons) get(run *v1alpha1.AnalysisRun) (*comparison, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byRun[run.UID]; known != nil {
		return known, nil
	}
	cfg, places, err := analysis.CompareConfig(run.Spec.Metrics)
	if err == nil {
		err = analysis.Demand(&cfg, run.Spec.Evidence)
	}
	if err != nil || len(places) == 0 {
		return nil, err
	}
	started := run.Status.StartedAt.Time
	fresh := &comparison{name: client.ObjectKeyFromObject(run), places: places, engine: compare.New(cfg), started: started,
		builder: compare.NewBuilder(cfg.Metrics, started, analysis.CompareInterval), before: analysis.NewBefore(cfg)}
	for range places {
		fresh.upTo = append(fresh.upTo, started.Add(-reference).Truncate(scrapeLag))
	}
	if c.byRun == nil {
		c.byRun = map[types.UID]*comparison{}
	}
	c.byRun[run.UID] = fresh
	return fresh, nil
}

// forget lets go of a run that ended.
func (c *comparisons) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byRun, uid)
}

// sweep lets go of a run that is no more.
func (c *comparisons) sweep(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid, known := range c.byRun {
		if known.name == name {
			delete(c.byRun, uid)
		}
	}
}

// addComparisons looks at the compare metrics of a run, where that is due. A run is compared once its status says when it
// started: after a restart the blocks are the same.
//
// It gives the pods that the status must remember with what was concluded; nil where nothing was looked at.
func (r *Reconciler) addComparisons(ctx context.Context, run *v1alpha1.AnalysisRun, outcomes map[string]analysis.Outcome) ([]v1alpha1.RunPod, error) {
	if over(run) {
		r.comparisons.forget(run.UID)
		return nil, nil
	}
	if run.Status.StartedAt == nil {
		return nil, nil
	}
	now := r.Clock.Now()
	c, err := r.comparisons.get(run)
	if err != nil {
		for _, m := range run.Spec.Metrics {
			if m.Compare != nil {
				outcomes[m.Name] = analysis.Outcome{At: now, Err: err, Reason: analysis.ReasonBadQuery}
			}
		}
		return nil, nil
	}
	if c == nil {
		return nil, nil
	}
	if due, _ := c.due(now); !due {
		return nil, nil
	}
	pods, err := r.census(ctx, run, c.started, now)
	if err != nil {
		return nil, err
	}
	compared, err := r.compare(ctx, run, c, pods)
	for name, o := range compared {
		outcomes[name] = o
	}
	return remembered(pods), err
}

// nextComparison is when the next look at the compare metrics is due; zero when there is none.
func (r *Reconciler) nextComparison(run *v1alpha1.AnalysisRun, now time.Time) time.Time {
	compares := slices.ContainsFunc(run.Spec.Metrics, func(m v1alpha1.Metric) bool { return m.Compare != nil })
	if over(run) || !compares {
		return time.Time{}
	}
	if run.Status.StartedAt == nil {
		return now
	}
	c, err := r.comparisons.get(run)
	if err != nil || c == nil {
		return time.Time{}
	}
	_, next := c.due(now)
	return next
}

func over(run *v1alpha1.AnalysisRun) bool {
	return run.Status.FinishedAt != nil || run.Spec.State == v1alpha1.RunStopped
}

// comparison is the judgement of one run. A run is reconciled by one worker at a time.
type comparison struct {
	name    types.NamespacedName
	places  []int // of the compare metrics among the run's
	engine  *compare.Engine
	builder *compare.Builder
	started time.Time
	// upTo is until when each compare metric's samples were read.
	upTo []time.Time
	// told is the last step that the engine was told of; nil before.
	told *v1alpha1.RunStep
	// before is what stable did before the run.
	before analysis.Before
	// ahead is by how much the provider's clock was last seen to be ahead.
	ahead time.Duration
	// looked is when it was last looked.
	looked time.Time
}

// due says whether a look is due, and when the next one is: shortly after the end of each block.
func (c *comparison) due(now time.Time) (bool, time.Time) {
	next := c.started.Add(analysis.CompareInterval + scrapeLag)
	if !c.looked.IsZero() {
		passed := c.looked.Add(-scrapeLag).Sub(c.started)
		next = c.started.Add((passed/analysis.CompareInterval+1)*analysis.CompareInterval + scrapeLag)
		if passed < 0 {
			next = c.started.Add(analysis.CompareInterval + scrapeLag)
		}
	}
	return !now.Before(next) || c.looked.IsZero() || c.looked.After(now), next
}

// compare looks at the samples that came since the last look, and gives an outcome for each compare metric.
func (r *Reconciler) compare(ctx context.Context, run *v1alpha1.AnalysisRun, c *comparison, known []v1alpha1.RunPod) (map[string]analysis.Outcome, error) {
	now, pods := r.Clock.Now(), counted(known, c.started)
	vars, err := r.variables(ctx, run)
	if err != nil {
		return nil, err
	}
	c.looked = now
	outcomes := map[string]analysis.Outcome{}
	failed := false
	for i, place := range c.places {
		metric := run.Spec.Metrics[place]
		if metric.Compare.Restarts != nil { // the pods are known
			c.builder.Begin()
			continue
		}
		o := analysis.Outcome{At: now, Done: now}
		o.Reason, o.Err = r.read(ctx, run, c, i, vars, pods, now)
		o.Done = r.Clock.Now()
		if o.Err != nil {
			failed = true
			outcomes[metric.Name] = o
		}
	}
	if failed { // blocks hold all metrics: they wait for the one that could not be asked
		return outcomes, nil
	}
	c.judge(run, known, now)
	for i, report := range c.engine.Report() {
		o := analysis.Outcome{At: c.engine.At(), Done: r.Clock.Now(), Step: c.told, Dwelt: c.engine.Dwelt(), Traffic: c.before.Traffic()}
		if !c.engine.At().IsZero() {
			o.Comparison = &report
		} else {
			o.At = now
		}
		outcomes[run.Spec.Metrics[c.places[i]].Name] = o
	}
	return outcomes, nil
}

// judge closes the blocks whose samples are there, tells the engine of steps where they begin, and gives it the blocks.
func (c *comparison) judge(run *v1alpha1.AnalysisRun, known []v1alpha1.RunPod, now time.Time) {
	for _, b := range c.builder.Close(now.Add(-scrapeLag)) {
		for i, place := range c.places {
			if want := run.Spec.Metrics[place].Compare.Restarts; want != nil {
				b.Metrics[i] = restarts(known, want.Reason, b, c.started)
			}
		}
		if b.Start.Before(c.started) {
			c.engine.Reference(b)
			c.before.Add(b)
			continue
		}
		for _, s := range c.untold(run.Spec.Steps) {
			if s.Since.After(b.Start) {
				break
			}
			total := float64(max(1, s.TotalWeight))
			c.engine.StepAt(b.Start, float64(s.Weight)/total, float64(s.NextWeight)/total)
			c.told = &s
		}
		c.engine.Add(b)
	}
}

// untold are the steps after the one that the engine was told of last. A run forgets its oldest steps.
func (c *comparison) untold(steps []v1alpha1.RunStep) []v1alpha1.RunStep {
	if c.told == nil {
		return steps
	}
	for i := len(steps) - 1; i >= 0; i-- {
		if analysis.SameStep(&steps[i], c.told) {
			return steps[i+1:]
		}
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s v1alpha1.RunStep) bool { return !s.Since.After(c.told.Since.Time) })
}

// read asks for the samples of one compare metric since the last look, and gives them to the builder.
func (r *Reconciler) read(ctx context.Context, run *v1alpha1.AnalysisRun, c *comparison, i int, vars analysis.Variables, pods []compare.Pod, now time.Time) (string, error) {
	spec := run.Spec.Metrics[c.places[i]].Compare
	if run.Spec.Arms == nil {
		return analysis.ReasonBadQuery, errors.New("the run has no arms to compare: spec.arms is needed")
	}
	q, err := reading.New(spec, reading.Arms{Variables: vars, Pods: pods, Started: c.started}, i)
	if err != nil {
		return analysis.ReasonBadQuery, err
	}
	sampler, reason, err := r.sampler(ctx, run.Namespace, spec.Prometheus)
	if err != nil {
		return reason, err
	}
	c.builder.Watch(q.Pods()...)
	now = now.Truncate(scrapeLag) // blocks that are closed end before; runs that look within these seconds ask the same, and share the answer
	for {
		from := c.upTo[i]
		until := from.Add(maxSpan)
		if until.After(now) {
			until = now
		}
		sent := r.Clock.Now()
		series, err := q.Ask(ctx, sampler, until, until.Sub(from)+overlap)
		queryDuration.Observe(r.Clock.Now().Sub(sent).Seconds())
		if err != nil {
			return reasonOf(err), err
		}
		c.tellSkew(ctx, sampler)
		if watch, ok := q.Backends(series); ok {
			c.builder.Watch(watch...)
		}
		c.builder.Add(series)
		c.upTo[i] = until
		if !until.Before(now) {
			return "", nil
		}
	}
}

// tellSkew logs how much the clock of a run's Prometheus differs from ours, when that changes.
func (c *comparison) tellSkew(ctx context.Context, sampler prometheus.Sampler) {
	server, ok := sampler.(interface{ Ahead() time.Duration })
	if !ok || server.Ahead() == c.ahead {
		return
	}
	c.ahead = server.Ahead()
	log.FromContext(ctx).Info("The clock of Prometheus differs from ours, and is allowed for", "ahead", c.ahead.String())
}

// sampler gives the means to ask a compare metric's server.
func (r *Reconciler) sampler(ctx context.Context, namespace string, server *v1alpha1.PrometheusServer) (prometheus.Sampler, string, error) {
	m := v1alpha1.Metric{Threshold: v1alpha1.Threshold{Prometheus: v1alpha1.PrometheusQuery{Query: "x"}}}
	secrets := map[string]secretData{}
	if server != nil {
		m.Threshold.Prometheus = v1alpha1.PrometheusQuery{Query: "x", Address: server.Address, SecretRef: server.SecretRef, Headers: server.Headers, Timeout: server.Timeout}
		if ref := server.SecretRef; ref != nil {
			secrets[ref.Name] = r.readData(ctx, namespace, ref.Name)
		}
	}
	q := r.pose(m, analysis.Variables{}, secrets)
	if q.err != nil {
		return nil, q.reason, q.err
	}
	querier, err := r.NewQuerier(q.config)
	if err != nil {
		return nil, reasonOf(err), err
	}
	sampler, ok := querier.(prometheus.Sampler)
	if !ok {
		return nil, analysis.ReasonProviderError, errors.New("the provider cannot be asked for raw samples")
	}
	return sampler, "", nil
}
