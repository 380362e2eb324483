package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

const (
	stableService = "shop"
	canaryService = "shop-canary"
	settle        = 10 * time.Second
)

// Config is what a world is like from the start.
type Config struct {
	Replicas int32
	Steps    []v1alpha1.Step
	// BlueGreen takes the place of Steps; its bake is Bake.
	BlueGreen *v1alpha1.BlueGreenStrategy
	// Dynamic: stable gives pods up to the canary of Steps.
	Dynamic bool
	Bake    v1alpha1.Duration
	// Deadline is progressDeadline.
	Deadline v1alpha1.Duration
	Analysis bool
	// Compare: the metric that decides compares, and proves each step anew.
	Compare   bool
	Pause     bool // onFailure.action Pause
	Revert    bool // onFailure.revert is set
	Routes    int
	Listed    bool // the user lists the canary Service with weight 0
	Foreign   bool // a rule has a backend that is not ours
	RoleInGit bool // the stable Service selects the role already
	// Flaky: pods that were ready may stop being so.
	Flaky bool
	// MinReady is minReadySeconds.
	MinReady int32
	// Stale: caches may lag behind.
	Stale bool
	// Planner takes the place of planner.Make: a broken one shows that the checks see it.
	Planner func(planner.Observed) planner.Plan
}

func (c Config) plan(o planner.Observed) planner.Plan {
	if c.Planner != nil {
		return c.Planner(o)
	}
	return planner.Make(o)
}

type pod struct {
	planner.Pod
	ready bool
	// since when it is.
	since time.Time
	// broken pods never become ready.
	broken bool
}

type replicaSet struct {
	revision string
	role     v1alpha1.Role
	wanted   int32
	created  time.Time
	// status, as the ReplicaSet's controller last wrote it.
	current, ready, available int32
}

type service struct {
	exists         bool
	role, revision string
	roleAdded      bool
}

// written is one version of a route as the data plane may see it.
type written struct {
	min, max  int32
	published time.Time // zero while the gateway has not accepted it
}

type route struct {
	object  *unstructured.Unstructured
	version int
	// plane holds the versions that the data plane may follow now.
	plane []written
	// edited: a user has changed the first rule.
	edited bool
}

// World is everything that is, and what the controller has seen of it.
type World struct {
	cfg      Config
	now      time.Time
	rollout  *v1alpha1.Rollout
	version  int
	deleted  bool
	template string
	sets     map[string]*replicaSet
	pods     []pod
	podCount int
	services [2]service // stable, canary
	ends     [2]map[string]int32
	routes   []*route
	runs     map[string]*v1alpha1.AnalysisRun
	// decisions without a result, and how many were ever made.
	decisions     []v1alpha1.Decision
	decisionCount int
	// bad revisions fail their metrics; broken revisions have pods that never become ready.
	bad, broken map[string]bool
	// noData and providerDown say what Prometheus is like.
	noData, providerDown bool
	// unread: the last route cannot be read now.
	unread bool
	caches caches
	seen   *memory // its copies share it
	truth  truth
}

// truth is what the checks remember.
type truth struct {
	// good and bad are when a run really measured so, by its name.
	good map[string]time.Time
	bad  map[string]bool
	// reverts counts the intents by attempt.
	reverts map[int64]int
	// timedOut: the last attempt was taken back without confirmation, or its pods without endpoints seen.
	timedOut bool
	// foreign: somebody else wrote the routes or Services in this world.
	foreign bool
	// forced is the attempt and step that a person promoted.
	forced map[string]bool
	// lost: a pod was lost in this world.
	lost bool
	// retried: a person has said to try a revision again.
	retried bool
	// broke: pods of some revision were made not to start.
	broke bool
	// floor is the most pods that were asked for since the current attempt began.
	floor int32
	// edited: steps were edited in this world since the last look.
	edited     bool
	count      Counters
	violations []string
	log        []string
	verbose    bool
}

// Counters say how much was exercised.
type Counters struct {
	Steps, Crashes, Faults, Verdicts, Promotions, Reverts, Raises, Worlds, Inconclusive int64
}

func (c *Counters) add(o Counters) {
	c.Steps += o.Steps
	c.Crashes += o.Crashes
	c.Faults += o.Faults
	c.Verdicts += o.Verdicts
	c.Promotions += o.Promotions
	c.Reverts += o.Reverts
	c.Raises += o.Raises
	c.Worlds += o.Worlds
	c.Inconclusive += o.Inconclusive
}

// NewWorld makes a world in which revision "a" is stable and serves.
func NewWorld(cfg Config) *World {
	w := Bare(cfg)
	w.settleDown()
	w.truth.count = Counters{Steps: w.truth.count.Steps}
	w.truth.log = nil
	return w
}

// Bare makes a world in which the Rollout was just created.
func Bare(cfg Config) *World {
	w := &World{cfg: cfg, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), template: "a", version: 1,
		sets: map[string]*replicaSet{}, runs: map[string]*v1alpha1.AnalysisRun{},
		bad: map[string]bool{}, broken: map[string]bool{}, seen: &memory{views: map[asked]gatewayapi.View{}}}
	w.truth = truth{good: map[string]time.Time{}, bad: map[string]bool{}, reverts: map[int64]int{}, forced: map[string]bool{}}
	w.ends = [2]map[string]int32{{}, {}}
	w.services[0] = service{exists: true}
	if cfg.RoleInGit {
		w.services[0].role = string(v1alpha1.RoleStable)
	}
	limit := int32(2)
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "n", UID: "u", Generation: 1}}
	r.Spec = v1alpha1.RolloutSpec{Replicas: &cfg.Replicas, Selector: v1alpha1.Selector{MatchLabels: map[string]string{"app": "shop"}},
		RevisionHistoryLimit: &limit, ProgressDeadline: cfg.Deadline,
		Traffic:  v1alpha1.Traffic{StableService: stableService, TotalWeight: 100, Settle: "10s"},
		Strategy: cfg.strategy()}
	r.Spec.MinReadySeconds = cfg.MinReady
	if cfg.Analysis {
		r.Spec.Analysis = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "golden"}}}
	}
	if cfg.Pause {
		r.Spec.OnFailure.Action = v1alpha1.FailurePause
	}
	if cfg.Revert {
		r.Spec.OnFailure.Revert = &v1alpha1.Revert{Repository: "fleet", Path: "shop"}
	}
	w.rollout = r
	for i := range max(1, cfg.Routes) {
		w.routes = append(w.routes, &route{object: w.gitRoute(i), version: 1, plane: []written{{published: w.now}}})
	}
	w.publish()
	w.caches.remember(w)
	return w
}

// gitRoute is the route as the user declares it.
func (w *World) gitRoute(i int) *unstructured.Unstructured {
	stable := map[string]any{"name": stableService, "port": int64(80)}
	refs := []any{stable}
	if w.cfg.Listed {
		stable["weight"] = int64(100)
		refs = append(refs, map[string]any{"name": canaryService, "port": int64(80), "weight": int64(0)})
	}
	rules := []any{map[string]any{"backendRefs": refs, "timeouts": map[string]any{"request": "5s"}}}
	if w.cfg.Foreign {
		rules = append(rules, map[string]any{
			"matches":     []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/api"}}},
			"backendRefs": []any{map[string]any{"name": "legacy", "port": int64(80), "weight": int64(1)}, map[string]any{"name": stableService, "port": int64(80), "weight": int64(3)}}})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{"name": fmt.Sprintf("r%d", i), "namespace": "n", "uid": fmt.Sprintf("route-%d", i), "generation": int64(1), "resourceVersion": "1"},
		"spec":     map[string]any{"parentRefs": []any{map[string]any{"name": "gw"}}, "hostnames": []any{"shop.example"}, "rules": rules}}}
}

// Clone is an independent copy.
func (w *World) Clone() *World {
	c := *w
	c.rollout = w.rollout.DeepCopy()
	c.sets = map[string]*replicaSet{}
	for k, v := range w.sets {
		s := *v
		c.sets[k] = &s
	}
	c.pods = slices.Clone(w.pods)
	c.ends = [2]map[string]int32{maps.Clone(w.ends[0]), maps.Clone(w.ends[1])}
	c.routes = nil
	for _, r := range w.routes {
		c.routes = append(c.routes, &route{object: r.object, version: r.version, plane: slices.Clone(r.plane), edited: r.edited})
	}
	c.runs = maps.Clone(w.runs)
	c.decisions = slices.Clone(w.decisions)
	c.bad, c.broken = maps.Clone(w.bad), maps.Clone(w.broken)
	c.caches = w.caches.clone()
	t := w.truth
	t.good, t.bad, t.reverts, t.forced = maps.Clone(t.good), maps.Clone(t.bad), maps.Clone(t.reverts), maps.Clone(t.forced)
	t.violations, t.log = slices.Clone(t.violations), slices.Clone(t.log)
	c.truth = t
	return &c
}

// Hash identifies a state of the world, for the exhaustive search.
func (w *World) Hash() string {
	type set struct {
		A, B       string
		C, D, E    int32
		Role       string
		Exists     bool
		Added, Rdy bool
	}
	var sets []set
	for _, k := range slices.Sorted(maps.Keys(w.sets)) {
		s := w.sets[k]
		sets = append(sets, set{A: k, C: s.wanted, D: s.current, E: s.ready, Role: string(s.role)})
	}
	for _, p := range w.pods {
		sets = append(sets, set{A: p.Revision, B: p.Waiting, Role: string(p.Role), Rdy: p.ready})
	}
	for _, s := range w.services {
		sets = append(sets, set{A: s.role, B: s.revision, Exists: s.exists, Added: s.roleAdded})
	}
	status := w.rollout.Status.DeepCopy()
	status.Conditions = nil
	parts := []any{sets, w.ends, status, w.rollout.Spec.Paused, w.template, *w.rollout.Spec.Replicas, w.deleted, w.rollout.DeletionTimestamp,
		w.rollout.Finalizers, w.rollout.Spec.RestartAt, w.now, w.decisions, w.bad, w.noData, w.providerDown, len(w.rollout.Spec.Steps()), w.rollout.Spec.Strategy.BlueGreen != nil}
	for _, r := range w.routes {
		o := r.object.DeepCopy()
		o.SetResourceVersion("")
		parts = append(parts, o.Object, fmt.Sprint(r.plane))
	}
	for _, n := range slices.Sorted(maps.Keys(w.runs)) {
		parts = append(parts, n, w.runs[n].Status, w.runs[n].Spec.State)
	}
	data, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain data
	}
	return string(data)
}

func (w *World) replicas() int32 { return *w.rollout.Spec.Replicas }

func (w *World) say(format string, args ...any) {
	if w.truth.verbose {
		w.truth.log = append(w.truth.log, w.now.Format("15:04:05 ")+fmt.Sprintf(format, args...))
	}
}

func weighted(weight int32, s v1alpha1.Step) v1alpha1.Step {
	s.Weight = &weight
	return s
}

// stepSetCount is how many step lists there are.
const stepSetCount = 9

// stepSets are the step lists that worlds choose from.
func stepSets(i int) []v1alpha1.Step {
	one := intstr.FromInt32(1)
	checks := &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "checks"}}}
	switch i {
	case 0:
		return []v1alpha1.Step{weighted(20, v1alpha1.Step{}), weighted(50, v1alpha1.Step{Hold: "30s"}), weighted(100, v1alpha1.Step{})}
	case 1:
		return []v1alpha1.Step{weighted(50, v1alpha1.Step{})}
	case 2:
		return []v1alpha1.Step{weighted(0, v1alpha1.Step{Replicas: &one}), weighted(25, v1alpha1.Step{Checks: checks}), weighted(100, v1alpha1.Step{Approval: v1alpha1.ApprovalRequired})}
	case 3:
		return []v1alpha1.Step{weighted(60, v1alpha1.Step{Hold: "1m"}), weighted(10, v1alpha1.Step{}), weighted(100, v1alpha1.Step{Hold: "10s"})}
	case 4:
		return []v1alpha1.Step{weighted(10, v1alpha1.Step{MaxHold: "40s", OnInconclusive: v1alpha1.InconclusiveProceed}),
			weighted(30, v1alpha1.Step{Checks: checks, MaxHold: "20s", OnInconclusive: v1alpha1.InconclusiveRollback}), weighted(100, v1alpha1.Step{Hold: "5s", MaxHold: "20s"})}
	case 5:
		return []v1alpha1.Step{weighted(20, v1alpha1.Step{MaxHold: "30s", OnInconclusive: v1alpha1.InconclusiveExtend}),
			weighted(60, v1alpha1.Step{MaxHold: "5s", OnInconclusive: v1alpha1.InconclusiveProceed, Approval: v1alpha1.ApprovalRequired}),
			weighted(100, v1alpha1.Step{Hold: "10s", MaxHold: "1m", OnInconclusive: v1alpha1.InconclusivePause})}
	}
	switch i {
	case 6:
		return matchSteps()
	case 8:
		return mirrorSteps()
	}
	return []v1alpha1.Step{weighted(5, v1alpha1.Step{}), weighted(10, v1alpha1.Step{}), weighted(40, v1alpha1.Step{}), weighted(80, v1alpha1.Step{Approval: v1alpha1.ApprovalRequired})}
}

func (w *World) newDecision(action v1alpha1.DecisionAction, attempt int64, step int32, revision string) {
	w.decisionCount++
	id := strconv.Itoa(w.decisionCount)
	d := v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Name: "d" + id, UID: types.UID("uid-" + id)}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Rollout", Name: "shop"}, Action: action, Actor: "kim", Reason: "asked"}
	if action == v1alpha1.ActionRetry {
		d.Spec.Revision = revision
		w.truth.retried = true
	} else {
		d.Spec.Attempt, d.Spec.Step = &attempt, &step
	}
	w.decisions = append(slices.Clone(w.decisions), d)
}
