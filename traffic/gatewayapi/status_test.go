package gatewayapi

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestProgrammed(t *testing.T) {
	good := "{type: Accepted, status: 'True', observedGeneration: 4}, {type: ResolvedRefs, status: 'True', observedGeneration: 4}"
	undated := "{type: Accepted, status: 'True'}, {type: ResolvedRefs, status: 'True', observedGeneration: 0}"
	entry := func(ref, conditions string) string {
		return "{parentRef: " + ref + ", controllerName: c, conditions: [" + conditions + "]}"
	}
	tests := []struct {
		name, parents, status string
		ok                    bool
		why                   string
	}{
		{"ready", "{name: edge}", entry("{name: edge}", good), true, ""},
		{"defaults filled in", "{name: edge}", entry("{group: gateway.networking.k8s.io, kind: Gateway, namespace: shop, name: edge}", good), true, ""},
		{"defaults left out", "{group: gateway.networking.k8s.io, kind: Gateway, namespace: shop, name: edge}", entry("{name: edge}", good), true, ""},
		{"section left out", "{name: edge, sectionName: https, port: 443}", entry("{name: edge}", good), true, ""},
		{"reported by section", "{name: edge}", entry("{name: edge, sectionName: https}", good), true, ""},
		{"mesh", "{group: '', kind: Service, name: s}", entry("{group: core, kind: Service, name: s}", good), true, ""},
		{"other section", "{name: edge, sectionName: https}", entry("{name: edge, sectionName: http}", good), false, "Gateway shop/edge/https has not reported"},
		{"other port", "{name: edge, port: 443}", entry("{name: edge, port: 80}", good), false, "shop/edge:443 has not reported"},
		{"other namespace", "{name: edge, namespace: infra}", entry("{name: edge}", good), false, "infra/edge has not reported"},
		{"other kind", "{name: edge, kind: ListenerSet}", entry("{name: edge}", good), false, "ListenerSet shop/edge has not"},
		{"exact entry counts before a loose one", "{name: edge, sectionName: a}", entry("{name: edge, sectionName: a}", good) + "," + entry("{name: edge}", ""), true, ""},
		{"nobody", "{name: edge}", "", false, "has not reported"},
		{"no parents", "", "", false, "route has no parents"},
		{"one of two", "{name: edge}, {name: inner}", entry("{name: edge}", good), false, "shop/inner has not reported"},
		{"second controller not ready", "{name: edge}", entry("{name: edge}", good) + "," + entry("{name: edge}", ""), false, "Accepted is not reported"},
		{"old generation", "{name: edge}", entry("{name: edge}", strings.Replace(good, "Generation: 4", "Generation: 3", 1)), false, "Accepted is for generation 3, not yet 4"},
		{"old refs", "{name: edge}", entry("{name: edge}", strings.Replace(good, "Generation: 4}, {type: Res", "Generation: 9}, {type: Res", 1)), true, ""},
		{"one condition undated", "{name: edge}", entry("{name: edge}", "{type: Accepted, status: 'True'}, {type: ResolvedRefs, status: 'True', observedGeneration: 4}"), false, "generation 0"},
		{"undated", "{name: edge}", entry("{name: edge}", undated), true, "publishes no observedGeneration"},
		{"undated and refused", "{name: edge}", entry("{name: edge}", strings.Replace(undated, "'True'", "'False', reason: NoMatch", 1)), false, "Accepted is False: NoMatch"},
		{"refs unresolved", "{name: edge}", entry("{name: edge}", strings.Replace(good, "ResolvedRefs, status: 'True'", "ResolvedRefs, status: 'False', reason: BackendNotFound, message: no such", 1)), false, "Gateway shop/edge (c): ResolvedRefs is False: BackendNotFound: no such"},
		{"unknown", "{name: edge}", entry("{name: edge}", strings.Replace(good, "'True'", "Unknown", 1)), false, "Accepted is Unknown"},
		{"partially invalid", "{name: edge}", entry("{name: edge}", good+", {type: PartiallyInvalid, status: 'True', reason: Dropped}"), false, "PartiallyInvalid: Dropped"},
		{"not partially invalid", "{name: edge}", entry("{name: edge}", good+", {type: PartiallyInvalid, status: 'False'}"), true, ""},
		{"malformed", "{name: edge}", "7, {parentRef: [], conditions: 3}, " + entry("{name: edge}", good+", null"), true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			route := parse(t, "metadata: {name: r, namespace: shop, generation: 4}\nspec: {parentRefs: ["+test.parents+"]}\nstatus: {parents: ["+test.status+"]}")
			ok, why := Programmed(route, nil)
			if ok != test.ok || !strings.Contains(why, test.why) || (why != "") != (test.why != "") {
				t.Errorf("got %v %q, want %v %q", ok, why, test.ok, test.why)
			}
		})
	}
}

func TestReasonsAreBounded(t *testing.T) {
	route := parse(t, "metadata: {name: r, namespace: shop}\nspec: {parentRefs: [{name: e}]}\nstatus: {parents: [{parentRef: {name: e}, conditions: [{type: Accepted, status: 'False', message: "+strings.Repeat("é", 5000)+"}]}]}")
	if _, why := Programmed(route, nil); len(why) > maxReason+8 || !utf8.ValidString(why) {
		t.Errorf("%d bytes: %q", len(why), why)
	}
}

func TestAttribution(t *testing.T) {
	rules := "fieldsV1: {f:spec: {f:rules: {}}}"
	tests := []struct{ name, fields, want string }{
		{"nobody", "", ""},
		{"one", "{manager: argocd, time: '2026-01-01T00:00:00Z', " + rules + "}", "argocd"},
		{"latest", "{manager: belay, time: '2026-01-01T00:00:02Z', " + rules + "}, {manager: flux, time: '2026-01-01T00:00:03Z', " + rules + "}, {manager: old, time: '2025-01-01T00:00:03Z', " + rules + "}", "flux"},
		{"other fields", "{manager: x, time: '2026-01-01T00:00:09Z', fieldsV1: {f:metadata: {}}}, {manager: kubectl, " + rules + "}", "kubectl"},
		{"status", "{manager: gateway, subresource: status, " + rules + "}", ""},
		{"malformed", "1, {fieldsV1: 3}", ""},
	}
	for _, test := range tests {
		if got := Attribution(parse(t, "metadata: {managedFields: ["+test.fields+"]}")); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
