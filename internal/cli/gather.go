package cli

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/cli/view"
)

// gather reads a Rollout and what is around it. Only the Rollout must be readable; what else is not is noted.
func gather(ctx context.Context, c client.Client, namespace, name string) (view.Objects, error) {
	r, err := getRollout(ctx, c, namespace, name)
	if err != nil {
		return view.Objects{}, err
	}
	o := view.Objects{Rollout: r}
	sets, pods, runs := &appsv1.ReplicaSetList{}, &corev1.PodList{}, &v1alpha1.AnalysisRunList{}
	for _, read := range around(r) {
		list := map[string]client.ObjectList{"ReplicaSets": sets, "Pods": pods, "AnalysisRuns": runs}[read.what]
		if err := c.List(ctx, list, read.selection...); err != nil {
			o.Unread = append(o.Unread, fmt.Sprintf("%s: %s", read.what, err))
		}
	}
	o.ReplicaSets, o.Pods, o.Runs = sets.Items, pods.Items, runs.Items
	return o, nil
}

// reading is one list that belongs to a Rollout.
type reading struct {
	what      string
	empty     func() client.ObjectList
	selection []client.ListOption
}

func around(r *v1alpha1.Rollout) []reading {
	own := []client.ListOption{client.InNamespace(r.Namespace), client.MatchingLabels(r.Spec.Selector.MatchLabels)}
	if r.Spec.WorkloadRef != nil { // the selector is the Deployment's; pods that are not the Rollout's have no revision
		selector, err := labels.Parse(r.Status.Selector)
		if err != nil || r.Status.Selector == "" {
			selector = labels.Nothing()
		}
		own = []client.ListOption{client.InNamespace(r.Namespace), client.MatchingLabelsSelector{Selector: selector}, client.HasLabels{v1alpha1.LabelRevision}}
	}
	return []reading{
		{"ReplicaSets", func() client.ObjectList { return &appsv1.ReplicaSetList{} }, own},
		{"Pods", func() client.ObjectList { return &corev1.PodList{} }, own},
		{"AnalysisRuns", func() client.ObjectList { return &v1alpha1.AnalysisRunList{} },
			[]client.ListOption{client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.LabelRollout: r.Name}}},
	}
}
