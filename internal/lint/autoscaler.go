package lint

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// checkAutoscaler finds what keeps an HPA on the Rollout from saying how many pods there are: a number beside it, and a tolerance
// within which the pods on trial hide a load that stable alone could not carry.
func (b *bundle) checkAutoscaler(r typed[v1alpha1.Rollout]) []Finding {
	var out []Finding
	for _, doc := range b.others {
		if !doc.is("autoscaling", "HorizontalPodAutoscaler") || !sameNamespace(doc, r.document) || !scales(doc.object, r) {
			continue
		}
		if r.v.Spec.Replicas != nil {
			out = append(out, r.warnf("spec.replicas", "leave it out: the HPA says how many",
				"HorizontalPodAutoscaler %s scales this Rollout, and every apply of this file sets its number back", doc.object.GetName()))
		}
		for _, direction := range []string{"scaleUp", "scaleDown"} { // the average of a load that is too high can be on either side
			tolerance, set, _ := unstructured.NestedFieldNoCopy(doc.object.Object, "spec", "behavior", direction, "tolerance")
			if !set || tolerance == nil {
				out = append(out, doc.warnf("spec.behavior."+direction+".tolerance", `"0" (Kubernetes 1.35 or newer)`,
					"pods on trial lower the average that the HPA sees: within its tolerance (10 %% by default) it may ask for fewer pods than Rollout %s needs when all traffic is back on stable", r.object.GetName()))
				break
			}
		}
	}
	return out
}

// scales says whether an HPA targets the Rollout, or the Deployment that it follows.
func scales(hpa *unstructured.Unstructured, r typed[v1alpha1.Rollout]) bool {
	target, _, _ := unstructured.NestedStringMap(hpa.Object, "spec", "scaleTargetRef")
	if ref := r.v.Spec.WorkloadRef; ref != nil && target["kind"] == "Deployment" {
		return target["name"] == ref.Name
	}
	return target["kind"] == "Rollout" && target["name"] == r.object.GetName()
}
