package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	crd "github.com/belay-delivery/belay/config/crd"
	"github.com/belay-delivery/belay/internal/lint"
)

type lintOptions struct {
	files  []string
	strict bool
	output string
	server serverOptions
}

func (a *app) lintCommand() *cobra.Command {
	o := &lintOptions{}
	cmd := &cobra.Command{
		Use:   "lint -f FILE|DIR|-",
		Short: "Check Belay's objects in files, without a cluster",
		Long: `Check Belay's objects in files with the API server's own rules, and what spans several objects: selectors and labels,
Services and routes, templates and their arguments, repositories. No cluster is needed. Each line says
file:line: kind/name: field: what is wrong; what would be right. The exit code is 1 where there is an error.

With --prometheus, the server is asked about each compare and threshold metric: whether it has the series, whether they tell the
two revisions apart, whether counters and histograms are what they are taken for, and whether there is traffic.`,
		Example:           "  kubectl belay lint -f deploy/\n  kustomize build . | kubectl belay lint -f -\n  kubectl belay lint -f deploy/ --prometheus http://localhost:9090",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.lint(cmd.Context(), o) },
	}
	cmd.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "File, folder, or - for standard input; may be given several times")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "Warnings fail too")
	o.server.addFlags(cmd.Flags())
	outputFlag(cmd, &o.output, "json")
	return cmd
}

func (a *app) lint(ctx context.Context, o *lintOptions) error {
	if len(o.files) == 0 {
		return errors.New("nothing to check: give files with -f")
	}
	schemas, err := lint.LoadSchemas(crd.Files)
	if err != nil {
		return fmt.Errorf("loading schemas: %w", err)
	}
	sources, err := lint.ReadSources(o.files, a.streams.In)
	if err != nil {
		return err
	}
	report, err := a.lintReport(ctx, o, schemas, sources)
	if err != nil {
		return err
	}
	if err := a.printReport(report, o); err != nil {
		return err
	}
	if report.Errors > 0 || o.strict && report.Warnings > 0 {
		return &exitError{code: ExitError}
	}
	return nil
}

func (a *app) lintReport(ctx context.Context, o *lintOptions, schemas *lint.Schemas, sources []lint.Source) (lint.Report, error) {
	server, err := o.server.client()
	if err != nil || server == nil {
		if err != nil {
			return lint.Report{}, err
		}
		return lint.Run(ctx, schemas, sources)
	}
	defer server.Close()
	report, err := lint.RunLive(ctx, schemas, sources, server, time.Now().Truncate(time.Second))
	if ahead := server.Ahead(); ahead != 0 {
		fmt.Fprintf(a.streams.ErrOut, "the clock of Prometheus differs from this machine's by %s\n", ahead)
	}
	return report, err
}

func (a *app) printReport(report lint.Report, o *lintOptions) error {
	if o.output != "" {
		return printObject(a.streams.Out, o.output, report)
	}
	var out strings.Builder
	for _, f := range report.Findings {
		out.WriteString(f.String() + "\n")
	}
	fmt.Fprintf(a.streams.ErrOut, "%d objects in %d files: %d errors, %d warnings\n", report.Checked, report.Files, report.Errors, report.Warnings)
	return printText(a.streams.Out, out.String())
}
