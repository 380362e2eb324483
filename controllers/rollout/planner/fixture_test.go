package planner

import (
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(d)) }

func ptr[T any](v T) *T { return &v }

func step(weight int32, change func(*v1alpha1.Step)) v1alpha1.Step {
	s := v1alpha1.Step{Weight: &weight}
	if change != nil {
		change(&s)
	}
	return s
}

// route with one rule; the canary has a weight where it is above 0.
func route(canary int64) *unstructured.Unstructured {
	refs := []any{map[string]any{"name": "shop", "port": int64(80)}}
	annotations := map[string]any{}
	if canary > 0 {
		refs = []any{map[string]any{"name": "shop-canary", "port": int64(80), "weight": canary},
			map[string]any{"name": "shop", "port": int64(80), "weight": 100 - canary}}
		annotations["belay.dev/split"] = strings.ReplaceAll(`{"n/shop":{"namespace":"n","stable":"shop","canary":"shop-canary","weight":W,"total":100,"rules":[{"matches":"4f53cda18c2b","stable":[{"ref":"shop:80"}]}]}}`,
			"W", strconv.FormatInt(canary, 10))
	}
	parent := map[string]any{"name": "gw"}
	conditions := []any{
		map[string]any{"type": "Accepted", "status": "True", "observedGeneration": int64(1)},
		map[string]any{"type": "ResolvedRefs", "status": "True", "observedGeneration": int64(1)}}
	meta := map[string]any{"name": "r", "namespace": "n", "generation": int64(1), "resourceVersion": "1"}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	return &unstructured.Unstructured{Object: map[string]any{"kind": "HTTPRoute", "metadata": meta,
		"spec":   map[string]any{"parentRefs": []any{parent}, "rules": []any{map[string]any{"backendRefs": refs}}},
		"status": map[string]any{"parents": []any{map[string]any{"parentRef": parent, "controllerName": "c", "conditions": conditions}}}}}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// observed is a Rollout with stable revision a and four pods at a moment in attempt 2 of revision b, with all in order:
// the weight of the stage is on the route, confirmed and settled. An empty stage is rest.
func observed(stage v1alpha1.Stage) Observed {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "n", Generation: 3, Finalizers: []string{v1alpha1.FinalizerRestore}}}
	r.Spec = v1alpha1.RolloutSpec{Replicas: ptr(int32(4)), ProgressDeadline: "10m", Selector: v1alpha1.Selector{MatchLabels: map[string]string{"app": "shop"}},
		Traffic:  v1alpha1.Traffic{StableService: "shop", TotalWeight: 100, Settle: "10s"},
		Strategy: v1alpha1.Strategy{Canary: &v1alpha1.CanaryStrategy{Steps: []v1alpha1.Step{step(25, nil), step(50, nil), step(100, nil)}, Bake: "5m", ScaleDownDelay: "30s"}}}
	r.Spec.OnFailure.Revert = &v1alpha1.Revert{Repository: "fleet", Path: "shop"}
	r.Status = v1alpha1.RolloutStatus{Stable: &v1alpha1.RevisionRecord{Revision: "a", Since: at(-time.Hour)}, Attempts: 1}
	o := Observed{Now: noon, Rollout: r, Revision: "a",
		ReplicaSets: []ReplicaSet{{Name: "shop-a", Revision: "a", Role: v1alpha1.RoleStable, Wanted: 4, Current: 4, Ready: 4, Available: 4}},
		Stable:      Service{Name: "shop", Exists: true, Role: "stable", Endpoints: map[string]int32{"a": 4}},
		Canary:      Service{Name: "shop-canary"}, Runs: map[string]*v1alpha1.AnalysisRun{}}
	o.addPods("a", v1alpha1.RoleStable, 4)
	weight := int64(0)
	if stage != "" {
		o.inStage(stage)
		weight = int64(r.Status.Attempt.Weight)
	}
	o.Routes = []Route{{Kind: "HTTPRoute", Name: "r", Object: route(weight)}}
	return o
}

func (o *Observed) inStage(stage v1alpha1.Stage) {
	st := &o.Rollout.Status
	st.Attempts, o.Revision = 2, "b"
	a := &v1alpha1.Attempt{Number: 2, Revision: "b", Stage: stage, StageSince: at(-time.Minute), StartedAt: at(-time.Hour), Step: 1, StepName: "step-2",
		Weight: 50, MaxWeight: 50, ConfirmedWeight: 50, ExposedAt: ptr(at(-30 * time.Minute)), AcceptedAt: ptr(at(-40 * time.Second)), ConfirmedAt: ptr(at(-20 * time.Second)), Available: 2}
	st.Attempt = a
	role, canaries := v1alpha1.RoleCanary, int32(2)
	o.Canary = Service{Name: "shop-canary", Exists: true, Ours: true, PortsMatch: true, Revision: "b", Endpoints: map[string]int32{"b": 2}}
	switch stage {
	case v1alpha1.StageInitial:
		st.Stable, a.Weight, a.ConfirmedAt, a.AcceptedAt, a.ExposedAt, a.MaxWeight, a.Available = nil, 0, nil, nil, nil, 0, 0
		o.ReplicaSets, o.Pods, o.Canary, o.Stable.Endpoints = nil, nil, Service{Name: "shop-canary"}, map[string]int32{}
		role, canaries = v1alpha1.RoleStable, 2
	case v1alpha1.StageSwitching, v1alpha1.StageRetiring, v1alpha1.StageReturning, v1alpha1.StageBaking:
		a.Step, a.StepName, a.Weight, a.MaxWeight, a.Available = 2, "step-3", 100, 100, 4
		role, canaries = v1alpha1.RoleStable, 4
		o.Canary.Endpoints["b"], o.Stable.Endpoints["b"] = 4, 4
	case v1alpha1.StageWithdrawing:
		a.Weight, a.ConfirmedAt, a.AcceptedAt = 0, nil, ptr(at(-5*time.Second))
		a.Verdict = &v1alpha1.Verdict{Outcome: v1alpha1.OutcomeRolledBack, Reason: ReasonAnalysisFailed, Actor: ActorBelay, Message: "errors", At: at(-time.Minute)}
		st.Quarantine = []v1alpha1.Quarantined{{Revision: "b", Attempt: 2, Reason: ReasonAnalysisFailed, Message: "errors", At: at(-time.Minute)}}
		o.Canary.Revision, o.Canary.Role, o.Canary.Endpoints = "", "stable", map[string]int32{"a": 4}
	}
	o.ReplicaSets = append(o.ReplicaSets, ReplicaSet{Name: "shop-b", Revision: "b", Role: role, Wanted: canaries, Current: canaries, Ready: canaries, Available: canaries})
	o.addPods("b", role, canaries)
	switch stage {
	case v1alpha1.StageRetiring, v1alpha1.StageReturning, v1alpha1.StageBaking:
		delete(o.Stable.Endpoints, "a")
		o.role("a", v1alpha1.RolePrevious)
	}
	switch stage {
	case v1alpha1.StageReturning:
		a.Weight, a.ConfirmedAt = 0, nil
	case v1alpha1.StageBaking:
		a.Weight, a.ConfirmedAt, a.AcceptedAt = 0, nil, nil
		st.Previous, st.Stable = &v1alpha1.RevisionRecord{Revision: "a", IdleAt: ptr(at(-time.Minute))}, &v1alpha1.RevisionRecord{Revision: "b"}
	}
}

func (o *Observed) addPods(revision string, role v1alpha1.Role, n int32) {
	for i := range n {
		o.Pods = append(o.Pods, Pod{Name: revision + itoa(int64(i)), Revision: revision, Role: role, Ready: true, Created: noon.Add(-time.Hour)})
	}
}

// ready leaves so many pods of a revision ready.
func (o *Observed) ready(revision string, n int32) {
	for i := range o.Pods {
		if p := &o.Pods[i]; p.Revision == revision {
			p.Ready = n > 0
			n--
		}
	}
}

func (o *Observed) role(revision string, role v1alpha1.Role) {
	o.replicaSet(revision).Role = role
	for i := range o.Pods {
		if o.Pods[i].Revision == revision {
			o.Pods[i].Role = role
		}
	}
}

func (o *Observed) attempt() *v1alpha1.Attempt { return o.Rollout.Status.Attempt }

// analysed gives the attempt a background run with one metric that decides and one dry run.
func (o *Observed) analysed(verdict v1alpha1.RunVerdict, passed *metav1.Time) *v1alpha1.AnalysisRun {
	o.Rollout.Spec.Analysis = &v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Name: "t"}}}
	run := &v1alpha1.AnalysisRun{Spec: v1alpha1.AnalysisRunSpec{State: v1alpha1.RunRunning, Metrics: []v1alpha1.Metric{{Name: "errors"}, {Name: "dry", Mode: v1alpha1.MetricDryRun}}}}
	run.Status = v1alpha1.AnalysisRunStatus{Verdict: verdict, Metrics: []v1alpha1.MetricStatus{{Name: "errors", Verdict: verdict, LastPassedAt: passed},
		{Name: "dry", Mode: v1alpha1.MetricDryRun, Verdict: v1alpha1.VerdictFail}}}
	o.Runs["shop-2"] = run
	return run
}

func (o *Observed) decision(action v1alpha1.DecisionAction, attempt int64, step int32) {
	d := v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Name: "d", UID: types.UID("u" + itoa(int64(len(o.Decisions))))}}
	d.Spec = v1alpha1.DecisionSpec{Action: action, Attempt: &attempt, Step: &step, Actor: "kim", Reason: "why"}
	if action == v1alpha1.ActionUndo {
		d.Spec.Attempt, d.Spec.Step, d.Spec.Revision = nil, nil, "a"
	}
	if action == v1alpha1.ActionRetry {
		d.Spec.Attempt, d.Spec.Step, d.Spec.Revision = nil, nil, "b"
	}
	o.Decisions = append(o.Decisions, d)
}

// summary is where a plan leads: stage and step, or the outcome of the attempt that is over.
func summary(p Plan) string {
	a := p.Status.Attempt
	switch {
	case a == nil && len(p.Status.History) > 0:
		return "over: " + string(p.Status.History[0].Outcome) + " " + p.Status.History[0].Reason
	case a == nil:
		return "rest"
	case a.Verdict != nil:
		return "Withdrawing: " + string(a.Verdict.Outcome) + " " + a.Verdict.Reason
	case a.Stage == v1alpha1.StageStepping:
		return "Stepping " + itoa(int64(a.Step)) + " at " + itoa(int64(a.Weight))
	}
	return string(a.Stage)
}

func lines(p Plan) string {
	var out []string
	for _, a := range p.Actions {
		out = append(out, a.String())
	}
	return strings.Join(out, "\n")
}

func wantActions(t *testing.T, p Plan, want ...string) {
	t.Helper()
	if got := lines(p); got != strings.Join(want, "\n") {
		t.Errorf("actions:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}
