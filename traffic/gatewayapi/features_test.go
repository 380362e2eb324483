package gatewayapi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSupports(t *testing.T) {
	for _, c := range []struct {
		name, controller string
		reported         []string
		feature          string
		ok               bool
		why              string
	}{
		{"reported", "example.com/g", []string{"Gateway", FeatureMethods}, FeatureMethods, true, ""},
		{"not among what is reported", "example.com/g", []string{"Gateway"}, FeatureMethods, false, "controller example.com/g does not report it among its 1 supportedFeatures"},
		{"what is reported outranks what is known", "traefik.io/gateway-controller", []string{"Gateway"}, FeatureMethods, false, "does not report it"},
		{"silent and known", "traefik.io/gateway-controller", nil, FeatureMethods, true, ""},
		{"silent and known not to", "traefik.io/gateway-controller", nil, "HTTPRouteRequestMirror", false, "controller traefik.io/gateway-controller does not have it"},
		{"silent and unknown", "example.com/g", nil, FeatureQueryParams, false, "reports no supportedFeatures"},
	} {
		if ok, why := Supports(c.controller, c.reported, c.feature); ok != c.ok || !strings.Contains(why, c.why) || ok != (why == "") {
			t.Errorf("%s: %t, %q", c.name, ok, why)
		}
	}
}

func TestFeatures(t *testing.T) {
	m := header("x")
	if got := m.Features(); len(got) > 0 {
		t.Errorf("headers are core: %v", got)
	}
	m.QueryParams, m.Methods = []Condition{{Name: "a", Value: "b"}}, []string{"GET"}
	if diff := cmp.Diff([]string{FeatureQueryParams, FeatureMethods}, m.Features()); diff != "" {
		t.Error(diff)
	}
	if got := (*Match)(nil).Features(); got != nil {
		t.Errorf("%v", got)
	}
}

func TestParents(t *testing.T) {
	route := parse(t, `
metadata: {name: r, namespace: shop}
spec: {parentRefs: [{name: gw, sectionName: a}, {name: gw, sectionName: b}, {name: far, namespace: infra}, {group: "", kind: Service, name: shop}]}
status: {parents: [{parentRef: {name: gw}, controllerName: one}, {parentRef: {group: core, kind: Service, name: shop}, controllerName: mesh}]}
`)
	want := []Parent{{Kind: "Gateway", Namespace: "shop", Name: "gw", Section: "a", Controller: "one"}, {Kind: "Gateway", Namespace: "shop", Name: "gw", Section: "b", Controller: "one"},
		{Kind: "Gateway", Namespace: "infra", Name: "far"}, {Kind: "Service", Namespace: "shop", Name: "shop", Controller: "mesh"}}
	if diff := cmp.Diff(want, Parents(route)); diff != "" {
		t.Error(diff)
	}
}

func TestReadClass(t *testing.T) {
	for _, list := range []string{"[{name: A}, {name: B}]", "[A, B]"} {
		controller, features := ReadClass(parse(t, "spec: {controllerName: c}\nstatus: {supportedFeatures: "+list+"}"))
		if diff := cmp.Diff([]string{"A", "B"}, features); diff != "" || controller != "c" {
			t.Errorf("%s: %s %s", list, controller, diff)
		}
	}
	if controller, features := ReadClass(parse(t, "spec: {controllerName: c}")); controller != "c" || features != nil {
		t.Errorf("%s %v", controller, features)
	}
	if got := ClassOf(parse(t, "spec: {gatewayClassName: x}")); got != "x" {
		t.Error(got)
	}
}
