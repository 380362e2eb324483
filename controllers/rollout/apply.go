package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// podsAtOnce is how many pods are labelled at the same time.
const podsAtOnce = 16

// work carries out one plan.
type work struct {
	*Reconciler
	rollout  *v1alpha1.Rollout
	observed planner.Observed
	plan     planner.Plan
}

// apply carries out one action.
func (w *work) apply(ctx context.Context, action planner.Action) error {
	switch a := action.(type) {
	case planner.SetFinalizer:
		return w.setFinalizer(ctx, a)
	case planner.CreateReplicaSet:
		return w.createReplicaSet(ctx, a)
	case planner.Scale:
		return w.scale(ctx, a)
	case planner.DeleteReplicaSet:
		return w.deleteReplicaSet(ctx, a)
	case planner.SetRole:
		return w.setRole(ctx, a)
	case planner.AddStableRole:
		return w.patchStable(ctx, true)
	case planner.RemoveStableRole:
		return w.patchStable(ctx, false)
	case planner.PointCanary:
		return w.pointCanary(ctx, a)
	case planner.PatchRoute:
		return w.patchRoute(ctx, a)
	}
	return w.applyToPods(ctx, action)
}

func (w *work) applyToPods(ctx context.Context, action planner.Action) error {
	switch a := action.(type) {
	case planner.EvictPod:
		return w.evict(ctx, a)
	case planner.DressPods:
		return w.dress(ctx, a)
	case planner.SetMinReady:
		rs, err := w.readReplicaSet(ctx, a.Revision)
		if err != nil {
			return err
		}
		return w.patch(ctx, rs, func() { rs.Spec.MinReadySeconds = a.Seconds })
	}
	return w.applyToAnalysis(ctx, action)
}

func (w *work) applyToAnalysis(ctx context.Context, action planner.Action) error {
	switch a := action.(type) {
	case planner.StartRun:
		return w.startRun(ctx, a)
	case planner.MarkStep:
		run := w.observed.Runs[a.Name].DeepCopy()
		return w.patch(ctx, run, func() {
			steps := append(run.Spec.Steps, a.Step)
			run.Spec.Steps = steps[max(0, len(steps)-maxRunSteps):]
		})
	case planner.StopRun:
		run := w.observed.Runs[a.Name].DeepCopy()
		return w.patch(ctx, run, func() { run.Spec.State = v1alpha1.RunStopped })
	case planner.DeleteRun:
		run := w.observed.Runs[a.Name]
		return client.IgnoreNotFound(w.Client.Delete(ctx, run, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &run.UID}))
	case planner.Answer:
		return w.answer(ctx, a)
	}
	return w.applyToWorkload(ctx, action)
}

// patch changes an object with a merge patch that fails if somebody else has changed it meanwhile.
func (w *work) patch(ctx context.Context, o client.Object, change func()) error {
	before := o.DeepCopyObject().(client.Object)
	change()
	return w.Client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(v1alpha1.FieldManager))
}

func (w *work) setFinalizer(ctx context.Context, a planner.SetFinalizer) error {
	return w.patch(ctx, w.rollout, func() {
		if a.Present {
			controllerutil.AddFinalizer(w.rollout, v1alpha1.FinalizerRestore)
			w.defaultReplicas(a.Replicas)
		} else {
			controllerutil.RemoveFinalizer(w.rollout, v1alpha1.FinalizerRestore)
		}
	})
}

// defaultReplicas writes down how many pods there are where nothing is said, for the scale subresource to have a number.
func (w *work) defaultReplicas(n int32) {
	if spec := &w.rollout.Spec; spec.Replicas == nil && spec.WorkloadRef == nil {
		spec.Replicas = &n
	}
}

// createReplicaSet makes a ReplicaSet whose name follows from its content: a retry finds its own work.
func (w *work) createReplicaSet(ctx context.Context, a planner.CreateReplicaSet) error {
	ro := w.observed.Rollout
	if w.observed.Workload != nil {
		if err := w.notThere(ctx, a.Revision); err != nil {
			return err
		}
	}
	own := map[string]string{v1alpha1.LabelRevision: a.Revision, v1alpha1.LabelRole: string(a.Role)}
	// What tells the pods of a revision apart must not be Belay's where a Deployment may get the ReplicaSet: it has to be
	// the label that the Deployment controller leaves out when it compares templates.
	apart := v1alpha1.LabelRevision
	if w.observed.Workload != nil {
		apart = appsv1.DefaultDeploymentUniqueLabelKey
		own[apart] = a.Revision
	}
	labels := merged(ro.Spec.Template.Labels, own)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ro.Namespace, Name: v1alpha1.RevisionName(ro.Name, a.Revision),
			Labels: merged(labels, map[string]string{v1alpha1.LabelRollout: ro.Name})},
		Spec: appsv1.ReplicaSetSpec{Replicas: &a.Replicas, MinReadySeconds: ro.Spec.MinReadySeconds,
			Selector: &metav1.LabelSelector{MatchLabels: merged(ro.Spec.Selector.MatchLabels, map[string]string{apart: a.Revision})},
			Template: *ro.Spec.Template.DeepCopy()},
	}
	rs.Spec.Template.Labels = labels
	if a.Role == v1alpha1.RoleCanary {
		keepApart(&rs.Spec.Template, ro.Spec.Spread, ro.Spec.Selector.MatchLabels, a.Revision)
	}
	if err := controllerutil.SetControllerReference(ro, rs, w.Scheme); err != nil {
		return fmt.Errorf("owning ReplicaSet %s: %w", rs.Name, err)
	}
	if d := w.deployment(); d != nil {
		rs.OwnerReferences = w.owners(nil, d)
	}
	err := w.Client.Create(ctx, rs, client.FieldOwner(v1alpha1.FieldManager))
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	return w.mustOwn(ctx, rs)
}

// notThere fails where a ReplicaSet of the revision is there under another name, as one that was taken over is, and the cache
// did not show it.
func (w *work) notThere(ctx context.Context, revision string) error {
	var sets appsv1.ReplicaSetList
	if err := w.Reader.List(ctx, &sets, client.InNamespace(w.rollout.Namespace), client.MatchingLabels{v1alpha1.LabelRevision: revision}); err != nil {
		return fmt.Errorf("listing ReplicaSets of revision %s: %w", revision, err)
	}
	if slices.ContainsFunc(sets.Items, func(rs appsv1.ReplicaSet) bool {
		return metav1.IsControlledBy(&rs, w.rollout) && rs.DeletionTimestamp == nil
	}) {
		return errStale
	}
	return nil
}

// mustOwn fails where an object of the wanted name belongs to somebody else.
func (w *work) mustOwn(ctx context.Context, o client.Object) error {
	gvk, err := apiutil.GVKForObject(o, w.Scheme)
	if err != nil {
		return fmt.Errorf("finding the kind of %T: %w", o, err)
	}
	there := &metav1.PartialObjectMetadata{}
	there.SetGroupVersionKind(gvk)
	if err := w.Reader.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil {
		return fmt.Errorf("reading what has the name %s: %w", o.GetName(), err)
	}
	if !metav1.IsControlledBy(there, w.rollout) {
		return fmt.Errorf("%s %s exists but does not belong to this Rollout: delete or rename it", gvk.Kind, o.GetName())
	}
	return nil
}

func merged(ms ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range ms {
		maps.Copy(out, m)
	}
	return out
}

func (w *work) readReplicaSet(ctx context.Context, revision string) (*appsv1.ReplicaSet, error) {
	rs, name := &appsv1.ReplicaSet{}, v1alpha1.RevisionName(w.rollout.Name, revision)
	for _, known := range w.observed.ReplicaSets {
		if known.Revision == revision {
			name = known.Name // one that was taken over has another name
		}
	}
	err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.rollout.Namespace, Name: name}, rs)
	if err != nil {
		return nil, fmt.Errorf("reading ReplicaSet of revision %s: %w", revision, err)
	}
	return rs.DeepCopy(), nil
}

func (w *work) scale(ctx context.Context, a planner.Scale) error {
	rs, err := w.readReplicaSet(ctx, a.Revision)
	if err != nil {
		return err
	}
	return w.patch(ctx, rs, func() { rs.Spec.Replicas = &a.To })
}

func (w *work) deleteReplicaSet(ctx context.Context, a planner.DeleteReplicaSet) error {
	rs, err := w.readReplicaSet(ctx, a.Revision)
	if err != nil {
		return err
	}
	only := client.Preconditions{UID: &rs.UID, ResourceVersion: &rs.ResourceVersion}
	return client.IgnoreNotFound(w.Client.Delete(ctx, rs, only, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

// setRole labels the template first, so that pods made meanwhile have the role too.
func (w *work) setRole(ctx context.Context, a planner.SetRole) error {
	if a.Template {
		rs, err := w.readReplicaSet(ctx, a.Revision)
		if err != nil {
			return err
		}
		err = w.patch(ctx, rs, func() {
			rs.Labels[v1alpha1.LabelRole] = string(a.Role)
			rs.Spec.Template.Labels[v1alpha1.LabelRole] = string(a.Role)
			if a.Role == v1alpha1.RoleStable {
				together(&rs.Spec.Template) // stable pods must find a node whatever is tried beside them
			}
		})
		if err != nil {
			return fmt.Errorf("labelling ReplicaSet %s: %w", rs.Name, err)
		}
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q,%q:%q}}}`, v1alpha1.LabelRevision, a.Revision, v1alpha1.LabelRole, a.Role)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(podsAtOnce)
	for _, name := range a.Pods {
		group.Go(func() error {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.rollout.Namespace, Name: name}}
			err := w.Client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
			return client.IgnoreNotFound(err)
		})
	}
	return group.Wait()
}

// patchStable adds the role to the selector of the stable Service, or takes it out, and records that it was Belay.
func (w *work) patchStable(ctx context.Context, add bool) error {
	name := w.rollout.Spec.Traffic.StableService
	service, err := w.service(ctx, w.rollout.Namespace, name)
	if err != nil || service == nil {
		return err
	}
	if add && len(service.Spec.Selector) == 0 {
		return fmt.Errorf("service %s selects no pods (no selector): name one in traffic.stableService that selects this Rollout's pods", name)
	}
	service = service.DeepCopy()
	return w.patch(ctx, service, func() {
		if !add {
			delete(service.Spec.Selector, v1alpha1.LabelRole)
			delete(service.Annotations, gatewayapi.SelectorAnnotation)
			return
		}
		service.Spec.Selector = merged(service.Spec.Selector, map[string]string{v1alpha1.LabelRole: string(v1alpha1.RoleStable)})
		service.Annotations = merged(service.Annotations, map[string]string{gatewayapi.SelectorAnnotation: w.rollout.Namespace + "/" + w.rollout.Name})
	})
}

func (w *work) pointCanary(ctx context.Context, a planner.PointCanary) error {
	selector := merged(w.observed.Rollout.Spec.Selector.MatchLabels)
	if a.Revision != "" {
		selector[v1alpha1.LabelRevision] = a.Revision
	} else {
		selector[v1alpha1.LabelRole] = string(v1alpha1.RoleStable)
	}
	stable, err := w.service(ctx, w.rollout.Namespace, w.rollout.Spec.Traffic.StableService)
	if err != nil {
		return err
	}
	canary, err := w.service(ctx, w.rollout.Namespace, canaryService(w.rollout))
	switch {
	case err != nil:
		return err
	case canary == nil && stable == nil:
		return fmt.Errorf("service %s is gone", w.rollout.Spec.Traffic.StableService)
	case canary == nil:
		return w.createCanary(ctx, stable, selector)
	}
	canary = canary.DeepCopy()
	return w.patch(ctx, canary, func() {
		canary.Spec.Selector = selector
		if stable != nil && !samePorts(canary.Spec.Ports, canaryPorts(stable)) {
			canary.Spec.Ports = canaryPorts(stable)
		}
	})
}

func (w *work) createCanary(ctx context.Context, stable *corev1.Service, selector map[string]string) error {
	canary := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.rollout.Namespace, Name: canaryService(w.rollout),
			Labels: map[string]string{v1alpha1.LabelRollout: w.rollout.Name}},
		Spec: corev1.ServiceSpec{Selector: selector, Ports: canaryPorts(stable)},
	}
	if err := controllerutil.SetControllerReference(w.rollout, canary, w.Scheme); err != nil {
		return fmt.Errorf("owning Service %s: %w", canary.Name, err)
	}
	err := w.Client.Create(ctx, canary, client.FieldOwner(v1alpha1.FieldManager))
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	return w.mustOwn(ctx, canary)
}

// canaryPorts are the ports of the stable Service without what is its alone.
func canaryPorts(stable *corev1.Service) []corev1.ServicePort {
	var out []corev1.ServicePort
	for _, p := range stable.Spec.Ports {
		out = append(out, corev1.ServicePort{Name: p.Name, Protocol: p.Protocol, AppProtocol: p.AppProtocol, Port: p.Port, TargetPort: p.TargetPort})
	}
	return out
}

func samePorts(have, want []corev1.ServicePort) bool {
	return slices.EqualFunc(have, want, func(a, b corev1.ServicePort) bool {
		protocol := func(x *string) string {
			if x == nil {
				return ""
			}
			return *x
		}
		return a.Name == b.Name && a.Protocol == b.Protocol && a.Port == b.Port && a.TargetPort == b.TargetPort && protocol(a.AppProtocol) == protocol(b.AppProtocol)
	})
}

// patchRoute changes a route. Before a weight is raised, the Rollout is read once more: nothing may have been decided
// since the plan was made.
func (w *work) patchRoute(ctx context.Context, a planner.PatchRoute) error {
	if a.Raises {
		now := &v1alpha1.Rollout{}
		if err := w.Reader.Get(ctx, client.ObjectKeyFromObject(w.rollout), now); err != nil {
			return fmt.Errorf("reading the Rollout before raising a weight: %w", err)
		}
		if now.ResourceVersion != w.rollout.ResourceVersion {
			return errStale
		}
	}
	i := slices.IndexFunc(w.observed.Routes, func(r planner.Route) bool { return r.Object != nil && r.Is(a) })
	if i < 0 {
		return fmt.Errorf("%s is not among the routes that were read", a)
	}
	route := identityOf(w.observed.Routes[i].Object)
	err := w.Client.Patch(ctx, route, client.RawPatch(types.JSONPatchType, a.Patch), client.FieldOwner(v1alpha1.FieldManager))
	if err == nil {
		ctrl.LoggerFrom(ctx).Info("Patched route", a.Kind, client.ObjectKeyFromObject(route), "weight", a.Weight, "why", a.Why)
	}
	if apierrors.IsInvalid(err) && w.outdated(ctx, w.observed.Routes[i].Object) {
		return errStale
	}
	return err
}

// outdated says whether a route is no longer the one that the plan was made for: then a test of the patch has failed,
// which the API server does not tell apart from a patch that is wrong.
func (w *work) outdated(ctx context.Context, planned *unstructured.Unstructured) bool {
	now := identityOf(planned)
	if err := w.Reader.Get(ctx, client.ObjectKeyFromObject(planned), now); err != nil {
		return apierrors.IsNotFound(err)
	}
	return planned.GetResourceVersion() != now.GetResourceVersion()
}

// identityOf is an object of the same kind, namespace and name without content.
func identityOf(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{}
	out.SetGroupVersionKind(o.GroupVersionKind())
	out.SetNamespace(o.GetNamespace())
	out.SetName(o.GetName())
	return out
}

// maxRunSteps is how many steps an AnalysisRun remembers, as its schema says.
const maxRunSteps = 256

func (w *work) startRun(ctx context.Context, a planner.StartRun) error {
	ro := w.rollout
	ref, err := w.reference(a.Step)
	if err != nil {
		return err
	}
	metrics, args, err := w.resolve(ctx, ro.Namespace, *ref)
	if err != nil {
		return err
	}
	attempt := w.plan.Status.Attempt
	run := &v1alpha1.AnalysisRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: ro.Namespace, Name: a.Name,
			Labels: map[string]string{v1alpha1.LabelRollout: ro.Name, planner.LabelAttempt: strconv.FormatInt(attempt.Number, 10)}},
		Spec: v1alpha1.AnalysisRunSpec{Metrics: metrics, Args: args, State: v1alpha1.RunRunning, Evidence: analysis.Divide(ro.Spec.Evidence, runsOf(ro)),
			Arms: &v1alpha1.Arms{Rollout: ro.Name, CanaryRevision: attempt.Revision, StableRevision: w.otherArm(attempt.Revision),
				CanaryService: canaryService(ro), StableService: ro.Spec.Traffic.StableService}},
	}
	if err := controllerutil.SetControllerReference(ro, run, w.Scheme); err != nil {
		return fmt.Errorf("owning AnalysisRun %s: %w", run.Name, err)
	}
	err = w.Client.Create(ctx, run, client.FieldOwner(v1alpha1.FieldManager))
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	return w.mustOwn(ctx, run)
}

// runsOf a Rollout's attempt: each of them may halt it.
func runsOf(ro *v1alpha1.Rollout) int {
	n := 0
	for _, ref := range references(ro) {
		if ref != nil {
			n++
		}
	}
	return n
}

// reference is what an AnalysisRun is made from.
func (w *work) reference(step int32) (*v1alpha1.AnalysisReference, error) {
	if step == planner.StepShare {
		if shareAt(w.rollout) < 0 {
			return nil, errStale
		}
		return withShare(w.rollout, w.plan.Status.Attempt.Weight), nil
	}
	refs := references(w.rollout)
	if i := int(step) + 1; i >= 0 && i < len(refs) && refs[i] != nil {
		return refs[i], nil
	}
	return nil, fmt.Errorf("step %d names no AnalysisTemplates", step)
}

// otherArm is the revision that an attempt is compared with: the stable one, or the one that was stable before.
func (w *work) otherArm(revision string) string {
	for _, r := range []*v1alpha1.RevisionRecord{w.plan.Status.Stable, w.plan.Status.Previous} {
		if r != nil && r.Revision != revision {
			return r.Revision
		}
	}
	return ""
}

func (w *work) answer(ctx context.Context, a planner.Answer) error {
	for i := range w.observed.Decisions {
		if w.observed.Decisions[i].Name != a.Decision {
			continue
		}
		d := w.observed.Decisions[i].DeepCopy()
		before := d.DeepCopy()
		now := metav1.NewTime(w.observed.Now)
		d.Status = v1alpha1.DecisionStatus{Result: a.Result, Message: bounded(a.Message), At: &now}
		err := w.Client.Status().Patch(ctx, d, client.MergeFrom(before), client.FieldOwner(v1alpha1.FieldManager))
		return client.IgnoreNotFound(err)
	}
	return errors.New("the Decision was not gathered")
}
