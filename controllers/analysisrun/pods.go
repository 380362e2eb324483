package analysisrun

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// maxArmPods and maxRestarts are how many pods of a revision, and restarts of each, a run remembers: the schema allows twice
	// as many pods for both.
	maxArmPods  = 128
	maxRestarts = 16
)

// census is what is known of the pods of both revisions after a look: those that the status remembers, those that are there
// now, and what happened to them since the last look. It is written with the verdict that it led to, and never after it: a
// process that goes on elsewhere counts the same pods and the same restarts.
func (r *Reconciler) census(ctx context.Context, run *v1alpha1.AnalysisRun, started, now time.Time) ([]v1alpha1.RunPod, error) {
	known := make([]v1alpha1.RunPod, 0, len(run.Status.Pods))
	for i := range run.Status.Pods {
		known = append(known, *run.Status.Pods[i].DeepCopy())
	}
	if run.Spec.Arms == nil {
		return known, nil
	}
	second := metav1.NewTime(now.Truncate(time.Second))
	alive := map[string]bool{}
	for _, arm := range []v1alpha1.RunArm{v1alpha1.ArmCanary, v1alpha1.ArmStable} {
		pods, err := r.podsOf(ctx, run, arm)
		if err != nil {
			return nil, err
		}
		for i := range pods {
			alive[pods[i].Name] = true
			known = meet(known, &pods[i], arm, started, second)
		}
	}
	for i := range known {
		if known[i].GoneAt == nil && !alive[known[i].Name] {
			known[i].GoneAt = &second
		}
	}
	return known, nil
}

func (r *Reconciler) podsOf(ctx context.Context, run *v1alpha1.AnalysisRun, arm v1alpha1.RunArm) ([]corev1.Pod, error) {
	revision := run.Spec.Arms.CanaryRevision
	if arm == v1alpha1.ArmStable {
		revision = run.Spec.Arms.StableRevision
	}
	if revision == "" {
		return nil, nil
	}
	list := &corev1.PodList{}
	if err := r.Client.List(ctx, list, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRevision: revision}); err != nil {
		return nil, fmt.Errorf("listing the pods of revision %s: %w", revision, err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// meet takes in what is seen of a pod. Restarts of a pod that is older than the run, before it was first seen, are the past.
func meet(known []v1alpha1.RunPod, p *corev1.Pod, arm v1alpha1.RunArm, started time.Time, second metav1.Time) []v1alpha1.RunPod {
	count, reason := restartsOf(p)
	i := slices.IndexFunc(known, func(k v1alpha1.RunPod) bool { return k.Name == p.Name })
	if i < 0 {
		fresh := v1alpha1.RunPod{Name: p.Name, Arm: arm, CreatedAt: p.CreationTimestamp}
		if p.CreationTimestamp.Time.Before(started) {
			fresh.RestartsBefore = count
		}
		known = append(known, fresh)
		i = len(known) - 1
	}
	k := &known[i]
	for seen := k.RestartsBefore + int32(len(k.Restarts)); seen < count && len(k.Restarts) < maxRestarts; seen++ {
		k.Restarts = append(k.Restarts, v1alpha1.PodRestart{At: second, Reason: reason})
	}
	return known
}

// restartsOf a pod's containers, and why the one that ended last did.
func restartsOf(p *corev1.Pod) (int32, string) {
	count, reason := int32(0), ""
	var last metav1.Time
	for _, s := range p.Status.ContainerStatuses {
		count += s.RestartCount
		if t := s.LastTerminationState.Terminated; t != nil && (reason == "" || last.Before(&t.FinishedAt)) {
			last, reason = t.FinishedAt, t.Reason
		}
	}
	return count, reason[:min(len(reason), 64)]
}

// remembered are the pods that fit into the status: the first of each revision. A pod that was remembered once stays so.
func remembered(pods []v1alpha1.RunPod) []v1alpha1.RunPod {
	met := map[v1alpha1.RunArm]int{}
	return slices.DeleteFunc(slices.Clone(pods), func(p v1alpha1.RunPod) bool {
		met[p.Arm]++
		return met[p.Arm] > maxArmPods
	})
}

// counted are the pods whose series count.
func counted(pods []v1alpha1.RunPod, started time.Time) []compare.Pod {
	out := make([]compare.Pod, 0, len(pods))
	for _, p := range pods {
		born := p.CreatedAt.Time
		if born.Before(started) {
			born = started
		}
		out = append(out, compare.Pod{Name: p.Name, Canary: p.Arm == v1alpha1.ArmCanary, Created: p.CreatedAt.Time, Born: born})
	}
	return out
}

// restarts of pods in a block, of those that the run remembers: when others restarted is not known. For how many seconds each of them lived in it, and how often its containers restarted. Of the
// time before the run only the number of restarts is known: they count as spread evenly over the pod's life until then.
func restarts(pods []v1alpha1.RunPod, want v1alpha1.RestartReason, b compare.Block, started time.Time) compare.Counts {
	var out compare.Counts
	for _, p := range remembered(pods) {
		from, to := b.Start, b.End
		if p.CreatedAt.After(from) {
			from = p.CreatedAt.Time
		}
		if p.GoneAt != nil && p.GoneAt.Time.Before(to) {
			to = p.GoneAt.Time
		}
		if !to.After(from) {
			continue
		}
		t := compare.Tally{Pod: p.Name, Born: from, Requests: to.Sub(from).Seconds()}
		if life := started.Sub(p.CreatedAt.Time); b.Start.Before(started) && life > 0 && want != v1alpha1.RestartOOMKilled {
			t.Bad = float64(p.RestartsBefore) * t.Requests / life.Seconds()
		}
		for _, e := range p.Restarts {
			if e.At.After(b.Start) && !e.At.After(b.End) && (want != v1alpha1.RestartOOMKilled || e.Reason == string(v1alpha1.RestartOOMKilled)) {
				t.Bad++
			}
		}
		if p.Arm == v1alpha1.ArmCanary {
			out.Canary = append(out.Canary, t)
		} else {
			out.Stable = append(out.Stable, t)
		}
	}
	return out
}
