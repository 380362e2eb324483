package sync

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
	"github.com/belay-delivery/belay/controllers/repository"
)

// TestG04_NoticedAtOnce measures, with the manager as it runs in a cluster, how long it takes from an edit being sent to the
// value of Git being seen back on a watch: noticed, looked at, recorded and corrected. It prints the distribution
// (`make bench-drift`; BELAY_DRIFT_EDITS says how many edits).
func TestG04_NoticedAtOnce(t *testing.T) {
	const objects = 25
	edits := 50
	if n, err := strconv.Atoi(os.Getenv("BELAY_DRIFT_EDITS")); err == nil {
		edits = n
	}
	w := newWorld(t)
	mgr, err := ctrl.NewManager(w.env.Config, ctrl.Options{
		Scheme: w.env.Scheme, Metrics: server.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{w.env.Namespace: {}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for i := range objects {
		files[fmt.Sprintf("apps/%d.yaml", i)] = configMap(fmt.Sprint("c", i), "git")
	}
	w.start(v1alpha1.PruneDisabled, files, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Drift.Fight.Corrections = 100 })
	syncs := &Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Config: mgr.GetConfig(), Source: repository.NewSource(mgr.GetAPIReader(), false),
		Recorder: mgr.GetEventRecorder("belay-test"), Drift: &drift.Tracker{Log: logr.Discard()}}
	if err := syncs.SetupWithManager(mgr, Options{}); err != nil {
		t.Fatal(err)
	}
	noticed := make(chan time.Time, 1000)
	tell := syncs.Drift.Tell
	syncs.Drift.Tell = func(key types.NamespacedName) { noticed <- time.Now(); tell(key) }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	w.until(func() bool {
		var s v1alpha1.Sync
		w.get("shop", &s)
		ready := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == s.Generation
	})
	watching, err := client.NewWithWatch(w.env.Config, client.Options{Scheme: w.env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := watching.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(w.env.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()
	var took, notice []time.Duration
	for i := range edits {
		name := fmt.Sprint("c", i%objects)
		patch := client.RawPatch("application/merge-patch+json", []byte(fmt.Sprintf(`{"data":{"key":"edit-%d"}}`, i)))
		for len(noticed) > 0 {
			<-noticed
		}
		sent := time.Now()
		if err := w.env.Client.Patch(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: name}}, patch, client.FieldOwner("kubectl-edit")); err != nil {
			t.Fatal(err)
		}
		edited, limit := false, time.After(30*time.Second)
		for back := false; !back; {
			select {
			case event := <-seen.ResultChan():
				cm, ok := event.Object.(*corev1.ConfigMap)
				if !ok || cm.Name != name {
					continue
				}
				edited = edited || cm.Data["key"] == fmt.Sprint("edit-", i)
				back = edited && cm.Data["key"] == "git"
			case <-limit:
				t.Fatalf("edit %d was not corrected", i)
			}
		}
		took, notice = append(took, time.Since(sent)), append(notice, (<-noticed).Sub(sent))
	}
	for what, list := range map[string][]time.Duration{"noticed": notice, "corrected": took} {
		slices.Sort(list)
		at := func(q float64) time.Duration { return list[int(q*float64(len(list)-1))].Round(time.Millisecond) }
		t.Logf("%d edits, from sending to %s: p50 %s, p90 %s, p99 %s, max %s", edits, what, at(.5), at(.9), at(.99), at(1))
		if at(.99) > 10*time.Second {
			t.Errorf("%s: p99 is %s", what, at(.99))
		}
	}
}
