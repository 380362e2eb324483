package node

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

const (
	metricsGroup   = metricsv1beta1.GroupName
	metricsVersion = "v1beta1"
	metricsRoot    = "/apis/" + metricsGroup + "/" + metricsVersion
)

// metricsAPI answers what metrics.k8s.io/v1beta1 is asked: discovery, and what pods and this node use.
func (a *agent) metricsAPI() http.Handler {
	mux := http.NewServeMux()
	version := metav1.GroupVersionForDiscovery{GroupVersion: metricsGroup + "/" + metricsVersion, Version: metricsVersion}
	group := metav1.APIGroup{Name: metricsGroup, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}
	meta := func(kind, version string) metav1.TypeMeta { return metav1.TypeMeta{Kind: kind, APIVersion: version} }
	discovery := map[string]any{
		"GET /apis": metav1.APIGroupList{TypeMeta: meta("APIGroupList", "v1"), Groups: []metav1.APIGroup{group}},
		"GET /apis/" + metricsGroup: metav1.APIGroup{TypeMeta: meta("APIGroup", "v1"), Name: group.Name,
			Versions: group.Versions, PreferredVersion: version},
		"GET " + metricsRoot: metav1.APIResourceList{TypeMeta: meta("APIResourceList", "v1"), GroupVersion: version.GroupVersion,
			APIResources: []metav1.APIResource{
				{Name: "nodes", Kind: "NodeMetrics", Verbs: metav1.Verbs{"get", "list"}},
				{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: metav1.Verbs{"get", "list"}},
			}},
	}
	for pattern, answer := range discovery {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, answer) })
	}
	mux.HandleFunc("GET "+metricsRoot+"/nodes", a.listNodes)
	mux.HandleFunc("GET "+metricsRoot+"/nodes/{name}", a.getNode)
	mux.HandleFunc("GET "+metricsRoot+"/pods", a.listPods)
	mux.HandleFunc("GET "+metricsRoot+"/namespaces/{namespace}/pods", a.listPods)
	mux.HandleFunc("GET "+metricsRoot+"/namespaces/{namespace}/pods/{name}", a.getPod)
	return mux
}

func (a *agent) listPods(w http.ResponseWriter, r *http.Request) {
	selector, ok := selectorOf(w, r)
	if !ok {
		return
	}
	list := metricsv1beta1.PodMetricsList{TypeMeta: metricsType("PodMetricsList"), Items: []metricsv1beta1.PodMetrics{}}
	for _, p := range a.running() {
		m, there := p.metrics()
		if in := r.PathValue("namespace"); there && (in == "" || in == m.Namespace) && selector.Matches(labels.Set(m.Labels)) {
			list.Items = append(list.Items, m)
		}
	}
	slices.SortFunc(list.Items, func(a, b metricsv1beta1.PodMetrics) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	reply(w, http.StatusOK, list)
}

func (a *agent) getPod(w http.ResponseWriter, r *http.Request) {
	for _, p := range a.running() {
		if m, there := p.metrics(); there && m.Namespace == r.PathValue("namespace") && m.Name == r.PathValue("name") {
			reply(w, http.StatusOK, m)
			return
		}
	}
	refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("podmetrics.metrics.k8s.io %q not found", r.PathValue("name")))
}

func (a *agent) listNodes(w http.ResponseWriter, r *http.Request) {
	selector, ok := selectorOf(w, r)
	if !ok {
		return
	}
	list := metricsv1beta1.NodeMetricsList{TypeMeta: metricsType("NodeMetricsList"), Items: []metricsv1beta1.NodeMetrics{}}
	if m := a.metrics(); selector.Matches(labels.Set(m.Labels)) {
		list.Items = append(list.Items, m)
	}
	reply(w, http.StatusOK, list)
}

func (a *agent) getNode(w http.ResponseWriter, r *http.Request) {
	if name := r.PathValue("name"); name != a.Name {
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("nodemetrics.metrics.k8s.io %q not found", name))
		return
	}
	reply(w, http.StatusOK, a.metrics())
}

// metrics returns what a pod uses; false while that is not known of every container.
func (p *pod) metrics() (metricsv1beta1.PodMetrics, bool) {
	obj := p.object()
	m := metricsv1beta1.PodMetrics{TypeMeta: metricsType("PodMetrics"),
		ObjectMeta: metav1.ObjectMeta{Name: obj.Name, Namespace: obj.Namespace, Labels: obj.Labels, CreationTimestamp: metav1.Now()}}
	for _, c := range p.containers {
		u, known := c.used.usage()
		if !known {
			return m, false
		}
		m.Timestamp, m.Window = metav1.NewTime(u.at), metav1.Duration{Duration: u.window}
		m.Containers = append(m.Containers, metricsv1beta1.ContainerMetrics{Name: c.spec.Name, Usage: amounts(u)})
	}
	return m, true
}

// metrics returns what the node uses: its pods, since the rest of the machine is not the node's.
func (a *agent) metrics() metricsv1beta1.NodeMetrics {
	sum := usage{at: time.Now(), window: usageWindow}
	for _, p := range a.running() {
		for _, c := range p.containers {
			if u, known := c.used.usage(); known {
				sum.cpu, sum.memory = sum.cpu+u.cpu, sum.memory+u.memory
			}
		}
	}
	return metricsv1beta1.NodeMetrics{TypeMeta: metricsType("NodeMetrics"),
		ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: a.labels(), CreationTimestamp: metav1.Now()},
		Timestamp:  metav1.NewTime(sum.at), Window: metav1.Duration{Duration: sum.window}, Usage: amounts(sum)}
}

func amounts(u usage) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(int64(math.Round(u.cpu*1e9)), resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(u.memory, resource.BinarySI),
	}
}

func metricsType(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: kind, APIVersion: metricsGroup + "/" + metricsVersion}
}

// selectorOf returns the labels asked for, or has refused what this server cannot do.
func selectorOf(w http.ResponseWriter, r *http.Request) (labels.Selector, bool) {
	q := r.URL.Query()
	selector, err := labels.Parse(q.Get("labelSelector"))
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "labelSelector: "+err.Error())
	case q.Get("fieldSelector") != "" || q.Get("watch") == "true" || q.Get("watch") == "1":
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "this server knows neither fieldSelector nor watch")
	default:
		return selector, true
	}
	return nil, false
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	reply(w, code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: message})
}

func reply(w http.ResponseWriter, code int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(text) // whoever asked has gone
}
