package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/yaml"
	kyaml "sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
	"github.com/belay-delivery/belay/internal/lint"
)

type planOptions struct {
	files      []string
	rps        float64
	errorRatio float64
	dispersion float64
	output     string
	prometheus string
	// ratioGiven: --error-ratio was given.
	ratioGiven bool
}

// planned is what `plan` prints with -o json.
type planned struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Rollout    string      `json:"rollout"`
	Steps      []planStep  `json:"steps"`
	Total      string      `json:"total,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"`
	Assumed    planAssumed `json:"assumed"`
}

type planAssumed struct {
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	ErrorRatio        float64 `json:"errorRatio"`
	Dispersion        float64 `json:"dispersion"`
	// From says where the traffic was observed; empty where it was given.
	From string `json:"from,omitempty"`
}

// planStep has canary requests and times until a proof; empty times mean never.
type planStep struct {
	Name       string  `json:"name"`
	Weight     int32   `json:"weight"`
	NextWeight int32   `json:"nextWeight"`
	Excess     float64 `json:"excessRuledOut"`
	Requests   int64   `json:"canaryRequests,omitempty"`
	Takes      string  `json:"takes,omitempty"`
	Halts1     string  `json:"halts1PointMoreErrors,omitempty"`
	Halts5     string  `json:"halts5PointsMoreErrors,omitempty"`
}

func (a *app) planCommand() *cobra.Command {
	o := &planOptions{}
	cmd := &cobra.Command{
		Use:   "plan -f FILE|DIR|- [--rps N | --prometheus URL]",
		Short: "Tell how long each step takes to be proven at a given or observed traffic",
		Long: `Tell, for each Rollout in files and each of its steps, how many requests the canary needs and how long that takes until compare
metrics prove that the next weight is safe, and until a revision with 1 or 5 percentage points more errors is halted. With
--rps no cluster is needed. With --prometheus the traffic and stable's share of errors are those of the last 20 minutes, from the
series of the Rollout's first errors metric. With neither they are those that the manager observed when the Rollout's last attempt
began. Times are averages of good and bad luck; latency can take longer.`,
		Example: `  kubectl belay plan -f deploy/ --rps 100 --error-ratio 0.002
  kubectl belay plan -f deploy/ --prometheus http://localhost:9090
  kubectl belay plan -f deploy/ -n shop`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.ratioGiven = cmd.Flags().Changed("error-ratio")
			if cmd.Flags().Changed("rps") && !(o.rps > 0) || math.IsInf(o.rps, 0) {
				return errors.New("--rps must be above 0: the requests per second that the workload gets")
			}
			return a.plan(cmd.Context(), o)
		},
	}
	cmd.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "File, folder, or - for standard input; may be given several times")
	cmd.Flags().Float64Var(&o.rps, "rps", 0, "Requests per second to both revisions together; unset: as observed")
	cmd.Flags().StringVar(&o.prometheus, "prometheus", "", "Prometheus server that has observed the traffic, e.g. http://localhost:9090")
	cmd.Flags().Float64Var(&o.errorRatio, "error-ratio", 0.002, "Share of bad requests of the stable revision, above 0 and below 1")
	cmd.Flags().Float64Var(&o.dispersion, "dispersion", 1.3, "How much more stable's pods differ than independent requests would, 1 or more")
	outputFlag(cmd, &o.output, "json")
	return cmd
}

func (o *planOptions) check() error {
	switch {
	case len(o.files) == 0:
		return errors.New("nothing to plan: give files with -f")
	case o.rps > 0 && o.prometheus != "":
		return errors.New("give --rps or --prometheus, not both")
	case !(o.errorRatio > 0 && o.errorRatio < 1):
		return fmt.Errorf("--error-ratio is %g: it must be above 0 and below 1, such as 0.002", o.errorRatio)
	case !(o.dispersion >= 1):
		return fmt.Errorf("--dispersion is %g: it must be 1 or more", o.dispersion)
	}
	return nil
}

func (a *app) plan(ctx context.Context, o *planOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	sources, err := lint.ReadSources(o.files, a.streams.In)
	if err != nil {
		return err
	}
	rollouts, templates, err := readForPlan(sources)
	if err != nil {
		return err
	}
	if len(rollouts) == 0 {
		return errors.New("no Rollout is in these files")
	}
	for i := range rollouts {
		seen, err := a.observe(ctx, o, &rollouts[i], templates)
		if err != nil {
			return fmt.Errorf("Rollout %s: %w", rollouts[i].Name, err)
		}
		p := o.planFor(&rollouts[i], templates, seen)
		if o.output != "" {
			err = printObject(a.streams.Out, o.output, p)
		} else {
			err = printText(a.streams.Out, p.text())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readForPlan takes the Rollouts and AnalysisTemplates out of files; whether they are valid is lint's to say.
func readForPlan(sources []lint.Source) (rollouts []v1alpha1.Rollout, templates []v1alpha1.AnalysisTemplate, err error) {
	for _, s := range sources {
		reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(s.Content)))
		for {
			doc, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, nil, fmt.Errorf("reading %s: %w", s.Name, err)
			}
			var kind struct{ APIVersion, Kind string }
			if err := kyaml.Unmarshal(doc, &kind); err != nil {
				return nil, nil, fmt.Errorf("reading %s: %w", s.Name, err)
			}
			if kind.APIVersion != v1alpha1.GroupVersion.String() {
				continue
			}
			switch kind.Kind {
			case "Rollout":
				rollouts = append(rollouts, v1alpha1.Rollout{})
				err = kyaml.Unmarshal(doc, &rollouts[len(rollouts)-1])
			case "AnalysisTemplate", "ClusterAnalysisTemplate":
				templates = append(templates, v1alpha1.AnalysisTemplate{})
				err = kyaml.Unmarshal(doc, &templates[len(templates)-1])
			}
			if err != nil {
				return nil, nil, fmt.Errorf("reading %s %s: %w: `kubectl belay lint` says more", s.Name, kind.Kind, err)
			}
		}
	}
	return rollouts, templates, nil
}

// planFor plans one Rollout. The margins are those of its template's errors metric, where one is among the files.
func (o *planOptions) planFor(r *v1alpha1.Rollout, templates []v1alpha1.AnalysisTemplate, seen observed) planned {
	p := planned{APIVersion: view.APIVersion, Kind: "RolloutPlan", Rollout: r.Name,
		Assumed: planAssumed{RequestsPerSecond: seen.rate, ErrorRatio: seen.bad, Dispersion: o.dispersion, From: seen.from}}
	cfg, found := errorsMetric(r, templates)
	if !found {
		p.Warnings = append(p.Warnings, "no compare metric of errors of this Rollout is in these files: the defaults are assumed")
	}
	if err := analysis.Demand(&cfg, r.Spec.Evidence); err != nil {
		p.Warnings = append(p.Warnings, "spec."+err.Error()+": the default is assumed")
	}
	times := analysis.Forecast(&r.Spec, cfg, analysis.Assumed{RequestsPerSecond: seen.rate, BadRatio: seen.bad, Dispersion: o.dispersion})
	sum, known, steps := time.Duration(0), true, r.Spec.Steps()
	for i := range steps {
		k := slices.IndexFunc(times, func(t analysis.StepTimes) bool { return t.Index == i })
		if k < 0 {
			p.Steps = append(p.Steps, planStep{Name: cmp.Or(steps[i].Name, fmt.Sprintf("step-%d", i+1))})
			continue
		}
		t := times[k]
		s := planStep{Name: t.Name, Weight: t.Weight, NextWeight: t.Next, Excess: t.Excess, Takes: analysis.ShortTime(t.Takes),
			Halts1: analysis.ShortTime(t.Halts1), Halts5: analysis.ShortTime(t.Halts5)}
		if !math.IsInf(t.Requests, 0) {
			s.Requests = int64(math.Ceil(t.Requests))
		}
		sum, known = sum+max(t.Takes, steps[i].Hold.Or(0)), known && s.Takes != ""
		if why := t.Late(); why != "" {
			p.Warnings = append(p.Warnings, why)
		}
		p.Steps = append(p.Steps, s)
	}
	if known {
		p.Total = analysis.ShortTime(sum)
	}
	return p
}

func errorsMetric(r *v1alpha1.Rollout, templates []v1alpha1.AnalysisTemplate) (compare.Config, bool) {
	if r.Spec.Analysis != nil {
		for _, ref := range r.Spec.Analysis.Templates {
			for _, t := range templates {
				for _, m := range t.Spec.Metrics {
					if t.Name != ref.Name || t.TemplateKind() != ref.Kind.Or() || m.Compare == nil || m.Compare.Errors == nil {
						continue
					}
					if cfg, _, err := analysis.CompareConfig([]v1alpha1.Metric{m}); err == nil {
						return cfg, true
					}
				}
			}
		}
	}
	return compare.Config{Metrics: []compare.Metric{{Name: "errors"}}}, false
}

func (p *planned) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Rollout %s at %g requests per second, %.3g %% of stable's bad%s:\n\n", p.Rollout, p.Assumed.RequestsPerSecond, 100*p.Assumed.ErrorRatio, from(p.Assumed.From))
	fmt.Fprintf(&out, "%-16s %7s %10s %16s %12s %12s %12s\n", "STEP", "WEIGHT", "RULES OUT", "CANARY REQUESTS", "TAKES", "HALTS +1 PP", "HALTS +5 PP")
	for _, s := range p.Steps {
		if s.Excess == 0 {
			fmt.Fprintf(&out, "%-16s %7d %10s %16s %12s %12s %12s\n", s.Name, s.Weight, "-", "-", "-", "-", "-")
			continue
		}
		fmt.Fprintf(&out, "%-16s %7d %10s %16d %12s %12s %12s\n", s.Name, s.Weight, fmt.Sprintf("+%.3g pp", 100*s.Excess), s.Requests, orNever(s.Takes), orNever(s.Halts1), orNever(s.Halts5))
	}
	if p.Total != "" {
		fmt.Fprintf(&out, "\nA good revision takes about %s, beside the time that pods, gateways and people take.\n", p.Total)
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&out, "\nwarning: %s\n", w)
	}
	return out.String()
}

func from(source string) string {
	if source == "" {
		return ""
	}
	return ", " + source
}

func orNever(s string) string {
	if s == "" {
		return "never"
	}
	return s
}
