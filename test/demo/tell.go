package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/belay-delivery/belay/test/stage"
)

const overall = 20 * time.Minute

// tale is a demo.
type tale interface {
	// play has it happen; what was found is in the report then.
	play(ctx context.Context) error
	// claims are what has to be true.
	claims() []claim
	// found is the report, with what is not as it should be, or the error that ended it.
	found(failures []string, took float64) any
	summary()
	leaveRunning() error
	// explain adds to an error what helps to find its cause.
	explain(err error) error
}

// scenarios are the demos by name.
var scenarios = map[string]func(settings) tale{
	"release":      func(s settings) tale { return newStory(s) },
	"environments": func(s settings) tale { return newEnvironments(s) },
}

// tell runs a demo, writes the report and the summary, and returns an error unless all of it happened.
func tell(ctx context.Context, s settings) error {
	ctx, cancel := context.WithTimeoutCause(ctx, overall, fmt.Errorf("the demo takes longer than %s", overall))
	defer cancel()
	began := time.Now()
	t := scenarios[s.scenario](s)
	var failures []string
	err := t.play(ctx)
	if err != nil {
		failures = []string{err.Error()}
	} else {
		failures = untrue(t.claims())
	}
	if wrong := writeReport(s.report(), t.found(failures, seconds(time.Since(began)))); wrong != nil {
		err = errors.Join(err, wrong)
	}
	if err != nil {
		return t.explain(err)
	}
	t.summary()
	if s.keep {
		err = t.leaveRunning()
	}
	if len(failures) > 0 {
		return errors.Join(err, errors.New(strings.Join(failures, "\n      ")))
	}
	return err
}

func writeReport(path string, report any) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// claim is something that has to be true.
type claim struct {
	holds bool
	text  string
}

// untrue are the claims that do not hold.
func untrue(claims []claim) []string {
	var out []string
	for _, c := range slices.DeleteFunc(slices.Clone(claims), func(c claim) bool { return c.holds }) {
		out = append(out, "not so: "+c.text)
	}
	return out
}

// cast is what every demo is played with.
type cast struct {
	settings
	*printer
	bed   *stage.Bed
	belay *stage.Belay
}

func newCast(s settings) cast { return cast{settings: s, printer: newPrinter()} }

// install installs Belay from config/ and starts it with exactly the rights that config/rbac gives it.
func (s *cast) install(ctx context.Context) (err error) {
	s.chapter("Belay is installed")
	if s.bed, err = stage.Open(s.testbed(), s.bin(), s.work()); err != nil {
		return err
	}
	if err := s.bed.Install(ctx, s.root); err != nil {
		return err
	}
	s.say("kinds, roles and policies applied from config/default")
	if s.belay, err = s.bed.StartBelay(ctx); err != nil {
		return err
	}
	s.say("belay runs as ServiceAccount belay-system/belay, with leader election")
	return nil
}

func (s *cast) explain(err error) error {
	if s.belay == nil {
		return err
	}
	return fmt.Errorf("%w\n\nthe last lines of %s:\n%s", err, s.belay.Log, s.belay.Tail(15))
}

// verdicts says of each claim whether it is true.
func (s *cast) verdicts(claims []claim) {
	fmt.Println()
	for _, c := range claims {
		mark := s.paint(green, "yes")
		if !c.holds {
			mark = s.paint(red, "NO ")
		}
		fmt.Printf("  %s  %s\n", mark, c.text)
	}
}

// keepGoing keeps some traffic going to an application, and says how to look around.
func (s *cast) keepGoing(app stage.App, fleet *stage.Fleet, edit string) error {
	if _, err := s.bed.StartLoad(stage.LoadOptions{Name: "keep-" + app.Namespace, Host: app.Host, Rate: 50, Keep: true}); err != nil {
		return err
	}
	enter := fmt.Sprintf("%s exec --dir %s --", s.relative(s.bed.Program("testbed")), s.relative(s.testbed()))
	s.chapter("It goes on running, with 50 requests per second")
	fmt.Printf(`  All of it lives in a network of its own; begin with a shell there (KUBECONFIG is set in it):

    %[1]s bash

    KUBECONFIG   %[2]s
    kubectl      %[3]s
    the plugin   %[4]s status %[5]s -n %[6]s -w
    gateway      curl -i -H 'Host: %[7]s' %[8]s/
    Prometheus   %[9]s
    Git          git clone %[10]s   (user and password are in %[11]s)
    Belay's log  %[12]s

  Commit a change of %[13]s, push it, and watch. To end it: make demo-down
`, enter, s.bed.Kubeconfig, filepath.Join(s.bed.Info.Dir, "assets", "kubectl"), s.bed.Program("kubectl-belay"), app.Name, app.Namespace,
		app.Host, s.bed.GatewayURL, s.bed.PrometheusURL, fleet.URL, filepath.Join(s.testbed(), "testbed.json"), s.belay.Log, edit)
	return nil
}

// relative is a path as seen from the repository's root, where it is below it.
func (s *cast) relative(path string) string {
	if r, err := filepath.Rel(s.root, path); err == nil && !strings.HasPrefix(r, "..") {
		return r
	}
	return path
}
