package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
	"github.com/belay-delivery/belay/internal/lint"
)

const (
	narrowest, widest, usualWidth = 40, 120, 80
)

type explainOptions struct {
	file  string
	width int
}

func (a *app) explainCommand() *cobra.Command {
	o := &explainOptions{}
	cmd := &cobra.Command{
		Use:   "explain RUN | -f FILE|-",
		Short: "Show why an AnalysisRun says what it says: the course of its evidence",
		Long: `Show, for each compare metric of an AnalysisRun, the sentence, the counts, the ratio of canary to stable with the interval in which
it lies, and charts of that ratio and of the evidence over time. All of it stands in the AnalysisRun: with -f, a file that
` + "`kubectl get analysisrun RUN -o yaml`" + ` wrote is explained without a cluster.`,
		Example:           "  kubectl belay explain checkout-7\n  kubectl get analysisrun checkout-7 -o yaml > run.yaml; kubectl belay explain -f run.yaml",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.explain(cmd, o, args) },
	}
	cmd.Flags().StringVarP(&o.file, "filename", "f", "", "File with one AnalysisRun as YAML or JSON, or - for standard input; no cluster is asked")
	cmd.Flags().IntVar(&o.width, "width", 0, "Columns of the charts, from 40; 0: those of the terminal, 80 where there is none")
	return cmd
}

func (a *app) explain(cmd *cobra.Command, o *explainOptions, args []string) error {
	if (o.file == "") == (len(args) == 0) {
		return errors.New("give the name of an AnalysisRun, or a file with one by -f")
	}
	if o.width != 0 && o.width < narrowest {
		return fmt.Errorf("--width is %d: it must be at least %d", o.width, narrowest)
	}
	run := &v1alpha1.AnalysisRun{}
	if o.file != "" {
		if err := a.readRun(o.file, run); err != nil {
			return err
		}
	} else {
		c, namespace, err := a.connect()
		if err != nil {
			return err
		}
		if err := c.Get(cmd.Context(), client.ObjectKey{Namespace: namespace, Name: args[0]}, run); err != nil {
			return fmt.Errorf("reading AnalysisRun %s/%s: %w", namespace, args[0], err)
		}
	}
	return printText(a.streams.Out, view.Explain(run, a.style(), a.width(o.width)))
}

// readRun reads one AnalysisRun from a file.
func (a *app) readRun(file string, run *v1alpha1.AnalysisRun) error {
	sources, err := lint.ReadSources([]string{file}, a.streams.In)
	if err != nil {
		return err
	}
	if len(sources) != 1 {
		return fmt.Errorf("%s holds %d files: give one with one AnalysisRun", file, len(sources))
	}
	if err := yaml.Unmarshal(sources[0].Content, run); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	if run.Kind != "AnalysisRun" || run.APIVersion != v1alpha1.GroupVersion.String() {
		return fmt.Errorf("%s holds a %q of %q: an AnalysisRun of %s is needed, as `kubectl get analysisrun NAME -o yaml` writes it",
			file, run.Kind, run.APIVersion, v1alpha1.GroupVersion)
	}
	return nil
}

// width of charts: what was asked for, else COLUMNS, else the terminal's.
func (a *app) width(asked int) int {
	if asked > 0 {
		return min(asked, 4*widest)
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return min(max(columns, narrowest), widest)
	}
	if f, ok := a.streams.Out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return min(max(columns, narrowest), widest)
		}
	}
	return usualWidth
}
