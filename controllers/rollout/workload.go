package rollout

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/internal/revision"
)

// gatherWorkload reads the Deployment of workloadRef and fills the observed Rollout in from it. Where the Deployment is
// gone, the Rollout is filled in from what it runs, so that nothing changes.
func (r *Reconciler) gatherWorkload(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	if ro.Spec.WorkloadRef == nil {
		return nil
	}
	o.Rollout = ro.DeepCopy()
	o.Workload = &planner.Workload{Name: ro.Spec.WorkloadRef.Name}
	d := &appsv1.Deployment{}
	err := r.ownersReader(ro).Get(ctx, client.ObjectKey{Namespace: ro.Namespace, Name: ro.Spec.WorkloadRef.Name}, d)
	if apierrors.IsNotFound(err) || err == nil && d.DeletionTimestamp != nil {
		return r.fillFromPods(ctx, ro, o)
	}
	if err != nil {
		return fmt.Errorf("reading Deployment %s: %w", ro.Spec.WorkloadRef.Name, err)
	}
	o.Workload.Object = d
	fillFromDeployment(&o.Rollout.Spec, d)
	viewDeployment(o.Workload, ro, d)
	if o.Workload.Problem, err = r.workloadProblem(ctx, ro, d); err != nil {
		return err
	}
	if mayOwn(ro, d) {
		return r.gatherOwned(ctx, ro, d, o.Workload)
	}
	return nil
}

// ownersReader reads from the API server while pods change their owner: a cache may be of before the last step, and a
// ReplicaSet that neither the Deployment nor the Rollout seems to own would be made a second time.
func (r *Reconciler) ownersReader(ro *v1alpha1.Rollout) client.Reader {
	if ro.Spec.WorkloadRef != nil && (ro.DeletionTimestamp != nil || ro.Status.Stable == nil) {
		return r.Reader
	}
	return r.Client
}

// fillFromDeployment puts what the Deployment says where the Rollout says nothing.
func fillFromDeployment(spec *v1alpha1.RolloutSpec, d *appsv1.Deployment) {
	spec.Template = *d.Spec.Template.DeepCopy()
	spec.Selector.MatchLabels = maps.Clone(d.Spec.Selector.MatchLabels)
	if spec.Replicas == nil {
		spec.Replicas = d.Spec.Replicas
	}
	if spec.MinReadySeconds == 0 {
		spec.MinReadySeconds = d.Spec.MinReadySeconds
	}
}

// fillFromPods takes the template of the revision that runs, or is tried, and the number of pods that carry all of the traffic: that
// of stable, or of the attempt, and not the canary's.
func (r *Reconciler) fillFromPods(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	current, serving := "", ""
	if ro.Status.Stable != nil {
		serving = ro.Status.Stable.Revision
	}
	switch {
	case ro.Status.Attempt != nil:
		current = ro.Status.Attempt.Revision
	case ro.Status.Stable != nil:
		current = serving
	default:
		return nil
	}
	spec := &o.Rollout.Spec
	if a := ro.Status.Attempt; a != nil && a.Replicas > 0 && spec.Replicas == nil {
		spec.Replicas = ptr.To(a.Replicas)
	}
	selector, err := labels.ConvertSelectorToLabelsMap(ro.Status.Selector)
	if err != nil {
		return fmt.Errorf("reading status.selector: %w", err)
	}
	spec.Selector.MatchLabels = selector
	var sets appsv1.ReplicaSetList
	if err := r.Client.List(ctx, &sets, client.InNamespace(ro.Namespace), client.HasLabels{v1alpha1.LabelRevision}); err != nil {
		return fmt.Errorf("listing ReplicaSets of what Deployment %s ran: %w", ro.Spec.WorkloadRef.Name, err)
	}
	for i := range sets.Items {
		rs := &sets.Items[i]
		if !metav1.IsControlledBy(rs, ro) {
			continue
		}
		rev := rs.Labels[v1alpha1.LabelRevision]
		if rev == current {
			spec.Template = *plainTemplate(rs)
		}
		if rev == cmp.Or(serving, current) {
			spec.Replicas = cmp.Or(spec.Replicas, rs.Spec.Replicas)
			spec.MinReadySeconds = cmp.Or(spec.MinReadySeconds, rs.Spec.MinReadySeconds)
		}
	}
	o.Revision = current
	return nil
}

// plainTemplate is the template of a ReplicaSet without the labels that mark it as the template of a ReplicaSet.
func plainTemplate(rs *appsv1.ReplicaSet) *corev1.PodTemplateSpec {
	t := rs.Spec.Template.DeepCopy()
	for _, key := range []string{appsv1.DefaultDeploymentUniqueLabelKey, v1alpha1.LabelRevision, v1alpha1.LabelRole} {
		delete(t.Labels, key)
	}
	together(t)
	return t
}

func viewDeployment(w *planner.Workload, ro *v1alpha1.Rollout, d *appsv1.Deployment) {
	w.Exists, w.Paused = true, d.Spec.Paused
	w.Claimed = d.Annotations[v1alpha1.AnnotationRollout] == ro.Name
	w.Seen = d.Status.ObservedGeneration >= d.Generation
	w.Replicas, w.Counted = 1, d.Status.Replicas
	if d.Spec.Replicas != nil {
		w.Replicas = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case !w.Seen:
		w.Unfinished = "its controller has not seen its last change"
	case s.Replicas != w.Replicas || s.AvailableReplicas != w.Replicas:
		w.Unfinished = fmt.Sprintf("%d pods, %d of %d available", s.Replicas, s.AvailableReplicas, w.Replicas)
	case s.UpdatedReplicas != w.Replicas:
		w.Unfinished = fmt.Sprintf("%d of %d pods are of its template", s.UpdatedReplicas, w.Replicas)
	}
}

// workloadProblem says why a Deployment cannot be taken over, or followed.
func (r *Reconciler) workloadProblem(ctx context.Context, ro *v1alpha1.Rollout, d *appsv1.Deployment) (string, error) {
	if len(d.Spec.Selector.MatchExpressions) > 0 || len(d.Spec.Selector.MatchLabels) == 0 {
		return fmt.Sprintf("the selector of Deployment %s has matchExpressions: only a selector of matchLabels can be taken over", d.Name), nil
	}
	want := labels.SelectorFromSet(d.Spec.Selector.MatchLabels).String()
	if have := ro.Status.Selector; ro.Status.Stable != nil && have != "" && have != want {
		return fmt.Sprintf("Deployment %s selects %s, but the pods of this Rollout were taken over with %s: delete the Rollout and make it anew", d.Name, want, have), nil
	}
	if owner := metav1.GetControllerOf(d); owner != nil {
		return fmt.Sprintf("Deployment %s is controlled by %s %s, which would undo what Belay does to it", d.Name, owner.Kind, owner.Name), nil
	}
	var list v1alpha1.RolloutList
	if err := r.Client.List(ctx, &list, client.InNamespace(ro.Namespace)); err != nil {
		return "", fmt.Errorf("listing Rollouts: %w", err)
	}
	for i := range list.Items {
		other := &list.Items[i]
		if ref := other.Spec.WorkloadRef; other.UID != ro.UID && ref != nil && ref.Name == d.Name && outranks(other, ro, d) {
			return fmt.Sprintf("Deployment %s is taken over by Rollout %s: a Deployment has one Rollout", d.Name, other.Name), nil
		}
	}
	return "", nil
}

// outranks says which of two Rollouts a Deployment belongs to: the one whose name it carries, else the older.
func outranks(other, ro *v1alpha1.Rollout, d *appsv1.Deployment) bool {
	switch d.Annotations[v1alpha1.AnnotationRollout] {
	case other.Name:
		return true
	case ro.Name:
		return false
	}
	if other.DeletionTimestamp != nil {
		return false
	}
	if !other.CreationTimestamp.Equal(&ro.CreationTimestamp) {
		return other.CreationTimestamp.Before(&ro.CreationTimestamp)
	}
	return other.Name < ro.Name
}

// mayOwn says whether the Deployment may control ReplicaSets. At rest it is paused and counts no pods, and nothing is read.
func mayOwn(ro *v1alpha1.Rollout, d *appsv1.Deployment) bool {
	return ro.Status.Stable == nil || ro.DeletionTimestamp != nil || !d.Spec.Paused || d.Status.Replicas > 0 ||
		d.Status.ObservedGeneration < d.Generation
}

func (r *Reconciler) gatherOwned(ctx context.Context, ro *v1alpha1.Rollout, d *appsv1.Deployment, w *planner.Workload) error {
	var sets appsv1.ReplicaSetList
	if err := r.Reader.List(ctx, &sets, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels)); err != nil {
		return fmt.Errorf("listing ReplicaSets of Deployment %s: %w", d.Name, err)
	}
	for i := range sets.Items {
		rs := &sets.Items[i]
		if !metav1.IsControlledBy(rs, d) || rs.DeletionTimestamp != nil {
			continue
		}
		hash, err := revision.Hash(plainTemplate(rs))
		if err != nil {
			return fmt.Errorf("hashing the template of ReplicaSet %s: %w", rs.Name, err)
		}
		v := viewReplicaSet(rs)
		w.Owned = append(w.Owned, planner.Owned{Name: rs.Name, Revision: hash, Wanted: v.Wanted, Current: v.Current, Created: v.Created,
			Ours: rs.Labels[v1alpha1.LabelRollout] == ro.Name})
	}
	slices.SortFunc(w.Owned, func(a, b planner.Owned) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// linked says whether the Deployment is an owner of a ReplicaSet beside the Rollout.
func linked(rs *appsv1.ReplicaSet, d *appsv1.Deployment) bool {
	return d == nil || slices.ContainsFunc(rs.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == d.UID })
}

// unlabelledPods reads the pods of ReplicaSets that were taken over where fewer are known than there should be: the cache
// holds those with the label of a revision.
func (r *Reconciler) unlabelledPods(ctx context.Context, o *planner.Observed, pods *corev1.PodList) error {
	var wanted, have int32
	for _, rs := range o.ReplicaSets {
		wanted += rs.Current
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			have++
		}
	}
	if o.Workload == nil || have >= wanted {
		return nil
	}
	err := r.Reader.List(ctx, pods, client.InNamespace(o.Rollout.Namespace), client.MatchingLabels(o.Rollout.Spec.Selector.MatchLabels))
	if err != nil {
		return fmt.Errorf("listing pods without labels of Belay: %w", err)
	}
	return nil
}

// rolloutOfPod finds the Rollout of a pod: by the name of its ReplicaSet, <rollout>-<revision>, or by the owner of the
// ReplicaSet, where that was taken over.
func (r *Reconciler) rolloutOfPod(ctx context.Context, o client.Object) []reconcile.Request {
	if found := rolloutByName(o); found != nil {
		return found
	}
	owner := metav1.GetControllerOf(o)
	if owner == nil || owner.Kind != "ReplicaSet" {
		return nil
	}
	rs := &appsv1.ReplicaSet{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: owner.Name}, rs); err != nil {
		if !apierrors.IsNotFound(err) {
			ctrl.LoggerFrom(ctx).Error(err, "Reading the ReplicaSet of a pod", "ReplicaSet", owner.Name)
		}
		return nil
	}
	if owner = metav1.GetControllerOf(rs); owner == nil || owner.Kind != "Rollout" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: owner.Name}}}
}

func usesDeployment(r *v1alpha1.Rollout, o client.Object) bool {
	return r.Spec.WorkloadRef != nil && r.Spec.WorkloadRef.Name == o.GetName()
}

// applyToWorkload carries out what is about the Deployment of workloadRef.
func (w *work) applyToWorkload(ctx context.Context, action planner.Action) error {
	d := w.deployment()
	if d == nil {
		return fmt.Errorf("%s: there is no Deployment", action)
	}
	d = d.DeepCopy()
	switch a := action.(type) {
	case planner.HoldDeployment:
		return w.patch(ctx, d, func() {
			d.Spec.Paused = true
			d.Annotations = merged(d.Annotations, map[string]string{v1alpha1.AnnotationRollout: w.rollout.Name})
		})
	case planner.SizeDeployment:
		return w.patch(ctx, d, func() { d.Spec.Replicas = &a.To })
	case planner.FreeDeployment:
		return w.patch(ctx, d, func() {
			d.Spec.Paused = !a.Resume
			delete(d.Annotations, v1alpha1.AnnotationRollout)
		})
	case planner.AdoptReplicaSet:
		return w.adopt(ctx, a, d)
	case planner.ReturnReplicaSet:
		return w.giveBack(ctx, a.Name, d)
	case planner.DeleteStray:
		return w.deleteStray(ctx, a.Name, d)
	}
	return fmt.Errorf("unknown action %T", action)
}

// deployment as it was gathered; nil where there is none.
func (w *work) deployment() *appsv1.Deployment {
	if w.observed.Workload == nil {
		return nil
	}
	return w.observed.Workload.Object
}

// readNamed reads a ReplicaSet from the API server: it may not be in the cache.
func (w *work) readNamed(ctx context.Context, name string) (*appsv1.ReplicaSet, error) {
	rs := &appsv1.ReplicaSet{}
	if err := w.Reader.Get(ctx, client.ObjectKey{Namespace: w.rollout.Namespace, Name: name}, rs); err != nil {
		return nil, fmt.Errorf("reading ReplicaSet %s: %w", name, err)
	}
	return rs, nil
}

// adopt changes the owner and puts the labels on in one write.
func (w *work) adopt(ctx context.Context, a planner.AdoptReplicaSet, d *appsv1.Deployment) error {
	rs, err := w.readNamed(ctx, a.Name)
	if err != nil {
		return err
	}
	if owner := metav1.GetControllerOf(rs); owner != nil && owner.UID != d.UID && owner.UID != w.rollout.UID {
		return fmt.Errorf("ReplicaSet %s belongs to %s %s", rs.Name, owner.Kind, owner.Name)
	}
	own := map[string]string{v1alpha1.LabelRevision: a.Revision, v1alpha1.LabelRole: string(a.Role)}
	return w.patch(ctx, rs, func() {
		rs.OwnerReferences = w.owners(rs.OwnerReferences, d)
		rs.Labels = merged(rs.Labels, own, map[string]string{v1alpha1.LabelRollout: w.rollout.Name})
		rs.Spec.Template.Labels = merged(rs.Spec.Template.Labels, own)
	})
}

// owners are the Rollout as the controller and the Deployment beside it. If the Rollout goes without having given the pods
// back (its finalizer removed, or deleted with its dependents first), the garbage collector leaves them to the Deployment.
func (w *work) owners(others []metav1.OwnerReference, d *appsv1.Deployment) []metav1.OwnerReference {
	out := slices.DeleteFunc(slices.Clone(others), func(ref metav1.OwnerReference) bool {
		return ref.UID == w.rollout.UID || ref.Kind == "Deployment" && ref.Name == d.Name
	})
	own := *metav1.NewControllerRef(w.rollout, v1alpha1.GroupVersion.WithKind("Rollout"))
	return append(out, own, metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name, UID: d.UID})
}

// giveBack makes the Deployment the controller of a ReplicaSet whose template is then the Deployment's own again, but for
// the pod-template-hash, which the Deployment controller leaves out when it compares templates. The labels of pods stay:
// the stable Service may still be seen to select by them.
func (w *work) giveBack(ctx context.Context, name string, d *appsv1.Deployment) error {
	rs, err := w.readNamed(ctx, name)
	if err != nil {
		return err
	}
	if owner := metav1.GetControllerOf(rs); owner != nil && owner.UID != d.UID && owner.UID != w.rollout.UID {
		return fmt.Errorf("ReplicaSet %s belongs to %s %s", rs.Name, owner.Kind, owner.Name)
	}
	return w.patch(ctx, rs, func() {
		rs.OwnerReferences = slices.DeleteFunc(rs.OwnerReferences, func(ref metav1.OwnerReference) bool {
			return ref.UID == w.rollout.UID || ref.UID == d.UID
		})
		rs.OwnerReferences = append(rs.OwnerReferences, *metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment")))
		for _, key := range []string{v1alpha1.LabelRevision, v1alpha1.LabelRole} {
			delete(rs.Labels, key)
			delete(rs.Spec.Template.Labels, key)
		}
		together(&rs.Spec.Template)
		delete(rs.Labels, v1alpha1.LabelRollout)
	})
}

func (w *work) deleteStray(ctx context.Context, name string, d *appsv1.Deployment) error {
	rs, err := w.readNamed(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !metav1.IsControlledBy(rs, d) {
		return errStale
	}
	only := client.Preconditions{UID: &rs.UID, ResourceVersion: &rs.ResourceVersion}
	return client.IgnoreNotFound(w.Client.Delete(ctx, rs, only, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}
