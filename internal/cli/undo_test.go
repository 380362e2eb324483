package cli

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/revision"
)

func imageTemplate(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
}

func setOf(t *testing.T, r *v1alpha1.Rollout, image string) appsv1.ReplicaSet {
	t.Helper()
	set := appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Template: imageTemplate(image)}}
	hash, err := revision.Hash(&set.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	set.Labels = map[string]string{v1alpha1.LabelRevision: hash}
	set.Spec.Template.Labels[v1alpha1.LabelRevision], set.Spec.Template.Labels[v1alpha1.LabelRole] = hash, "stable"
	set.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(r, v1alpha1.GroupVersion.WithKind("Rollout"))}
	return set
}

func TestUndoInTheCluster(t *testing.T) {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: types.UID("u")}}
	one, two, three := setOf(t, r, "i:1"), setOf(t, r, "i:2"), setOf(t, r, "i:3")
	rev := func(set appsv1.ReplicaSet) string { return set.Labels[v1alpha1.LabelRevision] }
	r.Status.Stable = &v1alpha1.RevisionRecord{Revision: rev(three)}
	for _, record := range []struct {
		set     appsv1.ReplicaSet
		outcome v1alpha1.Outcome
	}{{three, v1alpha1.OutcomePromoted}, {two, v1alpha1.OutcomeRolledBack}, {one, v1alpha1.OutcomePromoted}} {
		r.Status.History = append(r.Status.History, v1alpha1.AttemptRecord{Revision: rev(record.set), Outcome: record.outcome})
	}
	foreign := setOf(t, &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "other", UID: types.UID("o")}}, "i:1")
	back, template, err := earlier(r, []appsv1.ReplicaSet{foreign, three, two, one})
	if err != nil || back != rev(one) || template.Spec.Containers[0].Image != "i:1" || len(template.Labels) != 1 {
		t.Errorf("%s, %+v, %v", back, template, err)
	}
	check := func(want string, sets ...appsv1.ReplicaSet) {
		t.Helper()
		if _, _, err := earlier(r, sets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check("its ReplicaSet is gone", three, foreign)
	changed := *one.DeepCopy()
	changed.Spec.Template.Spec.Containers[0].Image = "i:9"
	check("no longer holds its template", changed)
	r.Status.Quarantine = []v1alpha1.Quarantined{{Revision: rev(one)}}
	check("no revision that was promoted before", one, two, three)
	r.Status.Attempt = &v1alpha1.Attempt{Number: 4}
	if err := undoable(r); err == nil || !strings.Contains(err.Error(), "abort") {
		t.Errorf("%v", err)
	}
}

func TestUndoIsADecisionWhereGitOwnsIt(t *testing.T) {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "n"}}
	r.Status.Stable = &v1alpha1.RevisionRecord{Revision: "bbb"}
	d, err := compose(r, &decideOptions{action: v1alpha1.ActionUndo, reason: "why"})
	if err != nil || d.Spec.Action != v1alpha1.ActionUndo || d.Spec.Revision != "bbb" || d.Spec.Attempt != nil || d.Spec.Reason != "why" {
		t.Errorf("%+v, %v", d, err)
	}
}
