package sync

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
)

func TestWhoseAnObjectIs(t *testing.T) {
	key := client.ObjectKey{Namespace: "team-a", Name: "app"}
	for labels, want := range map[string]bool{
		"":                        false,
		"belay.dev/sync: app":     true,
		"belay.dev/sync: another": false,
		"belay.dev/sync: app, belay.dev/sync-namespace: team-a":     true,
		"belay.dev/sync: app, belay.dev/sync-namespace: team-b":     false,
		"belay.dev/sync: app, belay.dev/sync-namespace: \"\"":       false,
		"belay.dev/sync: another, belay.dev/sync-namespace: team-a": false,
		"belay.dev/sync-namespace: team-a":                          false,
	} {
		u := object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {"+labels+"}}}")
		if got := belongs(u, key); got != want {
			t.Errorf("{%s} belongs to %s: %v, want %v", labels, key, got, want)
		}
	}
}

// twin is a Sync of the world's Sync's name in another namespace. It brings objects of the world's namespace.
func (w *world) twin() client.ObjectKey {
	w.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	w.create(ns)
	w.Cleanup(func() { _ = w.env.Client.Delete(context.Background(), ns) })
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, GenerateName: "r-"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns.Name, Name: "deployer"}}}
	w.create(binding)
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = w.git.URL("fleet"), "main"
	w.create(repo)
	key := client.ObjectKey{Namespace: ns.Name, Name: "shop"}
	sync := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	sync.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "twin", ServiceAccountName: "deployer", Prune: v1alpha1.PruneEnabled}
	w.create(sync)
	w.Cleanup(func() {
		var left v1alpha1.Sync
		if w.env.Client.Get(context.Background(), key, &left) == nil {
			left.Finalizers = nil
			_ = w.env.Client.Update(context.Background(), &left)
		}
	})
	return key
}

// reconcileTwin has the twin apply the head; the API server may learn of its rights a moment later.
func (w *world) reconcileTwin(key client.ObjectKey) {
	w.Helper()
	var repo v1alpha1.Repository
	if err := w.env.Client.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "fleet"}, &repo); err != nil {
		w.Fatal(err)
	}
	base := repo.DeepCopy()
	repo.Status.Commit = w.git.Head("fleet", "main")
	if err := w.env.Client.Status().Patch(w.Context(), &repo, client.MergeFrom(base)); err != nil {
		w.Fatal(err)
	}
	var message string
	if err := wait.ExponentialBackoffWithContext(w.Context(), wait.Backoff{Steps: 8, Duration: 50e6, Factor: 2}, func(ctx context.Context) (bool, error) {
		if _, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: key}); err != nil {
			return false, nil
		}
		var sync v1alpha1.Sync
		err := w.env.Client.Get(ctx, key, &sync)
		var got string
		got, message = reasonAndMessage(&sync)
		return got == "True/Applied", err
	}); err != nil {
		w.Fatalf("the twin is not applied: %v: %s", err, message)
	}
}

// strip takes the namespace of the Sync from an object, as an earlier Belay would have written it.
func (w *world) strip(names ...string) {
	w.Helper()
	for _, name := range names {
		var cm corev1.ConfigMap
		w.get(name, &cm)
		delete(cm.Labels, v1alpha1.LabelSyncNamespace)
		if err := w.env.Client.Update(w.Context(), &cm, client.FieldOwner(FieldManager)); err != nil {
			w.Fatal(err)
		}
	}
}

func TestPruneLeavesWhatASyncOfTheSameNameBrought(t *testing.T) {
	w := newWorld(t)
	shared := func(name string) string {
		return strings.Replace(configMap(name, "1"), "{name: "+name+"}", "{name: "+name+", namespace: "+w.env.Namespace+"}", 1)
	}
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/a.yaml": configMap("a", "1"), "apps/both.yaml": shared("both"), "apps/old.yaml": shared("old"), "apps/moved.yaml": shared("moved"),
		"apps/last.yaml": shared("last"), "apps/gone.yaml": configMap("gone", "1"),
		"twin/both.yaml": shared("both"), "twin/old.yaml": shared("old"), "twin/last.yaml": shared("last"),
	}, "configmaps")
	twin := w.twin()
	w.reconcile()
	w.reconcileTwin(twin)
	var cm corev1.ConfigMap
	w.get("both", &cm)
	if got := cm.Labels[v1alpha1.LabelSyncNamespace]; got != twin.Namespace {
		t.Fatalf("label %s is %q after the twin has applied, want %q", v1alpha1.LabelSyncNamespace, got, twin.Namespace)
	}
	w.get("moved", &cm)
	uid := cm.UID
	w.strip("old", "gone", "last")

	w.commit(map[string]string{"apps/both.yaml": "", "apps/old.yaml": "", "apps/gone.yaml": "", "apps/moved.yaml": "", "twin/moved.yaml": shared("moved")})
	w.reconcileTwin(twin)
	w.strip("old", "last")
	expect(t, w.reconcile(), "True/Applied")
	for name, want := range map[string]bool{"a": true, "both": true, "old": true, "gone": false, "moved": true, "last": true} {
		if got := w.exists(name, &corev1.ConfigMap{}); got != want {
			t.Errorf("ConfigMap %s is there: %v, want %v", name, got, want)
		}
	}
	if w.get("moved", &cm); cm.UID != uid {
		t.Error("moving an object to a Sync of the same name made another one of it")
	}

	w.strip("last")
	var sync v1alpha1.Sync
	w.get("shop", &sync)
	if err := w.env.Client.Delete(t.Context(), &sync); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(); err != nil {
		t.Fatal(err)
	}
	if w.exists("a", &corev1.ConfigMap{}) || !w.exists("last", &corev1.ConfigMap{}) || !w.exists("both", &corev1.ConfigMap{}) {
		t.Error("deleting a Sync removes what is its own, and nothing that a Sync of the same name has brought")
	}
}

func TestAManagerThatDoesNotSeeAllSyncsLeavesWhatNamesNoNamespace(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/old.yaml": configMap("old", "1")}, "configmaps")
	w.reconcile()
	w.r.Drift = &drift.Tracker{Namespaces: []string{w.env.Namespace}}
	w.strip("old")
	w.told()
	w.commit(map[string]string{"apps/old.yaml": ""})
	expect(t, w.reconcile(), "True/Applied")
	if !w.exists("old", &corev1.ConfigMap{}) || !strings.Contains(strings.Join(w.told(), "\n"), ReasonLeft) {
		t.Error("it was removed, or nobody was told that it is left")
	}
}

// What an earlier Belay has applied is marked with the first comparison, in every mode, and that is no drift.
func TestObjectsOfAnEarlierBelayAreMarked(t *testing.T) {
	for _, mode := range []v1alpha1.DriftMode{v1alpha1.DriftCorrect, v1alpha1.DriftDetect, v1alpha1.DriftRequireApproval} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/edited.yaml": configMap("edited", "1")}, "configmaps")
			w.driftMode(mode)
			w.reconcile()
			w.strip("a", "edited")
			var cm corev1.ConfigMap
			w.get("edited", &cm)
			cm.Data["key"] = "live"
			if err := w.env.Client.Update(t.Context(), &cm, client.FieldOwner("kubectl-edit")); err != nil {
				t.Fatal(err)
			}
			w.r.checked.Clear() // as after the start of the new version
			s := w.reconcile()
			expect(t, s, "True/Applied")
			w.get("a", &cm)
			if got := cm.Labels[v1alpha1.LabelSyncNamespace]; got != w.env.Namespace {
				t.Errorf("label %s is %q, want %q", v1alpha1.LabelSyncNamespace, got, w.env.Namespace)
			}
			for _, o := range s.Status.Drift.Objects {
				if o.Name != "edited" || len(o.Fields) != 1 || o.Fields[0].Path != ".data.key" {
					t.Errorf("drift %+v", o)
				}
			}
			if got, want := value(w, "edited"), map[bool]string{true: "1", false: "live"}[mode == v1alpha1.DriftCorrect]; got != want {
				t.Errorf("the edited value is %q, want %q", got, want)
			}
		})
	}
}
