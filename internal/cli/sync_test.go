package cli

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestSyncs(t *testing.T) {
	h := newHarness(t)
	s := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: h.env.Namespace, Name: "prod"}}
	s.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "apps", ServiceAccountName: "d", Environment: "prod"}
	if err := h.env.Client.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("approve", "sync/prod"), 1, "has no plan that waits")
	h.want(h.run("abort", "sync/prod"), 1, "abort is for Rollouts")
	digest := strings.Repeat("ab", 32)
	s.Status.Plan = &v1alpha1.SyncPlan{Digest: digest, Commit: strings.Repeat("c", 40), Bundle: "b", Risk: v1alpha1.RiskHigh, Prune: 1,
		Actions: []v1alpha1.SyncAction{{Object: "Namespace old", Action: "Prune", Risk: v1alpha1.RiskHigh, Reasons: []string{"everything in the namespace goes with it"}}}}
	s.Status.BlockedBy = "it waits for people"
	now := metav1.NewTime(time.Now())
	s.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Waiting", Message: "it waits for people", LastTransitionTime: now}}
	s.Status.History = []v1alpha1.SyncRecord{{Commit: "c1", Reason: "Applied", Trigger: "Commit", Count: 2, FirstAt: now, LastAt: now}}
	if err := h.env.Client.Status().Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("status", "sync/prod"), ExitDegraded, "Waiting", "BLOCKED BY", "it waits for people", "risk High", "Prune Namespace old (High) everything in the namespace goes with it", "Applied c1, 2×, for Commit")
	h.want(h.run("list", "--syncs"), 0, "prod", "Waiting", "High", "it waits for people")
	r := h.run("approve", "sync/prod", "--reason", "looked at it", "--dry-run", "server")
	h.want(r, 0, "plan: "+digest)
	d := &v1alpha1.Decision{}
	if err := yaml.Unmarshal([]byte(r.out), d); err != nil || d.Spec.Subject.Kind != "Sync" || d.Spec.Action != v1alpha1.ActionApprove {
		t.Errorf("Decision %+v, %v", d.Spec, err)
	}
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: h.env.Namespace, Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = "https://git/x.git", "main"
	if err := h.env.Client.Create(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("sync", "prod", "--wait=false"), 0, "sync.belay.dev/prod: asked")
	h.want(h.run("sync", "prod", "--timeout", "1s"), ExitTimeout, "nothing came of it in time")
}
