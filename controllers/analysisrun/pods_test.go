package analysisrun

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// With more pods than a run remembers, those of the canary that come last are remembered all the same, and a pod that is not has part
// neither in the restarts nor in the time that they are held against.
func TestRestartsOfManyPods(t *testing.T) {
	started := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var known []v1alpha1.RunPod
	look := func(arm v1alpha1.RunArm, pods, restarts int, at time.Time) {
		for i := range pods {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%03d", arm, i), CreationTimestamp: metav1.NewTime(started)}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: int32(restarts)}}
			known = meet(known, p, arm, started, metav1.NewTime(at))
		}
	}
	look(v1alpha1.ArmStable, 300, 0, started)
	known = remembered(known)
	for _, second := range []int{10, 20, 30} { // each look begins with what the status remembers
		at := started.Add(time.Duration(second) * time.Second)
		look(v1alpha1.ArmStable, 300, 0, at)
		look(v1alpha1.ArmCanary, 140, second/10, at)
		b := compare.Block{Start: at.Add(-10 * time.Second), End: at}
		got := restarts(known, "", b, started)
		bad := 0.0
		for _, tally := range got.Canary {
			bad += tally.Bad
		}
		if bad != maxArmPods || len(got.Canary) != maxArmPods || len(got.Stable) != maxArmPods {
			t.Errorf("after %d s: %g restarts of %d canary pods, beside %d of stable", second, bad, len(got.Canary), len(got.Stable))
		}
		known = remembered(known)
		if len(known) != 2*maxArmPods {
			t.Errorf("%d pods are remembered", len(known))
		}
	}
}
