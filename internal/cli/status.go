package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/belay-delivery/belay/internal/cli/view"
)

type statusOptions struct {
	output  string
	watch   bool
	timeout time.Duration
}

func (a *app) statusCommand() *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show what a Rollout, or sync/NAME a Sync, is doing, and why",
		Long: `Show a Rollout: its revisions, the attempt under way with step and weight, what it waits for, its pods and its
evidence.

Without --watch the exit code is 2 where the Rollout is degraded, else 0. With --watch it follows the Rollout until
nothing is under way: 0 where it is healthy or the attempt was promoted, 2 where the attempt failed or the Rollout is
degraded, 3 where --timeout is over.`,
		Example:           "  kubectl belay status checkout\n  kubectl belay status checkout -w --timeout 30m\n  kubectl belay status sync/checkout-prod",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRollouts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.status(cmd.Context(), args[0], o) },
	}
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Follow until nothing is under way: redraw on a terminal, else one line per change")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "With --watch: give up after this long, with exit code 3. 0 means never")
	outputFlag(cmd, &o.output, "json", "yaml")
	return cmd
}

func (a *app) status(ctx context.Context, name string, o *statusOptions) error {
	if rest, is := strings.CutPrefix(name, syncPrefix); is {
		return a.statusOfSync(ctx, rest, o)
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	name = strings.TrimPrefix(name, rolloutPrefix)
	if err := named("Rollout", rolloutPrefix, name); err != nil {
		return err
	}
	if o.watch {
		return a.follow(ctx, c, namespace, name, o)
	}
	objects, err := gather(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	v := view.Build(objects)
	if err := a.printView(v, o.output); err != nil {
		return err
	}
	if v.Health == view.Degraded {
		return &exitError{code: ExitDegraded}
	}
	return nil
}

func (a *app) printView(v view.View, format string) error {
	if format != "" {
		return printObject(a.streams.Out, format, v)
	}
	return printText(a.streams.Out, view.Render(v, a.style(), time.Now()))
}
