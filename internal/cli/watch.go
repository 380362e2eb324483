package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

const (
	// settleEvents is how long events are gathered before the objects are read again.
	settleEvents = 100 * time.Millisecond
	// redraw is how often a terminal is redrawn so that ages go on.
	redraw = time.Second
	// rereadAtLeast bounds how old the view can be where a watch is silent.
	rereadAtLeast = 30 * time.Second
)

// follower decides when a watch is over.
type follower struct {
	attempt int64 // the last attempt that was seen under way, 0 for none
}

// judge says whether the watch is over, and with which exit code.
func (f *follower) judge(r *v1alpha1.Rollout) (done bool, code int) {
	health := view.HealthOf(r)
	if a := r.Status.Attempt; a != nil {
		f.attempt = a.Number
		heldForPerson := health == view.Degraded && a.Verdict == nil
		return heldForPerson, ExitDegraded
	}
	switch health {
	case view.Degraded:
		return true, ExitDegraded
	case view.Progressing:
		return false, ExitOK
	}
	for _, h := range r.Status.History {
		if f.attempt != 0 && h.Number == f.attempt && (h.Outcome == v1alpha1.OutcomeRolledBack || h.Outcome == v1alpha1.OutcomeAborted) {
			return true, ExitDegraded
		}
	}
	return true, ExitOK
}

// follow shows a Rollout until nothing is under way.
func (a *app) follow(ctx context.Context, c client.WithWatch, namespace, name string, o *statusOptions) error {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	objects, err := gather(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changed := notify(ctx, c, objects.Rollout)
	out := &screen{app: a, options: o, terminal: o.output == "" && isTerminal(a.streams.Out)}
	f := &follower{}
	for {
		if err := out.show(view.Build(objects)); err != nil {
			return err
		}
		if done, code := f.judge(objects.Rollout); done {
			if code == ExitOK {
				return nil
			}
			return &exitError{code: code}
		}
		if err := out.await(ctx, changed); err != nil {
			return overtime(err, objects.Rollout)
		}
		next, err := gather(ctx, c, namespace, name)
		switch {
		case err == nil:
			objects = next
		case ctx.Err() != nil:
			return overtime(ctx.Err(), objects.Rollout)
		case client.IgnoreNotFound(err) == nil:
			return err
		default: // the API server may be restarting: show the last view and look again
			objects.Unread = []string{err.Error()}
		}
	}
}

// overtime is the error of a watch that was ended before the Rollout came to rest.
func overtime(err error, r *v1alpha1.Rollout) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("watching Rollout %s/%s: %w", r.Namespace, r.Name, err)
	}
	text := fmt.Sprintf("Rollout %s/%s is still under way", r.Namespace, r.Name)
	if r.Status.BlockedBy != "" {
		text += ", blocked by: " + view.Clean(r.Status.BlockedBy)
	}
	return &exitError{code: ExitTimeout, err: errors.New(text)}
}

// notify sends on a channel whenever something around the Rollout changed, until ctx ends.
func notify(ctx context.Context, c client.WithWatch, r *v1alpha1.Rollout) <-chan struct{} {
	changed := make(chan struct{}, 1)
	one := reading{what: "Rollout", empty: func() client.ObjectList { return &v1alpha1.RolloutList{} },
		selection: []client.ListOption{client.InNamespace(r.Namespace), client.MatchingFields{"metadata.name": r.Name}}}
	for _, read := range append(around(r), one) {
		go rewatch(ctx, c, read, changed)
	}
	return changed
}

// rewatch watches until ctx ends, and begins again, not at once, whenever the connection does.
func rewatch(ctx context.Context, c client.WithWatch, read reading, changed chan<- struct{}) {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) { watchOnce(ctx, c, read, changed) }, redraw, 1, true)
}

// watchOnce watches until the connection ends. Beginning and end count as changes: something may have been missed.
func watchOnce(ctx context.Context, c client.WithWatch, read reading, changed chan<- struct{}) {
	defer poke(changed)
	w, err := c.Watch(ctx, read.empty(), read.selection...)
	if err != nil {
		return
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-w.ResultChan():
			if !open {
				return
			}
			poke(changed)
		}
	}
}

func poke(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// screen shows views as they change.
type screen struct {
	*app
	options  *statusOptions
	terminal bool
	last     view.View
	lines    string
	cleared  bool
}

// await returns when the objects should be read again, and redraws a terminal meanwhile.
func (s *screen) await(ctx context.Context, changed <-chan struct{}) error {
	again := time.After(rereadAtLeast)
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again:
			return nil
		case <-changed:
			select {
			case <-ctx.Done():
			case <-time.After(settleEvents):
			}
			return nil
		case <-tick.C:
			if s.terminal {
				s.draw()
			}
		}
	}
}

func (s *screen) show(v view.View) error {
	s.last = v
	switch {
	case s.options.output != "":
		return s.appendDocument(v)
	case s.terminal:
		s.draw()
		return nil
	}
	line := changeLine(v)
	if line == s.lines {
		return nil
	}
	s.lines = line
	return printText(s.streams.Out, time.Now().UTC().Format(time.RFC3339)+" "+line+"\n")
}

// draw clears the terminal and shows the last view.
func (s *screen) draw() {
	text := view.Render(s.last, s.style(), time.Now())
	if !s.cleared {
		fmt.Fprint(s.streams.Out, "\x1b[2J")
		s.cleared = true
	}
	fmt.Fprint(s.streams.Out, "\x1b[H"+strings.ReplaceAll(text, "\n", "\x1b[K\n")+"\x1b[J")
}

// appendDocument writes a view as a document of a stream, where it differs from the one before.
func (s *screen) appendDocument(v view.View) error {
	var out strings.Builder
	if err := printObject(&out, s.options.output, v); err != nil {
		return err
	}
	if out.String() == s.lines {
		return nil
	}
	s.lines = out.String()
	if s.options.output == "yaml" {
		return printText(s.streams.Out, "---\n"+s.lines)
	}
	return printText(s.streams.Out, s.lines)
}

// changeLine is a view in one line, without ages: it changes only when the Rollout does.
func changeLine(v view.View) string {
	parts := []string{fmt.Sprintf("%s/%s %s", v.Namespace, v.Name, v.Health)}
	if a := v.Attempt; a != nil {
		parts = append(parts, fmt.Sprintf("attempt %d (%s) %s, step %d/%d %s, weight %d wanted %d confirmed of %d",
			a.Number, a.Revision, a.Stage, a.Step, a.Steps, a.StepName, a.Weight, a.ConfirmedWeight, a.TotalWeight))
		if a.Match != nil {
			parts = append(parts, "requests with "+a.Match.String()+" on the canary")
		}
		if a.Mirror != nil {
			parts = append(parts, a.Mirror.String()+" on the canary")
		}
		if a.Verdict != nil {
			parts = append(parts, fmt.Sprintf("verdict %s, %s: %s", a.Verdict.Outcome, a.Verdict.Reason, a.Verdict.Message))
		}
	} else if v.Last != nil {
		parts = append(parts, fmt.Sprintf("last attempt %d (%s) %s", v.Last.Number, v.Last.Revision, v.Last.Outcome))
	}
	parts = append(parts, fmt.Sprintf("%d/%d ready", v.Replicas.Ready, v.Replicas.Desired))
	if v.BlockedBy != "" {
		parts = append(parts, "blocked by: "+v.BlockedBy)
	}
	if v.Revert != nil {
		parts = append(parts, "revert "+string(v.Revert.State))
	}
	return view.Clean(strings.Join(parts, "; "))
}
