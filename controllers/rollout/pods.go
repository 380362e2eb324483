package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// evict asks for a pod to go as PodDisruptionBudgets allow; one that is gone, or was replaced under its name, is no error.
// Where a budget refuses, the error names it.
func (w *work) evict(ctx context.Context, a planner.EvictPod) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.rollout.Namespace, Name: a.Name}}
	err := w.Client.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &a.UID}}})
	if apierrors.IsConflict(err) {
		return nil
	}
	if cause, refused := apierrors.StatusCause(err, policyv1.DisruptionBudgetCause); refused {
		return fmt.Errorf("a PodDisruptionBudget refuses: %s", bounded(cause.Message))
	}
	return client.IgnoreNotFound(err)
}

// dress changes the labels and annotations that pods carry for their role. What an earlier role put on a pod stands in an
// annotation of the pod; a key that its template has too gets the template's value back.
func (w *work) dress(ctx context.Context, a planner.DressPods) error {
	rs, err := w.readReplicaSet(ctx, a.Revision)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(podsAtOnce)
	for _, name := range a.Pods {
		group.Go(func() error {
			pod := &corev1.Pod{}
			if err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.rollout.Namespace, Name: name}, pod); err != nil {
				return client.IgnoreNotFound(err)
			}
			patch, err := dressing(pod, rs.Spec.Template.ObjectMeta, a.Metadata)
			if err != nil {
				return err
			}
			err = w.Client.Patch(ctx, pod.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
			return client.IgnoreNotFound(err)
		})
	}
	return group.Wait()
}

// dressing is the merge patch that takes off a pod what it carries for a role, and puts on what it should.
func dressing(pod *corev1.Pod, template metav1.ObjectMeta, want v1alpha1.PodMetadata) ([]byte, error) {
	var had v1alpha1.PodMetadata
	if text := pod.Annotations[v1alpha1.AnnotationRoleMetadata]; text != "" {
		if err := json.Unmarshal([]byte(text), &had); err != nil {
			had = v1alpha1.PodMetadata{} // somebody else wrote it: what it says cannot be taken off
		}
	}
	labels := exchange(had.Labels, want.Labels, template.Labels)
	annotations := exchange(had.Annotations, want.Annotations, template.Annotations)
	annotations[v1alpha1.AnnotationRoleMetadata] = nil
	if text := planner.DressOf(want); text != "" {
		annotations[v1alpha1.AnnotationRoleMetadata] = text
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": pod.ResourceVersion, "labels": labels, "annotations": annotations}})
	if err != nil {
		return nil, fmt.Errorf("encoding the metadata of pod %s: %w", pod.Name, err)
	}
	return data, nil
}

// exchange is the part of a merge patch that replaces what was put on by what should be, nil for a key that goes.
func exchange[V ~string](had, want map[string]V, template map[string]string) map[string]any {
	out := map[string]any{}
	for key := range had {
		out[key] = nil
		if value, has := template[key]; has {
			out[key] = value
		}
	}
	for key, value := range want {
		out[key] = string(value)
	}
	return out
}

// hostname is the label of nodes that tells one from another.
const hostname = "kubernetes.io/hostname"

// keepApart keeps the pods of a template off nodes that run pods of another revision of the same Rollout.
func keepApart(t *corev1.PodTemplateSpec, spread v1alpha1.Spread, selector map[string]string, revision string) {
	if spread != v1alpha1.SpreadPreferred && spread != v1alpha1.SpreadRequired {
		return
	}
	term := corev1.PodAffinityTerm{TopologyKey: hostname, LabelSelector: &metav1.LabelSelector{MatchLabels: selector,
		MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: v1alpha1.LabelRevision, Operator: metav1.LabelSelectorOpExists},
			{Key: v1alpha1.LabelRevision, Operator: metav1.LabelSelectorOpNotIn, Values: []string{revision}}}}}
	if t.Spec.Affinity == nil {
		t.Spec.Affinity = &corev1.Affinity{}
	}
	if t.Spec.Affinity.PodAntiAffinity == nil {
		t.Spec.Affinity.PodAntiAffinity = &corev1.PodAntiAffinity{}
	}
	anti := t.Spec.Affinity.PodAntiAffinity
	if spread == v1alpha1.SpreadRequired {
		anti.RequiredDuringSchedulingIgnoredDuringExecution = append(anti.RequiredDuringSchedulingIgnoredDuringExecution, term)
		return
	}
	anti.PreferredDuringSchedulingIgnoredDuringExecution = append(anti.PreferredDuringSchedulingIgnoredDuringExecution,
		corev1.WeightedPodAffinityTerm{Weight: 100, PodAffinityTerm: term})
}

// together takes out of a template what keepApart put in.
func together(t *corev1.PodTemplateSpec) {
	if t.Spec.Affinity == nil || t.Spec.Affinity.PodAntiAffinity == nil {
		return
	}
	anti := t.Spec.Affinity.PodAntiAffinity
	if !slices.ContainsFunc(anti.RequiredDuringSchedulingIgnoredDuringExecution, ours) &&
		!slices.ContainsFunc(anti.PreferredDuringSchedulingIgnoredDuringExecution, oursToo) {
		return
	}
	anti.RequiredDuringSchedulingIgnoredDuringExecution = slices.DeleteFunc(anti.RequiredDuringSchedulingIgnoredDuringExecution, ours)
	anti.PreferredDuringSchedulingIgnoredDuringExecution = slices.DeleteFunc(anti.PreferredDuringSchedulingIgnoredDuringExecution, oursToo)
	if len(anti.RequiredDuringSchedulingIgnoredDuringExecution)+len(anti.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		t.Spec.Affinity.PodAntiAffinity = nil
	}
	if *t.Spec.Affinity == (corev1.Affinity{}) {
		t.Spec.Affinity = nil
	}
}

func oursToo(w corev1.WeightedPodAffinityTerm) bool { return ours(w.PodAffinityTerm) }

// ours says whether keepApart made a term: nobody else asks for the label of revisions.
func ours(term corev1.PodAffinityTerm) bool {
	return term.LabelSelector != nil && slices.ContainsFunc(term.LabelSelector.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
		return r.Key == v1alpha1.LabelRevision && r.Operator == metav1.LabelSelectorOpNotIn
	})
}
