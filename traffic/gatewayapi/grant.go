package gatewayapi

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Granted says whether one of the ReferenceGrants of a Service's namespace lets routes of a kind and a namespace refer to
// the Service.
func Granted(grants []unstructured.Unstructured, kind, namespace, service string) bool {
	for i := range grants {
		from, to := false, false
		for _, f := range objects(&grants[i], "spec", "from") {
			from = from || text(f, "group") == gatewayGroup && text(f, "kind") == kind && text(f, "namespace") == namespace
		}
		for _, t := range objects(&grants[i], "spec", "to") {
			name := text(t, "name")
			to = to || text(t, "group") == "" && text(t, "kind") == "Service" && (name == "" || name == service)
		}
		if from && to {
			return true
		}
	}
	return false
}
