package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func (a *app) driftApproveCommand() *cobra.Command {
	var sync, reason string
	cmd := &cobra.Command{
		Use:   "approve KIND/NAME",
		Short: "Let a Sync with drift.mode RequireApproval correct an object",
		Long: "Let a Sync with drift.mode RequireApproval write again what Git declares of an object.\n\nIt makes a Decision about exactly what is reported: " +
			"if the object changes before it is corrected, another one is needed.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.driftApprove(cmd.Context(), args[0], sync, reason)
		},
	}
	cmd.Flags().StringVar(&sync, "sync", "", "The Sync that reports it, where several do")
	cmd.Flags().StringVar(&reason, "reason", "", "Why, for those who ask later")
	return cmd
}

func (a *app) driftApprove(ctx context.Context, object, sync, reason string) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	item, err := findDrift(ctx, c, namespace, object, sync)
	if err != nil {
		return err
	}
	if item.State != v1alpha1.DriftAwaitingApproval {
		return fmt.Errorf("%s does not wait for an approval: its state is %s", object, item.State)
	}
	user, err := whoami(ctx, c)
	if err != nil {
		return err
	}
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: strings.TrimRight(item.Sync[:min(len(item.Sync), 50)], "-.") + "-drift-"}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: item.Sync}, Action: v1alpha1.ActionApprove, Plan: item.Digest, Reason: reason, Actor: user}
	if err := c.Create(ctx, d); err != nil {
		return fmt.Errorf("making the Decision: %w", err)
	}
	return printText(a.streams.Out, fmt.Sprintf("Decision %s: Sync %s may correct %s\n", d.Name, item.Sync, object))
}
