package sync

import (
	"context"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// fixed is a ConfigMap that cannot be changed; more goes into its metadata.
func fixed(value, more string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a" + more + "}\nimmutable: true\ndata: {key: \"" + value + "\"}\n"
}

const (
	allowed = ", annotations: {belay.dev/recreate: Allowed}"
)

func TestG10_WhatCannotBeChangedIsMadeAgainOnlyWithConsent(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": fixed("1", ""), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	w.reconcile()
	var before corev1.ConfigMap
	w.get("a", &before)
	w.commit(map[string]string{"apps/a.yaml": fixed("2", ""), "apps/b.yaml": configMap("b", "2")})
	s := w.reconcile()
	expect(t, s, "False/Denied", "data cannot be changed in place", "risk High: it is deleted and made again", "the annotation belay.dev/recreate: Allowed in Git allows that")
	if value(w, "b") != "1" {
		t.Error("b was changed")
	}
	w.commit(map[string]string{"apps/a.yaml": fixed("2", ", annotations: {belay.dev/recreate: \"yes\"}")})
	expect(t, w.reconcile(), "False/Denied", `annotation belay.dev/recreate is "yes", but to delete it and make it again takes Allowed`)
	w.commit(map[string]string{"apps/a.yaml": fixed("2", allowed)})
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Gates.Approvals = &v1alpha1.ApprovalsGate{Required: 1, WhenRisk: v1alpha1.RiskHigh}
	})
	s = w.reconcile()
	expect(t, s, "False/Waiting")
	if p := s.Status.Plan; p.Recreate != 1 || p.Risk != v1alpha1.RiskHigh || p.Actions[0].Action != actionRecreate || !strings.Contains(strings.Join(p.Actions[0].Reasons, " "), "data cannot be changed in place") {
		t.Errorf("plan %+v", p)
	}
	w.seen.take()
	w.decide(v1alpha1.ActionApprove, "ann", s.Status.Plan.Digest)
	s = w.reconcile()
	expect(t, s, "True/Applied")
	var after corev1.ConfigMap
	if w.get("a", &after); after.UID == before.UID || after.Data["key"] != "2" || value(w, "b") != "2" {
		t.Errorf("a is %s with %v, was %s", after.UID, after.Data, before.UID)
	}
	if got := strings.Join(w.seen.writes(), ", "); got != "DELETE a, DELETE a, PATCH a, PATCH b" { // the first is a dry run, as its body says
		t.Errorf("writes %s", got)
	}
	w.now = w.now.Add(48 * 60 * 60 * 1e9)
	if w.reconcile(); len(w.seen.writes()) != 0 {
		t.Error("at rest: it writes")
	}
}

// TestG42_CutOffBetweenDeleteAndCreate: what was deleted to be made again is made by the next process.
func TestG42_CutOffBetweenDeleteAndCreate(t *testing.T) {
	w := newWorld(t)
	w.shelf()
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": fixed("1", "")}, "configmaps")
	w.reconcile()
	w.commit(map[string]string{"apps/a.yaml": fixed("2", allowed)})
	ctx, cancel := context.WithCancel(t.Context())
	w.seen.before = cancelAt("PATCH", "a", cancel)
	if _, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: w.key("shop")}); err == nil {
		t.Fatal("it was not cut off")
	}
	w.seen.before = nil
	if w.exists("a", &corev1.ConfigMap{}) {
		t.Fatal("a is there: it was cut off too early or too late")
	}
	w.restart()
	s := w.reconcile()
	if expect(t, s, "True/Applied"); value(w, "a") != "2" {
		t.Errorf("a = %q", value(w, "a"))
	}
	if names := inventory(s); len(names) != 1 || names[0] != "ConfigMap a" {
		t.Errorf("inventory %v", names)
	}
}

func TestG10_NothingIsDeletedThatCouldNotBeMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.grant("deployer", []string{"get", "create", "patch"}, "configmaps")
	job := func(more, image, restart string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j" + more + "}\nspec: {template: {spec: {restartPolicy: " + restart + ", containers: [{name: c, image: " + image + "}]}}}\n"
	}
	claim := func(more, class string) string {
		return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p" + more + "}\nspec: {accessModes: [ReadWriteOnce], storageClassName: " + class + ", resources: {requests: {storage: 1Gi}}}\n"
	}
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/j.yaml": job("", "one", "Never"), "apps/p.yaml": claim("", "one")}, "jobs.batch", "persistentvolumeclaims")
	expect(t, w.reconcile(), "True/Applied")
	w.commit(map[string]string{"apps/p.yaml": claim(allowed, "two")})
	expect(t, w.reconcile(), "False/Denied", "takes AllowedWithDataLoss", "its data may go with it")
	w.commit(map[string]string{"apps/p.yaml": claim("", "one"), "apps/j.yaml": job(allowed, "two", "Always")})
	expect(t, w.reconcile(), "False/Denied", "the new one would be refused", "restartPolicy")
	w.commit(map[string]string{"apps/j.yaml": job(allowed, "two", "Never")})
	expect(t, w.reconcile(), "True/Applied")
	var made batchv1.Job
	if w.get("j", &made); made.Spec.Template.Spec.Containers[0].Image != "two" {
		t.Errorf("image %s", made.Spec.Template.Spec.Containers[0].Image)
	}
	// Without the right to delete.
	w.edit(func(s *v1alpha1.Sync) { s.Spec.ServiceAccountName = "writer" })
	w.grant("writer", []string{"get", "create", "patch"}, "jobs.batch", "persistentvolumeclaims")
	w.commit(map[string]string{"apps/j.yaml": job(allowed, "three", "Never")})
	expect(t, w.reconcile(), "False/Denied", "deleting it would be refused", "cannot delete")
}

// TestG10_StatefulSetKeepsItsPods: they are left to the new one, which takes them over.
func TestG10_StatefulSetKeepsItsPods(t *testing.T) {
	w := newWorld(t)
	set := func(size string) string {
		return `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db` + allowed + `}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /data}]}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: ` + size + `}}}}]
`
	}
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/db.yaml": set("1Gi")}, "statefulsets.apps")
	expect(t, w.reconcile(), "True/Applied")
	var pod, after corev1.Pod
	w.until(func() bool { return w.exists("db-0", &pod) })
	w.commit(map[string]string{"apps/db.yaml": set("2Gi")})
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if reasons := strings.Join(s.Status.Plan.Actions[0].Reasons, " "); !strings.Contains(reasons, "its pods stay and are taken over") {
		t.Errorf("reasons %s", reasons)
	}
	var now appsv1.StatefulSet
	w.get("db", &now)
	w.until(func() bool { w.get("db-0", &after); return metav1.IsControlledBy(&after, &now) })
	if after.UID != pod.UID {
		t.Error("the pod was replaced")
	}
}

func TestFrozenFields(t *testing.T) {
	invalid := func(errs ...*field.Error) error {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "X"}, "x", errs)
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a field":            {invalid(field.Invalid(field.NewPath("spec", "selector"), "secret", "field is immutable")), "spec.selector"},
		"a service":          {invalid(field.Invalid(field.NewPath("spec", "clusterIPs").Index(0), "10.0.0.1", "may not change once set")), "spec.clusterIPs[0]"},
		"a stateful set":     {invalid(field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas' are forbidden")), "spec"},
		"a binding":          {invalid(field.Invalid(field.NewPath("roleRef"), "r", "cannot change roleRef")), "roleRef"},
		"a claim":            {invalid(field.Forbidden(field.NewPath("spec"), "spec is immutable after creation except resources.requests")), "spec"},
		"two, one otherwise": {invalid(field.Invalid(field.NewPath("a"), 1, "field is immutable"), field.Required(field.NewPath("b"), "")), "a"},
		"plainly wrong":      {invalid(field.Required(field.NewPath("spec", "name"), "")), ""},
		"not allowed":        {apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("field is immutable")), ""},
		"no answer":          {errors.New("field is immutable"), ""},
	} {
		if got := frozenFields(test.err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestLosesData(t *testing.T) {
	for entry, want := range map[v1alpha1.InventoryEntry]bool{
		{Kind: "PersistentVolumeClaim"}: true, {Kind: "PersistentVolume"}: true, {Kind: "Namespace"}: true,
		{Group: groupCRD, Kind: kindCRD}: true, {Group: "postgresql.cnpg.io", Kind: "Cluster"}: true,
		{Kind: "ConfigMap"}: false, {Group: "apps", Kind: "StatefulSet"}: false, {Group: "batch", Kind: "Job"}: false, {Kind: "Service"}: false,
	} {
		if got := losesData(entry) != ""; got != want {
			t.Errorf("%v: %v", entry, got)
		}
	}
}
