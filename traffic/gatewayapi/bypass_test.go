package gatewayapi

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestBypass(t *testing.T) {
	mesh := parse(t, "kind: HTTPRoute\nmetadata: {name: mesh, namespace: shop}\nspec: {parentRefs: [{group: '', kind: Service, name: checkout, port: 80}], rules: [{backendRefs: [{name: checkout, port: 80}]}]}")
	for name, test := range map[string]struct {
		route, want string
		consumer    bool
	}{
		"consumer":       {"{metadata: {name: x, namespace: far}, spec: {parentRefs: [{group: '', kind: Service, namespace: shop, name: checkout}], rules: [{backendRefs: [{name: checkout, namespace: shop, port: 80}]}]}}", "callers in namespace far follow it instead", true},
		"second":         {"{metadata: {name: x, namespace: shop}, spec: {parentRefs: [{kind: Service, name: checkout}], rules: [{backendRefs: [{name: other, port: 80}]}]}}", "it is attached to Service shop/checkout too", false},
		"another port":   {"{metadata: {name: x, namespace: shop}, spec: {parentRefs: [{kind: Service, name: checkout, port: 9090}], rules: [{backendRefs: [{name: other, port: 80}]}]}}", "", false},
		"edge":           {"{metadata: {name: x, namespace: shop}, spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: checkout, port: 80}]}]}}", "it refers to Service checkout too", false},
		"another name":   {"{metadata: {name: x, namespace: shop}, spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: other, port: 80}]}]}}", "", false},
		"same elsewhere": {"{metadata: {name: x, namespace: far}, spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: checkout, port: 80}]}]}}", "", false},
	} {
		if why, consumer := Bypass(parse(t, test.route), []*unstructured.Unstructured{mesh}, "shop", "checkout"); why != test.want || consumer != test.consumer {
			t.Errorf("%s: %q, %t", name, why, consumer)
		}
	}
}
