package translate

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// around is what a route needs to be translated; the addresses tell the Services apart in what comes out.
const around = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec: {gatewayClassName: eg, listeners: [{name: http, port: 80, protocol: HTTP}]}
`

var services = map[string]string{"10.96.0.1": "stable", "10.96.0.2": "canary", "10.96.0.3": "other"}

func names() map[string]string {
	return map[string]string{"stable": "checkout", "canary": "checkout-canary", "other": "other"}
}

func service(address string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec: {clusterIP: %s, ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]}\n",
		names()[services[address]], address)
}

func egctl(t *testing.T) string {
	t.Helper()
	path := os.Getenv("BELAY_EGCTL")
	if path == "" {
		t.Skip("SKIPPED: BELAY_EGCTL does not name egctl, so no second implementation was asked: run `make test-translate`")
	}
	return path
}

// dump is one kind of Envoy's configuration that the translator makes.
func dump(t *testing.T, tool, kind, file string) map[string]any {
	t.Helper()
	var errors bytes.Buffer
	command := exec.CommandContext(t.Context(), tool, "x", "translate", "--from", "gateway-api", "--to", "xds", "-t", kind, "-o", "yaml", "-f", file)
	command.Stderr = &errors
	out, err := command.Output()
	if err != nil {
		t.Fatalf("egctl: %v: %s", err, errors.String())
	}
	var all struct {
		XDS map[string]map[string]any `json:"xds"`
	}
	if err := yaml.Unmarshal(out, &all); err != nil {
		t.Fatalf("reading %s: %v", out, err)
	}
	return all.XDS["shop/gw"]
}

func at(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func list(v any, path ...string) []any {
	out, _ := at(v, path...).([]any)
	return out
}

// shares is what each cluster sends where, in parts of 1.
func shares(endpoints map[string]any) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for _, item := range list(endpoints, "dynamicEndpointConfigs") {
		config := at(item, "endpointConfig")
		to, sum := map[string]float64{}, 0.0
		for _, locality := range list(config, "endpoints") {
			weight, _ := at(locality, "loadBalancingWeight").(float64)
			for _, e := range list(locality, "lbEndpoints") {
				to[services[fmt.Sprint(at(e, "endpoint", "address", "socketAddress", "address"))]] += weight
				sum += weight
			}
		}
		for name := range to {
			to[name] /= sum
		}
		out[fmt.Sprint(at(config, "clusterName"))] = to
	}
	return out
}

// meaning is one line for each of Envoy's routes: what it matches and where it goes.
func meaning(t *testing.T, tool string, route *unstructured.Unstructured) string {
	t.Helper()
	data, err := route.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	text := around
	for _, address := range slices.Sorted(maps.Keys(services)) {
		text += service(address)
	}
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(text+"---\n"+string(data)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clusters := shares(dump(t, tool, "endpoint", file))
	var lines []string
	for _, config := range list(dump(t, tool, "route", file), "dynamicRouteConfigs") {
		for _, host := range list(config, "routeConfig", "virtualHosts") {
			for _, r := range list(host, "routes") {
				lines = append(lines, matches(at(r, "match"))+" -> "+target(at(r, "route"), clusters))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func matches(m any) string {
	out := []string{cmp.Or(text(at(m, "pathSeparatedPrefix")), text(at(m, "prefix")), text(at(m, "path")))}
	for _, h := range list(m, "headers") {
		out = append(out, fmt.Sprintf("%s=%s", text(at(h, "name")), text(at(h, "stringMatch", "exact"))))
	}
	return strings.Join(out, " ")
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func target(route any, clusters map[string]map[string]float64) string {
	total := map[string]float64{}
	add := func(cluster string, part float64) {
		for name, share := range clusters[cluster] {
			total[name] += part * share
		}
	}
	if cluster := text(at(route, "cluster")); cluster != "" {
		add(cluster, 1)
	}
	sum := 0.0
	for _, c := range list(route, "weightedClusters", "clusters") {
		weight, _ := at(c, "weight").(float64)
		sum += weight
	}
	for _, c := range list(route, "weightedClusters", "clusters") {
		weight, _ := at(c, "weight").(float64)
		add(text(at(c, "name")), weight/sum)
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(total)) {
		if total[name] > 0 {
			out = append(out, fmt.Sprintf("%s %.6g", name, total[name]))
		}
	}
	for _, m := range list(route, "requestMirrorPolicies") {
		part, _ := at(m, "runtimeFraction", "defaultValue", "numerator").(float64)
		var to []string
		for name := range clusters[text(at(m, "cluster"))] {
			to = append(to, name)
		}
		out = append(out, fmt.Sprintf("copies of %.4g to %s", part/1e6, strings.Join(to, "+")))
	}
	return strings.Join(out, ", ")
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	u := &unstructured.Unstructured{}
	if err == nil {
		err = utiljson.Unmarshal(data, &u.Object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// divided is a route with a split applied, as Belay writes it.
func divided(t *testing.T, route *unstructured.Unstructured, s gatewayapi.Split) *unstructured.Unstructured {
	t.Helper()
	patch, err := gatewayapi.Patch(route, s)
	if err != nil {
		t.Fatal(err)
	}
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	data, err := route.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if data, err = ops.Apply(data); err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(data, &out.Object); err != nil {
		t.Fatal(err)
	}
	return out
}

const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: checkout, namespace: shop}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /pay}}]
    backendRefs: [{name: other, port: 80, weight: 3}, {name: checkout, port: 80, weight: 1}]
  - matches: [{path: {type: PathPrefix, value: /shop}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: b}]}}]
    timeouts: {request: 5s}
    backendRefs: [{name: checkout, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /static}}]
    backendRefs: [{name: other, port: 80}]
`

const calls = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: checkout, namespace: shop}
spec:
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{name: checkout, port: 80}]
`

func TestSecondImplementationAgrees(t *testing.T) {
	tool := egctl(t)
	split := func(canary, total int32) gatewayapi.Split {
		return gatewayapi.Split{StableService: "checkout", CanaryService: "checkout-canary", Total: total, Canary: canary, Present: true, Owner: "shop/checkout"}
	}
	with := func(change func(*gatewayapi.Split)) gatewayapi.Split {
		s := split(0, 100)
		change(&s)
		return s
	}
	for _, test := range []struct {
		name, route string
		split       gatewayapi.Split
		want        string
	}{
		{"at rest", route, gatewayapi.Split{StableService: "checkout", CanaryService: "checkout-canary", Total: 100, Owner: "shop/checkout"},
			"/shop -> stable 1\n/static -> other 1\n/pay -> other 0.75, stable 0.25"},
		{"a fifth", route, split(20, 100), "/shop -> canary 0.2, stable 0.8\n/static -> other 1\n/pay -> canary 0.05, other 0.75, stable 0.2"},
		{"one in a thousand", route, split(1, 1000), "/shop -> canary 0.001, stable 0.999\n/static -> other 1\n/pay -> canary 0.00025, other 0.75, stable 0.24975"},
		{"everything", route, split(100, 100), "/shop -> canary 1\n/static -> other 1\n/pay -> canary 0.25, other 0.75"},
		{"nothing yet", route, split(0, 100), "/shop -> stable 1\n/static -> other 1\n/pay -> other 0.75, stable 0.25"},
		{"a dark canary", route, with(func(s *gatewayapi.Split) {
			s.Match = &gatewayapi.Match{Headers: []gatewayapi.Condition{{Name: "x-team", Value: "shop"}}}
		}), "/shop x-team=shop -> canary 1\n/shop -> stable 1\n/static -> other 1\n/pay x-team=shop -> canary 1\n/pay -> other 0.75, stable 0.25"},
		{"copies of a tenth", route, with(func(s *gatewayapi.Split) { s.Mirror = &gatewayapi.Mirror{Percent: 10, Methods: []string{"GET"}} }),
			"/shop :method=GET -> stable 1, copies of 0.1 to canary\n/shop -> stable 1\n/static -> other 1\n/pay :method=GET -> other 0.75, stable 0.25, copies of 0.1 to canary\n/pay -> other 0.75, stable 0.25"},
		{"calls", calls, split(20, 100), "/ -> canary 0.2, stable 0.8"},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			live := parse(t, test.route)
			if test.split.Present {
				live = divided(t, live, test.split)
			}
			sorted := func(s string) []string { lines := strings.Split(s, "\n"); slices.Sort(lines); return lines }
			got := meaning(t, tool, live)
			if diff := gocmp.Diff(sorted(test.want), sorted(got)); diff != "" {
				t.Errorf("%s\nin Envoy's order:\n%s", diff, got)
			}
			// Envoy takes the first that matches: what has more conditions stands before what has fewer.
			for _, path := range []string{"/shop", "/pay"} {
				i, j := strings.Index(got, path+" x-team"), strings.Index(got, path+" ->")
				if k := strings.Index(got, path+" :method"); i > j || k > j {
					t.Errorf("the copy of %s comes too late:\n%s", path, got)
				}
			}
		})
	}
}
