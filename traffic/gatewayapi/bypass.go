package gatewayapi

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Bypass says how requests reach a Service through a route that is not split, although others are; empty where none do. The
// route is one that is not among ours, the routes that are split. consumer says that it is a mesh's consumer route: what a
// namespace's own callers follow instead of the route beside the Service (GEP-1294).
func Bypass(route *unstructured.Unstructured, ours []*unstructured.Unstructured, namespace, service string) (why string, consumer bool) {
	for _, p := range meshParents(route) {
		for _, o := range ours {
			for _, q := range meshParents(o) {
				if p.object() != q.object() || p.port != "" && q.port != "" && p.port != q.port {
					continue
				}
				if route.GetNamespace() != p.namespace {
					return fmt.Sprintf("callers in namespace %s follow it instead", route.GetNamespace()), true
				}
				return fmt.Sprintf("it is attached to %s too", p.object()), false
			}
		}
	}
	for _, r := range readRules(route, Split{Namespace: namespace, StableService: service}) {
		if len(r.stable) > 0 {
			return "it refers to Service " + service + " too", false
		}
	}
	return "", false
}

// meshParents are the Services that a route is attached to.
func meshParents(route *unstructured.Unstructured) []parent {
	var out []parent
	for _, item := range objects(route, "spec", "parentRefs") {
		if ref := readParent(item, route.GetNamespace()); ref.kind == "Service" {
			out = append(out, ref)
		}
	}
	return out
}
