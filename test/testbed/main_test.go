package testbed

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/belay-delivery/belay/test/testbed/netns"
	"github.com/belay-delivery/belay/test/testbed/parts"
)

// TestMain runs the package's tests in a namespace of their own. With BELAY_TESTBED=1 it first builds what they need, outside it.
func TestMain(m *testing.M) {
	netns.Init()
	if netns.Inside() {
		os.Exit(m.Run())
	}
	if os.Getenv("BELAY_TESTBED") == "1" {
		b, err := parts.NewBuilder(os.Stderr)
		if err == nil {
			_, err = b.Ensure(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "building the testbed:", err)
			os.Exit(1)
		}
	}
	cmd := netns.Command(append([]string{"/proc/self/exe"}, os.Args[1:]...))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	code, err := netns.Run(context.Background(), cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no network namespace, so the testbed is NOT TESTED:", err)
		if os.Getenv("BELAY_TESTBED") == "1" {
			os.Exit(1)
		}
	}
	os.Exit(code)
}
