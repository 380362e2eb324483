package simulation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	seed   = flag.Uint64("seed", 0, "replay the random world of this seed")
	from   = flag.Uint64("from", 1, "the seed of the first random world; the next ones follow")
	worlds = flag.Uint64("worlds", 0, "how many random worlds, instead of the default")
)

// wantSteps is how many plans the random worlds must make at least; with -short a fifth.
const wantSteps = 1_000_000

// totals are what all tests of this package have done.
var totals struct {
	sync.Mutex
	Counters
	states, transitions, violations int64
}

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // worlds are small and short-lived
	start := time.Now()
	code := m.Run()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		panic(err)
	}
	fmt.Printf("simulation: %d worlds, %d planner steps, %d exhaustive states, %d transitions, %d violations; %s, %s of CPU\n",
		totals.Worlds, totals.Steps, totals.states, totals.transitions, totals.violations,
		time.Since(start).Round(time.Millisecond), time.Duration(use.Utime.Nano()+use.Stime.Nano()).Round(time.Millisecond))
	os.Exit(code)
}

// world makes a world from a seed: its configuration and events follow from the seed alone.
func world(seed uint64) (Config, []Event) {
	r := rand.New(rand.NewPCG(seed, 7))
	cfg := RandomConfig(r)
	m := Manner{faults: r.IntN(4) > 0, people: r.IntN(4) > 0, foreign: r.IntN(4) == 0}
	events := make([]Event, 60+r.IntN(200))
	events[0] = Event{Kind: Template, A: 1}
	for i := 1; i < len(events); i++ {
		events[i] = RandomEvent(r, m)
	}
	return cfg, events
}

func report(t *testing.T, seed uint64, violation string) {
	t.Helper()
	cfg, events := world(seed)
	id, _, _ := strings.Cut(violation, ":")
	short := Failure{Config: cfg, Events: events, ID: id}.Shrink()
	t.Errorf("seed %d: %s\nreplay: go test ./test/simulation -run TestRandomWorlds -seed %d\nshrunk from %d events;\n%s", seed, violation,
		seed, len(events), short.Narrative())
}

func TestRandomWorlds(t *testing.T) {
	if *seed > 0 {
		cfg, events := world(*seed)
		w := Run(cfg, events, true)
		t.Logf("%s\n%s", cfg, strings.Join(w.truth.log, "\n"))
		if len(w.truth.violations) > 0 {
			report(t, *seed, w.truth.violations[0])
		}
		return
	}
	want := int64(wantSteps)
	if testing.Short() {
		want /= 5
	}
	start := time.Now()
	var (
		mu    sync.Mutex
		sum   Counters
		next  atomic.Uint64
		fails atomic.Int32
		group sync.WaitGroup
	)
	next.Store(*from - 1)
	done := func(n uint64) bool {
		mu.Lock()
		defer mu.Unlock()
		if *worlds > 0 {
			return n >= *from+*worlds
		}
		return sum.Steps >= want
	}
	for range 2 {
		group.Go(func() {
			for n := next.Add(1); !done(n) && fails.Load() < 3; n = next.Add(1) {
				cfg, events := world(n)
				w := Run(cfg, events, false)
				mu.Lock()
				sum.add(w.truth.count)
				mu.Unlock()
				if len(w.truth.violations) > 0 {
					fails.Add(1)
					report(t, n, w.truth.violations[0])
				}
			}
		})
	}
	group.Wait()
	totals.Lock()
	defer totals.Unlock()
	totals.add(sum)
	totals.violations += int64(fails.Load())
	t.Logf("%+v in %s", sum, time.Since(start).Round(time.Millisecond))
}
