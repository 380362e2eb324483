package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

// bodies takes log records, and keeps their bodies. It answers once it may.
type bodies struct {
	mu   sync.Mutex
	got  []string
	may  chan struct{}
	came chan struct{}
}

func (b *bodies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	var data logs.LogsData
	if err != nil || proto.Unmarshal(raw, &data) != nil || r.Header.Get("Authorization") != "Bearer t0ken" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	select {
	case b.came <- struct{}{}:
	default:
	}
	<-b.may
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, record := range data.ResourceLogs[0].ScopeLogs[0].LogRecords {
		b.got = append(b.got, record.Body.GetStringValue())
	}
}

// TestG18_FileAndCollector: a manager tells a file and a collector the same of what a real API server has, and at its end sends the
// collector what it was too slow for.
func TestG18_FileAndCollector(t *testing.T) {
	env := testenv.New(t)
	b := &bodies{may: make(chan struct{}), came: make(chan struct{}, 1)}
	answer := sync.OnceFunc(func() { close(b.may) })
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	t.Cleanup(answer)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20t0ken")
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	o := options{namespaces: env.Namespace, metricsAddress: "0", probeAddress: "0", audit: file + ",otlp", auditBytes: 64 << 20, auditKeep: 5}
	mgr, err := newManager(env.Config, o)
	if err != nil {
		t.Fatal(err)
	}
	flush, err := addAudit(mgr, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(cancel)
	for _, name := range []string{"first", "second", "third"} {
		create(t, env.Client, env.Namespace, name)
	}
	lines := func() []string {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Collect(strings.Lines(string(raw)))
	}
	<-b.came // the collector has the first, and does not answer
	if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) { return len(lines()) == 3, nil }); err != nil {
		t.Fatalf("the file waits for the collector: %v: %v", err, lines())
	}
	cancel()
	select {
	case err := <-ended: // nothing waits for the collector
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the manager waits for the collector")
	}
	answer()
	flush(20 * time.Second)
	got := slices.Sorted(slices.Values(b.got))
	if want := slices.Sorted(slices.Values(lines())); len(want) != 3 || strings.Join(got, "\n")+"\n" != strings.Join(want, "") {
		t.Errorf("the collector has\n%s\nthe file\n%s", strings.Join(got, "\n"), strings.Join(want, ""))
	}
}

func create(t *testing.T, c client.Client, namespace, name string) {
	t.Helper()
	d := &v1alpha1.Decision{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	d.Spec = v1alpha1.DecisionSpec{Subject: v1alpha1.DecisionSubject{Kind: "Sync", Name: "shop"}, Action: v1alpha1.ActionResume, Actor: "jane", Reason: "a look at " + name}
	if err := c.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}
