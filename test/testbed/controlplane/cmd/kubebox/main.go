// Command kubebox is one binary for a Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and
// kubectl, each as a sub-command, and "up", which runs the first four together in one process. Called by one of those names (a
// symbolic link, as in a KUBEBUILDER_ASSETS folder) it behaves as that program.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	_ "time/tzdata" // CronJobs with a time zone

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's ways to log in
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // version metric
	kubeversion "k8s.io/component-base/version"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/spf13/pflag"

	"github.com/belay-delivery/belay/test/testbed/controlplane/internal/box"
)

// programs are the sub-commands by name; each finds its name and arguments in os.Args and returns the exit code.
var programs = map[string]func() int{
	"up":                      up,
	"version":                 printVersion,
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(kcm.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 kubectl,
}

func main() {
	if run, ok := programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) > 1 {
		if run, ok := programs[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	fmt.Fprintln(os.Stderr, "usage: kubebox up|version|etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl [flags]")
	os.Exit(2)
}

func printVersion() int {
	fmt.Printf("kubebox kubernetes %s etcd %s\n", kubeversion.Get().GitVersion, version.Version)
	return 0
}

func kubectl() int {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err) // prints as kubectl does, and ends the process with kubectl's exit code
	}
	return 0
}

func up() int {
	o := box.Options{Progress: os.Stdout}
	fs := pflag.NewFlagSet("up", pflag.ExitOnError)
	fs.StringVar(&o.Dir, "dir", "", "folder for etcd's data and the keys (required)")
	fs.IntVar(&o.Port, "port", 6443, "port of the API server on 127.0.0.1")
	fs.IntVar(&o.EtcdPort, "etcd-port", 2379, "port of etcd on 127.0.0.1; the next one is used too")
	fs.StringVar(&o.Controllers, "controllers", "*", "kube-controller-manager's controllers; empty leaves it out")
	fs.StringArrayVar(&o.Manager, "controller-manager-flag", nil, "a further flag of kube-controller-manager, may be repeated")
	fs.BoolVar(&o.Scheduler, "scheduler", true, "run kube-scheduler")
	_ = fs.Parse(os.Args[1:]) // ends the process on a bad flag
	if o.Dir == "" {
		fmt.Fprintln(os.Stderr, "kubebox up: --dir is required")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := box.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "kubebox:", err)
		return 1
	}
	return 0
}
