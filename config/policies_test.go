package config

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/controllers/rollout"
)

// as reads an object into its type.
func as[T any](t *testing.T, o *unstructured.Unstructured) T {
	t.Helper()
	var out T
	text, err := yaml.Marshal(o.Object)
	if err == nil {
		err = yaml.UnmarshalStrict(text, &out)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return out
}

// What the manager is told to look at, it may list, and nothing else is given.
func TestPoliciesThatAreLookedAtMayBeListed(t *testing.T) {
	var flags, rights []string
	for _, o := range build(t, "testdata/with-policies") {
		switch {
		case o.GetKind() == "Deployment":
			for _, arg := range as[appsv1.Deployment](t, o).Spec.Template.Spec.Containers[0].Args {
				if list, ok := strings.CutPrefix(arg, "--route-policies="); ok {
					flags = strings.Split(list, ",")
					if _, err := rollout.ParsePolicies(list); err != nil {
						t.Error(err)
					}
				}
			}
		case o.GetKind() == "ClusterRole" && o.GetName() == "belay-route-policies":
			for _, rule := range as[rbacv1.ClusterRole](t, o).Rules {
				if !slices.Equal(rule.Verbs, []string{"list"}) || len(rule.APIGroups) != 1 {
					t.Errorf("%+v: want list alone, of one group", rule)
				}
				for _, resource := range rule.Resources {
					rights = append(rights, resource+"."+rule.APIGroups[0])
				}
			}
		}
	}
	slices.Sort(flags)
	slices.Sort(rights)
	if len(flags) == 0 || !slices.Equal(flags, rights) {
		t.Errorf("looked at: %v; may be listed: %v", flags, rights)
	}
}
