package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

const (
	calmRate = 40  // requests per second that three pods answer with ease, at 1 ms of processor time each
	rushRate = 260 // on top, for which the HPA wants five or more
	fewest   = 3
	more     = 5
)

// pressure scales by processor time. The tolerances are what docs/concepts.md asks for: the pods on trial lower the average.
const pressure = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: checkout}
spec:
  scaleTargetRef: {apiVersion: belay.dev/v1alpha1, kind: Rollout, name: checkout}
  minReplicas: 3
  maxReplicas: 8
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
  behavior:
    scaleUp: {tolerance: "0"}
    scaleDown: {tolerance: "0", stabilizationWindowSeconds: 5}
`

// size is what a ReplicaSet said at a time.
type size struct {
	at            time.Time
	revision      string
	wanted, ready int32
}

func (s size) String() string {
	return fmt.Sprintf("%s %s wants %d, %d ready", s.at.Format("15:04:05.0"), s.revision, s.wanted, s.ready)
}

// sizes is every size of a Rollout's ReplicaSets that was seen.
type sizes struct {
	mu  sync.Mutex
	all []size
}

// watchSizes records until the test ends.
func watchSizes(t *testing.T, namespace string) *sizes {
	t.Helper()
	c, err := cache.New(bed.Config, cache.Options{Scheme: stage.Scheme(), DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		t.Fatal(err)
	}
	informer, err := c.GetInformer(t.Context(), &appsv1.ReplicaSet{}, cache.BlockUntilSynced(false))
	if err != nil {
		t.Fatal(err)
	}
	out := &sizes{}
	see := func(o any) {
		rs, ok := o.(*appsv1.ReplicaSet)
		if !ok || rs.Status.ObservedGeneration < rs.Generation {
			return // its status is of another size
		}
		out.mu.Lock()
		defer out.mu.Unlock()
		out.all = append(out.all, size{time.Now(), rs.Labels[v1alpha1.LabelRevision], *rs.Spec.Replicas, rs.Status.ReadyReplicas})
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.Start(t.Context()) }() // it ends with the test
	if !c.WaitForCacheSync(t.Context()) {
		t.Fatal("the ReplicaSets cannot be watched")
	}
	return out
}

// of are the sizes of a revision from a time on.
func (s *sizes) of(revision string, from time.Time) []size {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []size
	for _, one := range s.all {
		if one.revision == revision && !one.at.Before(from) {
			out = append(out, one)
		}
	}
	return out
}

// last is the size of a revision that was seen last.
func (s *sizes) last(revision string) size {
	all := s.of(revision, time.Time{})
	if len(all) == 0 {
		return size{}
	}
	return all[len(all)-1]
}

// pressed is a scene whose Rollout an HPA scales by real processor time.
type pressed struct {
	*scene
	sizes *sizes
	extra []*stage.Load // finished ones
	rush  *stage.Load
}

func newPressed(t *testing.T) *pressed {
	t.Helper()
	s := &pressed{}
	// Pods that an autoscaler takes away serve until the gateway has learnt of it, however busy the machine is.
	drain := env(`{name: LATENCY_MS, value: "5"}`, "{name: LATENCY_MS, value: \"5\"}\n        - {name: DRAIN, value: 10s}")
	s.scene = newScene(t, plan{rate: calmRate, edit: drain, extra: map[string]string{"hpa.yaml": pressure}, change: func(a *stage.App) {
		a.Replicas, a.CPU, a.Judged, a.Bake, a.ScaleDownDelay = 0, 1, false, "1s", "1s"
		a.Steps = []stage.Step{{Name: "half", Weight: 50, Hold: "1s", Approval: true}}
	}})
	t.Cleanup(func() {
		if s.rush != nil {
			_ = s.rush.Stop()
		}
	})
	s.sizes = watchSizes(t, s.app.Namespace)
	s.await("the HPA's least number", func(ro *v1alpha1.Rollout) bool { return asked(ro) == fewest && ro.Status.AvailableReplicas == fewest })
	return s
}

// asked is how many pods the HPA wants.
func asked(ro *v1alpha1.Rollout) int32 {
	if ro.Spec.Replicas == nil {
		return 0
	}
	return *ro.Spec.Replicas
}

func (s *pressed) begin() {
	s.t.Helper()
	s.rush = s.send(fmt.Sprintf("%s-rush-%d", s.app.Namespace, len(s.extra)), plan{rate: rushRate})
}

func (s *pressed) end() {
	s.t.Helper()
	s.must(s.rush.Stop())
	s.extra, s.rush = append(s.extra, s.rush), nil
}

// truthful fails the test unless the scale subresource tells the HPA what is there: the pods of all revisions, and no others.
func (s *pressed) truthful(when string) {
	s.t.Helper()
	s.must(stage.Poll(s.t.Context(), "the truth "+when, limit, func(ctx context.Context) error {
		ro := &v1alpha1.Rollout{}
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: name}, ro); err != nil {
			return err
		}
		scale := &autoscalingv1.Scale{}
		if err := bed.Client.SubResource("scale").Get(ctx, ro, scale); err != nil {
			return err
		}
		selector, err := labels.Parse(scale.Status.Selector)
		if err != nil || selector.Empty() {
			return fmt.Errorf("selector %q: %w", scale.Status.Selector, err)
		}
		pods := &corev1.PodList{}
		if err := bed.Client.List(ctx, pods, client.InNamespace(s.app.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return err
		}
		var there, ready int32
		for i := range pods.Items {
			if p := &pods.Items[i]; p.DeletionTimestamp == nil {
				there++
				if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }) {
					ready++
				}
			}
		}
		st := ro.Status
		if scale.Status.Replicas != there || st.Replicas != there || st.ReadyReplicas != ready || st.AvailableReplicas != ready || there != ready {
			return fmt.Errorf("there are %d pods, %d of them ready; scale says %d, status %d, ready %d, available %d",
				there, ready, scale.Status.Replicas, st.Replicas, st.ReadyReplicas, st.AvailableReplicas)
		}
		s.t.Logf("%s: %d pods, as status and the scale subresource say; the HPA asks for %d", when, there, scale.Spec.Replicas)
		return nil
	}))
}

// measured fails the test unless the HPA has scaled by a number that was measured.
func (s *pressed) measured() {
	s.t.Helper()
	s.must(stage.Poll(s.t.Context(), "a measured metric of the HPA", limit, func(ctx context.Context) error {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{}
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: name}, hpa); err != nil {
			return err
		}
		for _, m := range hpa.Status.CurrentMetrics {
			if m.Resource != nil && m.Resource.Current.AverageUtilization != nil {
				s.t.Logf("the HPA measures %d %% of what is requested, and wants %d pods", *m.Resource.Current.AverageUtilization, hpa.Status.DesiredReplicas)
				return nil
			}
		}
		return fmt.Errorf("%+v", hpa.Status)
	}))
}

// scaled waits until the HPA asks for a number, and a revision has so many pods at least, ready.
func (s *pressed) scaled(what, revision string, is func(int32) bool) int32 {
	s.t.Helper()
	state := s.await(what, func(ro *v1alpha1.Rollout) bool { return is(asked(ro)) })
	n := asked(state.Rollout)
	s.must(stage.Poll(s.t.Context(), fmt.Sprintf("%d pods of %s", n, revision), limit, func(context.Context) error {
		if got := s.sizes.last(revision); got.ready < n {
			return fmt.Errorf("%s", got)
		}
		return nil
	}))
	return n
}

// kept fails the test if the revision wanted fewer pods than before at any time, or had fewer that were ready.
func (s *pressed) kept(what, revision string, from, to time.Time) {
	s.t.Helper()
	var before size
	for _, one := range s.sizes.of(revision, time.Time{}) {
		if one.at.After(to) {
			break
		}
		if one.at.Before(from) {
			before = one
			continue
		}
		if one.wanted < max(fewest, before.wanted) || one.ready < max(fewest, before.ready) {
			s.t.Errorf("%s: stable fell from %q to %q", what, before, one)
		}
		before = one
	}
	if before.ready < fewest {
		s.t.Errorf("%s: the sizes of stable were not seen: %s", what, before)
	}
	s.t.Logf("%s: stable ended with %d pods wanted and %d ready, and never had fewer than before", what, before.wanted, before.ready)
}

// finishAll ends the traffic, and fails the test if any request of any load failed.
func (s *pressed) finishAll() stage.Samples {
	s.t.Helper()
	samples := s.finish("")
	for _, l := range s.extra {
		rush, err := l.Finish()
		s.must(err)
		s.judge(rush, "")
	}
	return samples
}

// TestHPAScalesByRealProcessorTime: an HPA with a target for processor time scales the Rollout through a promotion, and through an
// attempt that is aborted.
//
// It runs alone, before the others: it is the one test that is to keep the processors busy.
func TestHPAScalesByRealProcessorTime(t *testing.T) {
	s := newPressed(t)
	v1 := s.timeline.Last().Status.Stable.Revision

	// The load rises while an attempt runs: stable grows to what all of the traffic needs, and the promotion loses nothing.
	from := time.Now()
	s.release("v2", stage.Release("v1", "v2", ""))
	s.await("half", at(2, 0))
	s.truthful("in the attempt")
	s.begin()
	risen := s.scaled("the HPA to ask for more", v1, func(n int32) bool { return n >= more })
	s.measured()
	v2 := s.timeline.Last().Status.Attempt.Revision
	s.must(stage.Poll(t.Context(), "the canary's half", limit, func(context.Context) error {
		if got := s.sizes.last(v2); got.ready < (risen+1)/2 {
			return fmt.Errorf("%s", got)
		}
		return nil
	}))
	s.kept("while the load rose", v1, from, time.Now())
	s.plugin("approve")
	ro := s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	if now := s.sizes.last(v2); now.ready < more || asked(ro) < more {
		t.Errorf("promoted under load with %s, and %d asked for; want %d at least", now, asked(ro), more)
	}
	s.truthful("after the promotion")

	// The load falls while an attempt runs: the HPA asks for fewer, stable keeps what it has until the attempt is over.
	from = time.Now()
	s.release("v3", stage.Release("v2", "v3", ""))
	s.await("half of the next", at(3, 0))
	had := s.sizes.last(v2)
	s.end()
	s.await("the HPA to ask for fewer", func(ro *v1alpha1.Rollout) bool { return asked(ro) == fewest })
	s.must(s.load.More(t.Context(), 5*calmRate)) // time in which stable could be scaled down
	s.kept("while the load fell", v2, from, time.Now())
	if now := s.sizes.last(v2); now.wanted < had.wanted {
		t.Errorf("stable fell from %s to %s because the HPA asked for fewer", had, now)
	}
	v3 := s.timeline.Last().Status.Attempt.Revision

	// The attempt is aborted, and the HPA goes on: it moves stable, up and down, and never the canary.
	aborted := time.Now()
	s.plugin("abort", "--reason", "not today")
	s.begin()
	s.awaitOutcome(3, v1alpha1.OutcomeAborted)
	s.scaled("the HPA to ask for more", v2, func(n int32) bool { return n >= more })
	s.truthful("after the abort")
	s.end()
	s.await("the HPA to ask for fewer", func(ro *v1alpha1.Rollout) bool { return asked(ro) == fewest })
	s.must(stage.Poll(t.Context(), "stable to follow", limit, func(context.Context) error {
		if got := s.sizes.last(v2); got.wanted != fewest {
			return fmt.Errorf("%s", got)
		}
		return nil
	}))
	s.neverRaised(v3, aborted)
	s.answeredBy(s.finishAll(), "v2")
	s.restored()
}

// neverRaised fails the test if the revision got a pod more than it had, ever after, or still has one.
func (s *pressed) neverRaised(revision string, after time.Time) {
	s.t.Helper()
	all := s.sizes.of(revision, after)
	for i, one := range all {
		if i > 0 && one.wanted > all[i-1].wanted {
			s.t.Errorf("the aborted canary was scaled up again, from %q to %q", all[i-1], one)
		}
	}
	if last := s.sizes.last(revision); last.wanted != 0 {
		s.t.Errorf("the aborted canary still has pods: %s", last)
	}
	var told []string
	for _, one := range all {
		told = append(told, fmt.Sprint(one.wanted))
	}
	s.t.Logf("the aborted canary's pods, as they were asked for: %s", strings.Join(told, " "))
}
