package preflight

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// pods is where kinds keep the pods that they make.
type pods struct {
	// path of the pod's spec.
	path []string
	// replicas is the path of the number of pods; nil: one.
	replicas []string
}

var template = []string{"spec", "template", "spec"}

// podKinds are the kinds that make pods.
var podKinds = map[schema.GroupKind]pods{
	{Kind: "Pod"}:                           {path: []string{"spec"}},
	{Kind: "ReplicationController"}:         {path: template, replicas: []string{"spec", "replicas"}},
	{Group: "apps", Kind: "Deployment"}:     {path: template, replicas: []string{"spec", "replicas"}},
	{Group: "apps", Kind: "ReplicaSet"}:     {path: template, replicas: []string{"spec", "replicas"}},
	{Group: "apps", Kind: "StatefulSet"}:    {path: template, replicas: []string{"spec", "replicas"}},
	{Group: "apps", Kind: "DaemonSet"}:      {path: template},
	{Group: "batch", Kind: "Job"}:           {path: template, replicas: []string{"spec", "parallelism"}},
	{Group: "batch", Kind: "CronJob"}:       {path: []string{"spec", "jobTemplate", "spec", "template", "spec"}},
	{Group: "belay.dev", Kind: "Rollout"}:   {path: template, replicas: []string{"spec", "replicas"}},
	{Kind: "PodTemplate"}:                   {path: []string{"template", "spec"}},
	{Group: "argoproj.io", Kind: "Rollout"}: {path: template, replicas: []string{"spec", "replicas"}},
}

// IsWorkload says whether an object of the kind makes pods.
func IsWorkload(kind schema.GroupKind) bool {
	_, ok := podKinds[kind]
	return ok
}

// PodSpec is the spec of the pods that an object makes, and where it stands; nil where it makes none, or where it does
// not read as one: the API server then says so better.
func PodSpec(u *unstructured.Unstructured) (*corev1.PodSpec, string) {
	kind, ok := podKinds[u.GroupVersionKind().GroupKind()]
	if !ok {
		return nil, ""
	}
	raw, found, err := unstructured.NestedMap(u.Object, kind.path...)
	if err != nil || !found {
		return nil, ""
	}
	encoded, err := json.Marshal(raw)
	if err != nil {
		return nil, ""
	}
	spec := &corev1.PodSpec{}
	if err := json.Unmarshal(encoded, spec); err != nil {
		return nil, ""
	}
	return spec, strings.Join(kind.path, ".")
}

// replicasOf is how many pods an object makes; said is false where it does not say so.
func replicasOf(u *unstructured.Unstructured) (n int64, said bool) {
	kind := podKinds[u.GroupVersionKind().GroupKind()]
	if kind.replicas == nil {
		return 1, true
	}
	if n, said, _ = unstructured.NestedInt64(u.Object, kind.replicas...); said {
		return n, true
	}
	return 1, false
}

// containers are all containers of a pod, with their paths.
func containers(spec *corev1.PodSpec, at string) map[string]corev1.Container {
	out := map[string]corev1.Container{}
	for i, c := range spec.InitContainers {
		out[fmt.Sprintf("%s.initContainers[%d]", at, i)] = c
	}
	for i, c := range spec.Containers {
		out[fmt.Sprintf("%s.containers[%d]", at, i)] = c
	}
	for i, c := range spec.EphemeralContainers {
		out[fmt.Sprintf("%s.ephemeralContainers[%d]", at, i)] = corev1.Container(c.EphemeralContainerCommon)
	}
	return out
}
