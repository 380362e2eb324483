package revert

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestG10_ABaseThatIsAppliedItselfIsNotTouched: staging is the base, prod an overlay of it. What takes prod back by an edit of the base
// would take staging back too, so it is for people. Without anybody who applies the base, it is only what prod is made of.
func TestG10_ABaseThatIsAppliedItselfIsNotTouched(t *testing.T) {
	files := func(image string) map[string]string {
		return map[string]string{
			"base/rollout.yaml": manifest(image), "base/kustomization.yaml": "resources: [rollout.yaml]\n",
			"apps/checkout/kustomization.yaml": "resources: [../../base]\ncommonAnnotations: {a: b}\n",
		}
	}
	staging := func(w *world, namespace, url, branch, path string) {
		repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "repo"}}
		repo.Spec.URL, repo.Spec.Ref.Branch = url, branch
		sync := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "staging"}}
		sync.Spec.Repository, sync.Spec.Path, sync.Spec.ServiceAccountName = "repo", path, "deployer"
		if err := w.env.Client.Create(t.Context(), repo); err != nil {
			t.Fatal(err)
		}
		if err := w.env.Client.Create(t.Context(), sync); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		others func(*world)
		want   v1alpha1.RevertState
	}{
		"nobody":                   {func(*world) {}, v1alpha1.RevertPushed},
		"prod itself":              {func(w *world) { staging(w, w.env.Namespace, w.git.URL("fleet"), "main", "./apps/checkout/") }, v1alpha1.RevertPushed},
		"a Sync of this namespace": {func(w *world) { staging(w, w.env.Namespace, w.git.URL("fleet"), "main", "base") }, v1alpha1.RevertConflict},
		"of another repository":    {func(w *world) { staging(w, w.env.Namespace, w.git.URL("other"), "main", "base") }, v1alpha1.RevertPushed},
		"a Sync of another namespace": {func(w *world) {
			elsewhere := w.env.Namespace + "-delivery"
			if err := w.env.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: elsewhere}}); err != nil {
				t.Fatal(err)
			}
			staging(w, elsewhere, strings.TrimSuffix(w.git.URL("fleet"), ".git"), "main", "base")
		}, v1alpha1.RevertConflict},
		"of another branch": {func(w *world) { staging(w, w.env.Namespace, w.git.URL("fleet"), "next", "base") }, v1alpha1.RevertPushed},
		"a Rollout": {func(w *world) {
			r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "staging"}}
			r.Spec = w.read().Spec
			r.Spec.OnFailure.Revert = &v1alpha1.Revert{Repository: "fleet", Path: "base/"}
			if err := w.env.Client.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}, v1alpha1.RevertConflict},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.git.Commit("fleet", "main", "good", files("checkout:1"))
			w.git.Commit("fleet", "main", "bad", files("checkout:2"))
			w.repository(nil)
			w.pending("checkout:2", "checkout:1")
			test.others(w)
			r, _ := w.reconcile()
			fragment := "folder base, which shares a file"
			if test.want == v1alpha1.RevertPushed {
				fragment = "takes revision"
			}
			expect(t, r, test.want, map[bool]metav1.ConditionStatus{true: "True", false: "False"}[test.want == v1alpha1.RevertPushed], fragment)
			if base := w.git.File("fleet", "main", "base/rollout.yaml"); test.want != v1alpha1.RevertPushed && base != manifest("checkout:2") {
				t.Errorf("the base was changed:\n%s", base)
			}
		})
	}
}
