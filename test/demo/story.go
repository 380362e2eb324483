package main

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

const (
	namespace = "shop"
	name      = "checkout"
	folder    = "apps/checkout"
	settle    = 2 * time.Second
)

// story is the demo of one application: a good version, then a bad one.
type story struct {
	cast
	fleet    *stage.Fleet
	app      stage.App
	load     *stage.Load
	timeline *stage.Timeline
	samples  stage.Samples
	report   Report

	goodFrom, goodTo, badFrom, badTo time.Time
	unrelated                        []string // commits
	original                         string   // rollout.yaml as version 2 left it
}

func newStory(s settings) *story { return &story{cast: newCast(s), report: Report{RateWanted: s.rate}} }

func (s *story) claims() []claim { return s.report.claims() }

func (s *story) found(failures []string, took float64) any {
	s.report.Failures, s.report.Passed, s.report.Seconds = failures, len(failures) == 0, took
	return s.report
}

func (s *story) play(ctx context.Context) error {
	for _, part := range []func(context.Context) error{s.install, s.first, s.good, s.elsewhere, s.bad, s.agree} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return s.measure()
}

// first brings version 1 from Git.
func (s *story) first(ctx context.Context) (err error) {
	s.chapter("1. Version 1 comes from Git")
	s.app = s.bed.App(namespace, name)
	s.app.Repository, s.app.Path, s.app.Bake = "fleet", folder, "6s"
	s.app.Steps = []stage.Step{{Name: "first", Weight: 10, Hold: "10s"}, {Name: "half", Weight: 50, Hold: "10s"}}
	s.app.Query = stage.GoldenSignals
	files, err := s.app.Files(folder)
	if err != nil {
		return err
	}
	files["apps/catalog/configmap.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: catalog}\ndata: {currency: EUR}\n"
	files["README.md"] = "# The fleet of the shop\n"
	if err := s.bed.Tenant(ctx, namespace); err != nil {
		return err
	}
	if s.fleet, err = s.bed.NewFleet(ctx, "fleet", stage.Commit{Author: "Ada", Message: "checkout: version 1", Files: files}); err != nil {
		return err
	}
	if s.timeline, err = s.bed.Watch(ctx, namespace, name); err != nil {
		return err
	}
	if err := s.bed.Follow(ctx, namespace, s.fleet, folder); err != nil {
		return err
	}
	s.say("Repository and Sync follow %s of a private repository, as ServiceAccount shop-deployer", folder)
	go s.narrate(ctx, s.timeline, "")
	if _, err := s.timeline.Await(ctx, "version 1 to run", time.Minute, stage.AtRest); err != nil {
		return err
	}
	if err := s.bed.Serves(ctx, s.app.Host, "/", "v1"); err != nil {
		return err
	}
	if s.load, err = s.bed.StartLoad(stage.LoadOptions{Name: "demo", Host: s.app.Host, Rate: s.rate}); err != nil {
		return err
	}
	if err := s.load.Await(ctx, "v1", s.rate); err != nil {
		return err
	}
	s.say("version 1 answers %d requests per second through the gateway", s.rate)
	return nil
}

// good commits version 2 and waits for its promotion.
func (s *story) good(ctx context.Context) (err error) {
	s.chapter("2. Version 2 is committed: a good one. Each step takes 2 minutes at least, until more traffic is proven safe")
	s.goodFrom = time.Now()
	if s.report.Good.Commit, err = s.release(ctx, "Grace", "checkout: version 2", stage.Release("v1", "v2", "")); err != nil {
		return err
	}
	state, err := s.timeline.Await(ctx, "version 2 to be promoted", 10*time.Minute, func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempts >= 2 && ended(ro, 2) })
	if err != nil {
		return err
	}
	outcome, _ := stage.Over(state.Rollout, 2)
	s.report.Good.Outcome = string(outcome)
	s.goodTo = time.Now()
	if outcome != v1alpha1.OutcomePromoted {
		return fmt.Errorf("version 2 was not promoted: %s", stage.Describe(state.Rollout))
	}
	if _, err := s.timeline.Await(ctx, "the old pods to be released", time.Minute, stage.AtRest); err != nil {
		return err
	}
	s.goodTo = time.Now()
	s.say("version 2 is stable")
	history, err := s.fleet.History(ctx)
	s.original = history.Files[path.Join(folder, "rollout.yaml")]
	return err
}

func ended(ro *v1alpha1.Rollout, attempt int64) bool {
	_, over := stage.Over(ro, attempt)
	return over
}

func (s *story) release(ctx context.Context, author, message string, edit func(string) string) (string, error) {
	sha, err := s.fleet.Commit(ctx, stage.Commit{Author: author, Message: message,
		Edit: map[string]func(string) string{path.Join(folder, "rollout.yaml"): edit}})
	if err == nil {
		s.say("%s pushed %s %q", author, sha[:8], message)
	}
	return sha, err
}

// elsewhere is what other teams do in the same repository.
func (s *story) elsewhere(ctx context.Context) error {
	s.chapter("3. Somebody else works in the same repository")
	return s.other(ctx, "EUR", "USD")
}

func (s *story) other(ctx context.Context, from, to string) error {
	message := fmt.Sprintf("catalog: prices in %s", to)
	sha, err := s.fleet.Commit(ctx, stage.Commit{Author: "Linus", Message: message, Edit: map[string]func(string) string{
		"apps/catalog/configmap.yaml": func(text string) string { return strings.ReplaceAll(text, from, to) }}})
	if err != nil {
		return err
	}
	s.unrelated = append(s.unrelated, sha)
	s.say("Linus pushed %s %q", sha[:8], message)
	return nil
}

// bad commits version 3, and waits until it has been taken back, in the cluster and in Git.
func (s *story) bad(ctx context.Context) (err error) {
	s.chapter("4. Version 3 is committed: 5 %% of its answers are errors")
	s.badFrom = time.Now()
	if s.report.Bad.Commit, err = s.release(ctx, "Grace", "checkout: version 3", stage.Release("v2", "v3", "0.05")); err != nil {
		return err
	}
	exposed := func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.Number == 3 && a.Weight > 0
	}
	if _, err := s.timeline.Await(ctx, "version 3 to be exposed", time.Minute, exposed); err != nil {
		return err
	}
	if err := s.other(ctx, "USD", "GBP"); err != nil { // between the bad commit and its revert
		return err
	}
	state, err := s.timeline.Await(ctx, "version 3 to be judged", 5*time.Minute, func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempts >= 3 && ended(ro, 3) })
	if err != nil {
		return err
	}
	outcome, _ := stage.Over(state.Rollout, 3)
	s.report.Bad.Outcome = string(outcome)
	s.badTo = time.Now()
	if outcome != v1alpha1.OutcomeRolledBack {
		return fmt.Errorf("version 3 was not rolled back: %s", stage.Describe(state.Rollout))
	}
	s.say("version 3 has been taken back")
	run := fmt.Sprintf("%s-3", name)
	out, _, err := s.bed.Plugin(ctx, "explain", run, "-n", namespace)
	if err != nil {
		return err
	}
	s.say("kubectl belay explain %s -n %s", run, namespace)
	s.quote(out)
	return nil
}

// agree waits until Git says again what the cluster runs.
func (s *story) agree(ctx context.Context) error {
	s.chapter("5. The way back is committed")
	state, err := s.timeline.Await(ctx, "the revert commit", time.Minute, func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Revert != nil && ro.Status.Revert.FinishedAt != nil
	})
	if err != nil {
		return err
	}
	r := state.Rollout.Status.Revert
	if r.State != v1alpha1.RevertPushed {
		return fmt.Errorf("the revert was not pushed: %s", stage.Describe(state.Rollout))
	}
	s.say("belay pushed %s", r.Commit[:min(8, len(r.Commit))])
	if err := stage.Poll(ctx, "Git and cluster to agree", time.Minute, s.agreed); err != nil {
		return err
	}
	s.say("Git, cluster and pods say the same: revision %s", s.report.Git.Declared)
	if out, _, err := s.bed.Plugin(ctx, "status", name, "-n", namespace); err == nil {
		s.say("kubectl belay status %s -n %s", name, namespace)
		s.quote(out)
	} else {
		return err
	}
	before, err := s.load.Now()
	if err == nil { // a second more of traffic, to see who answers now
		err = s.load.Await(ctx, "v2", before["v2"].Total+s.rate)
	}
	s.badTo = time.Now()
	if err != nil {
		return err
	}
	s.samples, err = s.load.Finish()
	return err
}

func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Second)
}
