package preflight

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// AnnotationProvides is on an object that makes others in the cluster: "Secret/web-tls, ConfigMap/ca", in its namespace.
// What it names counts as being in the bundle.
const AnnotationProvides = "belay.dev/provides"

// Target is an object of the core group that a pod needs to start.
type Target struct{ Kind, Namespace, Name string }

func (t Target) String() string { return t.Kind + " " + t.Namespace + "/" + t.Name }

// Reference says that an object's pods need another object.
type Reference struct {
	Target
	// From is the object whose pods need it, and Field where it says so.
	From  *unstructured.Unstructured
	Field string
}

// References are what the pods of an object cannot start without, by field; what is marked optional is left out.
func References(u *unstructured.Unstructured) []Reference {
	spec, at := PodSpec(u)
	if spec == nil {
		return nil
	}
	c := collector{from: u, claims: claimTemplates(u)}
	if spec.ServiceAccountName != "" && spec.ServiceAccountName != "default" { // every namespace has "default"
		c.add("ServiceAccount", spec.ServiceAccountName, at+".serviceAccountName", nil)
	}
	for i, s := range spec.ImagePullSecrets {
		c.add("Secret", s.Name, fmt.Sprintf("%s.imagePullSecrets[%d]", at, i), nil)
	}
	for i := range spec.Volumes {
		c.volume(&spec.Volumes[i], fmt.Sprintf("%s.volumes[%d]", at, i))
	}
	for path, container := range containers(spec, at) {
		c.environment(container, path)
	}
	slices.SortFunc(c.found, func(a, b Reference) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Target.String(), b.Target.String()))
	})
	return c.found
}

type collector struct {
	from   *unstructured.Unstructured
	claims map[string]bool
	found  []Reference
}

func (c *collector) add(kind, name, field string, optional *bool) {
	if name == "" || optional != nil && *optional {
		return
	}
	c.found = append(c.found, Reference{Target: Target{Kind: kind, Namespace: c.from.GetNamespace(), Name: name}, From: c.from, Field: field})
}

func (c *collector) volume(v *corev1.Volume, at string) {
	switch {
	case v.ConfigMap != nil:
		c.add("ConfigMap", v.ConfigMap.Name, at+".configMap.name", v.ConfigMap.Optional)
	case v.Secret != nil:
		c.add("Secret", v.Secret.SecretName, at+".secret.secretName", v.Secret.Optional)
	case v.PersistentVolumeClaim != nil && !c.claims[v.Name]:
		c.add("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName, at+".persistentVolumeClaim.claimName", nil)
	case v.Projected != nil:
		for i, source := range v.Projected.Sources {
			below := fmt.Sprintf("%s.projected.sources[%d]", at, i)
			if source.ConfigMap != nil {
				c.add("ConfigMap", source.ConfigMap.Name, below+".configMap.name", source.ConfigMap.Optional)
			}
			if source.Secret != nil {
				c.add("Secret", source.Secret.Name, below+".secret.name", source.Secret.Optional)
			}
		}
	}
}

func (c *collector) environment(container corev1.Container, at string) {
	for i, from := range container.EnvFrom {
		below := fmt.Sprintf("%s.envFrom[%d]", at, i)
		if from.ConfigMapRef != nil {
			c.add("ConfigMap", from.ConfigMapRef.Name, below+".configMapRef.name", from.ConfigMapRef.Optional)
		}
		if from.SecretRef != nil {
			c.add("Secret", from.SecretRef.Name, below+".secretRef.name", from.SecretRef.Optional)
		}
	}
	for i, env := range container.Env {
		if env.ValueFrom == nil {
			continue
		}
		below := fmt.Sprintf("%s.env[%d].valueFrom", at, i)
		if key := env.ValueFrom.ConfigMapKeyRef; key != nil {
			c.add("ConfigMap", key.Name, below+".configMapKeyRef.name", key.Optional)
		}
		if key := env.ValueFrom.SecretKeyRef; key != nil {
			c.add("Secret", key.Name, below+".secretKeyRef.name", key.Optional)
		}
	}
}

// claimTemplates are the volumes that a StatefulSet makes claims for itself.
func claimTemplates(u *unstructured.Unstructured) map[string]bool {
	out := map[string]bool{}
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "volumeClaimTemplates")
	for _, item := range list {
		if claim, ok := item.(map[string]any); ok {
			name, _, _ := unstructured.NestedString(claim, "metadata", "name")
			out[name] = true
		}
	}
	return out
}

// Provided are the objects that a bundle brings: those in it, and those that controllers are known to make of them.
func Provided(objects []*unstructured.Unstructured) map[Target]bool {
	out := map[Target]bool{}
	for _, u := range objects {
		gvk := u.GroupVersionKind()
		if gvk.Group == "" {
			out[Target{Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}] = true
		}
		for _, made := range makes(u) {
			made.Namespace = u.GetNamespace()
			out[made] = true
		}
	}
	return out
}

// makers are the kinds that are known to make a Secret, and where they name it; unset, it has their own name.
var makers = map[schema.GroupKind][]string{
	{Group: "cert-manager.io", Kind: "Certificate"}:             {"spec", "secretName"},
	{Group: "external-secrets.io", Kind: "ExternalSecret"}:      {"spec", "target", "name"},
	{Group: "bitnami.com", Kind: "SealedSecret"}:                {"spec", "template", "metadata", "name"},
	{Group: "secrets.hashicorp.com", Kind: "VaultStaticSecret"}: {"spec", "destination", "name"},
	{Group: "isindir.github.com", Kind: "SopsSecret"}:           {"metadata", "name"},
}

// makes are the objects that a controller makes of this one.
func makes(u *unstructured.Unstructured) []Target {
	var out []Target
	if path, ok := makers[u.GroupVersionKind().GroupKind()]; ok {
		name, _, _ := unstructured.NestedString(u.Object, path...)
		out = append(out, Target{Kind: "Secret", Name: cmp.Or(name, u.GetName())})
	}
	for _, one := range strings.Split(u.GetAnnotations()[AnnotationProvides], ",") {
		if kind, name, ok := strings.Cut(strings.TrimSpace(one), "/"); ok {
			out = append(out, Target{Kind: kind, Name: name})
		}
	}
	return out
}

// Open are the references of a bundle to what it does not bring, and the targets to look for in the cluster, sorted.
func Open(objects []*unstructured.Unstructured) (open []Reference, targets []Target) {
	provided := Provided(objects)
	wanted := map[Target]bool{}
	for _, u := range objects {
		for _, r := range References(u) {
			if !provided[r.Target] {
				open = append(open, r)
				wanted[r.Target] = true
			}
		}
	}
	targets = slices.SortedFunc(maps.Keys(wanted), func(a, b Target) int { return cmp.Compare(a.String(), b.String()) })
	return open, targets
}
