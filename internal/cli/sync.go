package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

// syncPrefix stands before the name of a Sync where a Rollout could be meant; rolloutPrefix may stand before that of a Rollout.
const (
	syncPrefix    = "sync/"
	rolloutPrefix = "rollout/"
)

type syncOptions struct {
	wait    bool
	timeout time.Duration
}

func (a *app) syncCommand() *cobra.Command {
	o := &syncOptions{}
	cmd := &cobra.Command{
		Use:   "sync NAME",
		Short: "Have a Sync compare the cluster with Git now",
		Long: `Ask for a reconciliation of a Sync at once (annotation belay.dev/reconcile), and wait until it was made. Its Repository is
asked too, so that a new commit is seen. Exit code 0 where the Sync is Ready then, 2 where it is not, 3 where nothing came of it in time.`,
		Example: "  kubectl belay sync checkout-prod",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeSyncs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sync(cmd.Context(), strings.TrimPrefix(args[0], syncPrefix), o)
		},
	}
	cmd.Flags().BoolVar(&o.wait, "wait", true, "Wait until it was made")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "How long to wait")
	return cmd
}

func (a *app) completeSyncs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := &v1alpha1.SyncList{}
	if len(args) > 0 || !a.complete(cmd.Context(), list, true) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) sync(ctx context.Context, name string, o *syncOptions) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	s, err := getSync(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	value := time.Now().UTC().Format(time.RFC3339Nano)
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.Spec.Repository}}
	for _, object := range []client.Object{repo, s} {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationReconcile, value)
		if err := c.Patch(ctx, object, client.RawPatch("application/merge-patch+json", patch)); err != nil {
			return fmt.Errorf("asking %s %s/%s: %w", object.GetObjectKind().GroupVersionKind().Kind, namespace, object.GetName(), err)
		}
	}
	if !o.wait {
		return printText(a.streams.Out, fmt.Sprintf("sync.%s/%s: asked\n", v1alpha1.Group, name))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, os.ErrDeadlineExceeded)
	defer cancel()
	if s, err = awaitReconciled(ctx, c, s, value); err != nil {
		return err
	}
	return a.showSync(s, "")
}

// awaitReconciled returns the Sync once it has acted on the annotation.
func awaitReconciled(ctx context.Context, c client.WithWatch, s *v1alpha1.Sync, value string) (*v1alpha1.Sync, error) {
	changed := make(chan struct{}, 1)
	read := reading{empty: func() client.ObjectList { return &v1alpha1.SyncList{} },
		selection: []client.ListOption{client.InNamespace(s.Namespace), client.MatchingFields{"metadata.name": s.Name}}}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go rewatch(watching, c, read, changed)
	for {
		found, err := getSync(ctx, c, s.Namespace, s.Name)
		switch {
		case err == nil && found.Status.Reconciled == value:
			return found, nil
		case err != nil && ctx.Err() == nil:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, &exitError{code: ExitTimeout, err: fmt.Errorf("Sync %s/%s was asked, but nothing came of it in time (is the controller running?)", s.Namespace, s.Name)}
		case <-changed:
		}
	}
}

func getSync(ctx context.Context, c client.Client, namespace, name string) (*v1alpha1.Sync, error) {
	if err := named("Sync", syncPrefix, name); err != nil {
		return nil, err
	}
	s := &v1alpha1.Sync{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s); err != nil {
		return nil, fmt.Errorf("reading Sync %s/%s: %w", namespace, name, err)
	}
	return s, nil
}

// statusOfSync shows a Sync, what it waits for, and the plan.
func (a *app) statusOfSync(ctx context.Context, name string, o *statusOptions) error {
	if o.watch {
		return fmt.Errorf("--watch follows Rollouts only: use kubectl wait --for=condition=Ready sync/%s", name)
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	s, err := getSync(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	return a.showSync(s, o.output)
}

func (a *app) showSync(s *v1alpha1.Sync, format string) error {
	if format != "" {
		s.APIVersion, s.Kind = v1alpha1.GroupVersion.String(), "Sync"
		return printObject(a.streams.Out, format, s)
	}
	if err := printText(a.streams.Out, renderSync(s, a.style(), time.Now())); err != nil {
		return err
	}
	if c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status == metav1.ConditionFalse {
		return &exitError{code: ExitDegraded}
	}
	return nil
}

func renderSync(s *v1alpha1.Sync, style view.Style, now time.Time) string {
	var rows [][]view.Cell
	row := func(label, text string, tone view.Tone) {
		if text != "" {
			rows = append(rows, []view.Cell{{Text: label, Tone: view.Faint}, {Text: view.Clean(text), Tone: tone}})
		}
	}
	row("Sync", s.Namespace+"/"+s.Name, view.Strong)
	row("Environment", s.Spec.Environment, view.Strong)
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionHealthy} {
		if c := v1alpha1.FindCondition(s.Status.Conditions, kind); c != nil {
			tone := view.Good
			if c.Status != metav1.ConditionTrue {
				tone = view.Bad
			}
			row(kind, fmt.Sprintf("%s (%s, since %s): %s", c.Status, c.Reason, view.Age(c.LastTransitionTime, now), c.Message), tone)
		}
	}
	row("Applied", view.ShortCommit(s.Status.AppliedCommit), view.Strong)
	if h := s.Status.Held; h != nil {
		row("HELD", fmt.Sprintf("at %s for %s, %s by %s: %s", view.ShortCommit(h.Commit), view.Age(h.At, now), h.Action, h.Actor, h.Reason), view.Warn)
	}
	if c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionBundleKept); c != nil && c.Status != metav1.ConditionTrue {
		row("Bundle", c.Message, view.Warn)
	}
	row("BLOCKED BY", s.Status.BlockedBy, view.Warn)
	if p := s.Status.Plan; p != nil {
		state := "waits"
		if p.AdmittedAt != nil {
			state = "let through " + view.Age(*p.AdmittedAt, now) + " ago"
		}
		row("Plan", fmt.Sprintf("%s of commit %s, %s: risk %s, %d to create, %d to update, %d to make again, %d to prune, %d as they are", p.Digest[:min(8, len(p.Digest))],
			view.ShortCommit(p.Commit), state, p.Risk, p.Create, p.Update, p.Recreate, p.Prune, p.Skip), riskTone(p.Risk))
		for _, action := range p.Actions {
			row("", fmt.Sprintf("%s %s (%s) %s", action.Action, action.Object, action.Risk, strings.Join(action.Reasons, "; ")), riskTone(action.Risk))
		}
		for _, text := range p.Approvals {
			row("Asks", text, view.Warn)
		}
		row("Approved", strings.Join(p.ApprovedBy, ", "), view.Good)
	}
	observedRows(s.Status.Observed, row)
	for _, w := range s.Status.Warnings {
		row("Warning", w, view.Warn)
	}
	for _, h := range s.Status.History {
		undone := map[bool]string{true: " (undone)"}[h.Undone]
		message := h.Message
		if h.Broken != "" {
			message = "broke: " + h.Broken
		}
		row("History", fmt.Sprintf("%s ago: %s %s%s, %d×, for %s %s", view.Age(h.LastAt, now), h.Reason, view.ShortCommit(h.Commit), undone, h.Count, h.Trigger, message), view.Faint)
	}
	return style.Table(rows)
}

// observedRows tell of objects that are left to others.
func observedRows(o *v1alpha1.SyncObserved, row func(label, text string, tone view.Tone)) {
	if o == nil {
		return
	}
	for _, object := range o.Objects {
		row("Observed", fmt.Sprintf("%s is left to %s", object.Object, object.Keeper), view.Warn)
		for _, f := range object.Fields {
			row("", fmt.Sprintf("taking it over would change %s from %s to %s", f.Path, f.Live, f.Declared), view.Faint)
		}
		if object.MoreFields > 0 {
			row("", fmt.Sprintf("and %d fields more", object.MoreFields), view.Faint)
		}
		row("", object.Refused, view.Bad)
	}
	if more := int(o.Count) - len(o.Objects); more > 0 {
		row("Observed", fmt.Sprintf("and %d objects more", more), view.Warn)
	}
}

func riskTone(r v1alpha1.Risk) view.Tone {
	switch r {
	case v1alpha1.RiskHigh:
		return view.Bad
	case v1alpha1.RiskMedium:
		return view.Warn
	}
	return view.Good
}

// listSyncs lists Syncs with what they wait for.
func (a *app) listSyncs(ctx context.Context, o *listOptions) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	var in []client.ListOption
	if !o.all {
		in = append(in, client.InNamespace(namespace))
	}
	syncs := &v1alpha1.SyncList{}
	if err := c.List(ctx, syncs, in...); err != nil {
		return fmt.Errorf("listing Syncs: %w", err)
	}
	slices.SortFunc(syncs.Items, func(x, y v1alpha1.Sync) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	if o.output == "json" || o.output == "yaml" {
		return printObject(a.streams.Out, o.output, syncs)
	}
	rows := [][]view.Cell{nil}
	for _, h := range []string{"NAMESPACE", "NAME", "ENVIRONMENT", "READY", "HEALTHY", "COMMIT", "RISK", "BLOCKED-BY"} {
		rows[0] = append(rows[0], view.Cell{Text: h, Tone: view.Faint})
	}
	var names strings.Builder
	for i := range syncs.Items {
		s := &syncs.Items[i]
		fmt.Fprintf(&names, "sync.%s/%s\n", v1alpha1.Group, s.Name)
		rows = append(rows, syncRow(s))
	}
	if o.output == "name" {
		return printText(a.streams.Out, names.String())
	}
	return printText(a.streams.Out, a.style().Table(rows))
}

func syncRow(s *v1alpha1.Sync) []view.Cell {
	state := func(kind string) view.Cell {
		switch c := v1alpha1.FindCondition(s.Status.Conditions, kind); {
		case c == nil:
			return view.Cell{Text: "-"}
		case c.Status == metav1.ConditionTrue:
			return view.Cell{Text: "True", Tone: view.Good}
		default:
			return view.Cell{Text: c.Reason, Tone: view.Bad}
		}
	}
	risk := "-"
	if p := s.Status.Plan; p != nil && p.AdmittedAt == nil {
		risk = string(p.Risk)
	}
	return []view.Cell{{Text: s.Namespace}, {Text: s.Name, Tone: view.Strong}, {Text: cmp.Or(s.Spec.Environment, "-")}, state(v1alpha1.ConditionReady),
		state(v1alpha1.ConditionHealthy), {Text: cmp.Or(view.ShortCommit(s.Status.AppliedCommit), "-")}, {Text: risk}, {Text: cmp.Or(view.Clean(s.Status.BlockedBy), "-"), Tone: view.Warn}}
}

// composeForSync makes the Decision about the plan that waits, or about the bundle that is applied.
func composeForSync(s *v1alpha1.Sync, o *decideOptions) (*v1alpha1.Decision, error) {
	var plan, bundle, to string
	switch o.action {
	case v1alpha1.ActionApprove, v1alpha1.ActionReject:
		p := s.Status.Plan
		if p == nil || p.AdmittedAt != nil {
			return nil, fmt.Errorf("Sync %s/%s has no plan that waits: there is nothing to %s", s.Namespace, s.Name, verb(o.action))
		}
		plan = p.Digest
	case v1alpha1.ActionPause, v1alpha1.ActionUndo:
		if bundle = s.Status.AppliedDigest; bundle == "" {
			return nil, fmt.Errorf("Sync %s/%s has applied nothing yet: there is nothing to %s", s.Namespace, s.Name, verb(o.action))
		}
		var err error
		if to, err = appliedAs(s, o.to); err != nil {
			return nil, err
		}
	case v1alpha1.ActionResume:
		if s.Status.Held == nil {
			return nil, fmt.Errorf("Sync %s/%s is not held: there is nothing to resume", s.Namespace, s.Name)
		}
	default:
		return nil, fmt.Errorf("%s is for Rollouts: a Sync takes approve, reject, pause, resume and undo", verb(o.action))
	}
	prefix := s.Name + "-" + strings.ToLower(string(o.action))
	return &v1alpha1.Decision{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Decision"},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, GenerateName: strings.TrimRight(prefix[:min(len(prefix), maxGenerateName)], "-.") + "-"},
		Spec:       v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: s.Name}, Action: o.action, Plan: plan, Bundle: bundle, To: to, Reason: o.reason},
	}, nil
}

// appliedAs is the bundle that a commit, or the beginning of one or of a digest, was applied as.
func appliedAs(s *v1alpha1.Sync, asked string) (string, error) {
	var known []string
	for _, record := range s.Status.History {
		if record.Reason != "Applied" || record.Digest == s.Status.AppliedDigest {
			continue
		}
		if asked != "" && len(asked) >= 4 && (strings.HasPrefix(record.Commit, asked) || strings.HasPrefix(record.Digest, asked)) {
			return record.Digest, nil
		}
		known = append(known, view.ShortCommit(record.Commit))
	}
	if asked == "" {
		return "", nil
	}
	return "", fmt.Errorf("--to=%s: Sync %s/%s has applied no such commit or bundle before; known are: %s (4 characters at least)", asked, s.Namespace, s.Name, cmp.Or(strings.Join(known, ", "), "none"))
}

// decisionAbout makes the Decision about a Rollout, or about a Sync named as sync/NAME.
func decisionAbout(ctx context.Context, c client.Client, namespace, name string, o *decideOptions) (*v1alpha1.Decision, error) {
	if rest, is := strings.CutPrefix(name, syncPrefix); is {
		s, err := getSync(ctx, c, namespace, rest)
		if err != nil {
			return nil, err
		}
		return composeForSync(s, o)
	}
	r, err := getRollout(ctx, c, namespace, name)
	if err != nil {
		return nil, err
	}
	return compose(r, o)
}
