package simulation

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	jsonpatch "github.com/evanphx/json-patch/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// How a write goes wrong.
const (
	faultCrashBefore = iota
	faultCrashAfter
	faultFails
	faultLost      // it succeeds, and the answer is lost
	faultHalf      // a write of several objects crashes half way
	faultMeanwhile // somebody else writes the Rollout just before
	faultKinds
)

// Fault hits one write of a reconciliation, counted from 0.
type Fault struct{ At, How int }

var (
	errCrash    = errors.New("crash")
	errFault    = errors.New("fault")
	errConflict = errors.New("conflict")
)

// executor carries a plan out as the shell does.
type executor struct {
	*World
	view   planner.Observed
	plan   planner.Plan
	faults []Fault
	writes int
	// known is the version of the Rollout that the controller knows.
	known int
	// failed: a write of this reconciliation went wrong.
	failed bool
}

// reconcile is one run of the shell; it says whether it did or changed anything.
func (w *World) reconcile(faults []Fault, l lags) bool {
	if w.deleted {
		return false
	}
	w.truth.count.Steps++
	view := w.observe(l)
	x := &executor{World: w, view: view, plan: w.cfg.plan(view), faults: faults, known: w.version}
	if x.plan.Doubtful {
		x.view = w.afresh(view)
		x.plan = w.cfg.plan(x.view)
	}
	w.checkPlan(x.view, x.plan)
	before := w.version
	err := x.run()
	if errors.Is(err, errCrash) {
		w.truth.count.Crashes++
		w.say("controller crashes")
	}
	w.checkReconciled(x, err)
	w.caches.remember(w)
	return len(x.plan.Actions) > 0 || w.version != before
}

func (x *executor) run() error {
	if x.plan.Store {
		if err := x.store(); errors.Is(err, errCrash) || err != nil && !x.plan.Urgent {
			return err
		}
	}
	var failed error
	for _, a := range x.plan.Actions {
		if f, ok := a.(planner.SetFinalizer); ok && !f.Present && failed != nil {
			break
		}
		err := x.act(a)
		if errors.Is(err, errCrash) {
			return err
		}
		if err != nil {
			failed = err
			if !x.plan.Urgent {
				break
			}
		}
	}
	if x.deleted {
		return failed
	}
	return errors.Join(failed, x.store())
}

// store writes the status where it differs.
func (x *executor) store() error {
	if same(&x.rollout.Status, &x.plan.Status) && x.known == x.version {
		return nil
	}
	return x.write(func() error {
		if x.known != x.version {
			return errConflict
		}
		x.checkStatus(x.view, &x.rollout.Status, &x.plan.Status)
		x.version++
		x.rollout = x.rollout.DeepCopy()
		x.rollout.Status = *x.plan.Status.DeepCopy()
		return nil
	}, func() { x.known = x.version })
}

// write does one write, or lets it go wrong. learn is what the controller does with the answer.
func (x *executor) write(do func() error, learn func()) error {
	how := -1
	for _, f := range x.faults {
		if f.At == x.writes {
			how = f.How
		}
	}
	x.writes++
	if how >= 0 {
		x.truth.count.Faults++
		x.failed = true
	}
	switch how {
	case faultCrashBefore:
		return errCrash
	case faultFails:
		x.say("  write fails")
		return errFault
	case faultMeanwhile:
		x.say("  somebody writes the Rollout")
		x.version++
	}
	if err := do(); err != nil {
		x.say("  %v", err)
		x.failed = true
		return err
	}
	x.caches.remember(x.World)
	switch how {
	case faultCrashAfter, faultHalf:
		return errCrash
	case faultLost:
		x.say("  answer is lost")
		return errFault
	}
	if learn != nil {
		learn()
	}
	return nil
}

func (x *executor) half() bool {
	for _, f := range x.faults {
		if f.At == x.writes-1 && f.How == faultHalf {
			return true
		}
	}
	return false
}

func (x *executor) act(a planner.Action) error {
	x.say("- %s", a)
	return x.write(func() error {
		before := x.mark()
		if err := x.apply(a); err != nil {
			return err
		}
		x.checkAction(x.view, a, before)
		return nil
	}, func() {
		if _, ok := a.(planner.SetFinalizer); ok {
			x.known = x.version
		}
	})
}

func (x *executor) apply(a planner.Action) error {
	switch a := a.(type) {
	case planner.SetFinalizer:
		return x.setFinalizer(a)
	case planner.CreateReplicaSet:
		if x.sets[a.Revision] == nil {
			x.sets[a.Revision] = &replicaSet{revision: a.Revision, role: a.Role, wanted: a.Replicas, created: x.now}
		}
	case planner.Scale:
		if s := x.sets[a.Revision]; s != nil {
			s.wanted = a.To
		}
	case planner.DeleteReplicaSet:
		delete(x.sets, a.Revision)
		x.pods = slices.DeleteFunc(slices.Clone(x.pods), func(p pod) bool { return p.Revision == a.Revision })
	case planner.SetRole:
		x.setRole(a)
	case planner.AddStableRole:
		x.services[0].role, x.services[0].roleAdded = string(v1alpha1.RoleStable), true
	case planner.RemoveStableRole:
		x.services[0].role, x.services[0].roleAdded = "", false
	case planner.PointCanary:
		x.services[1] = service{exists: true, revision: a.Revision}
		if a.Revision == "" {
			x.services[1].role = string(v1alpha1.RoleStable)
		}
	case planner.PatchRoute:
		return x.patchRoute(a)
	case planner.EvictPod:
		x.evict(a)
	default:
		return x.applyRun(a)
	}
	return nil
}

func (x *executor) setFinalizer(a planner.SetFinalizer) error {
	if x.known != x.version {
		return errConflict
	}
	x.version++
	x.rollout = x.rollout.DeepCopy()
	x.rollout.Finalizers = nil
	if a.Present {
		x.rollout.Finalizers = []string{v1alpha1.FinalizerRestore}
	} else {
		x.deleted = x.rollout.DeletionTimestamp != nil
	}
	return nil
}

func (x *executor) setRole(a planner.SetRole) {
	if s := x.sets[a.Revision]; s != nil && a.Template {
		s.role = a.Role
	}
	names := a.Pods
	if x.half() {
		names = names[:len(names)/2]
	}
	x.pods = slices.Clone(x.pods)
	for i := range x.pods {
		if slices.Contains(names, x.pods[i].Name) {
			x.pods[i].Role = a.Role
		}
	}
}

func (x *executor) patchRoute(a planner.PatchRoute) error {
	if a.Raises && x.known != x.version {
		return errConflict
	}
	for _, r := range x.routes {
		if r.object.GetName() != a.Name {
			continue
		}
		o, err := patched(r.object, a.Patch)
		if err != nil {
			return err
		}
		x.World.write(r, o)
		return nil
	}
	return errFault
}

// patched applies a patch as an API server does.
func patched(o *unstructured.Unstructured, patch []byte) (*unstructured.Unstructured, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding route: %w", err)
	}
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("decoding patch: %w", err)
	}
	if data, err = ops.Apply(data); err != nil {
		return nil, fmt.Errorf("applying patch: %w", err)
	}
	out := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(data, &out.Object); err != nil {
		return nil, fmt.Errorf("decoding route: %w", err)
	}
	return out, nil
}

func (x *executor) applyRun(a planner.Action) error {
	runs := maps.Clone(x.runs)
	switch a := a.(type) {
	case planner.StartRun:
		if runs[a.Name] == nil {
			runs[a.Name] = x.newRun(a)
		}
	case planner.StopRun:
		if run := runs[a.Name]; run != nil {
			run = run.DeepCopy()
			run.Spec.State = v1alpha1.RunStopped
			runs[a.Name] = run
		}
	case planner.MarkStep:
		if run := runs[a.Name]; run != nil {
			run = run.DeepCopy()
			run.Spec.Steps = append(run.Spec.Steps, a.Step)
			run.Generation++
			runs[a.Name] = run
		}
	case planner.DeleteRun:
		delete(runs, a.Name)
	case planner.Answer:
		x.checkAnswer(a)
		x.decisions = slices.DeleteFunc(slices.Clone(x.decisions), func(d v1alpha1.Decision) bool { return d.Name == a.Decision })
	}
	x.runs = runs
	return nil
}

func (x *executor) newRun(a planner.StartRun) *v1alpha1.AnalysisRun {
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Name: a.Name}}
	run.Spec = v1alpha1.AnalysisRunSpec{State: v1alpha1.RunRunning, Arms: &v1alpha1.Arms{Rollout: "shop"}, Metrics: []v1alpha1.Metric{
		{Name: "errors", Mode: v1alpha1.MetricEnforce}, {Name: "latency", Mode: v1alpha1.MetricDryRun}}}
	if x.cfg.Compare {
		run.Spec.Metrics[0].Compare = &v1alpha1.Compare{}
	}
	if at := x.plan.Status.Attempt; at != nil {
		run.Spec.Arms.CanaryRevision = at.Revision
		run.Labels = map[string]string{planner.LabelAttempt: fmt.Sprint(at.Number)}
	}
	return run
}
