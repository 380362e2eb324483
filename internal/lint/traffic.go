package lint

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// checkRoleMetadata finds labels of a role that the stable Service selects pods by.
func (b *bundle) checkRoleMetadata(r typed[v1alpha1.Rollout]) []Finding {
	var out []Finding
	s, ok := find(b.services, r.document, r.v.Spec.Traffic.StableService)
	if !ok || r.v.Spec.RoleMetadata == nil {
		return nil
	}
	for _, role := range []v1alpha1.Role{v1alpha1.RoleStable, v1alpha1.RoleCanary} {
		for key := range r.v.Spec.RoleMetadata.Of(role).Labels {
			if _, selects := s.v.Spec.Selector[key]; selects {
				out = append(out, r.errorf(fmt.Sprintf("spec.roleMetadata.%s.labels[%s]", role, key), "take it out",
					"Service %s selects pods by this label: they would join or leave it with their role", s.object.GetName()))
			}
		}
	}
	return out
}

// checkShares checks the templates that measure a share, with the argument that Belay gives them.
func (b *bundle) checkShares(r typed[v1alpha1.Rollout]) []Finding {
	var out []Finding
	for i, c := range r.v.Spec.Traffic.Confirm {
		if c.Share == nil {
			continue
		}
		ref, some := c.Share.DeepCopy(), "0.1"
		ref.Args = append(slices.DeleteFunc(ref.Args, func(a v1alpha1.Argument) bool { return a.Name == "share" }), v1alpha1.Argument{Name: "share", Value: &some})
		out = append(out, b.checkAnalysis(r, fmt.Sprintf("spec.traffic.confirm[%d].share", i), ref)...)
	}
	return out
}

// checkBypasses finds routes in the files that lead to the stable Service, or replace a route of a mesh, and are not stepped.
func (b *bundle) checkBypasses(r typed[v1alpha1.Rollout]) []Finding {
	var ours []*unstructured.Unstructured
	listed := func(candidate typed[route]) bool {
		return slices.ContainsFunc(r.v.Spec.Traffic.Routes, func(ref v1alpha1.RouteReference) bool {
			found, ok := b.findRoute(r, ref)
			return ok && found.document == candidate.document
		})
	}
	for _, candidate := range b.routes {
		if listed(candidate) {
			ours = append(ours, candidate.object)
		}
	}
	var out []Finding
	for _, candidate := range b.routes {
		if listed(candidate) {
			continue
		}
		if why, _ := gatewayapi.Bypass(candidate.object, ours, r.object.GetNamespace(), r.v.Spec.Traffic.StableService); why != "" {
			out = append(out, r.warnf("spec.traffic.routes", "name it too, if its requests are to be stepped",
				"requests go past the split through %s %s: %s", candidate.object.GetKind(), candidate.object.GetName(), why))
		}
	}
	return out
}
