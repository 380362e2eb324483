package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
	"github.com/belay-delivery/belay/internal/revision"
)

// maxGenerateName leaves room for what the API server adds to generateName.
const maxGenerateName = 57

type decideOptions struct {
	action   v1alpha1.DecisionAction
	full     bool
	revision string
	to       string
	reason   string
	wait     bool
	timeout  time.Duration
	dryRun   string
	output   string
}

// decisionCommands are the commands that write a Decision.
func (a *app) decisionCommands() []*cobra.Command {
	promote := &decideOptions{action: v1alpha1.ActionPromote}
	retry := &decideOptions{action: v1alpha1.ActionRetry}
	cmds := []*cobra.Command{
		a.decisionCommand(promote, "promote", "Leave the current step, whatever its gates say"),
		a.decisionCommand(&decideOptions{action: v1alpha1.ActionApprove}, "approve", "Open the approval gate of the current step"),
		a.decisionCommand(&decideOptions{action: v1alpha1.ActionReject}, "reject", "Refuse the new revision: take the traffic back"),
		a.decisionCommand(&decideOptions{action: v1alpha1.ActionAbort}, "abort", "Call the attempt off: take the traffic back"),
		a.decisionCommand(&decideOptions{action: v1alpha1.ActionPause}, "pause", "Take no step forward until resumed"),
		a.decisionCommand(&decideOptions{action: v1alpha1.ActionResume}, "resume", "Go on after a pause"),
		a.decisionCommand(retry, "retry", "Take a revision out of quarantine, so that it is tried again"),
	}
	cmds[0].Flags().BoolVar(&promote.full, "full", false, "Leave out all further steps and promote at once")
	cmds[6].Flags().StringVar(&retry.revision, "revision", "", "Revision to retry. Default: the one that the spec asks for, or the only one in quarantine")
	_ = cmds[6].RegisterFlagCompletionFunc("revision", a.completeQuarantine)
	return cmds
}

func (a *app) decisionCommand(o *decideOptions, name, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               name + " NAME",
		Short:             short,
		Long:              short + ".\n\nIt writes a Decision, which keeps who asked for it and why, and waits for what comes of it: exit code 0 where it was\napplied, 1 where it was refused, 3 where nothing came of it in time.",
		Example:           fmt.Sprintf("  kubectl belay %s checkout --reason \"looked at the dashboards\"", name),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRollouts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.decide(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "Why: kept in the Decision, for people who ask later")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "Wait until the Decision was applied or refused")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "How long to wait")
	cmd.Flags().StringVar(&o.dryRun, "dry-run", "none", "none, client (print the Decision) or server (let the API server check it too, without storing it)")
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	outputFlag(cmd, &o.output, "json", "yaml", "name")
	return cmd
}

func (a *app) decide(ctx context.Context, name string, o *decideOptions) error {
	if o.dryRun != "none" && o.dryRun != "client" && o.dryRun != "server" {
		return fmt.Errorf("--dry-run=%s: use none, client or server", o.dryRun)
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	d, err := decisionAbout(ctx, c, namespace, name, o)
	if err != nil {
		return err
	}
	if d.Spec.Actor, err = whoami(ctx, c); err != nil {
		return err
	}
	if o.dryRun == "client" {
		return a.printDecision(d, o, "would be created (dry run)")
	}
	var create []client.CreateOption
	if o.dryRun == "server" {
		create = append(create, client.DryRunAll)
	}
	if err := c.Create(ctx, d, create...); err != nil {
		return fmt.Errorf("creating Decision: %w", err)
	}
	switch {
	case o.dryRun == "server":
		return a.printDecision(d, o, "would be created (server dry run)")
	case !o.wait:
		return a.printDecision(d, o, "created")
	}
	return a.awaitResult(ctx, c, d, o)
}

// compose makes the Decision that o asks for, about the attempt, step and revision as they are now.
func compose(r *v1alpha1.Rollout, o *decideOptions) (*v1alpha1.Decision, error) {
	action := o.action
	if o.full {
		action = v1alpha1.ActionPromoteFull
	}
	prefix := r.Name + "-" + strings.ToLower(string(action))
	d := &v1alpha1.Decision{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Decision"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, GenerateName: strings.TrimRight(prefix[:min(len(prefix), maxGenerateName)], "-.") + "-"},
		Spec:       v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Rollout", Name: r.Name}, Action: action, Reason: o.reason},
	}
	if action == v1alpha1.ActionUndo {
		d.Spec.Revision = r.Status.Stable.Revision
		return d, nil
	}
	if action == v1alpha1.ActionRetry {
		rev, err := toRetry(r, o.revision)
		d.Spec.Revision = rev
		return d, err
	}
	a := r.Status.Attempt
	if a == nil {
		return nil, fmt.Errorf("Rollout %s/%s has no attempt under way: there is nothing to %s%s", r.Namespace, r.Name, verb(o.action), hint(r, o.action))
	}
	d.Spec.Attempt = new(a.Number)
	if action == v1alpha1.ActionPromote || action == v1alpha1.ActionApprove {
		d.Spec.Step = new(a.Step)
	}
	return d, nil
}

func verb(action v1alpha1.DecisionAction) string { return strings.ToLower(string(action)) }

func hint(r *v1alpha1.Rollout, action v1alpha1.DecisionAction) string {
	switch {
	case action == v1alpha1.ActionPause:
		return " (to hold the next attempt, set spec.paused)"
	case action == v1alpha1.ActionResume && r.Spec.Paused:
		return " (spec.paused is set: unset it in Git)"
	case len(r.Status.Quarantine) > 0:
		return fmt.Sprintf(" (revision %s is in quarantine: kubectl belay retry %s)", r.Status.Quarantine[0].Revision, r.Name)
	}
	return ""
}

// toRetry is the quarantined revision that is meant.
func toRetry(r *v1alpha1.Rollout, asked string) (string, error) {
	var known []string
	for _, q := range r.Status.Quarantine {
		known = append(known, q.Revision)
	}
	if asked == "" {
		if wanted, err := revision.Hash(&r.Spec.Template); err == nil {
			asked = wanted
		}
		if len(known) == 1 {
			return known[0], nil
		}
	}
	for _, k := range known {
		if k == asked {
			return k, nil
		}
	}
	if len(known) == 0 {
		return "", fmt.Errorf("Rollout %s/%s has no revision in quarantine: there is nothing to retry", r.Namespace, r.Name)
	}
	return "", fmt.Errorf("revision %s of Rollout %s/%s is not in quarantine: use --revision with one of %s", asked, r.Namespace, r.Name, strings.Join(known, ", "))
}

// whoami is the user name that the API server knows the caller by.
func whoami(ctx context.Context, c client.Client) (string, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		return "", fmt.Errorf("asking the API server for your user name: %w", err)
	}
	if review.Status.UserInfo.Username == "" {
		return "", errors.New("asking the API server for your user name: it gave none")
	}
	return review.Status.UserInfo.Username, nil
}

// awaitResult waits until the controller has said what came of d.
func (a *app) awaitResult(ctx context.Context, c client.WithWatch, d *v1alpha1.Decision, o *decideOptions) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, os.ErrDeadlineExceeded)
	defer cancel()
	done, err := watchDecision(ctx, c, d)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &exitError{code: ExitTimeout, err: fmt.Errorf("Decision %s was created, but nothing came of it in %s (is the controller running?): kubectl get decision %s -n %s", d.Name, o.timeout, d.Name, d.Namespace)}
	case err != nil:
		return fmt.Errorf("waiting for Decision %s: %w", d.Name, err)
	}
	text := string(done.Status.Result)
	if done.Status.Message != "" {
		text += ": " + view.Clean(done.Status.Message)
	}
	if done.Status.Result != v1alpha1.DecisionRefused {
		return a.printDecision(done, o, text)
	}
	if o.output != "" {
		if err := a.printDecision(done, o, text); err != nil {
			return err
		}
	}
	return fmt.Errorf("Decision %s was refused: %s", done.Name, view.Clean(done.Status.Message))
}

// watchDecision reads d whenever a watch says that it changed, until it has a result.
func watchDecision(ctx context.Context, c client.WithWatch, d *v1alpha1.Decision) (*v1alpha1.Decision, error) {
	changed := make(chan struct{}, 1)
	read := reading{empty: func() client.ObjectList { return &v1alpha1.DecisionList{} },
		selection: []client.ListOption{client.InNamespace(d.Namespace), client.MatchingFields{"metadata.name": d.Name}}}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go rewatch(ctx, c, read, changed)
	for {
		found := &v1alpha1.Decision{}
		err := c.Get(ctx, client.ObjectKeyFromObject(d), found)
		switch {
		case err == nil && found.Status.Result != "":
			found.TypeMeta = d.TypeMeta
			return found, nil
		case err != nil && ctx.Err() == nil && client.IgnoreNotFound(err) == nil:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		}
	}
}

func (a *app) printDecision(d *v1alpha1.Decision, o *decideOptions, text string) error {
	name := d.Name
	if name == "" {
		name = d.GenerateName
	}
	switch {
	case o.output == "name":
		return printText(a.streams.Out, fmt.Sprintf("decision.%s/%s\n", v1alpha1.Group, name))
	case o.output != "":
		return printObject(a.streams.Out, o.output, d)
	case o.dryRun == "client" || o.dryRun == "server":
		fmt.Fprintf(a.streams.ErrOut, "decision.%s/%s %s\n", v1alpha1.Group, name, text)
		return printObject(a.streams.Out, "yaml", d)
	}
	return printText(a.streams.Out, fmt.Sprintf("decision.%s/%s: %s\n", v1alpha1.Group, name, text))
}
