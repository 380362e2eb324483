// Command testbed builds, starts, stops and enters testbeds: see "testbed help" and package testbed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/belay-delivery/belay/test/testbed/netns"
)

// exitCode is the error of a command whose own exit code is to be this program's.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	netns.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use: "testbed", Short: "Real Kubernetes, gateway, Prometheus and Git as processes of this machine",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(buildCommand(), upCommand(), downCommand(), statusCommand(), execCommand(), runCommand(),
		repoCommand(), gatewayCommand(), loadCommand(), nodeCommand(), gitServerCommand())
	err := root.ExecuteContext(ctx)
	var code exitCode
	if errors.As(err, &code) {
		os.Exit(int(code))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}
