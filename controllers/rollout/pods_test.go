package rollout

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

func TestKeepApart(t *testing.T) {
	own := corev1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}}
	for name, affinity := range map[string]*corev1.Affinity{
		"none":        nil,
		"empty":       {},
		"node":        {NodeAffinity: &corev1.NodeAffinity{}},
		"user's term": {PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{own}}},
		"both": {PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{own},
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: own}}}},
	} {
		before := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Affinity: affinity}}
		for _, spread := range []v1alpha1.Spread{"", v1alpha1.SpreadOff, v1alpha1.SpreadPreferred, v1alpha1.SpreadRequired} {
			got := before.DeepCopy()
			keepApart(got, spread, map[string]string{"app": "a"}, "r1")
			changed := !equality.Semantic.DeepEqual(before, got)
			if want := spread == v1alpha1.SpreadPreferred || spread == v1alpha1.SpreadRequired; changed != want {
				t.Errorf("%s, %s: changed %t", name, spread, changed)
			}
			if together(got); name != "empty" && !equality.Semantic.DeepEqual(before, got) {
				t.Errorf("%s, %s: %s", name, spread, cmp.Diff(before, got))
			}
			if spread == v1alpha1.SpreadOff && !equality.Semantic.DeepEqual(before, got) {
				t.Errorf("%s: a template without our term was changed: %s", name, cmp.Diff(before, got))
			}
		}
	}
	required := &corev1.PodTemplateSpec{}
	keepApart(required, v1alpha1.SpreadRequired, map[string]string{"app": "a"}, "r1")
	term := required.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
	selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"r1": false, "r2": true, "": false} {
		set := map[string]string{"app": "a"}
		if text != "" {
			set[v1alpha1.LabelRevision] = text
		}
		if got := selector.Matches(labelSet(set)); got != want {
			t.Errorf("revision %q is kept away from: %t", text, got)
		}
	}
}

type labelSet map[string]string

func (s labelSet) Has(key string) bool              { _, has := s[key]; return has }
func (s labelSet) Get(key string) string            { return s[key] }
func (s labelSet) Lookup(key string) (string, bool) { v, has := s[key]; return v, has }

func TestDressing(t *testing.T) {
	canary := v1alpha1.PodMetadata{Labels: map[string]v1alpha1.LabelValue{"track": "canary", "tier": "trial"}, Annotations: map[string]v1alpha1.AnnotationValue{"sampling": "1.0"}}
	stable := v1alpha1.PodMetadata{Labels: map[string]v1alpha1.LabelValue{"track": "stable"}}
	template := metav1.ObjectMeta{Labels: map[string]string{"tier": "web"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", ResourceVersion: "7", Annotations: map[string]string{v1alpha1.AnnotationRoleMetadata: planner.DressOf(canary)}}}
	patch, err := dressing(pod, template, stable)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(patch, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"metadata": map[string]any{"resourceVersion": "7", "labels": map[string]any{"track": "stable", "tier": "web"},
		"annotations": map[string]any{"sampling": nil, v1alpha1.AnnotationRoleMetadata: `{"labels":{"track":"stable"}}`}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	pod.Annotations[v1alpha1.AnnotationRoleMetadata] = "nonsense"
	if patch, err = dressing(pod, template, v1alpha1.PodMetadata{}); err != nil || string(patch) != `{"metadata":{"annotations":{"belay.dev/role-metadata":null},"labels":{},"resourceVersion":"7"}}` {
		t.Errorf("%s, %v", patch, err)
	}
}
