package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

const rootLong = `kubectl belay shows what Belay is doing with your Rollouts, and why, and lets you decide.

Exit codes:
  0  done; for status: healthy, or on its way
  1  the command did not do what it was asked to, or the Decision was refused
  2  status: the Rollout is degraded, or the attempt that was watched failed
  3  the time for waiting is over, and it is not decided`

// app is what all commands share.
type app struct {
	streams genericiooptions.IOStreams
	flags   *genericclioptions.ConfigFlags
	color   string
}

// Main runs the plugin and returns its exit code. Arguments come without the program's name.
func Main(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	root := NewCommand(streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code, silent := codeOf(err)
	if !silent {
		fmt.Fprintf(streams.ErrOut, "error: %s\n", explain(err))
	}
	return code
}

// NewCommand is the root command with all others below it.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	a := &app{streams: streams, flags: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:               "kubectl-belay",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl belay"},
		Short:             "See and steer progressive delivery with Belay",
		Long:              rootLong,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkColor() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	a.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(a.changelogCommand(), a.undoCommand())
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "When to use colour: auto (on a terminal, unless NO_COLOR is set), always or never")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("namespace", a.completeNamespaces)
	root.AddCommand(a.listCommand(), a.statusCommand(), a.historyCommand())
	root.AddCommand(a.decisionCommands()...)
	root.AddCommand(a.syncCommand())
	root.AddCommand(a.driftCommand(), a.restartCommand(), a.adoptCommand(), a.releaseCommand(), a.lintCommand(), a.planCommand(), a.explainCommand(), a.versionCommand(), a.completionCommand())
	return root
}

func (a *app) checkColor() error {
	switch a.color {
	case "auto", "always", "never":
		return nil
	}
	return fmt.Errorf("--color=%s: use auto, always or never", a.color)
}

// style is how text for standard output looks.
func (a *app) style() view.Style {
	switch a.color {
	case "always":
		return view.Style{Color: true}
	case "never":
		return view.Style{}
	}
	return view.Style{Color: isTerminal(a.streams.Out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

var scheme = newScheme()

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, authenticationv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // the schemes are fixed at build time
		}
	}
	return s
}

// connect makes a client and says which namespace is meant.
func (a *app) connect() (client.WithWatch, string, error) {
	cfg, err := a.flags.ToRESTConfig()
	if err != nil {
		return nil, "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	namespace, _, err := a.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("reading namespace from kubeconfig: %w", err)
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, "", fmt.Errorf("connecting to the cluster: %w", err)
	}
	return c, namespace, nil
}

func getRollout(ctx context.Context, c client.Client, namespace, name string) (*v1alpha1.Rollout, error) {
	name = strings.TrimPrefix(name, rolloutPrefix)
	if err := named("Rollout", rolloutPrefix, name); err != nil {
		return nil, err
	}
	r := &v1alpha1.Rollout{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, r); err != nil {
		return nil, fmt.Errorf("reading Rollout %s/%s: %w", namespace, name, err)
	}
	return r, nil
}

// named says whether what is left of an argument can be an object's name.
func named(kind, prefix, name string) error {
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q is no name of a %s: it is given as NAME or %sNAME", name, kind, prefix)
	}
	return nil
}

// explain says what to do about errors that have one usual cause.
func explain(err error) string {
	switch {
	case meta.IsNoMatchError(err):
		return err.Error() + " (is Belay installed in this cluster? see: kubectl belay version)"
	case apierrors.IsUnauthorized(err):
		return err.Error() + " (the cluster does not accept your credentials: log in again)"
	}
	return err.Error()
}
