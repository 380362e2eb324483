package simulation

import (
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// depth is how many versions of a kind are kept: a cache lags behind by one less at most.
const depth = 4

// Kinds of what is read from caches.
const (
	kindSets = iota
	kindPods
	kindServices
	kindEndpoints
	kindRoutes
	kindRuns
	kindDecisions
	kinds
)

// caches are what the controller may see of each kind: one of the last versions, and never an older one than before.
type caches struct {
	versions [kinds][]any
	total    [kinds]int
	seen     [kinds]int
}

// lags are by how many versions the caches lag behind.
type lags [kinds]int

func (c *caches) clone() caches {
	n := *c
	for i := range n.versions {
		n.versions[i] = slices.Clone(c.versions[i])
	}
	return n
}

// remember takes note of what has changed.
func (c *caches) remember(w *World) {
	for kind, value := range w.snapshot() {
		if l := len(c.versions[kind]); l > 0 && unchanged(c.versions[kind][l-1], value) {
			continue
		}
		c.versions[kind] = append(c.versions[kind], value)
		c.total[kind]++
		if len(c.versions[kind]) > depth {
			c.versions[kind] = slices.Clone(c.versions[kind][1:])
		}
	}
}

// unchanged compares two versions of a kind. Routes, runs and decisions are never changed in place, so that the same
// object is the same version; what looks different and is not costs one more version, as a real cache may have.
func unchanged(a, b any) bool {
	switch a := a.(type) {
	case []planner.ReplicaSet:
		return slices.Equal(a, b.([]planner.ReplicaSet))
	case []planner.Pod:
		return slices.Equal(a, b.([]planner.Pod))
	case endpoints:
		b := b.(endpoints)
		return maps.Equal(a[0], b[0]) && maps.Equal(a[1], b[1])
	case []*unstructured.Unstructured:
		return slices.Equal(a, b.([]*unstructured.Unstructured))
	case map[string]*v1alpha1.AnalysisRun:
		return maps.Equal(a, b.(map[string]*v1alpha1.AnalysisRun))
	case []v1alpha1.Decision:
		return slices.EqualFunc(a, b.([]v1alpha1.Decision), func(a, b v1alpha1.Decision) bool { return a.UID == b.UID })
	default:
		return reflect.DeepEqual(a, b)
	}
}

// catchUp forgets everything but the present.
func (c *caches) catchUp() {
	for kind := range kinds {
		c.seen[kind] = c.total[kind] - 1
	}
}

func (c *caches) at(kind, lag int) any {
	l := len(c.versions[kind])
	index := max(c.seen[kind], c.total[kind]-1-lag, c.total[kind]-l)
	c.seen[kind] = index
	return c.versions[kind][index-(c.total[kind]-l)]
}

type endpoints [2]map[string]int32

func (w *World) snapshot() [kinds]any {
	var sets []planner.ReplicaSet
	for _, k := range slices.Sorted(maps.Keys(w.sets)) {
		s := w.sets[k]
		sets = append(sets, planner.ReplicaSet{Name: "shop-" + k, Revision: k, Role: s.role, Wanted: s.wanted,
			Current: s.current, Ready: s.ready, Available: s.available, MinReadySeconds: w.cfg.MinReady, Created: s.created})
	}
	pods := make([]planner.Pod, len(w.pods))
	for i, p := range w.pods {
		pods[i] = p.Pod
		pods[i].Ready = p.ready
	}
	var services [2]planner.Service
	for i, s := range w.services {
		services[i] = planner.Service{Name: stableService, Exists: s.exists, Role: s.role, Revision: s.revision,
			RoleAdded: s.roleAdded, PortsMatch: true}
	}
	services[1].Name, services[1].Ours = canaryService, services[1].Exists
	var routes []*unstructured.Unstructured
	for _, r := range w.routes {
		routes = append(routes, r.object)
	}
	return [kinds]any{sets, pods, services, endpoints{maps.Clone(w.ends[0]), maps.Clone(w.ends[1])}, routes,
		maps.Clone(w.runs), slices.Clone(w.decisions)}
}

// observe is what the controller gathers: the Rollout as it is, all else as its caches have it.
func (w *World) observe(l lags) planner.Observed {
	if !w.cfg.Stale {
		l = lags{}
	}
	c := &w.caches
	services := c.at(kindServices, l[kindServices]).([2]planner.Service)
	ends := c.at(kindEndpoints, l[kindEndpoints]).(endpoints)
	services[0].Endpoints, services[1].Endpoints = ends[0], ends[1]
	o := planner.Observed{Inspect: w.seen.inspect, Now: w.now, Rollout: w.rollout.DeepCopy(), Revision: w.template,
		ReplicaSets: c.at(kindSets, l[kindSets]).([]planner.ReplicaSet), Pods: c.at(kindPods, l[kindPods]).([]planner.Pod),
		Stable: services[0], Canary: services[1],
		Runs:      c.at(kindRuns, l[kindRuns]).(map[string]*v1alpha1.AnalysisRun),
		Decisions: c.at(kindDecisions, l[kindDecisions]).([]v1alpha1.Decision)}
	for _, object := range c.at(kindRoutes, l[kindRoutes]).([]*unstructured.Unstructured) {
		o.Routes = append(o.Routes, planner.Route{Kind: "HTTPRoute", Name: object.GetName(), Object: object})
	}
	if last := &o.Routes[len(o.Routes)-1]; w.unread && w.rollout.Status.Attempt != nil {
		last.Object, last.Unread = nil, "403"
	}
	return o
}
