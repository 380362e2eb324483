package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/internal/revision"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// gather reads everything that the plan depends on. A read that failed is an error, never an empty list.
func (r *Reconciler) gather(ctx context.Context, ro *v1alpha1.Rollout) (planner.Observed, error) {
	o := planner.Observed{Now: r.Clock.Now(), Rollout: ro}
	if err := r.gatherWorkload(ctx, ro, &o); err != nil {
		return o, err
	}
	ro = o.Rollout
	if o.Revision == "" {
		hash, err := revision.Hash(&ro.Spec.Template)
		if err != nil {
			return o, fmt.Errorf("hashing the template: %w", err)
		}
		o.Revision = hash
	}
	pods, err := r.gatherPods(ctx, ro, &o)
	if err != nil {
		return o, err
	}
	if err := r.gatherServices(ctx, ro, &o, pods); err != nil {
		return o, err
	}
	for _, gather := range []func(context.Context, *v1alpha1.Rollout, *planner.Observed) error{r.gatherRoutes, r.gatherGateways, r.gatherBypasses, r.gatherPolicies, r.gatherAnalysis, r.gatherDecisions, r.gatherProbes} {
		if err := gather(ctx, ro, &o); err != nil {
			return o, err
		}
	}
	return o, nil
}

// gatherPods reads ReplicaSets and pods, and returns the revision of every pod by name, those being deleted included.
func (r *Reconciler) gatherPods(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) (map[string]string, error) {
	var sets appsv1.ReplicaSetList
	reader := r.ownersReader(ro)
	if err := reader.List(ctx, &sets, client.InNamespace(ro.Namespace), client.HasLabels{v1alpha1.LabelRevision}); err != nil {
		return nil, fmt.Errorf("listing ReplicaSets: %w", err)
	}
	owned := map[types.UID]string{}
	for i := range sets.Items {
		rs := &sets.Items[i]
		if !metav1.IsControlledBy(rs, ro) || rs.DeletionTimestamp != nil {
			continue
		}
		owned[rs.UID] = rs.Labels[v1alpha1.LabelRevision]
		v := viewReplicaSet(rs)
		v.Linked = o.Workload == nil || linked(rs, o.Workload.Object)
		o.ReplicaSets = append(o.ReplicaSets, v)
	}
	slices.SortFunc(o.ReplicaSets, func(a, b planner.ReplicaSet) int { return strings.Compare(a.Name, b.Name) })
	var pods corev1.PodList
	if err := reader.List(ctx, &pods, client.InNamespace(ro.Namespace), client.MatchingLabels(ro.Spec.Selector.MatchLabels), client.HasLabels{v1alpha1.LabelRevision}); err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	if err := r.unlabelledPods(ctx, o, &pods); err != nil {
		return nil, err
	}
	revisions := map[string]string{}
	for i := range pods.Items {
		p := &pods.Items[i]
		owner := metav1.GetControllerOf(p)
		if owner == nil || owned[owner.UID] == "" {
			continue
		}
		revisions[p.Name] = owned[owner.UID]
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			o.Pods = append(o.Pods, viewPod(p, owned[owner.UID]))
		}
	}
	slices.SortFunc(o.Pods, func(a, b planner.Pod) int { return strings.Compare(a.Name, b.Name) })
	return revisions, nil
}

func viewReplicaSet(rs *appsv1.ReplicaSet) planner.ReplicaSet {
	v := planner.ReplicaSet{Name: rs.Name, Revision: rs.Labels[v1alpha1.LabelRevision], Wanted: 1,
		Role:    v1alpha1.Role(rs.Spec.Template.Labels[v1alpha1.LabelRole]),
		Created: rs.CreationTimestamp.Time, Current: rs.Status.Replicas, Ready: rs.Status.ReadyReplicas,
		MinReadySeconds: rs.Spec.MinReadySeconds}
	if rs.Spec.Replicas != nil {
		v.Wanted = *rs.Spec.Replicas
	}
	if rs.Status.ObservedGeneration >= rs.Generation {
		v.Available = rs.Status.AvailableReplicas
	} else {
		v.Available = min(rs.Status.AvailableReplicas, v.Wanted)
	}
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
			v.Problem = bounded(c.Message)
		}
	}
	return v
}

func viewPod(p *corev1.Pod, rev string) planner.Pod {
	v := planner.Pod{Name: p.Name, Revision: rev, UID: p.UID, Role: v1alpha1.Role(p.Labels[v1alpha1.LabelRole]), Created: p.CreationTimestamp.Time,
		Dress: p.Annotations[v1alpha1.AnnotationRoleMetadata]}
	if p.Labels[v1alpha1.LabelRevision] != rev {
		v.Role = "" // it was taken over; both labels are missing
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		v.Restarts = max(v.Restarts, s.RestartCount)
		if w := s.State.Waiting; w != nil && (v.Waiting == "" || w.Reason == "CrashLoopBackOff") {
			v.Waiting, v.Message = w.Reason, bounded(w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		v.Ready = v.Ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			v.Unschedulable = bounded(c.Message)
		}
	}
	return v
}

// bounded shortens messages of others.
func bounded(s string) string {
	if len(s) > 256 {
		return strings.ToValidUTF8(s[:253], "") + "..."
	}
	return s
}

func (r *Reconciler) gatherServices(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed, pods map[string]string) error {
	stable, err := r.service(ctx, ro.Namespace, ro.Spec.Traffic.StableService)
	if err != nil {
		return err
	}
	canary, err := r.service(ctx, ro.Namespace, canaryService(ro))
	if err != nil {
		return err
	}
	o.Stable = viewService(stable, ro.Spec.Traffic.StableService)
	o.Canary = viewService(canary, canaryService(ro))
	if canary != nil {
		o.Canary.Ours = metav1.IsControlledBy(canary, ro)
		o.Canary.PortsMatch = stable != nil && samePorts(canary.Spec.Ports, canaryPorts(stable))
	}
	if stable != nil {
		_, o.Stable.RoleAdded = stable.Annotations[gatewayapi.SelectorAnnotation]
	}
	for _, s := range []*planner.Service{&o.Stable, &o.Canary} {
		if s.Endpoints, err = r.endpoints(ctx, ro.Namespace, s.Name, pods); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) service(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	s := &corev1.Service{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Service %s: %w", name, err)
	}
	return s, nil
}

func viewService(s *corev1.Service, name string) planner.Service {
	if s == nil {
		return planner.Service{Name: name}
	}
	return planner.Service{Name: name, Exists: true, Role: s.Spec.Selector[v1alpha1.LabelRole], Revision: s.Spec.Selector[v1alpha1.LabelRevision],
		Keys: slices.Sorted(maps.Keys(s.Spec.Selector))}
}

// endpoints counts the ready endpoints of a Service by the revision of their pods; a pod counts once.
func (r *Reconciler) endpoints(ctx context.Context, namespace, service string, pods map[string]string) (map[string]int32, error) {
	var slicesList discoveryv1.EndpointSliceList
	err := r.Client.List(ctx, &slicesList, client.InNamespace(namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service})
	if err != nil {
		return nil, fmt.Errorf("listing EndpointSlices of Service %s: %w", service, err)
	}
	seen, count := map[string]bool{}, map[string]int32{}
	for _, slice := range slicesList.Items {
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || !ready || seen[e.TargetRef.Name] {
				continue
			}
			seen[e.TargetRef.Name] = true
			count[pods[e.TargetRef.Name]]++
		}
	}
	return count, nil
}

func (r *Reconciler) gatherAnalysis(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	var runs v1alpha1.AnalysisRunList
	if err := r.Client.List(ctx, &runs, client.InNamespace(ro.Namespace), client.MatchingLabels{v1alpha1.LabelRollout: ro.Name}); err != nil {
		return fmt.Errorf("listing AnalysisRuns: %w", err)
	}
	o.Runs = map[string]*v1alpha1.AnalysisRun{}
	for i := range runs.Items {
		if run := &runs.Items[i]; metav1.IsControlledBy(run, ro) && run.DeletionTimestamp == nil {
			o.Runs[run.Name] = run
		}
	}
	refs := references(ro)
	at := shareAt(ro)
	if at >= 0 {
		refs = append(refs, withShare(ro, 0))
	}
	for i, ref := range refs {
		if ref == nil {
			continue
		}
		_, _, err := r.resolve(ctx, ro.Namespace, *ref)
		var problem *templateProblem
		switch {
		case errors.As(err, &problem):
			field := fieldOf(ro, i)
			if at >= 0 && i == len(refs)-1 {
				field = fmt.Sprintf("spec.traffic.confirm[%d].share", at)
			}
			o.AnalysisProblem = fmt.Sprintf("%s: %s", field, problem.why)
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// references are the background analysis, at index 0, and the checks of each step.
func references(ro *v1alpha1.Rollout) []*v1alpha1.AnalysisReference {
	refs := []*v1alpha1.AnalysisReference{ro.Spec.Analysis}
	for _, s := range ro.Spec.Steps() {
		refs = append(refs, s.Checks)
	}
	return refs
}

// shareAt is the index in traffic.confirm of what measures the canary's share; -1 where nothing does.
func shareAt(ro *v1alpha1.Rollout) int {
	return slices.IndexFunc(ro.Spec.Traffic.Confirm, func(c v1alpha1.Confirmation) bool { return c.Share != nil })
}

// withShare is what measures the canary's share, with the share that it should have as an argument.
func withShare(ro *v1alpha1.Rollout, weight int32) *v1alpha1.AnalysisReference {
	ref := ro.Spec.Traffic.Confirm[shareAt(ro)].Share.DeepCopy()
	value := strconv.FormatFloat(float64(weight)/float64(ro.Spec.Traffic.Total()), 'g', -1, 64)
	ref.Args = append(slices.DeleteFunc(ref.Args, func(a v1alpha1.Argument) bool { return a.Name == "share" }), v1alpha1.Argument{Name: "share", Value: &value})
	return ref
}

func fieldOf(ro *v1alpha1.Rollout, i int) string {
	switch {
	case i == 0:
		return "spec.analysis"
	case ro.Spec.Strategy.BlueGreen != nil && i == 1:
		return "spec.strategy.blueGreen.prePromotion"
	case ro.Spec.Strategy.BlueGreen != nil:
		return "spec.strategy.blueGreen.postPromotion"
	}
	return fmt.Sprintf("spec.strategy.canary.steps[%d].checks", i-1)
}

// templateProblem is a fault of the user's templates, as opposed to a read that failed.
type templateProblem struct{ why string }

func (p *templateProblem) Error() string { return p.why }

// resolve reads the templates of a reference and puts their metrics and arguments together.
func (r *Reconciler) resolve(ctx context.Context, namespace string, ref v1alpha1.AnalysisReference) ([]v1alpha1.Metric, []v1alpha1.Argument, error) {
	var templates []v1alpha1.AnalysisTemplate
	for _, t := range ref.Templates {
		template, err := r.template(ctx, namespace, t)
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil, &templateProblem{why: fmt.Sprintf("%s does not exist", t)}
		case err != nil:
			return nil, nil, fmt.Errorf("reading %s: %w", t, err)
		}
		templates = append(templates, template)
	}
	metrics, args, err := analysis.Resolve(templates, ref)
	if err != nil {
		return nil, nil, &templateProblem{why: bounded(err.Error())}
	}
	return metrics, args, nil
}

// template reads what a reference names; a cluster's template in the form of a namespaced one.
func (r *Reconciler) template(ctx context.Context, namespace string, ref v1alpha1.TemplateReference) (v1alpha1.AnalysisTemplate, error) {
	if ref.Kind == v1alpha1.KindClusterAnalysisTemplate {
		var shared v1alpha1.ClusterAnalysisTemplate
		err := r.Client.Get(ctx, client.ObjectKey{Name: ref.Name}, &shared)
		return shared.AsTemplate(), err
	}
	var template v1alpha1.AnalysisTemplate
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &template)
	template.TypeMeta = metav1.TypeMeta{}
	return template, err
}

func (r *Reconciler) gatherDecisions(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	var list v1alpha1.DecisionList
	if err := r.Client.List(ctx, &list, client.InNamespace(ro.Namespace)); err != nil {
		return fmt.Errorf("listing Decisions: %w", err)
	}
	for _, d := range list.Items {
		if d.Status.Result == "" && d.Spec.Subject.Kind == "Rollout" && d.Spec.Subject.Name == ro.Name && d.DeletionTimestamp == nil {
			o.Decisions = append(o.Decisions, d)
		}
	}
	slices.SortFunc(o.Decisions, func(a, b v1alpha1.Decision) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return nil
}
