package revision

import (
	"encoding/json"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const base = `
metadata: {labels: {app: web}}
spec:
  containers:
  - name: app
    image: web:1.0
    ports: [{containerPort: 8080, name: http}]
    resources: {requests: {cpu: "1"}}
  volumes: [{name: tmp, emptyDir: {}}]
`

func hashYAML(t *testing.T, text string) string {
	t.Helper()
	var template corev1.PodTemplateSpec
	if err := yaml.UnmarshalStrict([]byte(text), &template); err != nil {
		t.Fatal(err)
	}
	typed, err := Hash(&template)
	if err != nil {
		t.Fatal(err)
	}
	var generic map[string]any
	if err := yaml.Unmarshal([]byte(text), &generic); err != nil {
		t.Fatal(err)
	}
	if untyped, err := HashMap(generic); err != nil || untyped != typed {
		t.Fatalf("typed %s, generic %s, %v", typed, untyped, err)
	}
	return typed
}

// TestGolden holds values that are stored in labels and commits: never change
// them, change the code.
func TestGolden(t *testing.T) {
	for want, text := range map[string]string{
		"wk5z7l8bmh": base,
		"ftbmjl9rx4": "spec: {containers: [{name: a, image: b}]}",
		"jnxnk46wz8": "{}",
	} {
		if got := hashYAML(t, text); got != want {
			t.Errorf("got %s, want %s for %s", got, want, text)
		}
	}
}

func TestSame(t *testing.T) {
	want := hashYAML(t, base)
	for name, text := range map[string]string{
		"order and quantity": `{spec: {volumes: [{emptyDir: {}, name: tmp}], containers: [{image: "web:1.0", name: app, resources: {requests: {cpu: 1000m}}, ports: [{name: http, containerPort: 8080}]}]}, metadata: {labels: {app: web}}}`,
		"defaults": `
metadata: {creationTimestamp: null, labels: {app: web, belay.dev/revision: x, belay.dev/role: stable}}
spec:
  restartPolicy: Always
  dnsPolicy: ClusterFirst
  schedulerName: default-scheduler
  terminationGracePeriodSeconds: 30
  securityContext: {}
  containers:
  - name: app
    image: web:1.0
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    ports: [{containerPort: 8080, name: http, protocol: TCP}]
    resources: {requests: {cpu: "1"}}
  volumes: [{name: tmp, emptyDir: {}}]`,
	} {
		if got := hashYAML(t, text); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// What another library version may emit.
	var generic map[string]any
	if err := json.Unmarshal([]byte(`{"metadata":{"creationTimestamp":null,"labels":{"app":"web","n":null}},"status":{},
		"spec":{"new":null,"containers":[{"name":"app","image":"web:1.0","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}],
		"resources":{"requests":{"cpu":"1"},"claims":null}}],"volumes":[{"name":"tmp","emptyDir":{}}]}}`), &generic); err != nil {
		t.Fatal(err)
	}
	normalise(generic)
	if got, err := name(generic); err != nil || got != want {
		t.Errorf("other library: %s, want %s, %v", got, want, err)
	}
}

func TestDifferent(t *testing.T) {
	seen := map[string]string{hashYAML(t, base): "base"}
	for name, text := range map[string]string{
		"image":         "{metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: 'web:1.1'}]}}",
		"udp":           "{spec: {containers: [{name: app, image: w, ports: [{containerPort: 1, protocol: UDP}]}]}}",
		"tcp":           "{spec: {containers: [{name: app, image: w, ports: [{containerPort: 1}]}]}}",
		"empty dir":     "{spec: {containers: [{name: app}], volumes: [{name: tmp, emptyDir: {}}]}}",
		"no source":     "{spec: {containers: [{name: app}], volumes: [{name: tmp}]}}",
		"selector":      "{spec: {containers: [], topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: x, labelSelector: {}}]}}",
		"no selector":   "{spec: {containers: [], topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: x}]}}",
		"grace":         "{spec: {containers: [], terminationGracePeriodSeconds: 31}}",
		"label":         "{metadata: {labels: {app: web, x: ''}}, spec: {containers: []}}",
		"annotation":    "{metadata: {annotations: {app: web}}, spec: {containers: []}}",
		"container arg": "{spec: {containers: [{name: app, args: ['']}]}}",
	} {
		got := hashYAML(t, text)
		if other, taken := seen[got]; taken {
			t.Errorf("%s and %s are both %s", name, other, got)
		}
		seen[got] = name
		if !regexp.MustCompile(`^[b-z][b-z2-9]{9}$`).MatchString(got) {
			t.Errorf("%q is not a safe name", got)
		}
	}
	if _, err := Hash(nil); err == nil {
		t.Error("no error for no template")
	}
	if _, err := HashMap(map[string]any{"spec": "text"}); err == nil {
		t.Error("no error for a malformed template")
	}
}
