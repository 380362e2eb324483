package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/revision"
)

func (a *app) undoCommand() *cobra.Command {
	o := &decideOptions{action: v1alpha1.ActionUndo}
	cmd := &cobra.Command{
		Use:   "undo NAME",
		Short: "Go back from the stable revision to the one before it",
		Long: "Go back from the stable revision to the one that was promoted before it.\n\nWhere Git owns the Rollout (onFailure.revert), a Decision has the revert committed there, and the cluster follows. Elsewhere\n" +
			"the template of the earlier ReplicaSet is put back into the Rollout. Either way it goes through the steps of the strategy.\n\n" +
			"undo sync/NAME has a Sync go back to the bundle applied before, or to --to, from what is kept in the cluster: Git is not needed.\n" +
			"It is held there until resume sync/NAME, or until Git says the same.",
		Example:           "  kubectl belay undo checkout --reason \"customers complain\"\n  kubectl belay undo sync/shop-prod --to 3f1c9a2b",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRollouts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.undo(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "Why: kept in the Decision and in the commit")
	cmd.Flags().StringVar(&o.to, "to", "", "Of a Sync: the commit, or the digest of the bundle, to go back to. Default: the last one applied before that was not undone")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "Wait until the Decision was applied or refused")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "How long to wait")
	cmd.Flags().StringVar(&o.dryRun, "dry-run", "none", "none, client or server")
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	outputFlag(cmd, &o.output, "json", "yaml", "name")
	return cmd
}

func (a *app) undo(ctx context.Context, name string, o *decideOptions) error {
	if strings.HasPrefix(name, syncPrefix) {
		return a.decide(ctx, name, o)
	}
	if o.to != "" {
		return errors.New("--to goes with sync/NAME: a Rollout goes back to the revision promoted before")
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	r, err := getRollout(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	name = r.Name
	if err := undoable(r); err != nil {
		return err
	}
	if r.Spec.OnFailure.Revert != nil {
		return a.decide(ctx, name, o)
	}
	var sets appsv1.ReplicaSetList
	if err := c.List(ctx, &sets, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelRevision}); err != nil {
		return fmt.Errorf("listing ReplicaSets: %w", err)
	}
	back, template, err := earlier(r, sets.Items)
	if err != nil {
		return err
	}
	base := r.DeepCopy()
	r.Spec.Template = *template
	options := []client.PatchOption{client.FieldOwner("kubectl-belay")}
	suffix := ""
	switch o.dryRun {
	case "none":
	case "server":
		options, suffix = append(options, client.DryRunAll), " (server dry run)"
	case "client":
		return printText(a.streams.Out, fmt.Sprintf("rollout.%s/%s would go back from revision %s to %s (dry run)\n", v1alpha1.Group, name, r.Status.Stable.Revision, back))
	default:
		return fmt.Errorf("--dry-run=%s: use none, client or server", o.dryRun)
	}
	// Refused where somebody has changed the Rollout since it was read.
	if err := c.Patch(ctx, r, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), options...); err != nil {
		return fmt.Errorf("putting the template of revision %s back: %w", back, err)
	}
	return printText(a.streams.Out, fmt.Sprintf("rollout.%s/%s goes back from revision %s to %s%s; watch it: kubectl belay status %s -w\n",
		v1alpha1.Group, name, r.Status.Stable.Revision, back, suffix, name))
}

// undoable says why there is nothing to undo.
func undoable(r *v1alpha1.Rollout) error {
	switch {
	case r.Status.Attempt != nil:
		return fmt.Errorf("attempt %d of Rollout %s/%s is under way: kubectl belay abort %s takes it back", r.Status.Attempt.Number, r.Namespace, r.Name, r.Name)
	case r.Status.Stable == nil:
		return fmt.Errorf("Rollout %s/%s has no stable revision yet: there is nothing to go back from", r.Namespace, r.Name)
	case r.Spec.WorkloadRef != nil:
		return errors.New("the template is a Deployment's: change it there, or use kubectl rollout undo on it")
	}
	return nil
}

// earlier is the template of the last revision that was promoted before the stable one, from its ReplicaSet.
func earlier(r *v1alpha1.Rollout, sets []appsv1.ReplicaSet) (string, *corev1.PodTemplateSpec, error) {
	var candidates []string
	for _, record := range r.Status.History { // newest first
		if record.Outcome == v1alpha1.OutcomePromoted {
			candidates = append(candidates, record.Revision)
		}
	}
	if r.Status.Previous != nil {
		candidates = append(candidates, r.Status.Previous.Revision)
	}
	for _, wanted := range candidates {
		bad := slices.ContainsFunc(r.Status.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == wanted })
		if wanted == r.Status.Stable.Revision || bad {
			continue
		}
		for i := range sets {
			if sets[i].Labels[v1alpha1.LabelRevision] != wanted || !metav1.IsControlledBy(&sets[i], r) {
				continue
			}
			template := sets[i].Spec.Template.DeepCopy()
			delete(template.Labels, v1alpha1.LabelRevision)
			delete(template.Labels, v1alpha1.LabelRole)
			if hash, err := revision.Hash(template); err != nil || hash != wanted {
				return "", nil, fmt.Errorf("the ReplicaSet of revision %s no longer holds its template as it was (with spec.spread it has terms of Belay's): put the template back by hand", wanted)
			}
			return wanted, template, nil
		}
		return "", nil, fmt.Errorf("revision %s was promoted before, but its ReplicaSet is gone (spec.revisionHistoryLimit): put its template back by hand", wanted)
	}
	return "", nil, fmt.Errorf("no revision that was promoted before %s is known", r.Status.Stable.Revision)
}
