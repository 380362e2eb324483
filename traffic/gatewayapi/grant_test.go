package gatewayapi

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestGranted(t *testing.T) {
	const whole = `{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}], to: [{group: "", kind: Service}]}`
	tests := map[string]struct {
		spec string
		want bool
	}{
		"every Service":            {whole, true},
		"this Service":             {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}], to: [{group: "", kind: Service, name: shop}]}`, true},
		"another Service":          {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}], to: [{group: "", kind: Service, name: other}]}`, false},
		"another namespace":        {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: else}], to: [{group: "", kind: Service}]}`, false},
		"another kind of route":    {`{from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: edge}], to: [{group: "", kind: Service}]}`, false},
		"another kind of backend":  {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}], to: [{group: "", kind: Secret}]}`, false},
		"a group that looks right": {`{from: [{group: example.com, kind: HTTPRoute, namespace: edge}], to: [{group: "", kind: Service}]}`, false},
	}
	for name, test := range tests {
		grant := unstructured.Unstructured{Object: map[string]any{}}
		var spec map[string]any
		if err := yaml.Unmarshal([]byte(test.spec), &spec); err != nil {
			t.Fatal(err)
		}
		grant.Object["spec"] = spec
		if got := Granted([]unstructured.Unstructured{grant}, "HTTPRoute", "edge", "shop"); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if Granted(nil, "HTTPRoute", "edge", "shop") {
		t.Error("granted by nothing")
	}
}
