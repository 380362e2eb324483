package e2e

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// scraped passes where Prometheus scrapes two pods of the canary.
const scraped = `
apiVersion: belay.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: scraped}
spec:
  metrics:
  - name: pods
    threshold:
      prometheus: {query: 'count(up{namespace="{{namespace}}",pod=~"{{canary.pods}}"} == 1)'}
      min: "2"
      interval: 1s
      failureLimit: 20
`

// cohortRelease brings version 2 to a cohort first: requests with a query parameter, on two pods, with a check of the step's own; then
// to few others, on as many pods as stable has.
func cohortRelease(text string) string {
	text = strings.Replace(text, "{name: first, weight: 10, hold: 5s}",
		`{name: cohort, match: {queryParams: [{name: cohort, value: b}]}, replicas: 2, hold: 3s, checks: {templates: [{name: scraped}]}}`, 1)
	text = strings.Replace(text, "{name: half, weight: 50,", `{name: few, weight: 10, replicas: 100%,`, 1)
	return stage.Release("v1", "v2", "")(text)
}

// A step by query parameter, with pods and checks of its own.
func TestCohortWithPodsAndChecks(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 100, extra: map[string]string{"scraped.yaml": scraped}})
	cohort := s.send(s.app.Namespace+"-cohort", plan{rate: 50, path: "/?order=1&cohort=b"})
	t.Cleanup(func() { _ = cohort.Stop() })
	s.must(cohort.Await(t.Context(), "v1", 20))
	s.release("v2", cohortRelease)
	began := s.await("the cohort's step to be confirmed", at(2, 0)).At
	if got := len(s.pods("v2")); got != 2 {
		t.Errorf("%d pods of version 2 at the cohort's step, want 2", got)
	}
	next := s.await("the next step", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt != nil && ro.Status.Attempt.Step == 1 })
	s.await("10 %", at(2, 1))
	if got := len(s.pods("v2")); got != 3 {
		t.Errorf("%d pods of version 2 at 10 %%, want all 3", got)
	}
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	samples := s.finish("")
	s.answeredBy(samples, "v2")
	s.restored()
	theirs, err := cohort.Finish()
	s.must(err)
	if failed := theirs.Failed(); len(failed) > 0 {
		t.Errorf("%d requests of the cohort failed: %s", len(failed), failed.Describe())
	}
	theirs, others := theirs.Between(began, next.At), samples.Between(time.Time{}, next.At)
	t.Logf("the cohort's step took %s: %d requests of the cohort, %d others", next.At.Sub(began), len(theirs), len(others))
	if wrong := theirs.NotOf("v2"); len(theirs) < 50 || len(wrong) > 0 {
		t.Errorf("%d of %d requests of the cohort were not answered by version 2: %s", len(wrong), len(theirs), wrong.Describe())
	}
	if wrong := others.NotOf("v1"); len(others) < 100 || len(wrong) > 0 {
		t.Errorf("%d of %d other requests were not answered by version 1: %s", len(wrong), len(others), wrong.Describe())
	}
	s.checked("pods")
}

// checked fails the test unless a metric of a run passed.
func (s *scene) checked(metric string) {
	s.t.Helper()
	runs := &v1alpha1.AnalysisRunList{}
	s.must(bed.Client.List(s.t.Context(), runs, client.InNamespace(s.app.Namespace)))
	for i := range runs.Items {
		for _, m := range runs.Items[i].Status.Metrics {
			if m.Name == metric && m.Verdict == v1alpha1.VerdictPass && m.Passed > 0 {
				return
			}
		}
	}
	s.t.Errorf("in none of %d runs did metric %s pass", len(runs.Items), metric)
}
