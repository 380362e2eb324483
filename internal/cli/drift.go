package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

// driftList is what `drift` prints with -o json or yaml.
type driftList struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Items      []driftItem `json:"items"`
}

type driftItem struct {
	Namespace string `json:"namespace"`
	Sync      string `json:"sync"`
	v1alpha1.DriftedObject
}

type driftOptions struct {
	all, corrected bool
	output         string
}

const driftLong = `Show which objects are not as Git declares them, who changed them, and what is proposed.

Exit codes: 0, all is as declared; 2, something is not; 1, it could not be found out.`

func (a *app) driftCommand() *cobra.Command {
	o := &driftOptions{}
	cmd := &cobra.Command{
		Use:               "drift [SYNC]",
		Short:             "Show what in the cluster is not as Git declares it",
		Long:              driftLong,
		Example:           "  kubectl belay drift -A\n  kubectl belay drift shop-prod --corrected\n  kubectl belay drift accept Deployment/checkout\n  kubectl belay drift restore 20260301-120000.0123456789abcdef0123",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.drift(cmd.Context(), strings.Join(args, ""), o)
		},
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "Show the Syncs of all namespaces")
	cmd.Flags().BoolVar(&o.corrected, "corrected", false, "Show what was corrected lately, too")
	outputFlag(cmd, &o.output, "wide", "json", "yaml")
	cmd.AddCommand(a.driftAcceptCommand(), a.driftApproveCommand(), a.driftRestoreCommand())
	return cmd
}

// drifts reads what Syncs say of drift.
func drifts(ctx context.Context, c client.Client, namespace, sync string, corrected bool) ([]driftItem, error) {
	syncs := &v1alpha1.SyncList{}
	var in []client.ListOption
	if namespace != "" {
		in = append(in, client.InNamespace(namespace))
	}
	if err := c.List(ctx, syncs, in...); err != nil {
		return nil, fmt.Errorf("listing Syncs: %w", err)
	}
	items, found := []driftItem{}, sync == ""
	for i := range syncs.Items {
		s := &syncs.Items[i]
		if sync != "" && s.Name != sync {
			continue
		}
		found = true
		if s.Status.Drift == nil {
			continue
		}
		for _, o := range s.Status.Drift.Objects {
			if corrected || o.State != v1alpha1.DriftCorrected {
				items = append(items, driftItem{Namespace: s.Namespace, Sync: s.Name, DriftedObject: o})
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("there is no Sync %q in namespace %s", sync, namespace)
	}
	return items, nil
}

func (a *app) drift(ctx context.Context, sync string, o *driftOptions) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	if o.all {
		namespace = ""
	}
	items, err := drifts(ctx, c, namespace, sync, o.corrected)
	if err != nil {
		return err
	}
	switch {
	case o.output == "json" || o.output == "yaml":
		err = printObject(a.streams.Out, o.output, driftList{APIVersion: view.APIVersion, Kind: "DriftList", Items: items})
	case len(items) == 0:
		fmt.Fprintln(a.streams.ErrOut, "Nothing is known to differ from Git.")
	default:
		err = printText(a.streams.Out, a.style().Table(driftRows(items, o, time.Now())))
	}
	open := slices.ContainsFunc(items, func(i driftItem) bool { return i.State != v1alpha1.DriftCorrected })
	if err == nil && open {
		return &exitError{code: ExitDegraded}
	}
	return err
}

func driftRows(items []driftItem, o *driftOptions, now time.Time) [][]view.Cell {
	header := []string{"SYNC", "OBJECT", "STATE", "CLASS", "FIELD", "DECLARED", "LIVE", "BY", "SEEN", "DECLARED-IN", "REMEDY"}
	if o.all {
		header = append([]string{"NAMESPACE"}, header...)
	}
	if o.output == "wide" {
		header = append(header, "RECORD", "WHY")
	}
	rows := [][]view.Cell{nil}
	for _, h := range header {
		rows[0] = append(rows[0], view.Cell{Text: h, Tone: view.Faint})
	}
	for _, item := range items {
		fields := item.Fields
		if len(fields) == 0 {
			fields = []v1alpha1.DriftedField{{Path: "-", Declared: "-", Live: "-", DeclaredBy: item.DeclaredBy}}
		}
		for i, f := range fields {
			rows = append(rows, driftRow(item, f, i == 0, o, now))
		}
	}
	return rows
}

func driftRow(item driftItem, f v1alpha1.DriftedField, first bool, o *driftOptions, now time.Time) []view.Cell {
	tone := map[v1alpha1.DriftState]view.Tone{v1alpha1.DriftCorrected: view.Good, v1alpha1.DriftFighting: view.Bad, v1alpha1.DriftFailed: view.Bad}[item.State]
	if tone == view.Plain {
		tone = view.Warn
	}
	lead := []view.Cell{{Text: item.Sync, Tone: view.Strong}, {Text: objectName(item)}, {Text: string(item.State), Tone: tone}, {Text: string(item.Class)}}
	tail := []view.Cell{{Text: writerText(item.Writer)}, {Text: view.Age(item.LastSeen, now)}, {Text: declaredText(item, f)},
		{Text: item.Remedy.Action + " (" + item.Remedy.Risk + ")"}}
	wide := []view.Cell{{Text: item.Record}, {Text: view.Clean(item.Remedy.Reason)}}
	if !first { // further fields of the same object
		lead, wide = make([]view.Cell, len(lead)), make([]view.Cell, len(wide))
		tail[0], tail[1], tail[3] = view.Cell{}, view.Cell{}, view.Cell{}
	}
	cells := append(lead, view.Cell{Text: view.Clean(f.Path)}, view.Cell{Text: shortened(f.Declared)}, view.Cell{Text: shortened(f.Live)})
	cells = append(cells, tail...)
	if o.all {
		cells = append([]view.Cell{{Text: item.Namespace}}, cells...)
	}
	if o.output == "wide" {
		cells = append(cells, wide...)
	}
	return cells
}

func objectName(item driftItem) string {
	if item.DriftedObject.Namespace == "" || item.DriftedObject.Namespace == item.Namespace {
		return item.Kind + "/" + item.Name
	}
	return item.Kind + "/" + item.DriftedObject.Namespace + "/" + item.Name
}

func writerText(w *v1alpha1.DriftWriter) string {
	if w == nil {
		return "?"
	}
	text := w.Manager
	if w.Certainty == "Latest" {
		text += "?"
	}
	return view.Clean(strings.TrimSpace(text + " " + w.User))
}

func declaredText(item driftItem, f v1alpha1.DriftedField) string {
	d := f.DeclaredBy
	if d == nil {
		return cmp.Or(item.File, "?")
	}
	return view.Clean(fmt.Sprintf("%s:%d %s %s", d.File, d.Line, view.ShortCommit(d.Commit), d.Author))
}

func shortened(text string) string {
	const limit = 40
	text = view.Clean(text)
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// MarshalJSON keeps the Sync's namespace apart from the object's.
func (i driftItem) MarshalJSON() ([]byte, error) {
	type object v1alpha1.DriftedObject
	return json.Marshal(struct {
		Namespace string `json:"namespace"`
		Sync      string `json:"sync"`
		Object    object `json:"object"`
	}{i.Namespace, i.Sync, object(i.DriftedObject)})
}
