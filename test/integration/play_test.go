package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// podMode is how the pods of a revision fare.
type podMode string

const (
	healthy       podMode = ""
	crashLoop     podMode = "CrashLoopBackOff"
	badImage      podMode = "ImagePullBackOff"
	unschedulable podMode = "Unschedulable"
	unready       podMode = "Unready"
)

// kubelet runs pods, in its mind.
type kubelet struct{ modes map[string]podMode }

var addresses atomic.Uint32

// gateway accepts routes.
type gateway struct {
	// lags: it says nothing of new generations. refuses: it does not accept them.
	lags, refuses bool
	// kinds of routes that it serves beside HTTPRoutes, and a namespace of routes beside the world's.
	kinds []string
	edge  string
}

// analyst measures: a revision is good unless said otherwise.
type analyst struct {
	verdicts map[string]v1alpha1.RunVerdict
	// busy: a run still measures, and something may come of it.
	busy bool
}

// scene is what a namespace holds.
type scene struct {
	sets     appsv1.ReplicaSetList
	pods     corev1.PodList
	services corev1.ServiceList
	slices   discoveryv1.EndpointSliceList
	routes   unstructured.UnstructuredList
	runs     v1alpha1.AnalysisRunList
}

func (w *world) scene(ctx context.Context) (*scene, error) {
	s := &scene{}
	for _, list := range []client.ObjectList{&s.sets, &s.pods, &s.services, &s.slices, &s.runs} {
		if err := w.user.List(ctx, list, client.InNamespace(w.ns)); err != nil {
			return nil, fmt.Errorf("listing %T: %w", list, err)
		}
	}
	for _, kind := range append([]string{"HTTPRoute"}, w.gateway.kinds...) {
		if err := w.listRoutes(ctx, s, kind, w.ns); err != nil {
			return nil, err
		}
	}
	if w.gateway.edge != "" {
		return s, w.listRoutes(ctx, s, "HTTPRoute", w.gateway.edge)
	}
	return s, nil
}

func (w *world) listRoutes(ctx context.Context, s *scene, kind, namespace string) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(routeGVK.GroupVersion().WithKind(kind + "List"))
	if err := w.user.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("listing %ss: %w", kind, err)
	}
	s.routes.Items = append(s.routes.Items, list.Items...)
	return nil
}

// settle plays everybody but the controller until nothing moves.
func (w *world) settle() {
	w.t.Helper()
	w.poll("the world to rest", func(ctx context.Context) string {
		s, err := w.scene(ctx)
		if err != nil {
			return err.Error()
		}
		for _, play := range []func(context.Context, *scene) string{w.playPods, w.playRoutes, w.playRuns, settledSets, settledSlices, w.settledDeployment} {
			if why := play(ctx, s); why != "" {
				return why
			}
		}
		return ""
	})
}

func (w *world) playPods(ctx context.Context, s *scene) string {
	acted := ""
	for i := range s.pods.Items {
		p := &s.pods.Items[i]
		if p.Labels[v1alpha1.LabelAnalysisRun] != "" {
			continue // the test says what becomes of it
		}
		var err error
		want := w.kubelet.status(p)
		switch {
		case p.DeletionTimestamp != nil:
			err = w.user.Delete(ctx, p, client.GracePeriodSeconds(0))
			acted = "a pod ended"
		case !cmp.Equal(gist(p.Status), gist(want)):
			err = w.patchStatus(ctx, p, want)
			acted = "a pod changed"
		}
		if client.IgnoreNotFound(err) != nil {
			return err.Error()
		}
	}
	return acted
}

func (w *world) patchStatus(ctx context.Context, o client.Object, status any) error {
	data, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return w.user.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, data))
}

// status is what the kubelet says of a pod.
func (k *kubelet) status(p *corev1.Pod) corev1.PodStatus {
	mode := k.modes[p.Labels[v1alpha1.LabelRevision]]
	ready, scheduled := corev1.ConditionTrue, corev1.ConditionTrue
	container := corev1.ContainerStatus{Name: app, Image: p.Spec.Containers[0].Image, ImageID: "x", Ready: mode == healthy,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	if mode != healthy {
		ready = corev1.ConditionFalse
	}
	st := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs}
	switch mode {
	case crashLoop:
		container.RestartCount = 3
		container.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: string(mode), Message: "back-off"}}
	case badImage:
		container.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: string(mode), Message: "no such image"}}
		st.Phase = corev1.PodPending
	case unschedulable:
		scheduled, st.Phase = corev1.ConditionFalse, corev1.PodPending
	}
	if st.PodIP == "" && mode != unschedulable {
		n := addresses.Add(1)
		st.PodIP = fmt.Sprintf("10.%d.%d.%d", 100+n>>16, n>>8&255, n&255)
		st.PodIPs = []corev1.PodIP{{IP: st.PodIP}}
	}
	if mode != unschedulable {
		st.ContainerStatuses = []corev1.ContainerStatus{container}
	}
	at := metav1.NewTime(p.CreationTimestamp.Time)
	st.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: at},
		{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: at}, {Type: corev1.PodScheduled, Status: scheduled, LastTransitionTime: at}}
	if scheduled == corev1.ConditionFalse {
		st.Conditions[2].Reason, st.Conditions[2].Message = corev1.PodReasonUnschedulable, "0/1 nodes are available"
	}
	return st
}

// gist is what of a pod's status matters here.
func gist(s corev1.PodStatus) string {
	out := fmt.Sprint(s.Phase, s.PodIP != "")
	for _, c := range s.Conditions {
		if c.Type == corev1.PodReady || c.Type == corev1.PodScheduled {
			out += fmt.Sprint(c.Type, c.Status, c.Reason)
		}
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil {
			out += c.State.Waiting.Reason
		}
	}
	return out
}

func (w *world) playRoutes(ctx context.Context, s *scene) string {
	if w.gateway.lags {
		return ""
	}
	acted := ""
	for i := range s.routes.Items {
		r := &s.routes.Items[i]
		status := w.gateway.status(r, s)
		have, _, _ := unstructured.NestedFieldCopy(r.Object, "status")
		if cmp.Equal(plain(have), plain(status)) {
			continue
		}
		if err := w.patchStatus(ctx, r, status); err != nil {
			return err.Error()
		}
		acted = "a route was reported on"
	}
	return acted
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

func (g *gateway) status(r *unstructured.Unstructured, s *scene) map[string]any {
	accepted, resolved := "True", "True"
	if g.refuses {
		accepted = "False"
	}
	known := map[string]bool{}
	for _, svc := range s.services.Items {
		known[svc.Name] = true
	}
	for _, ref := range backends(r) {
		if !known[ref.name] {
			resolved = "False"
		}
	}
	condition := func(kind, status string) any {
		reason := map[string]string{"True": kind, "False": "Refused"}[status]
		return map[string]any{"type": kind, "status": status, "reason": reason, "message": "",
			"observedGeneration": r.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	refs, _, _ := unstructured.NestedSlice(r.Object, "spec", "parentRefs")
	parents := []any{}
	for _, ref := range refs {
		parents = append(parents, map[string]any{"controllerName": "example.com/gate", "parentRef": ref,
			"conditions": []any{condition("Accepted", accepted), condition("ResolvedRefs", resolved)}})
	}
	return map[string]any{"parents": parents}
}

// backend is one backendRef.
type backend struct {
	rule   int
	name   string
	weight int64
}

func backends(r *unstructured.Unstructured) []backend {
	var out []backend
	rules, _, _ := unstructured.NestedSlice(r.Object, "spec", "rules")
	for i, rule := range rules {
		refs, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for _, ref := range refs {
			m := ref.(map[string]any)
			b := backend{rule: i, name: m["name"].(string), weight: 1}
			if x, ok := m["weight"].(int64); ok {
				b.weight = x
			}
			out = append(out, b)
		}
	}
	return out
}

// playRuns measures once per moment.
func (w *world) playRuns(ctx context.Context, s *scene) string {
	acted := ""
	w.analyst.busy = false
	for i := range s.runs.Items {
		run := &s.runs.Items[i]
		if run.Spec.State == v1alpha1.RunStopped || run.Spec.Arms == nil || run.Spec.Metrics[0].Job != nil { // a Job is judged for real
			continue
		}
		now := metav1.NewTime(w.clock.Now().Truncate(time.Second))
		last := run.Status.Metrics
		w.analyst.busy = w.analyst.busy || run.Status.Verdict != v1alpha1.VerdictPending
		if len(last) > 0 && !last[0].LastPassedAt.Before(&now) {
			continue
		}
		verdict := v1alpha1.VerdictPass
		if v, ok := w.analyst.verdicts[run.Spec.Arms.CanaryRevision]; ok {
			verdict = v
		}
		status := v1alpha1.AnalysisRunStatus{Verdict: verdict, Message: "metric errors: " + string(verdict),
			Metrics: []v1alpha1.MetricStatus{{Name: "errors", Mode: v1alpha1.MetricEnforce, Verdict: verdict, LastPassedAt: &now,
				Recent: []v1alpha1.Measurement{{At: now, Value: "7", Result: "Passed"}}}}}
		if err := w.patchStatus(ctx, run, status); err != nil {
			return err.Error()
		}
		acted = "something was measured"
	}
	return acted
}

// settledSets: the ReplicaSet controller has made, counted and reported every pod.
func settledSets(_ context.Context, s *scene) string {
	for _, rs := range s.sets.Items {
		want := int32(1)
		if rs.Spec.Replicas != nil {
			want = *rs.Spec.Replicas
		}
		var have, ready int32
		for _, p := range s.pods.Items {
			if metav1.IsControlledBy(&p, &rs) && p.DeletionTimestamp == nil {
				have++
				if isReady(&p) {
					ready++
				}
			}
		}
		st := rs.Status
		if rs.DeletionTimestamp != nil || st.ObservedGeneration < rs.Generation || have != want || st.Replicas != want || st.ReadyReplicas != ready || st.AvailableReplicas != ready {
			return fmt.Sprintf("ReplicaSet %s: want %d have %d ready %d, status %+v", rs.Name, want, have, ready, st)
		}
	}
	return ""
}

// settledDeployment: its controller has seen the last change, and counts what it owns.
func (w *world) settledDeployment(ctx context.Context, s *scene) string {
	if !w.deploys {
		return ""
	}
	d := &appsv1.Deployment{}
	if err := w.user.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: deployment}, d); err != nil {
		return errorText(client.IgnoreNotFound(err))
	}
	var pods int32
	for i := range s.sets.Items {
		if metav1.IsControlledBy(&s.sets.Items[i], d) {
			pods += s.sets.Items[i].Status.Replicas
		}
	}
	if st := d.Status; st.ObservedGeneration < d.Generation || st.Replicas != pods {
		return fmt.Sprintf("the Deployment controller counts %d of %d pods", st.Replicas, pods)
	}
	return ""
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func isReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// selected are the ready pods that a Service selects.
func selected(s *corev1.Service, pods []corev1.Pod) map[string]*corev1.Pod {
	out := map[string]*corev1.Pod{}
	for i := range pods {
		if p := &pods[i]; len(s.Spec.Selector) > 0 && isReady(p) && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.Labels)) {
			out[p.Name] = p
		}
	}
	return out
}

// settledSlices: the EndpointSlice controller says what the selectors say.
func settledSlices(_ context.Context, s *scene) string {
	for i := range s.services.Items {
		svc := &s.services.Items[i]
		if len(svc.Spec.Selector) == 0 || svc.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		have := map[string]bool{}
		for _, slice := range s.slices.Items {
			for _, e := range slice.Endpoints {
				if slice.Labels[discoveryv1.LabelServiceName] == svc.Name && e.Conditions.Ready != nil && *e.Conditions.Ready && e.TargetRef != nil {
					have[e.TargetRef.Name] = true
				}
			}
		}
		want := slices.Sorted(maps.Keys(selected(svc, s.pods.Items)))
		if !slices.Equal(slices.Sorted(maps.Keys(have)), want) {
			return fmt.Sprintf("Service %s: endpoints %v, want %v", svc.Name, have, want)
		}
	}
	return ""
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
