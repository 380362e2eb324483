package sync

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// maxManagers is how many names of field managers become labels: a client chooses its name.
const maxManagers = 64

var (
	drifts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "belay_drift_total",
		Help: "Objects found not to be as Git declares them, by namespace of the Sync, class, field manager and what became of it.",
	}, []string{"namespace", "class", "manager", "state"})
	drifted = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "belay_drift_objects",
		Help: "Objects of a Sync that are not as Git declares them now, by state.",
	}, []string{"namespace", "sync", "state"})
)

func init() { metrics.Registry.MustRegister(drifts, drifted) }

// names are what was used as labels.
var names = struct {
	mu       sync.Mutex
	managers map[string]bool
	syncs    map[types.UID][2]string
}{managers: map[string]bool{}, syncs: map[types.UID][2]string{}}

func countDrift(sync *v1alpha1.Sync, o v1alpha1.DriftedObject) {
	manager := "unknown"
	if o.Writer != nil {
		manager = o.Writer.Manager
	}
	names.mu.Lock()
	if !names.managers[manager] {
		if len(names.managers) >= maxManagers {
			manager = "other"
		}
		names.managers[manager] = true
	}
	names.mu.Unlock()
	drifts.WithLabelValues(sync.Namespace, string(o.Class), manager, string(o.State)).Inc()
}

// setDriftMetrics sets the gauges of a Sync; none where nothing differs.
func setDriftMetrics(sync *v1alpha1.Sync, status *v1alpha1.SyncDriftStatus) {
	drifted.DeletePartialMatch(prometheus.Labels{"namespace": sync.Namespace, "sync": sync.Name})
	if status == nil {
		return
	}
	names.mu.Lock()
	names.syncs[sync.UID] = [2]string{sync.Namespace, sync.Name}
	names.mu.Unlock()
	for _, o := range status.Objects {
		if o.State != v1alpha1.DriftCorrected {
			drifted.WithLabelValues(sync.Namespace, sync.Name, string(o.State)).Inc()
		}
	}
}

func forgetDriftMetrics(uid types.UID) {
	names.mu.Lock()
	of, known := names.syncs[uid]
	delete(names.syncs, uid)
	names.mu.Unlock()
	if known {
		drifted.DeletePartialMatch(prometheus.Labels{"namespace": of[0], "sync": of[1]})
	}
}
