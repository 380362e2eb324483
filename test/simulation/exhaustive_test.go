package simulation

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var depthFlag = flag.Int("depth", 6, "depth of the exhaustive search")

// node is a state of the search and how it was reached.
type node struct {
	world *World
	from  *node
	event Event
}

func (n *node) path() []Event {
	if n.from == nil {
		return nil
	}
	return append(n.from.path(), n.event)
}

// choices are all events of a tiny world: progress of each part, every crash of the first writes, and one event of a user.
func choices(user ...Event) []Event {
	events := []Event{{Kind: Reconcile}, {Kind: Kubelet}, {Kind: Endpoints}, {Kind: Endpoints, A: 1}, {Kind: Gateway}, {Kind: Wait, A: 3}, {Kind: Measure}}
	for at := range 4 {
		events = append(events, Event{Kind: Reconcile, Faults: []Fault{{At: at, How: faultCrashAfter}}})
	}
	events = append(events, Event{Kind: Reconcile, Faults: []Fault{{At: 0, How: faultFails}}},
		Event{Kind: Reconcile, Faults: []Fault{{At: 0, How: faultLost}}}, Event{Kind: Reconcile, Faults: []Fault{{At: 1, How: faultFails}}})
	return append(events, user...)
}

// TestExhaustive looks at every interleaving in tiny worlds, to a depth, from several points of an attempt.
func TestExhaustive(t *testing.T) {
	abort := Event{Kind: Decide, A: 4, B: 0}
	for name, test := range map[string]struct {
		cfg    Config
		prefix func(*story)
		user   []Event
	}{
		"begin":   {Config{Steps: stepSets(1), Replicas: 1}, func(s *story) { s.setTemplate("b") }, []Event{{Kind: Template, A: 2}}},
		"exposed": {Config{Steps: stepSets(1), Replicas: 1, Analysis: true}, toStage(v1alpha1.StageStepping, 0, 5), []Event{abort, {Kind: ToggleBad, A: 1}}},
		"switch":  {Config{Steps: stepSets(1), Replicas: 1}, toStage(v1alpha1.StageSwitching, 1, 0), []Event{abort, {Kind: Template, A: 0}}},
		"retire":  {Config{Steps: stepSets(1), Replicas: 1}, toStage(v1alpha1.StageRetiring, 1, 0), []Event{abort, {Kind: ForeignService, A: 0}}},
		"return":  {Config{Steps: stepSets(1), Replicas: 1}, toStage(v1alpha1.StageReturning, 1, 0), []Event{abort, {Kind: Template, A: 2}}},
		"bake":    {Config{Steps: stepSets(1), Replicas: 1, Bake: "1m"}, toStage(v1alpha1.StageBaking, 1, 0), []Event{abort, {Kind: Template, A: 2}}},
		"dark":    {Config{Steps: matchSteps(), Replicas: 1}, toStage(v1alpha1.StageStepping, 0, 10), []Event{abort, {Kind: ForeignRoute, A: 0, B: 1}}},
		"delete":  {Config{Steps: stepSets(1), Replicas: 1}, toStage(v1alpha1.StageStepping, 0, 4), []Event{{Kind: Delete}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.cfg.Deadline = "2m"
			s := &story{NewWorld(test.cfg)}
			test.prefix(s)
			search(t, s.World, choices(test.user...))
		})
	}
}

func toStage(stage v1alpha1.Stage, step int32, more int) func(*story) {
	return func(s *story) {
		s.setTemplate("b")
		for range 200 {
			if at := s.rollout.Status.Attempt; at != nil && at.Stage == stage && at.Step == step {
				break
			}
			s.once()
		}
		for range more {
			s.once()
		}
	}
}

func search(t *testing.T, root *World, events []Event) {
	start := time.Now()
	seen := map[[32]byte]bool{sha256.Sum256([]byte(root.Hash())): true}
	layer := []*node{{world: root}}
	transitions, settled := 0, 0
	for d := 0; d < *depthFlag && len(layer) > 0; d++ {
		var next []*node
		for _, n := range layer {
			for _, e := range events {
				w := n.world.Clone()
				w.Happen(e)
				transitions++
				to := &node{world: w, from: n, event: e}
				if len(w.truth.violations) > 0 {
					fail(t, root, to.path(), w.truth.violations[0])
					return
				}
				if h := sha256.Sum256([]byte(w.Hash())); !seen[h] {
					seen[h] = true
					next = append(next, to)
				}
			}
			n.world = nil
		}
		layer = next
	}
	for i, n := range layer { // L1 from the states that were reached last, of which a part is enough
		if i%200 != 0 {
			continue
		}
		settled++
		if n.world.settleDown(); len(n.world.truth.violations) > 0 {
			fail(t, root, n.path(), n.world.truth.violations[0])
			return
		}
	}
	totals.Lock()
	totals.states, totals.transitions = totals.states+int64(len(seen)), totals.transitions+int64(transitions)
	totals.Unlock()
	t.Logf("depth %d, %d events: %d states, %d transitions, %d settled, in %s", *depthFlag, len(events), len(seen), transitions, settled,
		time.Since(start).Round(time.Millisecond))
}

func fail(t *testing.T, root *World, path []Event, violation string) {
	t.Helper()
	totals.Lock()
	totals.violations++
	totals.Unlock()
	w := root.Clone()
	w.truth.verbose = true
	list := make([]string, len(path))
	for i, e := range path {
		list[i] = fmt.Sprint(e)
		w.Happen(e)
	}
	t.Errorf("%s\nevents:\n%s\ntrace:\n%s", violation, strings.Join(list, "\n"), strings.Join(w.truth.log, "\n"))
}
