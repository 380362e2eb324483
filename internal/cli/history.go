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
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

// history is what `history` prints with -o json or yaml.
type history struct {
	APIVersion string                   `json:"apiVersion"`
	Kind       string                   `json:"kind"`
	Namespace  string                   `json:"namespace"`
	Name       string                   `json:"name"`
	Attempts   []v1alpha1.AttemptRecord `json:"attempts"`
	Decisions  []decisionRecord         `json:"decisions"`
	Unread     []string                 `json:"unread,omitempty"`
}

type decisionRecord struct {
	Name    string                  `json:"name"`
	At      time.Time               `json:"at"`
	Spec    v1alpha1.DecisionSpec   `json:"spec"`
	Result  v1alpha1.DecisionResult `json:"result,omitempty"`
	Message string                  `json:"message,omitempty"`
}

func (a *app) historyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "history NAME",
		Short:             "Show past attempts and the decisions about them",
		Example:           "  kubectl belay history checkout",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRollouts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.history(cmd.Context(), args[0], output) },
	}
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func (a *app) history(ctx context.Context, name, output string) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	r, err := getRollout(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	name = r.Name
	h := history{APIVersion: view.APIVersion, Kind: "RolloutHistory", Namespace: namespace, Name: name,
		Attempts: append([]v1alpha1.AttemptRecord{}, r.Status.History...), Decisions: []decisionRecord{}}
	decisions := &v1alpha1.DecisionList{}
	if err := c.List(ctx, decisions, client.InNamespace(namespace)); err != nil {
		h.Unread = append(h.Unread, fmt.Sprintf("Decisions: %s", err))
	}
	for i := range decisions.Items {
		if d := &decisions.Items[i]; d.Spec.Subject.Name == name {
			h.Decisions = append(h.Decisions, decisionRecord{d.Name, d.CreationTimestamp.Time, d.Spec, d.Status.Result, d.Status.Message})
		}
	}
	slices.SortFunc(h.Decisions, func(x, y decisionRecord) int { return cmp.Or(y.At.Compare(x.At), cmp.Compare(x.Name, y.Name)) })
	if output != "" {
		return printObject(a.streams.Out, output, h)
	}
	for _, u := range h.Unread {
		fmt.Fprintf(a.streams.ErrOut, "warning: not read: %s\n", u)
	}
	return printText(a.streams.Out, h.render(a.style(), time.Now()))
}

func (h history) render(s view.Style, now time.Time) string {
	var out strings.Builder
	if len(h.Attempts) == 0 {
		out.WriteString("No attempt is over yet.\n")
	} else {
		rows := [][]view.Cell{headings("ATTEMPT", "REVISION", "COMMIT", "OUTCOME", "MAX-WEIGHT", "ENDED", "TOOK", "BY", "REASON")}
		for _, r := range h.Attempts {
			rows = append(rows, attemptRow(r, now))
		}
		out.WriteString(s.Table(rows))
	}
	if len(h.Decisions) > 0 {
		rows := [][]view.Cell{headings("DECISION", "ACTION", "ATTEMPT", "BY", "AGE", "RESULT", "REASON")}
		for _, d := range h.Decisions {
			rows = append(rows, decisionRow(d, now))
		}
		out.WriteString("\n" + s.Table(rows))
	}
	return out.String()
}

func headings(texts ...string) []view.Cell {
	var out []view.Cell
	for _, t := range texts {
		out = append(out, view.Cell{Text: t, Tone: view.Faint})
	}
	return out
}

func attemptRow(r v1alpha1.AttemptRecord, now time.Time) []view.Cell {
	tone := view.Bad
	if r.Outcome == v1alpha1.OutcomePromoted {
		tone = view.Good
	}
	return []view.Cell{
		{Text: strconv.FormatInt(r.Number, 10)}, {Text: r.Revision}, {Text: cmp.Or(view.ShortCommit(r.Commit), "-")},
		{Text: string(r.Outcome), Tone: tone}, {Text: strconv.Itoa(int(r.MaxWeight))}, {Text: view.Age(r.EndedAt, now)},
		{Text: duration.HumanDuration(max(0, r.EndedAt.Sub(r.StartedAt.Time)))}, {Text: cmp.Or(view.Clean(r.Actor), "-")}, {Text: view.Clean(sentence(r.Reason, r.Message))},
	}
}

func sentence(reason, message string) string {
	if reason == "" || message == "" {
		return reason + message
	}
	return reason + ": " + message
}

func decisionRow(d decisionRecord, now time.Time) []view.Cell {
	about := d.Spec.Revision
	if d.Spec.Attempt != nil {
		about = strconv.FormatInt(*d.Spec.Attempt, 10)
	}
	result := cmp.Or(string(d.Result), "Pending")
	return []view.Cell{
		{Text: d.Name}, {Text: string(d.Spec.Action)}, {Text: about}, {Text: view.Clean(d.Spec.Actor)},
		{Text: duration.HumanDuration(max(0, now.Sub(d.At)))}, {Text: result}, {Text: view.Clean(sentence(d.Spec.Reason, d.Message))},
	}
}
