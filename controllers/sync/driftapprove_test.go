package sync

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestG28_DriftWaitsForAnApproval of exactly what was found: another change needs another one.
func TestG28_DriftWaitsForAnApproval(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.driftMode(v1alpha1.DriftRequireApproval)
	w.reconcile()
	decide := func(name, digest string, action v1alpha1.DecisionAction) *v1alpha1.Decision {
		d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: name}}
		d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: "shop"}, Action: action, Plan: digest, Actor: "kubernetes-admin"}
		w.create(d) // the testbed's administrator: where config/policy is in force, no other name is let through
		return d
	}
	found := func(value string) string {
		t.Helper()
		w.write("a", value, "kubectl-edit")
		suspected()
		s := w.reconcile()
		if s.Status.Drift == nil || s.Status.Drift.Objects[0].State != v1alpha1.DriftAwaitingApproval {
			t.Fatalf("status.drift is %+v", s.Status.Drift)
		}
		return s.Status.Drift.Objects[0].Digest
	}
	first := found("2")
	second := found("3")
	decide("early", first, v1alpha1.ActionApprove)
	w.reconcile()
	if value(w, "a") != "3" {
		t.Fatal("an approval of something else let it through")
	}
	decide("no", second, v1alpha1.ActionReject)
	w.reconcile()
	if value(w, "a") != "3" {
		t.Fatal("a rejection let it through")
	}
	third := found("4")
	d := decide("yes", third, v1alpha1.ActionApprove)
	s := w.reconcile()
	if value(w, "a") != "1" || s.Status.Drift.Drifted != 0 {
		t.Errorf("a is %s, drift %+v", value(w, "a"), s.Status.Drift)
	}
	w.recorded(s.Status.Drift.Objects[0].Record, `"4"`)
	if err := w.env.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil || d.Status.Result != v1alpha1.DecisionApplied {
		t.Errorf("the Decision is %+v: %v", d.Status, err)
	}
	var secret corev1.Secret
	w.get(RecordsName, &secret)
	for key := range secret.Data {
		if !strings.HasSuffix(key, third) {
			t.Errorf("record %s is of something else", key)
		}
	}
}
