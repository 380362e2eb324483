package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (a *app) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "restart NAME",
		Short:             "Replace all stable pods, one at a time",
		Long:              "Replace all stable pods, one at a time and as PodDisruptionBudgets allow.\n\nIt sets spec.restartAt to now, which starts no attempt. Where Git declares the Rollout, a Sync may take the field out\nagain before all pods are replaced: set spec.restartAt in Git instead.",
		Example:           "  kubectl belay restart checkout",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRollouts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.restart(cmd.Context(), args[0]) },
	}
}

func (a *app) restart(ctx context.Context, name string) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	r, err := getRollout(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	name = r.Name
	now := time.Now().UTC().Format(time.RFC3339)
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"restartAt":%q}}`, now))
	if err := c.Patch(ctx, r, patch, client.FieldOwner("kubectl-belay")); err != nil {
		return fmt.Errorf("setting spec.restartAt of Rollout %s/%s: %w", namespace, name, err)
	}
	_, err = fmt.Fprintf(a.streams.Out, "pods of %s created before %s are replaced; watch it: kubectl belay status %s -w\n", name, now, name)
	return err
}
