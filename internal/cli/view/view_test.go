package view

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

// shop is a Rollout in the middle of an attempt, with its ReplicaSets, pods and evidence.
func shop() Objects {
	yes := true
	owner := func(kind, name, uid string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{Kind: kind, Name: name, UID: types.UID("uid-" + uid), Controller: &yes}}
	}
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "checkout", Namespace: "shop", UID: "uid-r", Generation: 4, CreationTimestamp: ago(48 * time.Hour)}}
	r.Spec.Replicas = new(int32(2))
	r.Spec.Traffic.TotalWeight = 100
	r.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{Steps: []v1alpha1.Step{{Name: "first", Weight: new(int32(5))}, {Name: "half", Weight: new(int32(50))}}}
	r.Status = v1alpha1.RolloutStatus{
		ObservedGeneration: 4, Phase: "Progressing", BlockedBy: "step half waits for an approval", Replicas: 3, ReadyReplicas: 2, AvailableReplicas: 2, UpdatedReplicas: 1,
		Stable: &v1alpha1.RevisionRecord{Revision: "goodgoodgd", Commit: "0123456789abcdef", Since: ago(40 * time.Hour)},
		Attempt: &v1alpha1.Attempt{Number: 3, Revision: "newnewnewn", Commit: "fedcba9876543210", Stage: v1alpha1.StageStepping, StageSince: ago(9 * time.Minute), StartedAt: ago(10 * time.Minute),
			Step: 1, StepName: "half", StepSince: new(ago(4 * time.Minute)), Weight: 50, ConfirmedWeight: 5},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionTrafficReady, Status: metav1.ConditionFalse, Reason: "RouteNotAccepted", Message: "HTTPRoute checkout is not accepted"},
			{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionFalse}},
	}
	o := Objects{Rollout: r}
	for _, rev := range []string{"goodgoodgd", "newnewnewn"} {
		rs := appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "checkout-" + rev, UID: types.UID("uid-" + rev), CreationTimestamp: ago(time.Hour), Labels: map[string]string{v1alpha1.LabelRevision: rev}, OwnerReferences: owner("Rollout", "checkout", "r")}}
		rs.Spec.Replicas = new(int32(1))
		if rev == "goodgoodgd" {
			rs.Status.ReadyReplicas = 1
		}
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: rs.Name + "-x", CreationTimestamp: ago(time.Minute), OwnerReferences: owner("ReplicaSet", rs.Name, rev)}}
		p.Status.Phase = corev1.PodRunning
		if rev == "goodgoodgd" {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		} else {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 4, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		}
		o.ReplicaSets, o.Pods = append(o.ReplicaSets, rs), append(o.Pods, p)
	}
	o.Runs = []v1alpha1.AnalysisRun{{ObjectMeta: metav1.ObjectMeta{Name: "checkout-3"},
		Spec: v1alpha1.AnalysisRunSpec{Arms: &v1alpha1.Arms{Rollout: "checkout", CanaryRevision: "newnewnewn"}, Metrics: []v1alpha1.Metric{{Name: "errors", Threshold: v1alpha1.Threshold{Max: new("0.01")}}}},
		Status: v1alpha1.AnalysisRunStatus{Verdict: v1alpha1.VerdictPending, Message: "1 metric is pending", Metrics: []v1alpha1.MetricStatus{{Name: "errors", Verdict: v1alpha1.VerdictPending, Passed: 2, Measured: 3,
			Recent: []v1alpha1.Measurement{{Value: "0.004", Result: "Passed"}}}}}}}
	return o
}

func scenarios() map[string]Objects {
	failed := shop()
	failed.Rollout.Status.Attempt = nil
	failed.Rollout.Status.BlockedBy = ""
	failed.Rollout.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Quarantined", Message: "revision newnewnewn failed\x1b[2J"}}
	failed.Rollout.Status.Quarantine = []v1alpha1.Quarantined{{Revision: "newnewnewn", Attempt: 3, Reason: "AnalysisFailed", Message: "errors was 0.2"}}
	failed.Rollout.Status.History = []v1alpha1.AttemptRecord{{Number: 3, Revision: "newnewnewn", Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed", Message: "errors was 0.2", EndedAt: ago(time.Minute)}}
	failed.Rollout.Status.Revert = &v1alpha1.RevertStatus{State: v1alpha1.RevertPushed, Bad: "newnewnewn", Good: "goodgoodgd", Commit: "aaaabbbbccccdddd"}
	failed.Unread = []string{"Pods: forbidden"}
	healthy := shop()
	healthy.Rollout.Status.Attempt, healthy.Rollout.Status.BlockedBy = nil, ""
	healthy.Rollout.Status.Conditions = healthy.Rollout.Status.Conditions[:1]
	withdrawing := shop()
	withdrawing.Rollout.Status.Attempt.Verdict = &v1alpha1.Verdict{Outcome: v1alpha1.OutcomeAborted, Reason: "Manual", Actor: "ada", Message: "looks wrong"}
	return map[string]Objects{"stepping": shop(), "failed": failed, "healthy": healthy, "withdrawing": withdrawing}
}

func TestGolden(t *testing.T) {
	for name, o := range scenarios() {
		v := Build(o)
		asYAML, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", Render(v, Style{}, now))
		golden(t, name+".yaml", string(asYAML))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// TestColourAddsNothing: without the colour codes the text is the same, so nothing is told by colour alone.
func TestColourAddsNothing(t *testing.T) {
	codes := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for name, o := range scenarios() {
		v := Build(o)
		coloured := Render(v, Style{Color: true}, now)
		if !codes.MatchString(coloured) {
			t.Errorf("%s: no colour", name)
		}
		if diff := cmp.Diff(Render(v, Style{}, now), codes.ReplaceAllString(coloured, "")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHealth(t *testing.T) {
	want := map[string]Health{"stepping": Progressing, "failed": Degraded, "healthy": Healthy, "withdrawing": Degraded}
	for name, o := range scenarios() {
		if got := HealthOf(o.Rollout); got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
	}
	first := scenarios()["stepping"].Rollout
	first.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: "ApprovalRequired"}}
	if got := HealthOf(first); got != Progressing {
		t.Errorf("waiting for an approval: %s", got)
	}
	first.Status.Conditions[0].Reason = "ProgressDeadline"
	if got := HealthOf(first); got != Degraded {
		t.Errorf("the first revision does not come up: %s", got)
	}
	unseen := scenarios()["healthy"].Rollout
	unseen.Generation++
	if got := HealthOf(unseen); got != Progressing {
		t.Errorf("a change that the controller has not seen: %s", got)
	}
}
