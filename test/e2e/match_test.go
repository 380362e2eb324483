package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// dark makes the first step one that only requests with a header of the team's reach.
func dark(approval bool) func(*stage.App) {
	return func(a *stage.App) { a.Steps[0].Approval = approval }
}

// darkRelease brings version 2, and puts the match in place of the first step's weight. Methods are asked of the gateway's class.
func darkRelease(text string) string {
	text = strings.Replace(text, "{name: first, weight: 10,", "{name: team, match: {headers: [{name: x-team, value: checkout}], methods: [GET]},", 1)
	return stage.Release("v1", "v2", "")(text)
}

// team sends requests with the header beside the scene's own.
func (s *scene) team() *stage.Load {
	l := s.send(s.app.Namespace+"-team", plan{rate: 50, header: "x-team=checkout"})
	s.t.Cleanup(func() { _ = l.Stop() })
	s.must(l.Await(s.t.Context(), "v1", 20))
	return l
}

func confirmedInTheDark(ro *v1alpha1.Rollout) bool {
	a := ro.Status.Attempt
	return a != nil && a.StepName == "team" && a.ConfirmedAt != nil
}

func TestHeaderCanary(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 100, change: dark(false)})
	team := s.team()
	s.release("v2", darkRelease)
	began := s.await("the dark canary to be confirmed", confirmedInTheDark).At
	status := s.plugin("status")
	left := s.await("the next step", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil && ro.Status.Attempt.Step == 1 }).At
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	samples := s.finish("")
	s.answeredBy(samples, "v2")
	s.restored()
	with, err := team.Finish()
	s.must(err)
	if failed := with.Failed(); len(failed) > 0 {
		t.Errorf("%d requests of the team failed: %s", len(failed), failed.Describe())
	}
	theirs, others := with.Between(began, left), samples.Between(time.Time{}, left)
	t.Logf("in the dark for %s: %d requests of the team, %d others", left.Sub(began), len(theirs), len(others))
	if wrong := theirs.NotOf("v2"); len(theirs) < 50 || len(wrong) > 0 {
		t.Errorf("%d of %d requests of the team were not answered by version 2: %s", len(wrong), len(theirs), wrong.Describe())
	}
	if wrong := others.NotOf("v1"); len(others) < 100 || len(wrong) > 0 {
		t.Errorf("%d of %d other requests were not answered by version 1: %s", len(wrong), len(others), wrong.Describe())
	}
	if !strings.Contains(status, "requests with header x-team=checkout, method GET go to the canary") {
		t.Errorf("status does not say what matches:\n%s", status)
	}
}

func TestAbortOfAHeaderCanary(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 100, change: dark(true)})
	team := s.team()
	s.release("v2", darkRelease)
	s.await("the dark canary to be confirmed", confirmedInTheDark)
	s.must(team.Await(t.Context(), "v2", 50))
	s.plugin("abort", "--reason", "enough seen")
	s.awaitOutcome(2, v1alpha1.OutcomeAborted)
	samples := s.finish("")
	if others := samples.NotOf("v1"); len(others) > 0 {
		t.Errorf("%d requests without the header met version 2: %s", len(others), others.Describe())
	}
	s.restored()
	returned := time.Now()
	s.must(team.AwaitOnly(t.Context(), "v1", 20)) // a gateway that has no processor time is later than settle says
	t.Logf("the team is answered by version 1 at most %s after the attempt was over", time.Since(returned).Round(time.Millisecond))
	with, err := team.Finish()
	s.must(err)
	if failed := with.Failed(); len(failed) > 0 {
		t.Errorf("%d requests of the team failed: %s", len(failed), with.Describe())
	}
}

// What this gateway cannot do is refused before anything is started, and the reason names step, feature and gateway.
func TestMirrorIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 50})
	s.release("v2", func(text string) string {
		text = strings.Replace(text, "{name: first, weight: 10,", "{name: shadow, mirror: {percent: 10},", 1)
		return stage.Release("v1", "v2", "")(text)
	})
	ro := s.await("the step to be refused", func(ro *v1alpha1.Rollout) bool { return strings.Contains(ro.Status.BlockedBy, "step shadow") }).Rollout
	const want = "step shadow needs HTTPRouteRequestMirror, which "
	if ro.Status.Attempt != nil || !strings.HasPrefix(ro.Status.BlockedBy, want) {
		t.Errorf("attempt %v, blocked by %q, want %q", ro.Status.Attempt, ro.Status.BlockedBy, want)
	}
	s.answeredBy(s.finish(""), "v1")
}
