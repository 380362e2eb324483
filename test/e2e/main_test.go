package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/belay-delivery/belay/test/stage"
)

// The one testbed and the one Belay; nil without a testbed.
var (
	bed   *stage.Bed
	belay *stage.Belay
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m, os.Getenv("BELAY_E2E_TESTBED"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, dir string) (code int, err error) {
	if dir == "" {
		return m.Run(), nil
	}
	if err := flag.Set("test.parallel", "5"); err != nil { // they wait more than they work
		return 1, fmt.Errorf("setting the number of parallel tests: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	root, err := stage.Root()
	if err != nil {
		return 1, err
	}
	work := os.Getenv("BELAY_E2E_WORK")
	if work == "" {
		work = filepath.Join(root, "build", "e2e", "work")
	}
	bin := filepath.Join(filepath.Dir(work), "bin")
	if _, err := stage.LedgerIn(work).StopAll(); err != nil {
		return 1, err
	}
	if err := stage.BuildTestbed(ctx, root, bin); err != nil {
		return 1, err
	}
	if err := stage.Build(ctx, root, bin); err != nil {
		return 1, err
	}
	if bed, err = stage.Open(dir, bin, work); err != nil {
		return 1, err
	}
	defer func() {
		if _, wrong := bed.Ledger.StopAll(); wrong != nil && err == nil {
			code, err = 1, wrong
		}
	}()
	if err := bed.Install(ctx, root); err != nil {
		return 1, err
	}
	if belay, err = bed.StartBelay(ctx); err != nil {
		return 1, err
	}
	code = m.Run()
	if code != 0 {
		fmt.Printf("the last lines of %s:\n%s\n", belay.Log, belay.Tail(15))
	}
	return code, nil
}
