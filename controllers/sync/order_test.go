package sync

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func after(name string, on string) string {
	return strings.Replace(configMap(name, "1"), "{name: "+name+"}", "{name: "+name+", annotations: {config.kubernetes.io/depends-on: \""+on+"\"}}", 1)
}

func TestG42_ObjectsWaitForThoseTheyDependOn(t *testing.T) {
	w := newWorld(t)
	here := func(kind, name string) string { return "/namespaces/" + w.env.Namespace + "/" + kind + "/" + name }
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/a.yaml": after("a", here("ConfigMap", "z")), "apps/z.yaml": configMap("z", "1"),
		"apps/b.yaml":    after("b", here("PersistentVolumeClaim", "disk")),
		"apps/disk.yaml": "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}\n",
	}, "configmaps", "persistentvolumeclaims")
	s := w.reconcile()
	expect(t, s, "False/Progressing", "ConfigMap "+w.env.Namespace+"/a (apps/a.yaml) waits for ConfigMap "+w.env.Namespace+"/z")
	s = w.reconcile()
	expect(t, s, "False/Progressing", "ConfigMap "+w.env.Namespace+"/b (apps/b.yaml) waits for PersistentVolumeClaim "+w.env.Namespace+"/disk")
	if !w.exists("a", &corev1.ConfigMap{}) || w.exists("b", &corev1.ConfigMap{}) {
		t.Error("what need not wait was not applied, or what must was")
	}
	var disk corev1.PersistentVolumeClaim
	w.get("disk", &disk)
	disk.Status.Phase = corev1.ClaimBound
	if err := w.env.Client.Status().Update(t.Context(), &disk); err != nil {
		t.Fatal(err)
	}
	if expect(t, w.reconcile(), "True/Applied"); !w.exists("b", &corev1.ConfigMap{}) {
		t.Error("b was not applied")
	}
}

func TestG42_ABadOrderIsRefused(t *testing.T) {
	depends := func(of, on string) *Item {
		i := item(t, strings.Replace(cm, "{name: a, namespace: shop}", "{name: "+of+", namespace: shop, annotations: {config.kubernetes.io/depends-on: \""+on+"\"}}", 1))
		return i
	}
	for name, test := range map[string]struct {
		items []*Item
		says  string
	}{
		"circle":    {[]*Item{depends("a", "/namespaces/shop/ConfigMap/b"), depends("b", "/namespaces/shop/ConfigMap/a")}, "is a circle: ConfigMap shop/a → ConfigMap shop/b → ConfigMap shop/a"},
		"elsewhere": {[]*Item{depends("a", "apps/namespaces/shop/Deployment/web")}, "Deployment.apps shop/web is not in this bundle"},
		"form":      {[]*Item{depends("a", "Deployment/web")}, `"Deployment/web" is neither`},
		"good":      {[]*Item{depends("a", "/Namespace/new"), item(t, space)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var w warnings
			checkOrder(test.items, &w)
			got := ""
			if f := test.items[0].Fault; f != nil {
				got = f.Message
			}
			if test.says == "" && got != "" || !strings.Contains(got, test.says) {
				t.Errorf("fault %q, want %q", got, test.says)
			}
		})
	}
}
