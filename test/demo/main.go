package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/belay-delivery/belay/test/stage"
)

// settings of a demo. Everything it makes is below dir.
type settings struct {
	root, dir string
	scenario  string
	rate      int
	keep      bool
	inside    bool
	down      bool
}

func (s settings) bin() string     { return filepath.Join(s.dir, "bin") }
func (s settings) testbed() string { return filepath.Join(s.dir, "testbed") }
func (s settings) work() string    { return filepath.Join(s.dir, "work") }
func (s settings) report() string  { return filepath.Join(s.dir, "report.json") }

func main() {
	var s settings
	flag.StringVar(&s.dir, "dir", filepath.Join("build", "demo"), "folder for everything that the demo makes")
	flag.StringVar(&s.scenario, "scenario", "release", "what is shown: release (one application) or environments (staging and prod)")
	flag.IntVar(&s.rate, "rate", 200, "requests per second")
	flag.BoolVar(&s.keep, "keep", false, "leave everything running at the end")
	flag.BoolVar(&s.down, "down", false, "only stop what an earlier demo left running")
	flag.BoolVar(&s.inside, "inside", false, "used by the demo itself: run the story in the testbed's network")
	flag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(s settings) (err error) {
	if scenarios[s.scenario] == nil {
		return fmt.Errorf("there is no scenario %q: use %s", s.scenario, strings.Join(slices.Sorted(maps.Keys(scenarios)), " or "))
	}
	if s.root, err = stage.Root(); err != nil {
		return err
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if s.inside {
		return tell(ctx, s)
	}
	return outside(ctx, s)
}
