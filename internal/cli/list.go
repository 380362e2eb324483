package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

type listOptions struct {
	all    bool
	syncs  bool
	output string
}

func (a *app) listCommand() *cobra.Command {
	o := &listOptions{}
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "List Rollouts and what they wait for",
		Example:           "  kubectl belay list -A\n  kubectl belay list -n shop -o wide",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.list(cmd.Context(), o) },
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "List the Rollouts of all namespaces")
	cmd.Flags().BoolVar(&o.syncs, "syncs", false, "List Syncs instead of Rollouts")
	outputFlag(cmd, &o.output, "wide", "json", "yaml", "name")
	return cmd
}

func (a *app) list(ctx context.Context, o *listOptions) error {
	if o.syncs {
		return a.listSyncs(ctx, o)
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	var in []client.ListOption
	if !o.all {
		in = append(in, client.InNamespace(namespace))
	}
	rollouts := &v1alpha1.RolloutList{}
	if err := c.List(ctx, rollouts, in...); err != nil {
		return fmt.Errorf("listing Rollouts: %w", err)
	}
	slices.SortFunc(rollouts.Items, func(x, y v1alpha1.Rollout) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	views := view.List{APIVersion: view.APIVersion, Kind: view.KindRolloutList, Items: []view.View{}}
	for i := range rollouts.Items {
		views.Items = append(views.Items, view.Build(view.Objects{Rollout: &rollouts.Items[i]}))
	}
	return a.printList(views, o, namespace)
}

func (a *app) printList(views view.List, o *listOptions, namespace string) error {
	switch {
	case o.output == "json" || o.output == "yaml":
		return printObject(a.streams.Out, o.output, views)
	case o.output == "name":
		var out strings.Builder
		for _, v := range views.Items {
			fmt.Fprintf(&out, "rollout.%s/%s\n", v1alpha1.Group, v.Name)
		}
		return printText(a.streams.Out, out.String())
	case len(views.Items) == 0:
		where := "in namespace " + namespace
		if o.all {
			where = "in any namespace"
		}
		fmt.Fprintf(a.streams.ErrOut, "There is no Rollout %s.\n", where)
		return nil
	}
	return printText(a.streams.Out, a.style().Table(listRows(views.Items, o, time.Now())))
}

func listRows(views []view.View, o *listOptions, now time.Time) [][]view.Cell {
	header := []string{"NAME", "HEALTH", "PHASE", "STEP", "WEIGHT", "READY", "STABLE", "CANARY", "AGE"}
	if o.output == "wide" {
		header = append(header, "STABLE-COMMIT", "CANARY-COMMIT", "ATTEMPT")
	}
	header = append(header, "BLOCKED-BY")
	if o.all {
		header = append([]string{"NAMESPACE"}, header...)
	}
	rows := [][]view.Cell{nil}
	for _, h := range header {
		rows[0] = append(rows[0], view.Cell{Text: h, Tone: view.Faint})
	}
	for _, v := range views {
		rows = append(rows, listRow(v, o, now))
	}
	return rows
}

func listRow(v view.View, o *listOptions, now time.Time) []view.Cell {
	step, weight, canary, canaryCommit, number := "-", "-", "-", "-", "-"
	if a := v.Attempt; a != nil {
		step, weight = fmt.Sprintf("%d/%d", a.Step, a.Steps), fmt.Sprintf("%d/%d", a.ConfirmedWeight, a.TotalWeight)
		canary, canaryCommit, number = a.Revision, cmp.Or(view.ShortCommit(a.Commit), "-"), strconv.FormatInt(a.Number, 10)
	}
	stable, stableCommit := "-", "-"
	if v.Stable != nil {
		stable, stableCommit = v.Stable.Revision, cmp.Or(view.ShortCommit(v.Stable.Commit), "-")
	}
	cells := []view.Cell{
		{Text: v.Name, Tone: view.Strong}, {Text: string(v.Health), Tone: view.ToneOf(v.Health)}, {Text: cmp.Or(view.Clean(v.Phase), "-")},
		{Text: step}, {Text: weight}, {Text: fmt.Sprintf("%d/%d", v.Replicas.Ready, v.Replicas.Desired)}, {Text: stable}, {Text: canary},
		{Text: view.Age(v.Created, now)},
	}
	if o.output == "wide" {
		cells = append(cells, view.Cell{Text: stableCommit}, view.Cell{Text: canaryCommit}, view.Cell{Text: number})
	}
	cells = append(cells, view.Cell{Text: cmp.Or(view.Clean(v.BlockedBy), "-"), Tone: view.Warn})
	if o.all {
		cells = append([]view.Cell{{Text: v.Namespace}}, cells...)
	}
	return cells
}
