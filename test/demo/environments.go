package main

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

const (
	delivery = "delivery" // the namespace of the Syncs
	soak     = 15 * time.Second
	author   = "grace@example.com"
	approver = "ivan@example.com"
	setting  = "EUR" // of a ConfigMap, that somebody edits
)

// environment is staging or prod; its name is also its namespace.
type environment struct {
	name, folder, sync string
	app                stage.App
	timeline           *stage.Timeline
	load               *stage.Load
	samples            stage.Samples
}

func (e *environment) key() client.ObjectKey {
	return client.ObjectKey{Namespace: delivery, Name: e.sync}
}

// environments is the demo of two of them, from one repository.
type environments struct {
	cast
	fleet         *stage.Fleet
	staging, prod *environment
	report        Environments

	goodFrom, goodTo time.Time
}

func newEnvironments(s settings) *environments {
	e := &environments{cast: newCast(s), report: Environments{RateWanted: s.rate / 2 * 2, Soak: seconds(soak)}}
	for _, of := range []struct {
		name string
		is   **environment
	}{{"staging", &e.staging}, {"prod", &e.prod}} {
		*of.is = &environment{name: of.name, folder: path.Join(folder, "overlays", of.name), sync: name + "-" + of.name}
	}
	return e
}

func (s *environments) both() []*environment { return []*environment{s.staging, s.prod} }

func (s *environments) play(ctx context.Context) error {
	for _, part := range []func(context.Context) error{s.install, s.first, s.good, s.byHand, s.caught, s.onlyInProd, s.end} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return s.measure()
}

// first brings version 1 to both.
func (s *environments) first(ctx context.Context) error {
	s.chapter("1. One repository, two environments: a base, and an overlay for staging and for prod")
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.say("Syncs %s and %s follow main; prod takes what staging has run for %s, and what somebody approved who did not write it", s.staging.sync, s.prod.sync, soak)
	for _, e := range s.both() {
		go s.narrate(ctx, e.timeline, fmt.Sprintf("%-8s", e.name))
	}
	if err := s.approve(ctx); err != nil {
		return err
	}
	for _, e := range s.both() {
		if _, err := e.timeline.Await(ctx, "version 1 to run in "+e.name, time.Minute, stage.AtRest); err != nil {
			return err
		}
		if err := s.bed.Serves(ctx, e.app.Host, "/", "v1"); err != nil {
			return err
		}
		var err error
		if e.load, err = s.bed.StartLoad(stage.LoadOptions{Name: e.name, Host: e.app.Host, Rate: s.rate / 2}); err != nil {
			return err
		}
	}
	for _, e := range s.both() {
		if err := e.load.Await(ctx, "v1", s.rate/2); err != nil {
			return err
		}
	}
	s.say("version 1 answers %d requests per second in each", s.rate/2)
	return nil
}

// good brings version 2 through staging to prod.
func (s *environments) good(ctx context.Context) (err error) {
	s.chapter("2. Version 2, a good one: staging first, then a soak, then a second pair of eyes, then prod's own canary")
	r := &s.report.Good
	s.goodFrom = time.Now()
	if r.Commit, err = s.raise(ctx, "v2", "v1", "v1"); err != nil {
		return err
	}
	if r.Staging, err = s.outcome(ctx, s.staging, 2, v1alpha1.OutcomePromoted); err != nil {
		return err
	}
	if err := s.held(ctx, "soaks in Sync"); err != nil {
		return err
	}
	if err := s.held(ctx, "to approve it"); err != nil {
		return err
	}
	out, code, err := s.decide(ctx, author, "it is mine, and it is fine")
	if err != nil {
		return err
	}
	s.say("Grace, who wrote it, tries to approve it:")
	s.quote(out)
	r.AuthorRefused = code != 0
	r.AttemptsBeforeApproval = s.prod.timeline.Last().Status.Attempts
	if err := s.approve(ctx); err != nil {
		return err
	}
	if r.Prod, err = s.outcome(ctx, s.prod, 2, v1alpha1.OutcomePromoted); err != nil {
		return err
	}
	s.goodTo = time.Now()
	sync, err := s.readSync(ctx, s.staging)
	if err != nil {
		return err
	}
	for _, h := range sync.Status.History {
		if h.Commit == r.Commit && h.HealthySince != nil {
			r.HealthyInStaging = h.HealthySince.Time
		}
	}
	if sync, err = s.readSync(ctx, s.prod); err != nil {
		return err
	}
	r.ApprovedBy = sync.Status.History[0].ApprovedBy
	r.StartedInProd = s.started(s.prod, 2)
	s.say("version 2 is stable in prod")
	return nil
}

// byHand is somebody who edits prod past Git.
func (s *environments) byHand(ctx context.Context) error {
	s.chapter("3. Somebody edits prod by hand")
	settings := &corev1.ConfigMap{}
	settings.Namespace, settings.Name = s.prod.name, "settings"
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"currency":"USD"}}`))
	if err := s.bed.Client.Patch(ctx, settings, patch, client.FieldOwner("kubectl-edit")); err != nil {
		return fmt.Errorf("editing ConfigMap settings: %w", err)
	}
	s.say("ConfigMap prod/settings says USD, Git says %s", setting)
	began := time.Now()
	err := stage.Poll(ctx, "the edit to be put right", time.Minute, func(ctx context.Context) error {
		if err := s.bed.Client.Get(ctx, client.ObjectKeyFromObject(settings), settings); err != nil {
			return fmt.Errorf("reading ConfigMap settings: %w", err)
		}
		if got := settings.Data["currency"]; got != setting {
			return fmt.Errorf("it says %s", got)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.report.EditCorrected = seconds(time.Since(began))
	s.say("it says %s again after %.1f s", setting, s.report.EditCorrected)
	return nil
}

// caught is version 3, which staging's canary finds out.
func (s *environments) caught(ctx context.Context) (err error) {
	s.chapter("4. Version 3, a bad one: one answer in ten is an error")
	r := &s.report.Caught
	if r.Commit, err = s.raise(ctx, "v3", "v2", "v2"); err != nil {
		return err
	}
	if r.Staging, err = s.outcome(ctx, s.staging, 3, v1alpha1.OutcomeRolledBack); err != nil {
		return err
	}
	if r.Revert, err = s.reverted(ctx, s.staging); err != nil {
		return err
	}
	s.say("staging's overlay says v2 again; prod's still says v3, in a commit that staging runs well")
	if err := s.held(ctx, `brings image "sample:v3"`); err != nil {
		return err
	}
	sync, err := s.readSync(ctx, s.prod)
	if err != nil {
		return err
	}
	r.Held, r.AppliedInProd = sync.Status.BlockedBy, sync.Status.AppliedCommit
	r.AttemptsInProd = s.prod.timeline.Last().Status.Attempts
	return nil
}

// onlyInProd is version 4, which is well in staging and not in prod.
func (s *environments) onlyInProd(ctx context.Context) (err error) {
	s.chapter("5. Version 4 asks the payment service, and prod's one refuses every fifth of its questions")
	r := &s.report.OnlyInProd
	if r.Commit, err = s.raise(ctx, "v4", "v2", "v3"); err != nil {
		return err
	}
	if r.Staging, err = s.outcome(ctx, s.staging, 4, v1alpha1.OutcomePromoted); err != nil {
		return err
	}
	if err := s.approve(ctx); err != nil {
		return err
	}
	if r.Prod, err = s.outcome(ctx, s.prod, 3, v1alpha1.OutcomeRolledBack); err != nil {
		return err
	}
	if r.Revert, err = s.reverted(ctx, s.prod); err != nil {
		return err
	}
	s.say("prod is safe; that Git says so too is a change of prod like any other:")
	return s.approve(ctx)
}

// end waits until Git and the clusters agree, and counts.
func (s *environments) end(ctx context.Context) error {
	s.chapter("6. Git says again what runs, and it is not the same in both")
	for _, e := range s.both() {
		if err := stage.Poll(ctx, "Git and "+e.name+" to agree", time.Minute, func(ctx context.Context) error { return s.agree(ctx, e) }); err != nil {
			return err
		}
	}
	for _, e := range s.both() {
		if err := e.load.More(ctx, s.rate); err != nil { // two seconds, to see who answers now
			return err
		}
		var err error
		if e.samples, err = e.load.Finish(); err != nil {
			return err
		}
	}
	out, _, err := s.bed.Plugin(ctx, "list", "--syncs", "-n", delivery)
	if err == nil {
		s.say("kubectl belay list --syncs -n %s", delivery)
		s.quote(out)
	}
	return err
}

// raise commits a version to both overlays at once.
func (s *environments) raise(ctx context.Context, to, staging, prod string) (string, error) {
	message := fmt.Sprintf("checkout: %s in staging and prod", to)
	tag := func(from string) func(string) string {
		return func(text string) string { return strings.ReplaceAll(text, "newTag: "+from, "newTag: "+to) }
	}
	sha, err := s.fleet.Commit(ctx, stage.Commit{Author: "Grace", Message: message, Edit: map[string]func(string) string{
		path.Join(s.staging.folder, kustomization): tag(staging), path.Join(s.prod.folder, kustomization): tag(prod)}})
	if err == nil {
		s.say("Grace pushed %s %q", short(sha), message)
	}
	return sha, err
}

// outcome waits for the end of an attempt, and tells of it.
func (s *environments) outcome(ctx context.Context, e *environment, attempt int64, want v1alpha1.Outcome) (Ended, error) {
	state, err := e.timeline.Await(ctx, fmt.Sprintf("attempt %d in %s to end", attempt, e.name), 3*time.Minute,
		func(ro *v1alpha1.Rollout) bool { return ended(ro, attempt) })
	if err != nil {
		return Ended{}, err
	}
	if want == v1alpha1.OutcomePromoted {
		if _, err := e.timeline.Await(ctx, "the old pods in "+e.name+" to be released", time.Minute, stage.AtRest); err != nil {
			return Ended{}, err
		}
	}
	for _, h := range state.Rollout.Status.History {
		if h.Number != attempt {
			continue
		}
		s.say("%s: attempt %d is %s", e.name, attempt, h.Outcome)
		got := Ended{Outcome: string(h.Outcome), Reason: h.Reason, Metric: h.Metric, Message: h.Message, Revision: h.Revision, MaxWeight: h.MaxWeight}
		if h.Outcome != want {
			return got, fmt.Errorf("attempt %d in %s is %s, want %s: %s", attempt, e.name, h.Outcome, want, h.Message)
		}
		return got, nil
	}
	return Ended{}, fmt.Errorf("attempt %d of %s is not in its history", attempt, e.name)
}

// reverted waits for the revert commit of an environment.
func (s *environments) reverted(ctx context.Context, e *environment) (Reverted, error) {
	state, err := e.timeline.Await(ctx, "the revert commit for "+e.name, time.Minute, func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Revert != nil && ro.Status.Revert.FinishedAt != nil
	})
	if err != nil {
		return Reverted{}, err
	}
	if state.Rollout.Status.Revert.State != v1alpha1.RevertPushed {
		return Reverted{}, fmt.Errorf("the revert was not pushed: %s", stage.Describe(state.Rollout))
	}
	history, err := s.fleet.History(ctx)
	if err != nil {
		return Reverted{}, err
	}
	commit, found := history.Find(state.Rollout.Status.Revert.Commit)
	if !found {
		return Reverted{}, fmt.Errorf("commit %q of the Rollout's status is not on the branch", state.Rollout.Status.Revert.Commit)
	}
	s.say("belay pushed %s %q, which changes %s", short(commit.SHA), commit.Head(), strings.Join(commit.Files, ", "))
	return Reverted{Commit: commit.SHA, Files: commit.Files, Message: commit.Message}, nil
}

// held waits until prod's Sync says that it waits, and for what.
func (s *environments) held(ctx context.Context, for_ string) error {
	err := stage.Poll(ctx, fmt.Sprintf("prod to wait: %q", for_), 2*time.Minute, func(ctx context.Context) error {
		sync, err := s.readSync(ctx, s.prod)
		if err == nil && !strings.Contains(sync.Status.BlockedBy, for_) {
			err = fmt.Errorf("it waits for %q, at commit %s", sync.Status.BlockedBy, short(sync.Status.AppliedCommit))
		}
		if err == nil {
			s.say("%-8s  %s", s.prod.name, sync.Status.BlockedBy)
		}
		return err
	})
	return err
}

// approve waits until prod asks for it, and has Ivan approve.
func (s *environments) approve(ctx context.Context) error {
	if err := s.held(ctx, "to approve it"); err != nil {
		return err
	}
	out, code, err := s.decide(ctx, approver, "staging looks well")
	if err == nil && code != 0 {
		err = fmt.Errorf("Ivan could not approve: %s", out)
	}
	if err == nil {
		s.say("Ivan approves: kubectl belay approve sync/%s -n %s", s.prod.sync, delivery)
	}
	return err
}

// decide is a person who approves what prod's Sync is about to do.
func (s *environments) decide(ctx context.Context, who, why string) (string, int, error) {
	return s.bed.Plugin(ctx, "approve", "sync/"+s.prod.sync, "-n", delivery, "--as", who, "--reason", why)
}

func (s *environments) readSync(ctx context.Context, e *environment) (*v1alpha1.Sync, error) {
	sync := &v1alpha1.Sync{}
	if err := s.bed.Client.Get(ctx, e.key(), sync); err != nil {
		return nil, fmt.Errorf("reading Sync %s: %w", e.sync, err)
	}
	return sync, nil
}

// started is when an attempt began.
func (s *environments) started(e *environment, attempt int64) time.Time {
	for _, state := range e.timeline.States(time.Time{}) {
		if a := state.Rollout.Status.Attempt; a != nil && a.Number == attempt {
			return a.StartedAt.Time
		}
	}
	return time.Time{}
}
