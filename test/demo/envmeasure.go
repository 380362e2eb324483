package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/test/stage"
)

// measure counts answers, and reads the audit.
func (s *environments) measure() error {
	s.report.Rate = s.staging.samples.Rate() + s.prod.samples.Rate()
	for e, into := range map[*environment]*Answers{s.staging: &s.report.Staging, s.prod: &s.report.Prod} {
		into.Requests, into.Failed = map[string]int{}, map[string]int{}
		for _, one := range e.samples {
			into.Requests[one.Version]++
			if one.Failed() {
				into.Failed[one.Version]++
			}
		}
		last := e.samples[len(e.samples)-1].Sent.Add(-time.Second)
		for _, one := range e.samples {
			if one.Sent.After(last) && !slices.Contains(into.Last, one.Version) {
				into.Last = append(into.Last, one.Version)
			}
		}
		s.report.Good.Failed += len(e.samples.Between(s.goodFrom, s.goodTo).Failed())
	}
	return s.retell()
}

// retell has the audit stream alone tell the story.
func (s *environments) retell() error {
	stream, err := s.bed.ReadAudit()
	if err != nil {
		return err
	}
	a := &s.report.Audit
	a.Events = len(stream)
	for e, into := range map[*environment]*[]stage.Retold{s.staging: &a.Staging, s.prod: &a.Prod} {
		place := stage.Place{Rollout: client.ObjectKey{Namespace: e.name, Name: name}, Sync: e.key(), Repository: client.ObjectKey{Namespace: delivery, Name: "fleet"}}
		if *into, err = stream.Retell(place); err != nil {
			return fmt.Errorf("the audit does not tell the whole story: %w", err)
		}
	}
	a.Corrected, a.Held = stream.Corrected(s.prod.key()), stream.Held(s.prod.key())
	return nil
}

// agree compares the branch with an environment; it returns nil once all is one revision.
func (s *environments) agree(ctx context.Context, e *environment) error {
	history, err := s.fleet.History(ctx)
	if err != nil {
		return err
	}
	into := map[*environment]*Git{s.staging: &s.report.Staging.Git, s.prod: &s.report.Prod.Git}[e]
	*into, err = s.compare(ctx, history, delivered{folder: e.folder, namespace: e.name, sync: e.key()})
	return err
}

// summary is the story in short, for a person.
func (s *environments) summary() {
	r := s.report
	s.chapter("What happened")
	row := func(version, commit string, staging, prod string) {
		fmt.Printf("  %-9s  %-8s  %-44s  %s\n", version, short(commit), staging, prod)
	}
	fmt.Println()
	row("", "commit", "staging", "prod")
	row("version 2", r.Good.Commit, r.Good.Staging.Outcome, fmt.Sprintf("%s, after a soak and %s's approval", r.Good.Prod.Outcome, r.Good.ApprovedBy))
	row("version 3", r.Caught.Commit, fmt.Sprintf("%s at %d %%, reverted by %s", r.Caught.Staging.Outcome, r.Caught.Staging.MaxWeight, short(r.Caught.Revert.Commit)), "never came there")
	row("version 4", r.OnlyInProd.Commit, r.OnlyInProd.Staging.Outcome, fmt.Sprintf("%s at %d %%, reverted by %s", r.OnlyInProd.Prod.Outcome, r.OnlyInProd.Prod.MaxWeight, short(r.OnlyInProd.Revert.Commit)))
	fmt.Printf("\n  What kept version 3 from prod, although its commit was well in staging:\n\n    %s\n", r.Caught.Held)
	for _, e := range []struct {
		name string
		of   Answers
	}{{"staging", r.Staging}, {"prod", r.Prod}} {
		fmt.Printf("\n  Answers in %s:", e.name)
		for _, v := range []string{"v1", "v2", "v3", "v4"} {
			fmt.Printf("  %s %s (%d failed)", v, thousands(e.of.Requests[v]), e.of.Failed[v])
		}
	}
	fmt.Println()
	s.verdicts(s.claims())
	fmt.Printf("\n  %.0f s in all, at %.0f requests per second. The numbers are in %s.\n", r.Seconds, r.Rate, s.settings.report())
}

func (s *environments) leaveRunning() error {
	if _, err := s.bed.StartLoad(stage.LoadOptions{Name: "keep-" + s.staging.name, Host: s.staging.app.Host, Rate: 50, Keep: true}); err != nil {
		return err
	}
	return s.keepGoing(s.prod.app, s.fleet, path.Join(folder, "overlays", "{staging,prod}", kustomization))
}
