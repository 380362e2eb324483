package gatewayapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Targets are the objects that a policy is attached to (GEP-713), by the path where it says so.
func Targets(policy *unstructured.Unstructured) map[string]map[string]any {
	out := map[string]map[string]any{}
	if target, ok, _ := unstructured.NestedMap(policy.Object, "spec", "targetRef"); ok {
		out["spec.targetRef"] = target
	}
	list, _, _ := unstructured.NestedSlice(policy.Object, "spec", "targetRefs")
	for i, item := range list {
		if target, ok := item.(map[string]any); ok {
			out[fmt.Sprintf("spec.targetRefs[%d]", i)] = target
		}
	}
	return out
}

// AttachedTo are the rules of a route that a policy is attached to by their names, sorted. A policy that is attached to the whole
// route, or to anything else, has none.
func AttachedTo(policy, route *unstructured.Unstructured) []string {
	rules := map[string]bool{}
	for _, target := range Targets(policy) {
		section, namespace := text(target, "sectionName"), cmp.Or(text(target, "namespace"), policy.GetNamespace())
		if section != "" && text(target, "group") == gatewayv1.GroupName && text(target, "kind") == route.GetKind() &&
			text(target, "name") == route.GetName() && namespace == route.GetNamespace() {
			rules[section] = true
		}
	}
	return slices.Sorted(maps.Keys(rules))
}

// Copied are the names of the rules before which the split puts a copy; rules without a name have none.
func Copied(route *unstructured.Unstructured, s Split) []string {
	var out []string
	if !s.inserts() {
		return out
	}
	for _, source := range planRoute(route, s).sources {
		if source.name != "" && len(source.refs) > 0 {
			out = append(out, source.name)
		}
	}
	return out
}
