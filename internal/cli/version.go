package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

// version and commit are set with -ldflags "-X …/internal/cli.version=… -X …/internal/cli.commit=…".
var version, commit string

// versions is what `version` prints with -o json or yaml.
type versions struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Client     clientVersion  `json:"client"`
	Server     *serverVersion `json:"server,omitempty"`
}

type clientVersion struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

type serverVersion struct {
	Kubernetes string `json:"kubernetes"`
	// Kinds of Belay that the API server has.
	Kinds []string `json:"kinds"`
}

func (a *app) versionCommand() *cobra.Command {
	var output string
	var clientOnly bool
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Show the versions of the plugin and of what the cluster has",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return a.version(output, clientOnly) },
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "Only the plugin: ask no cluster")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func (a *app) version(output string, clientOnly bool) error {
	v := versions{APIVersion: view.APIVersion, Kind: "Version", Client: built()}
	var failed error
	if !clientOnly {
		v.Server, failed = a.serverVersion()
	}
	if output != "" {
		if err := printObject(a.streams.Out, output, v); err != nil {
			return err
		}
		return failed
	}
	text := fmt.Sprintf("kubectl-belay %s (commit %s, %s)\n", v.Client.Version, cmp.Or(v.Client.Commit, "unknown"), v.Client.Go)
	if v.Server != nil {
		text += fmt.Sprintf("Kubernetes %s\n%s: %s\n", v.Server.Kubernetes, v1alpha1.GroupVersion, installed(v.Server.Kinds))
	}
	if err := printText(a.streams.Out, text); err != nil {
		return err
	}
	return failed
}

func installed(kinds []string) string {
	if len(kinds) == 0 {
		return "not installed in this cluster"
	}
	return fmt.Sprintf("installed, %d kinds %v", len(kinds), kinds)
}

func built() clientVersion {
	out := clientVersion{Version: version, Commit: commit, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		out.Version = cmp.Or(out.Version, "unknown")
		return out
	}
	out.Version = cmp.Or(out.Version, info.Main.Version, "unknown")
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			out.Commit = cmp.Or(out.Commit, s.Value)
		}
	}
	return out
}

func (a *app) serverVersion() (*serverVersion, error) {
	d, err := a.flags.ToDiscoveryClient()
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	d.Invalidate()
	info, err := d.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("asking the API server for its version: %w", err)
	}
	out := &serverVersion{Kubernetes: info.GitVersion, Kinds: []string{}}
	list, err := d.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		return out, nil
	case err != nil:
		return out, fmt.Errorf("asking the API server for the kinds of %s: %w", v1alpha1.GroupVersion, err)
	}
	seen := map[string]bool{}
	for _, r := range list.APIResources {
		if !seen[r.Kind] && r.Kind != "Scale" {
			seen[r.Kind] = true
			out.Kinds = append(out.Kinds, r.Kind)
		}
	}
	return out, nil
}
