package sync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestG08_ACommitLeavesDriftThatNobodyReported: what changed while the manager was down is left by a commit of something else, in the
// modes that leave it; a commit of the object is applied.
func TestG08_ACommitLeavesDriftThatNobodyReported(t *testing.T) {
	for name, mode := range map[string]v1alpha1.DriftMode{"detect": v1alpha1.DriftDetect, "approval": v1alpha1.DriftRequireApproval} {
		for _, kept := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, kept %v", name, kept), func(t *testing.T) {
				w := newWorld(t)
				if kept {
					w.r.Bundles = &Shelf{Client: w.env.Client, Reader: w.env.Client, Namespace: w.env.Namespace}
				}
				w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1"), "apps/c.yaml": configMap("c", "1"),
					"apps/d.yaml": configMap("d", "1")}, "configmaps")
				w.driftMode(mode)
				expect(t, w.reconcile(), "True/Applied")
				w.write("a", "live", "kubectl-edit")
				w.write("d", "live", "kubectl-edit")
				if err := w.env.Client.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "b"}}); err != nil {
					t.Fatal(err)
				}
				var c corev1.ConfigMap
				w.get("c", &c)
				c.Data = nil
				if err := w.env.Client.Update(t.Context(), &c, client.FieldOwner("kubectl-edit")); err != nil {
					t.Fatal(err)
				}
				w.restart()
				w.commit(map[string]string{"apps/e.yaml": configMap("e", "1"), "apps/d.yaml": configMap("d", "2")})
				s := w.reconcile()
				expect(t, s, "True/Applied")
				w.get("c", &c)
				if value(w, "a") != "live" || w.exists("b", &corev1.ConfigMap{}) || c.Data != nil {
					t.Errorf("a commit of other objects: a is %q, b is there: %v, c is %v", value(w, "a"), w.exists("b", &corev1.ConfigMap{}), c.Data)
				}
				if value(w, "d") != "2" || value(w, "e") != "1" {
					t.Errorf("what the commit changes: d is %q, e is %q", value(w, "d"), value(w, "e"))
				}
				if s.Status.Drift == nil || s.Status.Drift.Drifted != 3 {
					t.Errorf("status.drift is %+v", s.Status.Drift)
				}
			})
		}
	}
}

// TestG08_ACommitLeavesMoreDriftThanIsReported: status.drift names 32 objects.
func TestG08_ACommitLeavesMoreDriftThanIsReported(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"apps/other.yaml": configMap("other", "1")}
	const count = maxDrifted + 4
	for i := range count {
		files[fmt.Sprintf("apps/%d.yaml", i)] = configMap(fmt.Sprintf("c%d", i), "1")
	}
	w.start(v1alpha1.PruneDisabled, files, "configmaps")
	w.driftMode(v1alpha1.DriftDetect)
	expect(t, w.reconcile(), "True/Applied")
	for i := range count {
		w.write(fmt.Sprintf("c%d", i), "live", "kubectl-edit")
	}
	w.now = w.now.Add(48 * time.Hour)
	w.reconcile()
	w.seen.take()
	w.commit(map[string]string{"apps/other.yaml": configMap("other", "2")})
	s := w.reconcile()
	if got := strings.Join(w.seen.writes(), ", "); got != "PATCH other" || s.Status.Drift.Drifted != count {
		t.Errorf("writes %s, %d drifted", got, s.Status.Drift.Drifted)
	}
}

// TestG08_WhatWasGivenUpIsTakenBack: a bundle that was half applied and then reverted leaves nothing behind, in every mode.
func TestG08_WhatWasGivenUpIsTakenBack(t *testing.T) {
	for _, mode := range []v1alpha1.DriftMode{v1alpha1.DriftCorrect, v1alpha1.DriftDetect} {
		for _, back := range []string{"the same bundle", "another one"} {
			t.Run(fmt.Sprintf("%s, %s", mode, back), func(t *testing.T) {
				w := newWorld(t)
				w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
				w.driftMode(mode)
				expect(t, w.reconcile(), "True/Applied")
				w.commit(map[string]string{"apps/a.yaml": configMap("a", "2"), "apps/b.yaml": configMap("b", "2")})
				forever := -1
				w.seen.answer = refuse("b", 403, &forever)
				expect(t, w.reconcile(), "False/ApplyFailed")
				if value(w, "a") != "2" {
					t.Fatal("nothing was applied")
				}
				w.seen.answer = nil
				files := map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}
				if back == "another one" {
					files["apps/b.yaml"] = configMap("b", "3")
				}
				w.commit(files)
				expect(t, w.reconcile(), "True/Applied")
				if value(w, "a") != "1" {
					t.Errorf("a is %q after the revert", value(w, "a"))
				}
			})
		}
	}
}
