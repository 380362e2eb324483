package stage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// RouteKind is the kind of the routes.
var RouteKind = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "HTTPRoute"}

// Timeline is what a Rollout, its route and its evidence said at what time, as they were seen to change.
type Timeline struct {
	name, canary string

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	states  []State
	weights []Weight
	routes  []*unstructured.Unstructured
	runs    map[string]*v1alpha1.AnalysisRun
	looks   map[string][]look
}

// look is what a run said of its metrics from a time on.
type look struct {
	at      time.Time
	metrics []v1alpha1.MetricStatus
}

// State is a Rollout at a time.
type State struct {
	At      time.Time
	Rollout *v1alpha1.Rollout
}

// Weight is the share of the traffic that the route gives to the canary from a time on, in percent.
type Weight struct {
	At      time.Time
	Percent float64
	Listed  bool // the route names the canary Service
}

// Watch records a Rollout's life until ctx ends.
func (b *Bed) Watch(ctx context.Context, namespace, name string) (*Timeline, error) {
	t := &Timeline{name: name, canary: name + "-canary", changed: make(chan struct{}), runs: map[string]*v1alpha1.AnalysisRun{},
		looks: map[string][]look{}}
	c, err := cache.New(b.Config, cache.Options{Scheme: Scheme(), DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		return nil, fmt.Errorf("watching %s/%s: %w", namespace, name, err)
	}
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(RouteKind)
	for _, kind := range []client.Object{&v1alpha1.Rollout{}, &v1alpha1.AnalysisRun{}, route} {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watching %s/%s: %w", namespace, name, err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: t.see, UpdateFunc: func(_, o any) { t.see(o) },
		}); err != nil {
			return nil, fmt.Errorf("watching %s/%s: %w", namespace, name, err)
		}
	}
	go func() { _ = c.Start(ctx) }() // it ends with ctx
	if !c.WaitForCacheSync(ctx) {
		return nil, fmt.Errorf("watching %s/%s: %w", namespace, name, ctx.Err())
	}
	return t, nil
}

func (t *Timeline) see(o any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch o := o.(type) {
	case *v1alpha1.Rollout:
		if o.Name == t.name {
			t.states = append(t.states, State{time.Now(), o})
		}
	case *v1alpha1.AnalysisRun:
		t.runs[o.Name] = o
		t.looks[o.Name] = append(t.looks[o.Name], look{time.Now(), o.Status.Metrics})
	case *unstructured.Unstructured:
		if o.GetName() == t.name {
			t.routes = append(t.routes, o)
			t.seeWeight(CanaryWeight(o, t.canary))
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// Metrics are what a run said of its metrics at a time; of a run that said nothing yet, nil.
func (t *Timeline) Metrics(run string, at time.Time) []v1alpha1.MetricStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range slices.Backward(t.looks[run]) {
		if !l.at.After(at) {
			return l.metrics
		}
	}
	return nil
}

func (t *Timeline) seeWeight(percent float64, listed bool) {
	if n := len(t.weights); n > 0 && t.weights[n-1].Percent == percent && t.weights[n-1].Listed == listed {
		return
	}
	t.weights = append(t.weights, Weight{time.Now(), percent, listed})
}

// CanaryWeight is the highest share, in percent, that a rule of the route gives to a Service, and whether one names it at all.
func CanaryWeight(route *unstructured.Unstructured, service string) (highest float64, listed bool) {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		backends, _, _ := unstructured.NestedSlice(rule, "backendRefs")
		var sum, share float64
		for _, b := range backends {
			backend, _ := b.(map[string]any)
			weight := 1.0
			if w, ok := backend["weight"].(int64); ok {
				weight = float64(w)
			}
			sum += weight
			if backend["name"] == service {
				share, listed = share+weight, true
			}
		}
		if sum > 0 {
			highest = max(highest, 100*share/sum)
		}
	}
	return highest, listed
}

// Last is the Rollout as it was seen last, or nil.
func (t *Timeline) Last() *v1alpha1.Rollout {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.states) == 0 {
		return nil
	}
	return t.states[len(t.states)-1].Rollout
}

// Weights are the changes of the canary's share that were seen.
func (t *Timeline) Weights() []Weight {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Weight(nil), t.weights...)
}

// Routes are the versions of the route that were seen.
func (t *Timeline) Routes() []*unstructured.Unstructured {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.routes)
}

// Run is an AnalysisRun as it was seen last, or nil.
func (t *Timeline) Run(name string) *v1alpha1.AnalysisRun {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runs[name]
}

// States are the states seen from a time on.
func (t *Timeline) States(from time.Time) []State {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.states {
		if !t.states[i].At.Before(from) {
			return append([]State(nil), t.states[i:]...)
		}
	}
	return nil
}

// Changed is closed at the next change of anything.
func (t *Timeline) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Await waits until a state fulfils the condition, beginning with the last one; states in between are not missed. The last state is
// looked at again when anything else changes, so that a condition may ask the Timeline.
func (t *Timeline) Await(ctx context.Context, what string, limit time.Duration, is func(*v1alpha1.Rollout) bool) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for seen := -1; ; {
		t.mu.Lock()
		changed, states := t.changed, t.states
		t.mu.Unlock()
		if seen < 0 {
			seen = len(states)
		}
		for _, s := range states[max(0, min(seen, len(states)-1)):] {
			if is(s.Rollout) {
				return s, nil
			}
		}
		seen = len(states)
		select {
		case <-ctx.Done():
			return State{}, fmt.Errorf("waiting for %s, %s at most: %w; %s", what, limit, ctx.Err(), Describe(t.Last()))
		case <-changed:
		}
	}
}

// Describe says in one line where a Rollout stands.
func Describe(ro *v1alpha1.Rollout) string {
	if ro == nil {
		return "there is no Rollout"
	}
	s := ro.Status
	out := fmt.Sprintf("Rollout %s is %s", ro.Name, s.Phase)
	if a := s.Attempt; a != nil {
		out += fmt.Sprintf(", attempt %d, stage %s, step %q, weight %d", a.Number, a.Stage, a.StepName, a.Weight)
	}
	if s.BlockedBy != "" {
		out += ", blocked by: " + s.BlockedBy
	}
	if r := s.Revert; r != nil {
		out += fmt.Sprintf(", revert %s: %s", r.State, r.Message)
	}
	return out
}

// Over tells whether attempt n is over, and with which outcome.
func Over(ro *v1alpha1.Rollout, n int64) (v1alpha1.Outcome, bool) {
	if ro.Status.Attempt != nil && ro.Status.Attempt.Number == n {
		return "", false
	}
	for _, h := range ro.Status.History {
		if h.Number == n {
			return h.Outcome, true
		}
	}
	return "", false
}

// AtRest tells whether nothing is left to do: no attempt, no old pods kept.
func AtRest(ro *v1alpha1.Rollout) bool {
	return ro.Status.ObservedGeneration == ro.Generation && ro.Status.Attempt == nil && ro.Status.Previous == nil && ro.Status.Stable != nil
}
