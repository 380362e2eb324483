package sync

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestG45_WhatAnotherToolKeepsIsNotTakenByAccident(t *testing.T) {
	w := newWorld(t)
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "a", Labels: map[string]string{"kustomize.toolkit.fluxcd.io/name": "fleet"}}, Data: map[string]string{"key": "0"}}
	w.create(kept)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	s := w.reconcile()
	expect(t, s, "False/Denied", `the Flux Kustomization "fleet" keeps it`, "set checks.otherTools to Warn")
	w.nothing(s)
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Checks.OtherTools = v1alpha1.CheckWarn })
	s = w.reconcile()
	expect(t, s, "True/Applied")
	if !hasWarning(s, `the Flux Kustomization "fleet" keeps it`) || value(w, "a") != "1" {
		t.Errorf("a = %q, warnings %q", value(w, "a"), s.Status.Warnings)
	}
}

func TestKeeper(t *testing.T) {
	for text, want := range map[string]string{
		"{kind: A, apiVersion: v1, metadata: {name: a}}":                                                                                    "",
		"{kind: A, apiVersion: v1, metadata: {name: a, labels: {belay.dev/sync: other}}}":                                                   "",
		"{kind: A, apiVersion: v1, metadata: {name: a, labels: {helm.toolkit.fluxcd.io/name: x}}}":                                          `the Flux HelmRelease "x"`,
		"{kind: A, apiVersion: v1, metadata: {name: a, annotations: {argocd.argoproj.io/tracking-id: 'x:apps/Deployment:n/a'}}}":            `the Argo CD application "x:apps/Deployment:n/a"`,
		"{kind: A, apiVersion: v1, metadata: {name: a, annotations: {meta.helm.sh/release-name: r}}}":                                       `the Helm release "r"`,
		"{kind: A, apiVersion: v1, metadata: {name: a, labels: {app.kubernetes.io/managed-by: Helm}}}":                                      "",
		"{kind: A, apiVersion: v1, metadata: {name: a, annotations: {configmanagement.gke.io/managed: enabled}, labels: {app: something}}}": `Config Sync "enabled"`,
	} {
		if got := keeper(object(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if keeper(nil) != "" {
		t.Error("an object that is not there is kept")
	}
}
