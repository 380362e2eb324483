package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/belay-delivery/belay/test/testbed"
	"github.com/belay-delivery/belay/test/testbed/gitserver"
	"github.com/belay-delivery/belay/test/testbed/netns"
	"github.com/belay-delivery/belay/test/testbed/node"
)

func execCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "exec --dir DIR -- COMMAND…", Short: "Become a command inside a running testbed's network; KUBECONFIG is set", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, argv []string) error {
			info, err := testbed.ReadInfo(dir)
			if err != nil {
				return err
			}
			if info.Kubeconfig != "" {
				if err := os.Setenv("KUBECONFIG", info.Kubeconfig); err != nil {
					return err
				}
			}
			return netns.Enter(info.PID, argv)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the testbed's folder")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func runCommand() *cobra.Command {
	var components []string
	var build bool
	cmd := &cobra.Command{
		Use: "run -- COMMAND…", Short: "Run a command in a fresh network namespace, in which it may start testbeds", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if build {
				if err := buildFirst(cmd.Context(), components); err != nil {
					return err
				}
			}
			return finish(netns.Run(cmd.Context(), withStreams(netns.Command(argv))))
		},
	}
	cmd.Flags().StringSliceVar(&components, "parts", nil, "components that the command will start (default all)")
	cmd.Flags().BoolVar(&build, "build", true, "build first what they need, as nothing can be downloaded inside")
	return cmd
}

func nodeCommand() *cobra.Command {
	var kubeconfig, pods string
	o := node.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	cmd := &cobra.Command{
		Use: "node", Short: "Be a node that runs pods as processes", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Pods, err = netip.ParsePrefix(pods); err != nil {
				return err
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			config.QPS, config.Burst = 200, 400
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			return node.Run(cmd.Context(), client, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "of an administrator")
	f.StringVar(&o.Name, "name", "node-0", "the node's name")
	f.StringVar(&pods, "pods", "10.244.0.0/16", "addresses of pods")
	f.StringVar(&o.Images, "images", "", "folder of images")
	f.StringVar(&o.Logs, "logs", "", "folder of logs")
	f.StringVar(&o.Metrics, "metrics", "", "address of the API metrics.k8s.io, for the API server (default none)")
	return cmd
}

func gatewayCommand() *cobra.Command {
	var dir string
	var o testbed.GatewayOptions
	cmd := &cobra.Command{
		Use: "gateway --dir DIR NAME", Args: cobra.ExactArgs(1),
		Short: "Become one more gateway inside a running testbed's network, with a Gateway and a class called NAME",
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := testbed.ReadInfo(dir)
			if err != nil {
				return err
			}
			o.Name, o.Class = args[0], args[0]
			argv, env, err := testbed.AnotherGateway(cmd.Context(), info, o)
			if err != nil {
				return err
			}
			return syscall.Exec(argv[0], argv, env)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "the testbed's folder")
	f.IntVar(&o.Port, "port", 0, "where traffic enters")
	f.IntVar(&o.APIPort, "api-port", 0, "of its own API, with /ping")
	f.DurationVar(&o.Throttle, "throttle", 2*time.Second, "least time between two changes of its configuration")
	for _, name := range []string{"dir", "port", "api-port"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

func gitServerCommand() *cobra.Command {
	var address string
	o := gitserver.Options{Log: os.Stderr, User: os.Getenv("TESTBED_GIT_USER"), Password: os.Getenv("TESTBED_GIT_PASSWORD")}
	cmd := &cobra.Command{
		Use: "git-server", Short: "Serve bare repositories over smart HTTP", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return gitserver.Serve(cmd.Context(), address, o) },
	}
	cmd.Flags().StringVar(&o.Root, "root", "", "folder of repositories")
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8080", "where to listen")
	return cmd
}

func repoCommand() *cobra.Command {
	var dir string
	var protect []string
	cmd := &cobra.Command{
		Use: "repo --dir DIR NAME", Short: "Make a bare repository in a testbed (private/NAME: with a password) and print its URL", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := testbed.ReadInfo(dir)
			if err != nil {
				return err
			}
			if _, err := gitserver.Create(cmd.Context(), info.GitRoot, args[0], protect...); err != nil {
				return err
			}
			fmt.Printf("%s/%s.git\n", info.GitURL, args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the testbed's folder")
	cmd.Flags().StringSliceVar(&protect, "protect", nil, "branches that refuse pushes")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}
