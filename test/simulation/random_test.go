package simulation

import (
	"flag"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seed   = flag.Uint64("seed", 0, "replay the random world with this number")
	worlds = flag.Uint64("worlds", 0, "how many random worlds, instead of the default")
)

// wantSteps is how many plans the random worlds must make at least.
const wantSteps = 200_000

// world n: its configuration and events follow from n alone.
func world(n uint64) (Config, []Event) {
	r := rand.New(rand.NewPCG(n, 7))
	cfg := RandomConfig(r)
	m := Manner{faults: r.IntN(4) > 0, people: r.IntN(4) > 0, foreign: r.IntN(4) == 0}
	events := make([]Event, 60+r.IntN(200))
	events[0] = Event{Kind: Template, A: 1}
	for i := 1; i < len(events); i++ {
		events[i] = RandomEvent(r, m)
	}
	return cfg, events
}

func report(t *testing.T, n uint64, cfg Config, events []Event, violation string) {
	t.Helper()
	id, _, _ := strings.Cut(violation, ":")
	short := Shrink(cfg, events, id)
	w := Run(cfg, short, true)
	list := make([]string, len(short))
	for i, e := range short {
		list[i] = e.String()
	}
	t.Errorf("world %d: %s\n%+v\n%d of %d events:\n%s\ntrace:\n%s\nreplay: go test ./test/simulation -run TestRandomWorlds -seed %d", n, violation, cfg,
		len(short), len(events), strings.Join(list, "\n"), strings.Join(w.truth.log, "\n"), n)
}

func TestRandomWorlds(t *testing.T) {
	if *seed > 0 {
		cfg, events := world(*seed)
		if w := Run(cfg, events, true); len(w.truth.violations) > 0 {
			report(t, *seed, cfg, events, w.truth.violations[0])
		}
		return
	}
	start := time.Now()
	var (
		mu    sync.Mutex
		sum   Counters
		next  atomic.Uint64
		fails atomic.Int32
		group sync.WaitGroup
	)
	done := func(n uint64) bool {
		mu.Lock()
		defer mu.Unlock()
		if *worlds > 0 {
			return n > *worlds
		}
		return sum.Steps >= wantSteps
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
					report(t, n, cfg, events, w.truth.violations[0])
				}
			}
		})
	}
	group.Wait()
	t.Logf("%+v in %s", sum, time.Since(start).Round(time.Millisecond))
}
