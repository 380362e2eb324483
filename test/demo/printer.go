package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// printer tells people what happens; with colour only on a terminal.
type printer struct {
	began  time.Time
	colour bool
}

func newPrinter() *printer {
	return &printer{began: time.Now(), colour: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// Colours of a terminal.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *printer) paint(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// chapter begins a part of the story.
func (p *printer) chapter(format string, args ...any) {
	fmt.Printf("\n%s\n", p.paint(bold, fmt.Sprintf(format, args...)))
}

// say tells one thing, with the time.
func (p *printer) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// quote shows what a program said, indented.
func (p *printer) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Print("         | ", p.paint(dim, strings.TrimRight(line, "\n")), "\n")
	}
}

// narrate says every change of a Rollout in one line until ctx ends, behind the name of where it is.
func (p *printer) narrate(ctx context.Context, t *stage.Timeline, where string) {
	last := ""
	for {
		changed := t.Changed()
		if line := p.line(t.Last()); line != last && line != "" {
			p.say("%s%s", where, line)
			last = line
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// line says where a Rollout stands; empty at rest.
func (p *printer) line(ro *v1alpha1.Rollout) string {
	if ro == nil {
		return ""
	}
	a, blocked := ro.Status.Attempt, ro.Status.BlockedBy
	if a == nil {
		return blocked
	}
	code := green
	where := fmt.Sprintf("%s (%d of %d)", a.StepName, a.Step+1, max(len(ro.Spec.Steps()), int(a.Step)+1)) // the step to full weight need not be declared
	switch {
	case a.Verdict != nil:
		code, where = red, "taking it back"
		blocked = strings.TrimPrefix(blocked+"; "+a.Verdict.Message, "; ")
	case a.Stage == v1alpha1.StageBaking:
		where = "bake"
	case a.Stage != v1alpha1.StageStepping:
		code, where = yellow, strings.ToLower(string(a.Stage))
	}
	if blocked == "" {
		return ""
	}
	return p.paint(code, fmt.Sprintf("%3d %%  %-15s", a.Weight, where)) + "  " + blocked
}
