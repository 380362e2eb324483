package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// play lets everybody but the reconciler act until nothing moves; it says whether anybody did anything.
func (w *world) play() bool {
	w.t.Helper()
	acted := false
	if w.ledger.writes == w.quiet && w.measure() == 0 {
		return false
	}
	for range 20 {
		n := w.collect() + w.replicaSets() + w.deployments() + w.endpoints() + w.gateway() + w.measure()
		if n == 0 {
			w.quiet = w.ledger.writes
			return acted
		}
		acted = true
		w.api.remember()
	}
	w.t.Fatal("the world does not come to rest")
	return acted
}

// collect removes what belongs to nobody any more, as the garbage collector does.
func (w *world) collect() int {
	ctx, n := w.t.Context(), 0
	alive := map[types.UID]bool{}
	var all []client.Object
	for _, l := range []client.ObjectList{&v1alpha1.RolloutList{}, &appsv1.DeploymentList{}, &appsv1.ReplicaSetList{}, &corev1.PodList{}, &corev1.ServiceList{}, &v1alpha1.AnalysisRunList{}} {
		all = append(all, w.listed(ctx, l)...)
	}
	for _, o := range all {
		alive[o.GetUID()] = true
	}
	for _, o := range all {
		owners := o.GetOwnerReferences()
		if len(owners) == 0 || slices.ContainsFunc(owners, func(r metav1.OwnerReference) bool { return alive[r.UID] }) {
			continue
		}
		w.must(client.IgnoreNotFound(w.store.Delete(ctx, o)))
		n++
	}
	return n
}

// replicaSets makes, removes and counts pods.
func (w *world) replicaSets() int {
	ctx, n := w.t.Context(), 0
	var sets appsv1.ReplicaSetList
	var pods corev1.PodList
	w.list(ctx, &sets)
	w.list(ctx, &pods)
	for i := range sets.Items {
		rs := &sets.Items[i]
		var mine []*corev1.Pod
		for j := range pods.Items {
			if metav1.IsControlledBy(&pods.Items[j], rs) {
				mine = append(mine, &pods.Items[j])
			}
		}
		for len(mine) < int(*rs.Spec.Replicas) {
			mine = append(mine, w.pod(rs))
			n++
		}
		for len(mine) > int(*rs.Spec.Replicas) {
			w.must(w.store.Delete(ctx, mine[len(mine)-1]))
			mine = mine[:len(mine)-1]
			n++
		}
		ready := int32(0)
		for _, p := range mine {
			n += w.kubelet(p)
			if isReady(p) {
				ready++
			}
		}
		want := appsv1.ReplicaSetStatus{Replicas: int32(len(mine)), ReadyReplicas: ready, AvailableReplicas: ready, ObservedGeneration: rs.Generation}
		if !cmp.Equal(rs.Status, want) {
			rs.Status = want
			w.must(w.store.Status().Update(ctx, rs))
			n++
		}
	}
	return n
}

func (w *world) pod(rs *appsv1.ReplicaSet) *corev1.Pod {
	w.pods++
	p := &corev1.Pod{ObjectMeta: meta(fmt.Sprintf("%s-%d", rs.Name, w.pods)), Spec: *rs.Spec.Template.Spec.DeepCopy()}
	p.Labels = map[string]string{}
	for k, v := range rs.Spec.Template.Labels {
		p.Labels[k] = v
	}
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	stamp(p, w.clock.Now())
	w.must(w.store.Create(w.t.Context(), p))
	return p
}

func (w *world) kubelet(p *corev1.Pod) int {
	ready, broken := corev1.ConditionTrue, w.broken[p.Labels[v1alpha1.LabelRevision]]
	if broken || w.unready[p.Labels[v1alpha1.LabelRevision]] {
		ready = corev1.ConditionFalse
	}
	want := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}
	if broken {
		want.ContainerStatuses = []corev1.ContainerStatus{{Name: app, RestartCount: 5, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
	}
	if cmp.Equal(p.Status, want) {
		return 0
	}
	p.Status = want
	w.must(w.store.Status().Update(w.t.Context(), p))
	return 1
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// deployments reports what a paused Deployment would: that it has seen its spec.
func (w *world) deployments() int {
	n := 0
	var list appsv1.DeploymentList
	w.list(w.t.Context(), &list)
	for i := range list.Items {
		d := &list.Items[i]
		if d.Status.ObservedGeneration != d.Generation {
			d.Status.ObservedGeneration = d.Generation
			w.must(w.store.Status().Update(w.t.Context(), d))
			n++
		}
	}
	return n
}

// selected are the ready pods of a Service, by name.
func selected(s *corev1.Service, pods *corev1.PodList) []*corev1.Pod {
	var out []*corev1.Pod
	for i := range pods.Items {
		p, ours := &pods.Items[i], true
		for k, v := range s.Spec.Selector {
			ours = ours && p.Labels[k] == v
		}
		if ours && isReady(p) {
			out = append(out, p)
		}
	}
	return out
}

func (w *world) endpoints() int {
	ctx, n := w.t.Context(), 0
	var services corev1.ServiceList
	var pods corev1.PodList
	w.list(ctx, &services)
	w.list(ctx, &pods)
	for i := range services.Items {
		s := &services.Items[i]
		slice := &discoveryv1.EndpointSlice{ObjectMeta: meta(s.Name), AddressType: discoveryv1.AddressTypeIPv4}
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: s.Name}
		for _, p := range selected(s, &pods) {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: p.Name}})
		}
		have := &discoveryv1.EndpointSlice{}
		err := w.store.Get(ctx, client.ObjectKeyFromObject(slice), have)
		switch {
		case client.IgnoreNotFound(err) != nil:
			w.must(err)
		case err != nil:
			stamp(slice, w.clock.Now())
			w.must(w.store.Create(ctx, slice))
			n++
		case !cmp.Equal(have.Endpoints, slice.Endpoints):
			have.Endpoints = slice.Endpoints
			w.must(w.store.Update(ctx, have))
			n++
		}
	}
	return n
}

// mode is how the gateway's controller reports.
type mode string

const (
	mute    mode = "reports nothing new"
	undated mode = "never says which generation it has seen"
)

func (w *world) gateway() int {
	n := 0
	for _, r := range w.routes() {
		n += w.accept(r)
	}
	return n
}

// accept writes a route's status.
func (w *world) accept(r *unstructured.Unstructured) int {
	if w.mode == mute {
		return 0
	}
	condition := func(kind string) any {
		out := map[string]any{"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": r.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z"}
		if w.mode == undated {
			delete(out, "observedGeneration")
		}
		return out
	}
	status := map[string]any{"parents": []any{map[string]any{"controllerName": "example.com/gate", "conditions": []any{condition("Accepted"), condition("ResolvedRefs")},
		"parentRef": map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gate"}}}}
	if cmp.Equal(plain(r.Object["status"]), plain(status)) {
		return 0
	}
	r.Object["status"] = status
	w.must(w.store.Update(w.t.Context(), r))
	return 1
}

func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

// measure takes a measurement of every run, once per moment.
func (w *world) measure() int {
	ctx, n := w.t.Context(), 0
	var runs v1alpha1.AnalysisRunList
	w.list(ctx, &runs)
	now := metav1.NewTime(w.clock.Now().Truncate(time.Second))
	for i := range runs.Items {
		run := &runs.Items[i]
		last := run.Status.Metrics
		if run.Spec.State == v1alpha1.RunStopped || run.Spec.Arms == nil || len(last) > 0 && (last[0].Verdict == v1alpha1.VerdictFail || !last[0].LastPassedAt.Before(&now)) {
			continue
		}
		verdict := v1alpha1.VerdictPass
		if w.bad[run.Spec.Arms.CanaryRevision] {
			verdict = v1alpha1.VerdictFail
		}
		run.Status = v1alpha1.AnalysisRunStatus{Verdict: verdict, Message: "measured", ObservedGeneration: run.Generation,
			Metrics: []v1alpha1.MetricStatus{{Name: "errors", Mode: v1alpha1.MetricEnforce, Verdict: verdict, LastPassedAt: &now,
				Recent: []v1alpha1.Measurement{{At: now, Result: "Judged"}}}}}
		w.must(w.store.Status().Update(ctx, run))
		n++
	}
	return n
}

// refs are the weights of canary and stable, and of the others, in each rule; absent is false where a rule lacks one.
type refs struct {
	name                       string
	canary, stable, sum        int64
	hasCanary, hasStable, copy bool
}

func rules(r *unstructured.Unstructured) []refs {
	var out []refs
	list, _, _ := unstructured.NestedSlice(r.Object, "spec", "rules")
	for _, item := range list {
		rule := item.(map[string]any)
		v := refs{}
		v.name, _ = rule["name"].(string)
		backends, _ := rule["backendRefs"].([]any)
		for _, b := range backends {
			m := b.(map[string]any)
			weight := int64(1)
			if x, ok := m["weight"].(int64); ok {
				weight = x
			}
			v.sum += weight
			switch m["name"] {
			case app:
				v.stable, v.hasStable = weight, true
			case app + "-canary":
				v.canary, v.hasCanary = weight, true
			}
		}
		v.copy = v.hasCanary && !v.hasStable
		out = append(out, v)
	}
	return out
}
