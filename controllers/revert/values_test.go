package revert

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
)

const valuesFile = "charts/checkout/values-prod.yaml"

// helmValues is a file of values that something else makes the Rollout of.
func helmValues(tag string) string {
	return "# prod\nimage:\n  repository: checkout\n  tag: \"" + tag + "\" # bumped by a bot\nreplicas: 2\n"
}

// failValues makes the world in which a chart's values were good, then bad, and bad has failed. Nothing in the repository renders
// to the Rollout.
func (w *world) failValues(change func(*v1alpha1.Revert)) (good, bad string) {
	w.Helper()
	good = w.git.Commit("fleet", "main", "good", map[string]string{valuesFile: helmValues("1"), "charts/checkout/Chart.yaml": "name: checkout\n"})
	bad = w.git.Commit("fleet", "main", "bad", map[string]string{valuesFile: helmValues("2")})
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	w.replicaSet("checkout:1")
	w.respec(func(spec *v1alpha1.Revert) {
		spec.Path = ""
		spec.Values = []v1alpha1.RevertValue{{File: valuesFile, Path: "image.tag", Container: "checkout", Part: v1alpha1.ImageTag}}
		if change != nil {
			change(spec)
		}
	})
	return good, bad
}

// respec changes how the Rollout is reverted.
func (w *world) respec(change func(*v1alpha1.Revert)) {
	w.Helper()
	r := w.read()
	change(r.Spec.OnFailure.Revert)
	r.Generation++ // as the API server does
	if err := w.env.Client.Update(w.Context(), r); err != nil {
		w.Fatal(err)
	}
}

// replicaSet makes what a revision runs as.
func (w *world) replicaSet(image string) {
	w.Helper()
	var declared v1alpha1.Rollout
	if err := yaml.Unmarshal([]byte(manifest(image)), &declared); err != nil {
		w.Fatal(err)
	}
	hash, yes := revisionOf(w.T, image), true
	labels := map[string]string{"app": "checkout", v1alpha1.LabelRevision: hash, v1alpha1.LabelRole: "stable"}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: v1alpha1.RevisionName("checkout", hash), Labels: labels}}
	set.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Rollout", Name: "checkout", UID: w.read().UID, Controller: &yes}}
	set.Spec = appsv1.ReplicaSetSpec{Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: declared.Spec.Template}
	set.Spec.Template.Labels = labels
	set.Spec.Template.Spec.Containers[0].ImagePullPolicy = "IfNotPresent" // a default that the API server fills in
	if err := w.env.Client.Create(w.Context(), set); err != nil {
		w.Fatal(err)
	}
}

// TestG41_HelmValuesGoBack: the value goes back on top of what came later, once, also where the answer is lost; nothing in the
// repository renders to the Rollout.
func TestG41_HelmValuesGoBack(t *testing.T) {
	w := newWorld(t)
	good, bad := w.failValues(nil)
	later := strings.Replace(strings.Replace(helmValues("2"), "replicas: 2", "replicas: 3 # more", 1), "# prod", "# production", 1)
	w.git.Commit("fleet", "main", "later", map[string]string{valuesFile: later})
	w.git.OnPush(func() { w.git.Commit("fleet", "main", "quicker", map[string]string{"x": "y"}) })
	w.git.LoseAnswers(1)
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if diff := cmp.Diff(strings.Replace(later, `"2"`, `"1"`, 1), w.git.File("fleet", "main", valuesFile)); diff != "" || w.reverts() != 1 {
		t.Errorf("commits %q (-want +got):\n%s", w.subjects(), diff)
	}
	trailers := revert.ParseTrailers(w.git.Git("fleet", "log", "-1", "--format=%B", "main"))
	if trailers[revert.TrailerOf][0] != bad || trailers[revert.TrailerRestores][0] != good {
		t.Errorf("trailers %v, want %s and %s", trailers, bad, good)
	}
	if w.git.Git("fleet", "show", "--format=", "--name-only", "main") != valuesFile+"\n" {
		t.Error("other files were changed")
	}
}

// TestG41_HelmValuesGoBackWithWhatIsRendered: the values and the output of a pipeline, in one commit.
func TestG41_HelmValuesGoBackWithWhatIsRendered(t *testing.T) {
	w := newWorld(t)
	w.git.Commit("fleet", "main", "good", map[string]string{valuesFile: helmValues("1"), file: manifest("checkout:1")})
	w.git.Commit("fleet", "main", "values", map[string]string{valuesFile: helmValues("2")})
	w.git.Commit("fleet", "main", "rendered", map[string]string{file: manifest("checkout:2")})
	w.repository(nil)
	w.pending("checkout:2", "checkout:1")
	w.respec(func(spec *v1alpha1.Revert) {
		spec.Values = []v1alpha1.RevertValue{{File: valuesFile, Path: "image.tag", Container: "checkout", Part: v1alpha1.ImageTag}}
	})
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if w.git.File("fleet", "main", valuesFile) != helmValues("1") || w.git.File("fleet", "main", file) != manifest("checkout:1") {
		t.Errorf("values:\n%s\nrendered:\n%s", w.git.File("fleet", "main", valuesFile), w.git.File("fleet", "main", file))
	}
	if w.reverts() != 1 {
		t.Errorf("commits %q", w.subjects())
	}
}

// TestG41_AWrongMappingIsSaid: before it is needed, and when it is; put right, the revert is made.
func TestG41_AWrongMappingIsSaid(t *testing.T) {
	w := newWorld(t)
	w.failValues(func(spec *v1alpha1.Revert) { spec.Values[0].Path = "image.repository" })
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "none of the newest", "is the mapping in onFailure.revert.values right?")
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse)
	w.respec(func(spec *v1alpha1.Revert) { spec.Values[0].Path = "image.tag" })
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)

	w = newWorld(t)
	w.failValues(func(spec *v1alpha1.Revert) { spec.Values[0].Path = "image.repository" })
	r = w.read()
	r.Status.Revert = nil
	w.status(r)
	w.reconcile()
	w.reconcile()
	if diff := cmp.Diff([]string{"Warning RevertValuesUnknown none"}, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.respec(func(spec *v1alpha1.Revert) { spec.Values[0].Path = "image.tag" })
	w.git.Commit("fleet", "main", "x", map[string]string{"x": "y"})
	w.seen()
	if r, _ = w.reconcile(); r.Status.Stable.Commit == "" {
		t.Error("the commit of the stable revision was not noted")
	}
}

// TestG41_ValuesMovedOnAreLeft: what another version says is not touched.
func TestG41_ValuesMovedOnAreLeft(t *testing.T) {
	w := newWorld(t)
	w.failValues(nil)
	w.git.Commit("fleet", "main", "fix", map[string]string{valuesFile: helmValues("3")})
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertNotNeeded, metav1.ConditionTrue, "are those of another revision")
	if w.reverts() != 0 {
		t.Errorf("commits %q", w.subjects())
	}
}

// TestG41_WithoutTheGoodTemplate: what good looked like is no longer known: a person must look.
func TestG41_WithoutTheGoodTemplate(t *testing.T) {
	w := newWorld(t)
	w.failValues(nil)
	if err := w.env.Client.DeleteAllOf(w.Context(), &appsv1.ReplicaSet{}, client.InNamespace(w.env.Namespace)); err != nil {
		t.Fatal(err)
	}
	r, _ := w.reconcile()
	expect(t, r, v1alpha1.RevertConflict, metav1.ConditionFalse, "its pod template is not in the cluster any more")
}
