package sync

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestG41_WhatIsAppliedIsKeptWithGitDown: as long as the process lives, what it has fetched is enough.
func TestG41_WhatIsAppliedIsKeptWithGitDown(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	expect(t, w.reconcile(), "True/Applied")
	w.git.RequireBasicAuth("nobody", "knows")
	var cm corev1.ConfigMap
	w.get("a", &cm)
	cm.Data["key"] = "by hand"
	if err := w.env.Client.Update(t.Context(), &cm); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(48 * time.Hour)
	if expect(t, w.reconcile(), "True/Applied"); value(w, "a") != "1" {
		t.Errorf("a = %q", value(w, "a"))
	}
}
