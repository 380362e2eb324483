package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

func objectMeta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func TestPromotionLosesNoRequest(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	samples := s.finish("")
	s.answeredBy(samples, "v2")
	s.restored()
}

func TestAbortInTheBakeStartsNoPod(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{change: func(a *stage.App) { a.Bake = "10m" }})
	old := s.pods("v1")
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("the bake", in(v1alpha1.StageBaking))
	s.must(s.load.Await(t.Context(), "v2", 3*rate))
	s.plugin("abort", "--reason", "customers complain")
	ro := s.awaitOutcome(2, v1alpha1.OutcomeAborted)
	if got := s.pods("v1"); !slices.Equal(old, got) {
		t.Errorf("pods of version 1 after going back are %v, want those of before: %v", got, old)
	}
	if h := ro.Status.History[0]; !strings.Contains(h.Message, "customers complain") {
		t.Errorf("the attempt's record says %q, want the reason given", h.Message)
	}
	samples := s.finish("")
	s.answeredBy(samples, "v1")
	s.restored()
}

// pods are the UIDs of the pods of a version that are not ending.
func (s *scene) pods(version string) []types.UID {
	s.t.Helper()
	pods := &corev1.PodList{}
	s.must(bed.Client.List(s.t.Context(), pods, client.InNamespace(s.app.Namespace), client.MatchingLabels{"app": name}))
	uids := map[types.UID]bool{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp == nil && strings.HasSuffix(p.Spec.Containers[0].Image, ":"+version) {
			uids[p.UID] = true
		}
	}
	return slices.Sorted(maps.Keys(uids))
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{change: func(a *stage.App) {
		a.Bake = "0s"
		a.Steps = []stage.Step{{Name: "first", Weight: 10, Hold: "1s", Approval: true}, {Name: "half", Weight: 50, Hold: "1h"}, {Name: "all", Weight: 100, Hold: "1h"}}
	}})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.approve("--reason", "looks good")
	s.await("step half", at(2, 1))
	s.plugin("pause", "--reason", "lunch")
	if ro := s.await("the pause", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt.Pause != nil }).Rollout; ro.Status.Attempt.Weight != 50 {
		t.Errorf("while paused the weight is %d, want 50", ro.Status.Attempt.Weight)
	}
	s.plugin("resume")
	s.await("the end of the pause", func(ro *v1alpha1.Rollout) bool { return ro.Status.Attempt.Pause == nil })
	s.plugin("promote", "--full", "--reason", "enough seen")
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	samples := s.finish("")
	s.answeredBy(samples, "v2")
	s.restored()
}

func TestPodFailureExposesNobody(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 50})
	s.release("missing", func(text string) string { return strings.ReplaceAll(text, "image: sample:v1", "image: missing:v1") })
	ro := s.awaitOutcome(2, v1alpha1.OutcomeRolledBack)
	if h := ro.Status.History[0]; h.Reason != "PodsFailed" {
		t.Errorf("the attempt failed because of %s (%s), want PodsFailed", h.Reason, h.Message)
	}
	for _, w := range s.timeline.Weights() {
		if w.Percent > 0 {
			t.Errorf("the route gave the canary %.0f %% at %s, want never any", w.Percent, w.At)
		}
	}
	s.answeredBy(s.finish(""), "v1")
	s.restored()
}

func TestPrometheusDownHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 50, change: func(a *stage.App) {
		a.Prometheus = "http://127.0.0.1:1" // nobody listens there
		a.Steps[0].Hold = "1s"
	}})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("step first", at(2, 0))
	held := s.await("the broken provider to be the reason", func(ro *v1alpha1.Rollout) bool {
		run := s.timeline.Run(name + "-2")
		return run != nil && run.Status.Verdict == v1alpha1.VerdictHold && len(run.Status.Metrics) > 0 && run.Status.Metrics[0].ProviderErrors >= 5
	})
	if a := held.Rollout.Status.Attempt; a == nil || a.Step != 0 || a.Verdict != nil || a.Weight != 10 {
		t.Errorf("while Prometheus is down: %s, want step first, neither promoted nor aborted", stage.Describe(held.Rollout))
	}
	s.plugin("abort", "--reason", "no evidence to be had")
	s.awaitOutcome(2, v1alpha1.OutcomeAborted)
	s.answeredBy(s.finish(""), "v1")
	s.restored()
}
