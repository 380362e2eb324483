package config

import (
	"context"
	"fmt"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/internal/testenv"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

const guarded = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: gw}]
  hostnames: [shop.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: "1"}]}}]
    backendRefs: [{name: shop, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /static}}]
    backendRefs: [{name: static, port: 80}]
`

func read(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = utiljson.Unmarshal(data, &u.Object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// split gives a share of the route to the canary, as Belay does.
func split(t *testing.T, route *unstructured.Unstructured, weight int32, match *gatewayapi.Match) *unstructured.Unstructured {
	t.Helper()
	patch, err := gatewayapi.Patch(route, gatewayapi.Split{StableService: "shop", CanaryService: "shop-canary", Total: 100, Canary: weight, Match: match,
		Present: true, Owner: route.GetNamespace() + "/shop"})
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

// guard puts the policy into force for one namespace.
func guard(t *testing.T, env *testenv.Env) {
	t.Helper()
	for _, o := range build(t, "guard") {
		o.SetName("t-" + env.Namespace + "-" + o.GetName())
		if o.GetKind() == "MutatingAdmissionPolicyBinding" {
			set(t, o, "t-"+env.Namespace+"-route-guard.belay.dev", "spec", "policyName")
			set(t, o, map[string]any{"kubernetes.io/metadata.name": env.Namespace}, "spec", "matchResources", "namespaceSelector", "matchLabels")
		}
		if err := apply(t, env, o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(t.Context()), o) })
	}
}

// TestRouteGuard: whoever writes the route of Git again does not take the split away; whoever changes it does.
func TestRouteGuard(t *testing.T) {
	env := testenv.New(t)
	guard(t, env)
	git := read(t, guarded)
	git.SetNamespace(env.Namespace)
	as := rest.CopyConfig(env.Config)
	as.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:belay-system:belay", Groups: []string{"system:masters"}}
	belay, err := client.New(as, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	live := git.DeepCopy()
	if err := env.Client.Create(ctx, live); err != nil {
		t.Fatal(err)
	}
	// divided is the route as Belay has written it.
	divided := func(match *gatewayapi.Match) *unstructured.Unstructured {
		next := split(t, live, 20, match)
		if err := belay.Update(ctx, next); err != nil {
			t.Fatal(err)
		}
		live = next
		return next.DeepCopy()
	}
	write := func(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		u := git.DeepCopy()
		u.SetResourceVersion(live.GetResourceVersion())
		change(u)
		if err := env.Client.Update(ctx, u); err != nil {
			t.Fatal(err)
		}
		live = u
		return u
	}
	// A policy takes a moment to be in force.
	want := divided(nil)
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		got := write(func(*unstructured.Unstructured) {})
		if cmp.Equal(want.Object["spec"], got.Object["spec"]) && got.GetAnnotations()[gatewayapi.Annotation] == want.GetAnnotations()[gatewayapi.Annotation] {
			return true, nil
		}
		divided(nil)
		return false, nil
	})
	if err != nil {
		t.Fatalf("a route that is written again loses its split: %s", cmp.Diff(want.Object["spec"], live.Object["spec"]))
	}
	// With the copies of a match as well, and what else the write changes goes through.
	want = divided(&gatewayapi.Match{Headers: []gatewayapi.Condition{{Name: "x-team", Value: "shop"}}})
	got := write(func(u *unstructured.Unstructured) { set(t, u, []any{"new.example.com"}, "spec", "hostnames") })
	set(t, want, []any{"new.example.com"}, "spec", "hostnames")
	if diff := cmp.Diff(want.Object["spec"], got.Object["spec"]); diff != "" {
		t.Errorf("with copies: %s", diff)
	}
	for name, change := range map[string]func(*unstructured.Unstructured){
		"disabled": func(u *unstructured.Unstructured) { u.SetAnnotations(map[string]string{"belay.dev/guard": "Disabled"}) },
		"another rule": func(u *unstructured.Unstructured) {
			rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
			set(t, u, rules[:1], "spec", "rules")
		},
		"another filter": func(u *unstructured.Unstructured) {
			rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
			delete(rules[0].(map[string]any), "filters")
			set(t, u, rules, "spec", "rules")
		},
		"another Service": func(u *unstructured.Unstructured) {
			rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
			rules[0].(map[string]any)["backendRefs"] = []any{map[string]any{"name": "blue", "port": int64(80)}}
			set(t, u, rules, "spec", "rules")
		},
		"back to the canary alone": func(u *unstructured.Unstructured) {
			rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
			rules[0].(map[string]any)["backendRefs"] = []any{map[string]any{"name": "shop-canary", "port": int64(80)}}
			set(t, u, rules, "spec", "rules")
		},
	} {
		divided(nil)
		got := write(change)
		rules, _, _ := unstructured.NestedSlice(got.Object, "spec", "rules")
		if refs := rules[0].(map[string]any)["backendRefs"].([]any); len(refs) != 1 {
			t.Errorf("%s: the write is not let through: %s", name, fmt.Sprint(refs))
		}
		write(func(u *unstructured.Unstructured) { u.SetAnnotations(map[string]string{"belay.dev/guard": "Disabled"}) })
	}
}
