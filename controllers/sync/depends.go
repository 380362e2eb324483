package sync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// dependencies says which Sync this one waits for, or which circle it is in.
func (r *Reconciler) dependencies(ctx context.Context, sync *v1alpha1.Sync, commit string) error {
	if len(sync.Spec.DependsOn) == 0 {
		return nil
	}
	var all v1alpha1.SyncList
	if err := r.Client.List(ctx, &all, client.InNamespace(sync.Namespace)); err != nil {
		return fmt.Errorf("listing Syncs: %w", err)
	}
	byName := map[string]*v1alpha1.Sync{}
	for i := range all.Items {
		byName[all.Items[i].Name] = &all.Items[i]
	}
	byName[sync.Name] = sync
	if circle := circleOf(byName, sync.Name); circle != nil {
		return &failure{reason: ReasonDependencyCycle, stalled: true, message: "dependsOn is a circle: " + strings.Join(circle, " → ")}
	}
	for _, ref := range sync.Spec.DependsOn {
		if why := unready(byName[ref.Name], sync, commit); why != "" {
			return &failure{reason: ReasonWaiting, message: fmt.Sprintf("dependsOn: Sync %q %s", ref.Name, why)}
		}
	}
	return nil
}

// circleOf is a way from a Sync back to itself.
func circleOf(all map[string]*v1alpha1.Sync, start string) []string {
	visited := map[string]bool{}
	var walk func(path []string) []string
	walk = func(path []string) []string {
		at := path[len(path)-1]
		if len(path) > 1 && at == start {
			return path
		}
		if visited[at] || all[at] == nil {
			return nil
		}
		visited[at] = true
		for _, ref := range all[at].Spec.DependsOn {
			if circle := walk(append(slices.Clone(path), ref.Name)); circle != nil {
				return circle
			}
		}
		return nil
	}
	return walk([]string{start})
}

// unready says what a Sync lacks for others to build on it.
func unready(on, sync *v1alpha1.Sync, commit string) string {
	if on == nil {
		return "does not exist in this namespace"
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionHealthy} {
		c := v1alpha1.FindCondition(on.Status.Conditions, kind)
		switch {
		case c == nil || c.ObservedGeneration != on.Generation:
			return "has not been looked at yet"
		case c.Status != "True":
			return fmt.Sprintf("is not %s: %s", kind, cut(c.Message, 256))
		}
	}
	follows := on.Spec.Gates.Follows != nil || sync.Spec.Gates.Follows != nil
	if on.Spec.Repository == sync.Spec.Repository && !follows && on.Status.AppliedCommit != commit {
		return fmt.Sprintf("is still at commit %s, and not at %s", short(on.Status.AppliedCommit), short(commit))
	}
	return ""
}

// progressed lets pass a Sync that others may have waited for.
func progressed() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true }, DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*v1alpha1.Sync)
			after, both := e.ObjectNew.(*v1alpha1.Sync)
			return ok && both && (before.Status.AppliedCommit != after.Status.AppliedCommit ||
				!equality.Semantic.DeepEqual(before.Status.Conditions, after.Status.Conditions) || !equality.Semantic.DeepEqual(before.Status.History, after.Status.History))
		},
	}
}

// syncsAfter are the Syncs that depend on one, or follow it.
func (r *Reconciler) syncsAfter(ctx context.Context, o client.Object) []reconcile.Request {
	var syncs v1alpha1.SyncList
	if err := r.Client.List(ctx, &syncs, client.InNamespace(o.GetNamespace())); err != nil {
		return nil // a cache that cannot be read is a process that is ending
	}
	var requests []reconcile.Request
	for i := range syncs.Items {
		s := &syncs.Items[i]
		depends := slices.ContainsFunc(s.Spec.DependsOn, func(ref v1alpha1.LocalReference) bool { return ref.Name == o.GetName() })
		if depends || s.Spec.Gates.Follows != nil && s.Spec.Gates.Follows.Sync == o.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return requests
}

// syncOfDecision is the Sync that an unanswered Decision is about.
func syncOfDecision(_ context.Context, o client.Object) []reconcile.Request {
	d, ok := o.(*v1alpha1.Decision)
	if !ok || d.Status.Result != "" || d.Spec.Subject.Kind != "Sync" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: d.Namespace, Name: d.Spec.Subject.Name}}}
}
