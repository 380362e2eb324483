package node

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// measured is a node with pods that have used a number of millicores for two seconds; a negative number is a pod that is too young.
func measured(pods map[string]int) *agent {
	a := &agent{Options: Options{Name: "node-0"}, pods: map[types.UID]*pod{}}
	at := time.Now()
	for name, millis := range pods {
		p := newPod(a, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": name}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}})
		h := &p.containers[0].used
		h.begin(7)
		h.read(map[int]process{7: {}}, at.Add(-2*time.Second))
		if millis >= 0 {
			h.read(map[int]process{7: {cpu: 2 * time.Duration(millis) * time.Millisecond, memory: 1 << 20}}, at)
		}
		a.pods[types.UID(name)] = p
	}
	return a
}

func TestMetricsAPI(t *testing.T) {
	api := measured(map[string]int{"busy": 250, "idle": 0, "young": -1}).metricsAPI()
	ask := func(path string, code int, into any) {
		t.Helper()
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != code {
			t.Fatalf("%s: %d %s, want %d", path, rec.Code, rec.Body, code)
		}
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v: %s", path, err, rec.Body)
		}
	}
	var list metricsv1beta1.PodMetricsList
	ask(metricsRoot+"/namespaces/shop/pods", http.StatusOK, &list)
	if len(list.Items) != 2 || list.Items[0].Name != "busy" || list.Items[1].Name != "idle" {
		t.Fatalf("got %+v, want busy and idle: of young nothing is known yet", list.Items)
	}
	busy := list.Items[0]
	if got := busy.Containers[0].Usage; got.Cpu().MilliValue() != 250 || got.Memory().Value() != 1<<20 || busy.Window.Duration != 2*time.Second {
		t.Errorf("busy: %+v", busy)
	}
	ask(metricsRoot+"/pods?labelSelector=app%3Didle", http.StatusOK, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "idle" {
		t.Errorf("by label: %+v, want idle", list.Items)
	}
	ask(metricsRoot+"/namespaces/other/pods", http.StatusOK, &list)
	if len(list.Items) != 0 {
		t.Errorf("in another namespace: %+v, want none", list.Items)
	}
	var one metricsv1beta1.PodMetrics
	ask(metricsRoot+"/namespaces/shop/pods/busy", http.StatusOK, &one)
	if one.Name != "busy" {
		t.Errorf("by name: %+v", one)
	}
	var node metricsv1beta1.NodeMetrics
	ask(metricsRoot+"/nodes/node-0", http.StatusOK, &node)
	if node.Usage.Cpu().MilliValue() != 250 {
		t.Errorf("node: %+v, want the sum of its pods", node)
	}
	var resources metav1.APIResourceList
	ask(metricsRoot, http.StatusOK, &resources)
	if len(resources.APIResources) != 2 || resources.APIResources[1].Kind != "PodMetrics" {
		t.Errorf("discovery: %+v", resources)
	}
	var status metav1.Status
	for path, code := range map[string]int{
		metricsRoot + "/namespaces/shop/pods/young": 404, metricsRoot + "/nodes/other": 404,
		metricsRoot + "/pods?labelSelector=a%3D%3D%3D": 400, metricsRoot + "/pods?watch=true": 400,
	} {
		if ask(path, code, &status); status.Kind != "Status" || status.Message == "" {
			t.Errorf("%s: %+v", path, status)
		}
	}
}
