package sync

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// foreign makes a ConfigMap as another tool would.
func (w *world) foreign(name, manager string, labels map[string]string) {
	w.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: name, Labels: labels}, Data: map[string]string{"key": "0", "password": "old"}}
	if err := w.env.Client.Create(w.Context(), cm, client.FieldOwner(manager)); err != nil {
		w.Fatal(err)
	}
}

func TestG45_WhatOthersKeepIsObserved(t *testing.T) {
	w := newWorld(t)
	helm := map[string]string{"helm.toolkit.fluxcd.io/name": "shop"}
	w.foreign("a", "kubectl-client-side-apply", nil)
	w.foreign("b", "helm-controller", helm)
	both := configMap("a", "1") + "---\n" + strings.Replace(configMap("b", "1"), "\ndata: {", "\ndata: {password: new, ", 1)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": both, "apps/c.yaml": configMap("c", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Adoption = v1alpha1.AdoptionObserve })
	s := w.reconcile()
	expect(t, s, "True/Applied", "but for what is left to others")
	if value(w, "a") != "0" || value(w, "b") != "0" || value(w, "c") != "1" {
		t.Errorf("a = %q, b = %q, c = %q", value(w, "a"), value(w, "b"), value(w, "c"))
	}
	if got := strings.Join(w.seen.writes(), ", "); got != "PATCH c" {
		t.Errorf("writes %s", got)
	}
	if names := inventory(s); len(names) != 1 || names[0] != "ConfigMap c" {
		t.Errorf("inventory %v", names)
	}
	o := s.Status.Observed
	if o == nil || o.Count != 2 || o.Objects[0].Keeper != "field manager kubectl-client-side-apply" || o.Objects[1].Keeper != `the Flux HelmRelease "shop"` {
		t.Fatalf("observed %+v", o)
	}
	if f := o.Objects[0].Fields; len(f) != 1 || f[0] != (v1alpha1.ObservedField{Path: ".data.key", Declared: "1", Live: "0"}) {
		t.Errorf("fields of a: %+v", f)
	}
	if f := o.Objects[1].Fields; len(f) != 2 || f[1] != (v1alpha1.ObservedField{Path: ".data.password", Declared: valueHidden, Live: valueHidden}) {
		t.Errorf("fields of b: %+v", f)
	}
	if told := w.told(); !slices.Contains(told, "Normal Observed") {
		t.Errorf("told %v", told)
	}
	version := s.ResourceVersion
	w.now = w.now.Add(48 * 60 * 60 * 1e9)
	if s = w.reconcile(); s.ResourceVersion != version || len(w.seen.writes()) != 0 || len(w.told()) != 0 {
		t.Error("at rest: it writes")
	}
	// One of them, by Git.
	w.commit(map[string]string{"apps/a.yaml": strings.Replace(both, "name: b}", "name: b, annotations: {belay.dev/adopt: TakeOver}}", 1)})
	s = w.reconcile()
	expect(t, s, "True/Applied")
	if value(w, "b") != "1" || value(w, "a") != "0" || s.Status.Observed.Count != 1 || !hasWarning(s, `the Flux HelmRelease "shop" keeps it`) {
		t.Errorf("a = %q, b = %q, observed %+v, warnings %v", value(w, "a"), value(w, "b"), s.Status.Observed, s.Status.Warnings)
	}
	// Out of Git, and with the Sync: what is observed is never deleted.
	w.commit(map[string]string{"apps/a.yaml": ""})
	if s = w.reconcile(); !w.exists("a", &corev1.ConfigMap{}) || w.exists("b", &corev1.ConfigMap{}) || s.Status.Observed != nil {
		t.Errorf("a exists: %v, b exists: %v, observed %+v", w.exists("a", &corev1.ConfigMap{}), w.exists("b", &corev1.ConfigMap{}), s.Status.Observed)
	}
}

func TestG45_AllIsTakenOverBySpec(t *testing.T) {
	w := newWorld(t)
	w.foreign("a", "kubectl-create", nil)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Adoption = v1alpha1.AdoptionObserve })
	if s := w.reconcile(); value(w, "a") != "0" || s.Status.Observed == nil {
		t.Fatalf("a = %q", value(w, "a"))
	}
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Adoption = v1alpha1.AdoptionTakeOver })
	s := w.reconcile()
	if expect(t, s, "True/Applied"); value(w, "a") != "1" || s.Status.Observed != nil {
		t.Errorf("a = %q, observed %+v", value(w, "a"), s.Status.Observed)
	}
	// What is ours stays ours: somebody's edit is drift, and not their object.
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Adoption = v1alpha1.AdoptionObserve })
	w.byHand("a", "by hand")
	w.now = w.now.Add(48 * 60 * 60 * 1e9)
	if s = w.reconcile(); value(w, "a") != "1" || s.Status.Observed != nil {
		t.Errorf("a = %q, observed %+v", value(w, "a"), s.Status.Observed)
	}
	w.commit(map[string]string{"apps/a.yaml": strings.Replace(configMap("a", "2"), "name: a}", "name: a, annotations: {belay.dev/adopt: yes please}}", 1)})
	expect(t, w.reconcile(), "False/Denied", `annotation belay.dev/adopt is "yes please", the only value is TakeOver`)
}

func TestG45_WhatCouldNotBeTakenOverHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	immutable := true
	w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "a"}, Immutable: &immutable, Data: map[string]string{"key": "0"}})
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Adoption = v1alpha1.AdoptionObserve })
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if o := s.Status.Observed; o == nil || !strings.Contains(o.Objects[0].Refused, "data cannot be changed in place") || value(w, "b") != "1" {
		t.Errorf("observed %+v", o)
	}
}

func TestLeft(t *testing.T) {
	cm := func(text string) *Item {
		i := item(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}")
		i.Declared = i.Desired
		if text != "" {
			i.Live = object(t, text)
		}
		return i
	}
	const others = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, managedFields: [{manager: helm, operation: Update}, {manager: status, operation: Update, subresource: status}]}}"
	ours := strings.Replace(others, "[{manager: helm, operation: Update}", "[{manager: belay-sync, operation: Apply, fieldsV1: {'f:data': {}}}", 1)
	marked := strings.Replace(others, "name: a", "name: a, labels: {belay.dev/sync: shop}", 1)
	observe := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: v1alpha1.SyncSpec{Adoption: v1alpha1.AdoptionObserve}}
	had := observe.DeepCopy()
	had.Status.Inventory = []v1alpha1.InventoryEntry{{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "a"}}
	for name, test := range map[string]struct {
		sync *v1alpha1.Sync
		item *Item
		want string
	}{
		"not asked for":                       {&v1alpha1.Sync{}, cm(others), ""},
		"not there":                           {observe, cm(""), ""},
		"somebody else's":                     {observe, cm(others), "field manager helm"},
		"ours":                                {observe, cm(ours), ""},
		"ours, and stripped":                  {had, cm(marked), ""},
		"was ours, and was made by others":    {had, cm(others), "field manager helm"},
		"carries our label, and is not known": {observe, cm(marked), "field manager helm"},
	} {
		if got := left(test.sync, test.item); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
