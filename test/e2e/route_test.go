package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// foreign is an application that Belay has nothing to do with, and shares the route.
const foreign = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: legacy}
spec:
  replicas: 1
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy}}
    spec:
      containers:
      - name: app
        image: sample:v0
        env: [{name: VERSION, value: legacy}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: legacy}
spec:
  selector: {app: legacy}
  ports: [{name: http, port: 80, targetPort: http}]
`

const manyRules = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: checkout
  annotations: {example.com/owner: team-checkout}
spec:
  parentRefs:
  - {name: %s, namespace: %s}
  hostnames: [%s]
  rules:
  - name: old
    matches: [{path: {type: PathPrefix, value: /old}}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-rule, value: old}]}}
    backendRefs: [{name: legacy, port: 80}]
  - name: api
    matches: [{path: {type: PathPrefix, value: /api}}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-rule, value: api}], remove: [x-secret]}}
    backendRefs: [{name: checkout, port: 80}]
  - name: mixed
    backendRefs:
    - {name: legacy, port: 80, weight: 1}
    - {name: checkout, port: 80, weight: 3}
`

func TestOtherRulesAndBackendsAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{path: "/api/cart", extra: map[string]string{"legacy.yaml": foreign}, change: func(a *stage.App) {
		a.Route = fmt.Sprintf(manyRules, a.GatewayName, a.GatewayNamespace, a.Host)
	}})
	s.must(bed.Serves(t.Context(), s.app.Host, "/old/cart", "legacy"))
	old, mixed := s.send(s.app.Namespace+"-old", plan{path: "/old/cart", rate: 50}), s.send(s.app.Namespace+"-mixed", plan{path: "/", rate: 100})
	t.Cleanup(func() { _, _ = old.Stop(), mixed.Stop() })
	s.must(old.Await(t.Context(), "legacy", 20))
	s.must(mixed.Await(t.Context(), "v1", 20))
	s.release("v2", stage.Release("v1", "v2", ""))
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	s.answeredBy(s.finish(""), "v2")
	s.restored()
	want := theirs(t, s.route)
	for _, route := range s.timeline.Routes() {
		if diff := cmp.Diff(want, theirs(t, route)); diff != "" {
			t.Fatalf("what is not Belay's changed in the route, generation %d (-want +got):\n%s", route.GetGeneration(), diff)
		}
	}
	answers, err := old.Finish()
	s.must(err)
	if others := answers.Where(func(one stage.Sample) bool { return one.Failed() || one.Version != "legacy" }); len(others) > 0 {
		t.Errorf("the rule of the other application: %s, want all from legacy", answers.Describe())
	}
	answers, err = mixed.Finish()
	s.must(err)
	if share := float64(len(answers.Of("legacy"))) / float64(len(answers)); len(answers.Failed()) > 0 || share < 0.2 || share > 0.3 {
		t.Errorf("the shared rule: legacy answered %.3f, want a quarter, and none failed: %s", share, answers.Describe())
	}
}

// theirs is a route's spec without the references to the two Services and without all weights, which are scaled together.
func theirs(t *testing.T, route *unstructured.Unstructured) any {
	t.Helper()
	spec, _ := route.DeepCopy().Object["spec"].(map[string]any)
	rules, _ := spec["rules"].([]any)
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		var others []any
		backends, _ := rule["backendRefs"].([]any)
		for _, b := range backends {
			backend, _ := b.(map[string]any)
			delete(backend, "weight")
			if backend["name"] != name && backend["name"] != name+"-canary" {
				others = append(others, backend)
			}
		}
		rule["backendRefs"] = others
	}
	return spec
}

// TestProbedGateway: with level Probe the gateway itself must answer for each version of the route before a step counts, and
// nothing of the probe is left at the end.
func TestProbedGateway(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 100})
	s.release("v2", func(text string) string {
		text = strings.Replace(text, "    routes:\n", "    confirm:\n    - {controllerName: traefik.io/gateway-controller, level: Probe}\n    routes:\n", 1)
		return stage.Release("v1", "v2", "")(text)
	})
	s.await("the first step to be confirmed", func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.Step == 0 && a.ConfirmedAt != nil
	})
	if text := fmt.Sprint(s.readRoute().Object["spec"]); !strings.Contains(text, ".belay.invalid") {
		t.Errorf("nothing was probed: %s", text)
	}
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	s.answeredBy(s.finish(""), "v2")
	s.restored()
}
