package revert

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/internal/revision"
)

// errNoTemplate says that what a revision's pods look like is not known any more.
var errNoTemplate = errors.New("its pod template is not in the cluster any more (spec.revisionHistoryLimit)")

// whereOf is where Git declares a Rollout. Where nothing in the repository renders to it, the cluster says which values belong to
// which of the revisions.
func (r *Reconciler) whereOf(ctx context.Context, rollout *v1alpha1.Rollout, revisions ...string) (revert.Where, error) {
	spec := rollout.Spec.OnFailure.Revert
	out := revert.Where{Workload: workloadOf(rollout), Path: spec.Path, Values: revert.ValuesOf(spec)}
	if out.Path != "" {
		return out, nil
	}
	var sets appsv1.ReplicaSetList
	if err := r.Reader.List(ctx, &sets, client.InNamespace(rollout.Namespace), client.HasLabels{v1alpha1.LabelRevision}); err != nil {
		return out, fmt.Errorf("listing ReplicaSets: %w", err)
	}
	out.Known = map[string]map[string]any{}
	for _, name := range revisions {
		template := templateOf(rollout, sets.Items, name)
		if template == nil {
			return out, fmt.Errorf("revision %s: %w", name, errNoTemplate)
		}
		generic, err := runtime.DefaultUnstructuredConverter.ToUnstructured(template)
		if err != nil {
			return out, fmt.Errorf("reading the pod template of revision %s: %w", name, err)
		}
		out.Known[name] = generic
	}
	return out, nil
}

// templateOf is the pod template of a revision: the Rollout's own where it is that, since a ReplicaSet has defaults filled in.
func templateOf(rollout *v1alpha1.Rollout, sets []appsv1.ReplicaSet, name string) *corev1.PodTemplateSpec {
	if hash, err := revision.Hash(&rollout.Spec.Template); err == nil && hash == name {
		return &rollout.Spec.Template
	}
	for i := range sets {
		if set := &sets[i]; set.Labels[v1alpha1.LabelRevision] == name && metav1.IsControlledBy(set, rollout) {
			return &set.Spec.Template
		}
	}
	return nil
}

// applied are the folders of a repository that Syncs apply, and that Rollouts are reverted in, in all namespaces that Belay sees.
func (r *Reconciler) applied(ctx context.Context, repo *v1alpha1.Repository) ([]string, error) {
	var repositories v1alpha1.RepositoryList
	var syncs v1alpha1.SyncList
	var rollouts v1alpha1.RolloutList
	for _, list := range []client.ObjectList{&repositories, &syncs, &rollouts} {
		if err := r.Client.List(ctx, list); err != nil {
			return nil, fmt.Errorf("looking for who else applies what is in the repository: %w", err)
		}
	}
	same := map[client.ObjectKey]bool{}
	for i := range repositories.Items {
		other := &repositories.Items[i]
		branch := other.Spec.Ref.Branch
		same[client.ObjectKeyFromObject(other)] = git.SameRepository(other.Spec.URL, repo.Spec.URL) && (branch == "" || branch == repo.Spec.Ref.Branch)
	}
	var out []string
	for i := range syncs.Items {
		if s := &syncs.Items[i]; same[client.ObjectKey{Namespace: s.Namespace, Name: s.Spec.Repository}] {
			out = append(out, s.Spec.Path)
		}
	}
	for i := range rollouts.Items {
		spec := rollouts.Items[i].Spec.OnFailure.Revert
		if spec != nil && spec.Path != "" && same[client.ObjectKey{Namespace: rollouts.Items[i].Namespace, Name: spec.Repository}] {
			out = append(out, spec.Path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
