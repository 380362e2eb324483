package preflight

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Change is an object as it is to be, and as it is.
type Change struct {
	Desired *unstructured.Unstructured
	// Live is nil where there is none.
	Live *unstructured.Unstructured
	// Resource is the plural of its kind in URLs, such as "deployments".
	Resource string
}

// Excess is a quota that a bundle as a whole would exceed.
type Excess struct {
	Namespace, Quota, Resource string
	Hard, Used, Added          resource.Quantity
	// From are the objects that add most, at most three.
	From []string
}

func (e Excess) String() string {
	return fmt.Sprintf("ResourceQuota %s/%s: %s would be %s used + %s of this bundle, more than %s (most of it from %s)",
		e.Namespace, e.Quota, e.Resource, e.Used.String(), e.Added.String(), e.Hard.String(), strings.Join(e.From, ", "))
}

// maxNamed is how many objects an Excess names.
const maxNamed = 3

// OverQuota adds up what a bundle needs more than is there, at the height of a rollout (surge pods of a Deployment, the
// canary of a Rollout), and compares it with what each quota leaves. Objects that leave Git do not count: they go after
// the others have come. Quotas with scopes, and defaults of LimitRanges, are left out: skipped names such quotas.
func OverQuota(changes []Change, quotas []corev1.ResourceQuota) (over []Excess, skipped []string) {
	for _, q := range quotas {
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			skipped = append(skipped, q.Namespace+"/"+q.Name)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(q.Spec.Hard)) {
			if e, is := exceeds(changes, q, name); is {
				over = append(over, e)
			}
		}
	}
	slices.SortStableFunc(over, func(a, b Excess) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Quota, b.Quota))
	})
	slices.Sort(skipped)
	return over, skipped
}

func exceeds(changes []Change, q corev1.ResourceQuota, name corev1.ResourceName) (Excess, bool) {
	e := Excess{Namespace: q.Namespace, Quota: q.Name, Resource: string(name), Hard: q.Spec.Hard[name], Used: q.Status.Used[name]}
	type share struct {
		who string
		n   resource.Quantity
	}
	var shares []share
	for _, c := range changes {
		if c.Desired.GetNamespace() != q.Namespace {
			continue
		}
		n := c.growth()[string(name)]
		e.Added.Add(n)
		if n.Sign() > 0 {
			shares = append(shares, share{c.Desired.GetKind() + " " + c.Desired.GetName(), n})
		}
	}
	total := e.Used.DeepCopy()
	total.Add(e.Added)
	if e.Added.Sign() <= 0 || total.Cmp(e.Hard) <= 0 {
		return Excess{}, false
	}
	slices.SortStableFunc(shares, func(a, b share) int { return cmp.Or(b.n.Cmp(a.n), strings.Compare(a.who, b.who)) })
	for _, s := range shares[:min(len(shares), maxNamed)] {
		e.From = append(e.From, s.who)
	}
	return e, true
}

// growth is what a change adds to each counter of a quota.
func (c Change) growth() map[string]resource.Quantity {
	after := c.usage(c.Desired)
	if c.Live == nil {
		return after
	}
	for name, n := range c.usage(c.Live) {
		have := after[name]
		have.Sub(n)
		after[name] = have
	}
	return after
}

// usage is what an object counts for, by the names that quotas use.
func (c Change) usage(u *unstructured.Unstructured) map[string]resource.Quantity {
	out := counters{}
	gvk := u.GroupVersionKind()
	qualified := c.Resource
	if gvk.Group != "" {
		qualified += "." + gvk.Group
	}
	out.add("count/"+qualified, *resource.NewQuantity(1, resource.DecimalSI))
	if gvk.Group == "" {
		out.add(c.Resource, *resource.NewQuantity(1, resource.DecimalSI))
	}
	switch gvk.GroupKind() {
	case schema.GroupKind{Kind: "Service"}:
		out.service(u)
	case schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		out.claim(u)
	}
	if spec, _ := PodSpec(u); spec != nil && gvk.Kind != "CronJob" {
		out.pods(spec, c.podsOf(u), gvk.Kind != "Pod")
	}
	return out
}

// podsOf is how many pods an object has at most at a time.
func (c Change) podsOf(u *unstructured.Unstructured) int64 {
	n, said := replicasOf(u)
	if !said && c.Live != nil {
		n, _ = replicasOf(c.Live)
	}
	if u == c.Live || c.Live == nil || equality.Semantic.DeepEqual(podTemplate(u), podTemplate(c.Live)) {
		return n
	}
	switch u.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}:
		return n + surge(u, n)
	case schema.GroupKind{Group: "belay.dev", Kind: "Rollout"}:
		return n + canary(u, n)
	}
	return n
}

func podTemplate(u *unstructured.Unstructured) *corev1.PodSpec {
	spec, _ := PodSpec(u)
	return spec
}

// surge is how many pods a Deployment has above its replicas during an update.
func surge(u *unstructured.Unstructured, replicas int64) int64 {
	if kind, _, _ := unstructured.NestedString(u.Object, "spec", "strategy", "type"); kind == "Recreate" {
		return 0
	}
	raw, said, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "strategy", "rollingUpdate", "maxSurge")
	if !said {
		raw = "25%"
	}
	return portion(raw, replicas)
}

// canary is how many pods a Rollout has beside its stable ones at the height of an attempt: all of them, by the time the
// last step sends all requests to the new revision.
func canary(u *unstructured.Unstructured, replicas int64) int64 {
	if scale, _, _ := unstructured.NestedString(u.Object, "spec", "strategy", "canary", "stableScale"); scale == "Dynamic" {
		return 1
	}
	return replicas
}

// portion is a count, or a percentage of replicas rounded up.
func portion(raw any, replicas int64) int64 {
	encoded, err := json.Marshal(raw)
	if err != nil {
		return 0
	}
	var value intstr.IntOrString
	if err := json.Unmarshal(encoded, &value); err != nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(&value, int(min(replicas, 1<<30)), true)
	if err != nil {
		return 0
	}
	return int64(n)
}

type counters map[string]resource.Quantity

func (c counters) add(name string, n resource.Quantity) {
	have := c[name]
	have.Add(n)
	c[name] = have
}

func (c counters) service(u *unstructured.Unstructured) {
	kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
	ports, _, _ := unstructured.NestedSlice(u.Object, "spec", "ports")
	n := *resource.NewQuantity(int64(len(ports)), resource.DecimalSI)
	switch kind {
	case "LoadBalancer":
		c.add("services.loadbalancers", *resource.NewQuantity(1, resource.DecimalSI))
		if ports, said, _ := unstructured.NestedBool(u.Object, "spec", "allocateLoadBalancerNodePorts"); ports || !said {
			c.add("services.nodeports", n)
		}
	case "NodePort":
		c.add("services.nodeports", n)
	}
}

func (c counters) claim(u *unstructured.Unstructured) {
	text, _, _ := unstructured.NestedString(u.Object, "spec", "resources", "requests", "storage")
	size, err := resource.ParseQuantity(text)
	if err != nil {
		return
	}
	c.add("requests.storage", size)
	if class, _, _ := unstructured.NestedString(u.Object, "spec", "storageClassName"); class != "" {
		c.add(class+".storageclass.storage.k8s.io/requests.storage", size)
		c.add(class+".storageclass.storage.k8s.io/persistentvolumeclaims", *resource.NewQuantity(1, resource.DecimalSI))
	}
}

// pods adds what n pods request and may use. The scheduler's rule: an init container counts where it needs more than all
// that run beside it; a sidecar (one that restarts) runs all the time.
func (c counters) pods(spec *corev1.PodSpec, n int64, counted bool) {
	requests, limits := demand(spec, requestsOf), demand(spec, limitsOf)
	if counted {
		c.add("pods", *resource.NewQuantity(n, resource.DecimalSI))
		c.add("count/pods", *resource.NewQuantity(n, resource.DecimalSI))
	}
	for name, q := range requests {
		q.Mul(n)
		c.add("requests."+string(name), q)
		if !strings.Contains(string(name), "/") {
			c.add(string(name), q)
		}
	}
	for name, q := range limits {
		q.Mul(n)
		c.add("limits."+string(name), q)
	}
}

func limitsOf(r corev1.ResourceRequirements) corev1.ResourceList { return r.Limits }

// requestsOf are the requests; a limit without a request is one.
func requestsOf(r corev1.ResourceRequirements) corev1.ResourceList {
	out := r.Requests.DeepCopy()
	for name, q := range r.Limits {
		if _, said := out[name]; !said {
			if out == nil {
				out = corev1.ResourceList{}
			}
			out[name] = q
		}
	}
	return out
}

func demand(spec *corev1.PodSpec, of func(corev1.ResourceRequirements) corev1.ResourceList) corev1.ResourceList {
	running, highest := corev1.ResourceList{}, corev1.ResourceList{}
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			plus(running, of(c.Resources))
			atLeast(highest, running)
			continue
		}
		starting := running.DeepCopy()
		plus(starting, of(c.Resources))
		atLeast(highest, starting)
	}
	for _, c := range spec.Containers {
		plus(running, of(c.Resources))
	}
	atLeast(running, highest)
	plus(running, spec.Overhead)
	return running
}

func plus(into, more corev1.ResourceList) {
	for name, q := range more {
		have := into[name]
		have.Add(q)
		into[name] = have
	}
}

func atLeast(into, other corev1.ResourceList) {
	for name, q := range other {
		if have, ok := into[name]; !ok || have.Cmp(q) < 0 {
			into[name] = q
		}
	}
}
