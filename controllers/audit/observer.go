package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/audit"
)

var written = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "belay_audit_lines_total", Help: "Audit events, by where they go, kind of the event, and result: written, failed, dropped.",
}, []string{"to", "kind", "result"})

func init() { metrics.Registry.MustRegister(written) }

// Replay is how old an event may be that is told at the start, if the log cannot say that it was told before.
const Replay = 15 * time.Minute

// Count counts what came of an event in a place.
func Count(to, kind, result string) { written.WithLabelValues(to, kind, result).Inc() }

// Observer tells of events in one place.
type Observer struct {
	Cache cache.Cache
	To    audit.Log
	// Name of the place, for the metric: stdout, file, otlp.
	Name string
	Log  logr.Logger
	// Now is the clock; nil is the wall clock.
	Now func() time.Time
	// Remembers: the log knows what was written before this process started.
	Remembers bool
	// Counts: the log itself counts what comes of each event, since it knows later.
	Counts bool
}

// NeedLeaderElection: events are told by who acts.
func (o *Observer) NeedLeaderElection() bool { return true }

// Start tells of events until the context ends.
func (o *Observer) Start(ctx context.Context) error {
	since := o.now().Add(-Replay)
	for _, kind := range []client.Object{&v1alpha1.Sync{}, &v1alpha1.Rollout{}, &v1alpha1.Decision{}, &v1alpha1.Repository{}} {
		informer, err := o.Cache.GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watching %T for the audit: %w", kind, err)
		}
		registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(object any, initial bool) {
				if initial && !o.Remembers {
					o.tell(nil, object, since)
					return
				}
				o.tell(nil, object, time.Time{})
			},
			UpdateFunc: func(before, after any) { o.tell(before, after, time.Time{}) },
		})
		if err != nil {
			return fmt.Errorf("watching %T for the audit: %w", kind, err)
		}
		defer func() { _ = informer.RemoveEventHandler(registration) }()
	}
	<-ctx.Done()
	return nil
}

// tell writes the events of an object that are not before's, and not older than since.
func (o *Observer) tell(before, after any, since time.Time) {
	told := map[string]bool{}
	if was, ok := before.(client.Object); ok {
		for _, e := range EventsOf(was) {
			told[e.ID] = true
		}
	}
	object, ok := after.(client.Object)
	if !ok {
		return
	}
	for _, e := range EventsOf(object) {
		if told[e.ID] || e.Time.Before(since) {
			continue
		}
		if err := o.To.Write(e); err != nil {
			Count(o.Name, e.Kind, "failed")
			o.Log.Error(err, "An audit event could not be written", "kind", e.Kind, "id", e.ID)
		} else if !o.Counts {
			Count(o.Name, e.Kind, "written")
		}
	}
}

func (o *Observer) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}
