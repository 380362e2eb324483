package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// completeWithin bounds how long a shell waits for names.
const completeWithin = 2 * time.Second

// kubectlScript lets kubectl itself complete `kubectl belay …`.
const kubectlScript = `#!/bin/sh
exec kubectl belay __complete "$@"
`

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|kubectl",
		Short: "Print a completion script",
		Long: `Print a script that completes commands, flags and names.

bash, zsh and fish complete kubectl-belay. kubectl is a script that lets kubectl's own completion complete
"kubectl belay": save it as kubectl_complete-belay in a folder of PATH and make it executable.`,
		Example:   "  source <(kubectl belay completion bash)\n  kubectl belay completion kubectl > ~/bin/kubectl_complete-belay && chmod +x ~/bin/kubectl_complete-belay",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "kubectl"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.streams.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.streams.Out)
			case "fish":
				return root.GenFishCompletion(a.streams.Out, true)
			}
			return printText(a.streams.Out, kubectlScript)
		},
	}
}

func (a *app) completeRollouts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list := &v1alpha1.RolloutList{}
	if !a.complete(cmd.Context(), list, true) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := &corev1.NamespaceList{}
	if !a.complete(cmd.Context(), list, false) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeQuarantine(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := &v1alpha1.RolloutList{}
	if len(args) == 0 || !a.complete(cmd.Context(), list, true) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for i := range list.Items {
		if list.Items[i].Name != args[0] {
			continue
		}
		for _, q := range list.Items[i].Status.Quarantine {
			out = append(out, q.Revision+"\t"+q.Reason)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// complete reads names. A completion that cannot be made says nothing: it would be in the middle of a command line.
func (a *app) complete(ctx context.Context, list client.ObjectList, namespaced bool) bool {
	c, namespace, err := a.connect()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	var in []client.ListOption
	if namespaced {
		in = append(in, client.InNamespace(namespace))
	}
	return c.List(ctx, list, in...) == nil
}
