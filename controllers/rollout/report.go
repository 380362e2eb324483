package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// carryOut stores the intent, acts on it, and reports. It says whether to look again soon: something was written, or
// somebody else has written.
func (w *work) carryOut(ctx context.Context) (bool, error) {
	wrote, stored := false, error(nil)
	if w.plan.Store {
		if wrote, stored = w.store(ctx, ""); stored != nil && !w.plan.Urgent {
			return true, noteworthy(stored)
		}
	}
	err := w.act(ctx)
	if w.gone() {
		return err != nil, noteworthy(err)
	}
	// What went wrong is for people to see; what the plan intends stands.
	wroteLast, reported := w.store(ctx, trouble(err))
	soon := wrote || wroteLast || len(w.plan.Actions) > 0 || stored != nil || reported != nil
	return soon, noteworthy(errors.Join(stored, err, reported))
}

// gone: the finalizer was taken off, so there is no status to write any more.
func (w *work) gone() bool {
	return w.rollout.DeletionTimestamp != nil && len(w.rollout.Finalizers) == 0
}

// act carries the actions out in order, up to the first that fails. Taking traffic back tries every one.
func (w *work) act(ctx context.Context) error {
	var failed []error
	for _, a := range w.plan.Actions {
		if f, ok := a.(planner.SetFinalizer); ok && !f.Present && len(failed) > 0 {
			break // what was not given back could not be given back any more
		}
		ctrl.LoggerFrom(ctx).V(1).Info("Acting", "action", a.String())
		err := w.apply(ctx, a)
		if err == nil {
			continue
		}
		failed = append(failed, fmt.Errorf("%s: %w", subject(a), err))
		if !w.plan.Urgent {
			break
		}
	}
	return errors.Join(failed...)
}

// subject is what an action is about, for errors.
func subject(action planner.Action) string {
	switch a := action.(type) {
	case planner.PatchRoute:
		return fmt.Sprintf("setting weight %d on %s %s", a.Weight, a.Kind, a.Name)
	case planner.StartRun:
		return "starting AnalysisRun " + a.Name
	}
	return action.String()
}

// trouble is the sentence about errors.
func trouble(err error) string {
	if err = noteworthy(err); err == nil {
		return ""
	}
	return bounded(strings.Join(strings.Fields(err.Error()), " "))
}

// noteworthy leaves conflicts out: that somebody else wrote meanwhile is the ordinary course of things, and says
// nothing to a person. What was not done is done at the next look.
func noteworthy(err error) error {
	var left []error
	for _, e := range flat(err) {
		if !apierrors.IsConflict(e) && !errors.Is(e, errStale) {
			left = append(left, e)
		}
	}
	return errors.Join(left...)
}

// flat takes joined errors apart.
func flat(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flat(e)...)
	}
	return all
}

// store writes the plan's status, where it differs from what the API server has.
func (w *work) store(ctx context.Context, trouble string) (bool, error) {
	want := w.plan.Status.DeepCopy()
	if trouble != "" {
		want.BlockedBy = trouble
	}
	if equality.Semantic.DeepEqual(*want, w.rollout.Status) {
		return false, nil
	}
	before := w.rollout.Status
	w.rollout.Status = *want
	if err := w.Client.Status().Update(ctx, w.rollout, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		w.rollout.Status = before
		return false, fmt.Errorf("storing status: %w", err)
	}
	w.tell(ctx, before)
	return true, nil
}

// tell sends the events of the plan, once, when its status is stored.
func (w *work) tell(ctx context.Context, before v1alpha1.RolloutStatus) {
	for _, e := range w.plan.Events {
		ctrl.LoggerFrom(ctx).Info("Rollout changed", "reason", e.Reason, "message", e.Message)
		w.Recorder.Eventf(w.rollout, nil, e.Type, e.Reason, "Rollout", "%s", e.Message)
	}
	w.plan.Events = nil
	countAttempts(before, w.plan.Status)
	countChanges(w.rollout, before.Attempt, w.plan.Status.Attempt)
}
