package sync

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestG42_WhatNeedsAFailedObjectIsLeftOut(t *testing.T) {
	uses := "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {spec: {containers: [{name: c, envFrom: [{configMapRef: {name: a}}]}]}}}}"
	for name, test := range map[string]struct {
		failed, item string
		want         bool
	}{
		"a kind without its definition":      {crd, widget, true},
		"an object without its namespace":    {space, inSpace, true},
		"a workload without its settings":    {cm, uses, true},
		"something else":                     {cm, "{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: shop}}", false},
		"a namesake in another namespace":    {strings.Replace(cm, "shop", "other", 1), uses, false},
		"a namespace does not need its like": {space, "{apiVersion: v1, kind: Namespace, metadata: {name: more}}", false},
	} {
		t.Run(name, func(t *testing.T) {
			var w wreck
			w.lost(item(t, test.failed), "failed", errors.New("no"))
			if got := w.why(item(t, test.item)); (got != "") != test.want {
				t.Errorf("needs %q", got)
			}
		})
	}
	var w wreck
	if w.failure() != nil {
		t.Error("a round without a failure fails")
	}
	for i := range 8 {
		w.lost(item(t, cm), fmt.Sprint("f", i), errors.New("no"))
	}
	if got := w.failure().Error(); got != "f0; f1; f2; f3; f4; and 3 more" {
		t.Errorf("failure %q", got)
	}
}

// refuse answers writes of an object that are no dry runs with a status.
func refuse(object string, code int, times *int) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		if r.Method != http.MethodPatch || r.URL.Query().Get("dryRun") != "" || !strings.HasSuffix(r.URL.Path, "/"+object) || *times == 0 {
			return nil
		}
		*times--
		reason := map[int]string{403: "Forbidden", 503: "ServiceUnavailable"}[code]
		body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"refused by the test"}`, reason, code)
		return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)), Request: r}
	}
}

func TestG42_OneFailureHoldsUpOnlyWhatNeedsItAndLeavesNoOrphan(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/a.yaml": configMap("a", "1"), "apps/settings.yaml": configMap("settings", "1"), "apps/z.yaml": configMap("z", "1"),
		"apps/web.yaml": deploy("web", "i", usesConfig),
	}, "configmaps", "deployments.apps")
	forever := -1
	w.seen.answer = refuse("settings", 403, &forever)
	s := w.reconcile()
	expect(t, s, "False/ApplyFailed", "applying ConfigMap "+w.env.Namespace+"/settings (apps/settings.yaml): refused by the test",
		"Deployment.apps "+w.env.Namespace+"/web (apps/web.yaml) was left out: it needs ConfigMap "+w.env.Namespace+"/settings")
	if !w.exists("a", &corev1.ConfigMap{}) || !w.exists("z", &corev1.ConfigMap{}) || w.exists("web", &appsv1.Deployment{}) || len(s.Status.Inventory) != 4 {
		t.Errorf("inventory %v", inventory(s))
	}
	// What came of the half bundle, and then leaves Git, is not forgotten.
	w.commit(map[string]string{"apps/a.yaml": "", "apps/settings.yaml": "", "apps/web.yaml": ""})
	s = w.reconcile()
	expect(t, s, "True/Applied")
	if w.exists("a", &corev1.ConfigMap{}) || cmp.Diff([]string{"ConfigMap z"}, inventory(s)) != "" {
		t.Errorf("a is an orphan, or inventory %v", inventory(s))
	}
}

func TestG42_AWriteThatCannotBeMadeJustNowIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	twice := 2
	w.seen.answer = refuse("a", 503, &twice)
	expect(t, w.reconcile(), "True/Applied")
	if twice != 0 {
		t.Errorf("%d refusals were not asked for", twice)
	}
}
