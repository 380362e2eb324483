package gatewayapi

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Names of features that gateways report in GatewayClass status.supportedFeatures. Weights and exact headers are Core:
// every gateway has them.
const (
	FeatureQueryParams = "HTTPRouteQueryParamMatching"
	FeatureMethods     = "HTTPRouteMethodMatching"

	FeatureMirror        = "HTTPRouteRequestMirror"
	FeaturePercentMirror = "HTTPRouteRequestPercentageMirror"
)

// Features are those that a gateway must have for the match; none for nil.
func (m *Match) Features() []string {
	var out []string
	if m != nil && len(m.QueryParams) > 0 {
		out = append(out, FeatureQueryParams)
	}
	if m != nil && len(m.Methods) > 0 {
		out = append(out, FeatureMethods)
	}
	return out
}

// silent are controllers of which it was seen, on a real gateway, what they can do, where their class reports nothing: Traefik
// v3.7, by this project's end-to-end tests. Only what was seen belongs here.
var silent = map[string][]string{
	"traefik.io/gateway-controller": {FeatureQueryParams, FeatureMethods},
}

// Supports says whether the gateways of a controller have a feature: what they report counts, and where they report
// nothing, what is known of the controller. Otherwise why says what is missing.
func Supports(controller string, reported []string, feature string) (ok bool, why string) {
	known, there := silent[controller]
	switch {
	case slices.Contains(reported, feature):
		return true, ""
	case len(reported) > 0:
		return false, fmt.Sprintf("controller %s does not report it among its %d supportedFeatures", controller, len(reported))
	case slices.Contains(known, feature):
		return true, ""
	case there:
		return false, fmt.Sprintf("controller %s does not have it", controller)
	}
	return false, fmt.Sprintf("controller %q reports no supportedFeatures: only weights and exact headers are taken to work", controller)
}

// Parent is what a route is attached to.
type Parent struct {
	// Kind is Gateway for most; Service for a mesh.
	Kind, Namespace, Name string
	// Section and Port of the parent; empty for all of it.
	Section, Port string
	// Controller that reports on the route for this parent; empty while none does.
	Controller string
}

// Parents are what the route is attached to, each section once.
func Parents(route *unstructured.Unstructured) []Parent {
	var out []Parent
	statuses := objects(route, "status", "parents")
	for _, item := range objects(route, "spec", "parentRefs") {
		ref := readParent(item, route.GetNamespace())
		p := Parent{Kind: ref.kind, Namespace: ref.namespace, Name: ref.name, Section: ref.section, Port: ref.port}
		for _, entry := range statusOf(ref, statuses, route.GetNamespace()) {
			p.Controller = text(entry, "controllerName")
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// ClassOf is the name of a Gateway's class.
func ClassOf(gateway *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(gateway.Object, "spec", "gatewayClassName")
	return name
}

// ReadClass is the controller of a GatewayClass and the features that it reports, in either form of the list: names, or
// objects with a name (since v1.3 of the Gateway API).
func ReadClass(class *unstructured.Unstructured) (controller string, features []string) {
	controller, _, _ = unstructured.NestedString(class.Object, "spec", "controllerName")
	value, _, _ := unstructured.NestedFieldNoCopy(class.Object, "status", "supportedFeatures")
	list, _ := value.([]any)
	for _, item := range list {
		switch f := item.(type) {
		case string:
			features = append(features, strings.TrimSpace(f))
		case map[string]any:
			features = append(features, text(f, "name"))
		}
	}
	return controller, features
}

// Addresses are host and port of a Gateway's HTTP listeners, as its status says; those of one listener or port, where the
// parent names it.
func Addresses(gateway *unstructured.Unstructured, p Parent) []string {
	var ports []string
	for _, l := range objects(gateway, "spec", "listeners") {
		port, ok := integer(l["port"])
		if !ok || text(l, "protocol") != "HTTP" || p.Section != "" && p.Section != text(l, "name") || p.Port != "" && p.Port != fmt.Sprint(port) {
			continue
		}
		if text := fmt.Sprint(port); !slices.Contains(ports, text) {
			ports = append(ports, text)
		}
	}
	var out []string
	for _, a := range objects(gateway, "status", "addresses") {
		for _, port := range ports {
			if value := text(a, "value"); value != "" {
				out = append(out, net.JoinHostPort(value, port))
			}
		}
	}
	return out
}
