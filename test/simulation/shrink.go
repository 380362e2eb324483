package simulation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Failure is a run that violates an invariant.
type Failure struct {
	Config Config
	Events []Event
	// ID of the invariant, e.g. "T8".
	ID string
}

// fails says whether a run violates the same invariant, and after how many events it does at the latest.
func (f Failure) fails() (after int, ok bool) {
	w := NewWorld(f.Config)
	for i, e := range f.Events {
		w.Happen(e)
		w.truth.edited = w.truth.edited && e.Kind != Reconcile
		if len(w.truth.violations) > 0 {
			return i + 1, f.is(w)
		}
	}
	w.settleDown()
	return len(f.Events), f.is(w)
}

func (f Failure) is(w *World) bool {
	return len(w.truth.violations) > 0 && strings.HasPrefix(w.truth.violations[0], f.ID+":")
}

// Shrink looks for a smaller failure of the same invariant: no single event can be left out of it, and what is left of
// events and of the configuration is as plain as it can be. Halves, quarters and so on are left out first, after the
// minimizing delta debugging of Zeller and Hildebrandt (2002).
func (f Failure) Shrink() Failure {
	if after, ok := f.fails(); ok {
		f.Events = slices.Clone(f.Events[:after])
	} else {
		return f
	}
	for {
		before := fmt.Sprint(f.Events, f.Config.String())
		f.drop()
		f.simplify()
		f.plain()
		if fmt.Sprint(f.Events, f.Config.String()) == before {
			return f
		}
	}
}

// try takes a smaller failure over where it still fails.
func (f *Failure) try(smaller Failure) bool {
	_, ok := smaller.fails()
	if ok {
		*f = smaller
	}
	return ok
}

func (f *Failure) drop() {
	for size := max(1, len(f.Events)/2); size > 0; size /= 2 {
		for i := 0; i+size <= len(f.Events); {
			smaller := *f
			smaller.Events = slices.Concat(f.Events[:i], f.Events[i+size:])
			if !f.try(smaller) {
				i += size
			}
		}
	}
}

// simplify makes events plainer, one thing at a time.
func (f *Failure) simplify() {
	for i := range f.Events {
		for _, e := range f.Events[i].plainer() {
			smaller := *f
			smaller.Events = slices.Clone(f.Events)
			smaller.Events[i] = e
			f.try(smaller)
		}
		for k := 0; k < len(f.Events[i].Faults); k++ {
			smaller := *f
			smaller.Events = slices.Clone(f.Events)
			smaller.Events[i].Faults = slices.Delete(slices.Clone(f.Events[i].Faults), k, k+1)
			if f.try(smaller) {
				k--
			}
		}
	}
}

// plainer are the plainer events that could take the place of e; none if it is plain.
func (e Event) plainer() []Event {
	var list []Event
	add := func(change func(*Event)) {
		n := e
		if change(&n); n.String() != e.String() {
			list = append(list, n)
		}
	}
	for i, lag := range e.Lags {
		if lag > 0 {
			add(func(n *Event) { n.Lags[i] = 0 })
		}
	}
	add(func(n *Event) { n.Lags = lags{} })
	if e.Unread {
		add(func(n *Event) { n.Unread = false })
	}
	add(func(n *Event) { n.A = 0 })
	add(func(n *Event) { n.B = 0 })
	return list
}

// plain leaves out of the configuration what the failure does not need.
func (f *Failure) plain() {
	for _, change := range []func(*Config){
		func(c *Config) { c.Replicas = 1 },
		func(c *Config) { c.Routes = 1 },
		func(c *Config) { c.MinReady = 0 },
		func(c *Config) { c.Bake = "0s" },
		func(c *Config) { *c = c.choose(1) },
		func(c *Config) { c.Analysis = false },
		func(c *Config) { c.Pause = false },
		func(c *Config) { c.Revert = false },
		func(c *Config) { c.Listed = false },
		func(c *Config) { c.Foreign = false },
		func(c *Config) { c.RoleInGit = true },
		func(c *Config) { c.Flaky = false },
		func(c *Config) { c.Stale = false },
		func(c *Config) { c.Dynamic = false },
	} {
		smaller := *f
		if change(&smaller.Config); smaller.Config.String() != f.Config.String() {
			f.try(smaller)
		}
	}
}

// String tells the configuration with the strategy spelled out.
func (c Config) String() string {
	c.Planner = nil
	type plain Config
	strategy := c.strategy()
	c.Steps, c.BlueGreen = nil, nil
	return fmt.Sprintf("%+v %s", plain(c), strategyText(strategy))
}

func strategyText(s v1alpha1.Strategy) string {
	if s.BlueGreen != nil {
		return fmt.Sprintf("blue-green %+v", *s.BlueGreen)
	}
	list := make([]string, len(s.Canary.Steps))
	for i, step := range s.Canary.Steps {
		weight := int32(0)
		if step.Weight != nil {
			weight = *step.Weight
		}
		list[i] = fmt.Sprintf("%d%%", weight)
		if step.Hold != "" {
			list[i] += " hold " + string(step.Hold)
		}
		if step.MaxHold != "" {
			list[i] += fmt.Sprintf(" maxHold %s %s", step.MaxHold, step.OnInconclusive)
		}
		if step.Approval != "" {
			list[i] += fmt.Sprintf(" approval %s", step.Approval)
		}
		if step.Checks != nil {
			list[i] += " checks"
		}
		if step.Replicas != nil {
			list[i] += " replicas " + step.Replicas.String()
		}
	}
	return "steps [" + strings.Join(list, ", ") + "]"
}

// Narrative tells a failure: the world, its events, and what came of them.
func (f Failure) Narrative() string {
	w := Run(f.Config, f.Events, true)
	list := make([]string, len(f.Events))
	for i, e := range f.Events {
		list[i] = e.String()
	}
	return fmt.Sprintf("world:\n%s\nevents (%d):\n%s\nnarrative:\n%s", f.Config, len(f.Events), strings.Join(list, "\n"),
		strings.Join(w.truth.log, "\n"))
}
