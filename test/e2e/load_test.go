package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// The full load: what is sent, and what has to be dealt with, in requests per second. 10 s of it are the least for a count of 0
// failed requests to mean something.
const (
	fullRate  = 520
	fullLeast = 500
)

// story is a sequence of chapters on one application under full load, all of them behind each gateway at the same time.
type story struct {
	name      string
	blueGreen bool
	bad       string // the version whose failures are its own
	tell      func(*tale)
}

// tale is a story as it happens in a scene.
type tale struct {
	*scene
	chapters []chapter
	end      time.Time // requests that were sent later do not count; zero: all do
}

type chapter struct {
	name string
	from time.Time
}

func (t *tale) chapter(name string) { t.chapters = append(t.chapters, chapter{name, time.Now()}) }

// TestAtLoad is not parallel: nothing else is to take processor time from it. Each story runs behind a gateway that takes over
// changes at once, nearly, and behind one that lets 2 s pass between two changes, Traefik's default.
func TestAtLoad(t *testing.T) {
	requireBed(t)
	slow, err := bed.WithGateway(t.Context(), "gateway-2s", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	gateways := []struct {
		throttle, settle string // settle has to outlast what the gateway needs to follow a change
		bed              *stage.Bed
	}{{"100ms", "2s", bed}, {"2s", "4s", slow}}
	var mu sync.Mutex
	counts := []string{row("throttle", "chapter", "requests", "sent/s", "answered/s", "failed", "not its own", "by whom")}
	for _, story := range []story{
		{name: "promotion and abort", bad: "v3", tell: promotionAndAbort},
		{name: "superseding and deletion", tell: supersedingAndDeletion},
		{name: "blue-green", blueGreen: true, tell: blueGreenThereAndBack},
	} {
		t.Run(story.name, func(t *testing.T) {
			for _, gateway := range gateways {
				t.Run("throttle "+gateway.throttle, func(t *testing.T) {
					t.Parallel()
					s := newScene(t, plan{bed: gateway.bed, rate: fullRate, least: fullLeast, change: func(a *stage.App) {
						a.Settle, a.Bake, a.ScaleDownDelay, a.BlueGreen = gateway.settle, "1s", "1s", story.blueGreen
						a.Steps = []stage.Step{{Name: "first", Weight: 10, Hold: "2s"}, {Name: "half", Weight: 50, Hold: "1s"}}
					}})
					told := &tale{scene: s}
					story.tell(told)
					rows := told.close(gateway.throttle, story.bad)
					mu.Lock()
					defer mu.Unlock()
					counts = append(counts, rows...)
				})
			}
		})
	}
	slices.Sort(counts[1:])
	t.Logf("what became of the requests:\n%s", strings.Join(counts, "\n"))
}

func row(cells ...any) string {
	return fmt.Sprintf("%-8v %-22v %9v %7v %10v %7v %11v  %v", cells...)
}

// close ends the traffic, judges it, and returns a line of counts for each chapter.
func (t *tale) close(throttle, bad string) []string {
	t.t.Helper()
	var samples stage.Samples
	if t.end.IsZero() {
		samples = t.finish(bad)
	} else {
		all, err := t.load.Finish()
		t.must(err)
		samples = all.Where(func(one stage.Sample) bool { return one.Sent.Before(t.end) })
		t.judge(samples, bad)
	}
	var rows []string
	for i, c := range t.chapters {
		to := samples[len(samples)-1].Sent.Add(1)
		if i+1 < len(t.chapters) {
			to = t.chapters[i+1].from
		}
		part := samples.Between(c.from, to)
		failed, others := part.Failed(), part.Failed()
		if bad != "" {
			others = failed.NotOf(bad)
		}
		whom := "-"
		if len(failed) > 0 {
			whom = failed.Describe()
		}
		rows = append(rows, row(throttle, c.name, len(part), fmt.Sprintf("%.1f", part.SentRate()), fmt.Sprintf("%.1f", part.Rate()),
			len(failed), len(others), whom))
		if len(part) < 10*fullLeast {
			t.t.Errorf("chapter %s has %d requests, too few to tell anything: want at least %d", c.name, len(part), 10*fullLeast)
		}
	}
	return rows
}

func promotionAndAbort(s *tale) {
	s.chapter("promotion")
	s.release("v2", stage.Release("v1", "v2", ""))
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	s.restored()
	s.chapter("abort by analysis")
	s.release("v3", stage.Release("v2", "v3", "0.05"))
	ro := s.awaitOutcome(3, v1alpha1.OutcomeRolledBack)
	if h := ro.Status.History[0]; h.Reason != "AnalysisFailed" {
		s.t.Errorf("version 3 fell for %s, want AnalysisFailed: %s", h.Reason, h.Message)
	}
	s.restored()
	s.must(s.load.More(s.t.Context(), fullRate))
}

func supersedingAndDeletion(s *tale) {
	s.chapter("superseding")
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("half of the traffic on version 2", at(2, 1))
	s.release("v3", stage.Release("v2", "v3", ""))
	over := s.await("the end of attempt 2", func(ro *v1alpha1.Rollout) bool { _, over := stage.Over(ro, 2); return over })
	if got, _ := stage.Over(over.Rollout, 2); got != v1alpha1.OutcomeSuperseded {
		s.t.Errorf("attempt 2 ended as %s, want Superseded", got)
	}
	s.awaitOutcome(3, v1alpha1.OutcomePromoted)
	s.restored()
	s.chapter("deletion")
	s.release("v4", stage.Release("v3", "v4", ""))
	ro := s.await("half of the traffic on version 4", at(4, 1)).Rollout
	s.must(bed.Client.Delete(s.t.Context(), ro))
	s.must(stage.Poll(s.t.Context(), "the Rollout to be gone", limit, func(ctx context.Context) error {
		asked := time.Now()
		err := bed.Client.Get(ctx, client.ObjectKeyFromObject(ro), &v1alpha1.Rollout{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		s.end = asked // its pods go when it has gone: what is sent later has nobody to answer it
		return fmt.Errorf("it is still there: %w", err)
	}))
	s.restored()
	service := &corev1.Service{}
	s.must(bed.Client.Get(s.t.Context(), client.ObjectKey{Namespace: s.app.Namespace, Name: name}, service))
	if _, there := service.Spec.Selector[v1alpha1.LabelRole]; there {
		s.t.Errorf("the stable Service still selects %v, want what it selected before", service.Spec.Selector)
	}
}

func blueGreenThereAndBack(s *tale) {
	s.chapter("blue-green switch")
	s.release("v2", stage.Release("v1", "v2", ""))
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	s.restored()
	old := s.pods("v2")
	s.chapter("return from the bake")
	s.release("v3", func(text string) string {
		return strings.ReplaceAll(stage.Release("v2", "v3", "")(text), "bake: 1s", "bake: 10m")
	})
	s.await("the bake", in(v1alpha1.StageBaking))
	s.must(s.load.Await(s.t.Context(), "v3", 3*fullRate))
	s.plugin("abort", "--reason", "customers complain")
	s.awaitOutcome(3, v1alpha1.OutcomeAborted)
	if got := s.pods("v2"); !slices.Equal(old, got) {
		s.t.Errorf("pods of version 2 after going back are %v, want those of before: %v", got, old)
	}
	s.restored()
}
