package otlp

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/belay-delivery/belay/internal/audit"
)

// collector is a receiver of OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	records  []*logs.LogRecord
	resource map[string]string
	requests []*http.Request
	// answer, if any, answers instead: true where the records are not taken.
	answer func(n int, w http.ResponseWriter, r *http.Request) bool
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests = append(c.requests, r)
	n := len(c.requests)
	answer := c.answer
	c.mu.Unlock()
	if answer != nil && answer(n, w, r) {
		return
	}
	var body io.Reader = http.MaxBytesReader(w, r.Body, 4<<20)
	var err error
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	raw, err := io.ReadAll(body)
	var request collogs.ExportLogsServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &request)
	}
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	for _, of := range request.ResourceLogs {
		c.resource = texts(of.Resource.Attributes)
		for _, scope := range of.ScopeLogs {
			c.records = append(c.records, scope.LogRecords...)
		}
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
	raw, _ = proto.Marshal(&collogs.ExportLogsServiceResponse{})
	_, _ = w.Write(raw)
}

func (c *collector) seen() []*logs.LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.records)
}

func (c *collector) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.requests)
}

func texts(attributes []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range attributes {
		out[kv.Key] = kv.Value.GetStringValue()
	}
	return out
}

// sender is a Log with what it says and counts.
type sender struct {
	*Log
	mu     sync.Mutex
	said   []string
	counts map[string]int
	told   chan struct{}
}

// quick are bounds for tests: as in service, but waits are short.
var quick = bounds{events: maxEvents, bytes: maxBytes, first: time.Millisecond, most: 5 * time.Millisecond, patience: time.Hour}

func send(t *testing.T, b bounds, env map[string]string) *sender {
	t.Helper()
	settings, err := FromEnvironment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{counts: map[string]int{}, told: make(chan struct{}, 1)}
	notice := func() {
		select {
		case s.told <- struct{}{}:
		default:
		}
	}
	log := funcr.New(func(prefix, args string) {
		s.mu.Lock()
		s.said = append(s.said, prefix+" "+args)
		s.mu.Unlock()
		notice()
	}, funcr.Options{Verbosity: 10})
	count := func(kind, result string) {
		s.mu.Lock()
		s.counts[kind+" "+result]++
		s.mu.Unlock()
		notice()
	}
	s.Log = newLog(settings, Options{Version: "v1.2.3", Log: log, Told: count}, b)
	t.Cleanup(func() { s.close(0) })
	return s
}

func (s *sender) close(most time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	s.Close(ctx)
}

func (s *sender) put(t *testing.T, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := s.Write(event(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *sender) count(result string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, count := range s.counts {
		if strings.HasSuffix(key, " "+result) {
			n += count
		}
	}
	return n
}

func (s *sender) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

// until waits for what the sender counts or says.
func (s *sender) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-s.told:
		case <-late:
			t.Fatalf("not %s: %v\n%s", what, s.counts, s.log())
		}
	}
}

func event(n int) audit.Event {
	return audit.Event{Time: time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC), Kind: audit.KindAttempt, Actor: "belay", Trigger: "Verdict", Outcome: "RolledBack", Reason: "AnalysisFailed",
		Commit: fmt.Sprintf("c%d", n), Digest: "6b8f", Message: "errors: 4.1 % against 0.2 %", Links: []audit.Link{{Rel: "analysisRun", Target: "checkout-3"}},
		Subject: audit.Subject{Kind: "Rollout", Namespace: "shop", Name: "checkout", UID: "u"}, Object: fmt.Sprint("attempt ", n)}.Seal(n)
}

// inOrder: these are the events from the first on, whole.
func inOrder(t *testing.T, records []*logs.LogRecord, from, to int) {
	t.Helper()
	if len(records) != to-from {
		t.Fatalf("%d records, want %d", len(records), to-from)
	}
	for i, r := range records {
		want := event(from + i)
		line, err := audit.Line(want)
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.GetStringValue() != string(line) || r.TimeUnixNano != uint64(want.Time.UnixNano()) {
			t.Fatalf("record %d is %v, want %s", i, r, line)
		}
	}
}

func at(c *collector) map[string]string {
	return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL}
}

// TestG18_OTLPWholeAndInOrder: a collector has each event once, as it would be in a file, with what people filter by.
func TestG18_OTLPWholeAndInOrder(t *testing.T) {
	for _, compression := range []string{"none", "gzip"} {
		t.Run(compression, func(t *testing.T) {
			c := newCollector(t)
			env := at(c)
			env["OTEL_EXPORTER_OTLP_COMPRESSION"], env["OTEL_EXPORTER_OTLP_HEADERS"] = compression, "authorization=Bearer%20t0ken, x-tenant = a%2Cb"
			env["OTEL_RESOURCE_ATTRIBUTES"] = "k8s.cluster.name=prod"
			s := send(t, quick, env)
			s.put(t, 0, 2000)
			s.close(20 * time.Second)
			inOrder(t, c.seen(), 0, 2000)
			if got := s.counts; len(got) != 1 || got["Attempt written"] != 2000 || s.log() != "" {
				t.Errorf("counted %v, said %s", got, s.log())
			}
			if c.resource["service.name"] != "belay" || c.resource["service.version"] != "v1.2.3" || c.resource["k8s.cluster.name"] != "prod" {
				t.Errorf("resource %v", c.resource)
			}
			r := c.seen()[3]
			want := map[string]string{"log.record.uid": event(3).ID, "k8s.namespace.name": "shop", "k8s.object.kind": "Rollout", "k8s.object.name": "checkout", "k8s.object.uid": "u",
				"vcs.ref.head.revision": "c3", "belay.kind": "Attempt", "belay.object": "attempt 3", "belay.actor": "belay", "belay.trigger": "Verdict", "belay.digest": "6b8f",
				"belay.outcome": "RolledBack", "belay.reason": "AnalysisFailed"}
			if got := texts(r.Attributes); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("attributes %v, want %v", got, want)
			}
			if r.EventName != "belay.audit.attempt" || r.SeverityNumber != logs.SeverityNumber_SEVERITY_NUMBER_WARN || r.SeverityText != "WARN" || r.ObservedTimeUnixNano == 0 {
				t.Errorf("record %v", r)
			}
			for _, request := range c.requests {
				if request.URL.Path != "/v1/logs" || request.Header.Get("Authorization") != "Bearer t0ken" || request.Header.Get("X-Tenant") != "a,b" {
					t.Errorf("%s with %v", request.URL, request.Header)
				}
			}
		})
	}
}

// TestG18_OTLPCollectorDown: nobody waits, what there is room for is kept and arrives later, and the rest is counted and told once.
func TestG18_OTLPCollectorDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	b := quick
	b.events = 1000
	s := send(t, b, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + address})
	s.put(t, 0, 1)
	s.until(t, "told that it is down", func() bool { return strings.Contains(s.log(), "does not take") })
	s.put(t, 1, 5001) // the first is under way, 1000 wait
	if got := s.count(Dropped); got != 4000 {
		t.Errorf("%d dropped, want 4000", got)
	}
	c := &collector{}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	c.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: c}}
	c.Start()
	t.Cleanup(c.Close)
	s.until(t, "told that it is over", func() bool { return strings.Contains(s.log(), "takes audit events again") })
	records := c.seen()
	inOrder(t, records[:1], 0, 1)
	inOrder(t, records[1:], 4001, 5001)
	if s.count(Written) != 1001 {
		t.Errorf("%v", s.counts)
	}
	for what, want := range map[string]int{"does not take audit events": 1, "are lost": 1, "takes audit events again": 1, `"lost"=4000`: 1, "refused": 1, "queue of 1000 events": 1} {
		if got := strings.Count(s.log(), what); got != want {
			t.Errorf("%q is said %d times, want %d:\n%s", what, got, want, s.log())
		}
	}
}

// TestG18_OTLPSlowCollector: memory is bounded, in bytes too, and nobody waits.
func TestG18_OTLPSlowCollector(t *testing.T) {
	c := newCollector(t)
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	c.answer = func(int, http.ResponseWriter, *http.Request) bool { <-held; return false }
	s := send(t, quick, at(c))
	fat := event(0)
	fat.Message, fat.Reason, fat.Actor, fat.Digest = strings.Repeat("m", 2000), strings.Repeat("r", 2000), strings.Repeat("a", 2000), strings.Repeat("d", 2000)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, longest := heap(), time.Duration(0)
	const n = 20000 // about 350 MB, were they kept
	for i := range n {
		began := time.Now()
		if err := s.Write(fat.Seal(i)); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(began))
	}
	grown := int64(heap()) - int64(before)
	t.Logf("heap has grown by %d KiB, the longest write took %s", grown>>10, longest)
	if grown > 2*maxBytes || s.queue.waiting() > maxEvents {
		t.Errorf("the heap has grown by %d bytes, %d wait", grown, s.queue.waiting())
	}
	kept := n - s.count(Dropped)
	release()
	s.close(20 * time.Second)
	if s.count(Written) != kept || len(c.seen()) != kept || kept < 500 {
		t.Errorf("kept %d, %d arrived, counted %v", kept, len(c.seen()), s.counts)
	}
}

// TestG18_OTLPTriedAgain: a batch is tried again until it is taken; where the answer was lost it is there twice, with the same ID.
func TestG18_OTLPTriedAgain(t *testing.T) {
	c := newCollector(t)
	c.answer = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1, 2, 3:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway}[n-1])
			return true
		case 4: // takes it, and dies before it says so
			c.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		return false
	}
	s := send(t, quick, at(c))
	s.put(t, 0, 1)
	s.until(t, "written", func() bool { return s.count(Written) == 1 })
	records := c.seen()
	if len(records) != 2 || texts(records[0].Attributes)["log.record.uid"] != texts(records[1].Attributes)["log.record.uid"] {
		t.Errorf("records %v", records)
	}
	if s.count(Dropped) != 0 || strings.Count(s.log(), "does not take") != 1 || !strings.Contains(s.log(), "503 Service Unavailable") {
		t.Errorf("%v\n%s", s.counts, s.log())
	}
}

// TestG18_OTLPGivesUp: a batch is not tried for ever, and what is final is not tried again, nor sent elsewhere.
func TestG18_OTLPGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		why  string
	}{
		"in the end": {http.StatusServiceUnavailable, "503 Service Unavailable, for 20ms"},
		"at once":    {http.StatusUnauthorized, "401 Unauthorized, which is final"},
		"redirected": {http.StatusTemporaryRedirect, "307 Temporary Redirect, which is final"},
	} {
		t.Run(name, func(t *testing.T) {
			c, other := newCollector(t), newCollector(t)
			c.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Location", other.URL)
				w.WriteHeader(test.code)
				return true
			}
			b := quick
			b.patience = 20 * time.Millisecond
			s := send(t, b, at(c))
			s.put(t, 0, 1)
			s.until(t, "told", func() bool { return strings.Contains(s.log(), "are lost") })
			if s.count(Dropped) != 1 || other.asked() != 0 || !strings.Contains(s.log(), test.why) || (c.asked() > 1) != (name == "in the end") {
				t.Errorf("%v, asked %d times, %d elsewhere\n%s", s.counts, c.asked(), other.asked(), s.log())
			}
		})
	}
}

// TestG18_OTLPRejectedInPart: what a collector rejects of a request that it takes is lost too.
func TestG18_OTLPRejectedInPart(t *testing.T) {
	c := newCollector(t)
	c.answer = func(n int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/x-protobuf")
		raw, _ := proto.Marshal(&collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "Bearer t0ken"}})
		_, _ = w.Write(raw)
		return true
	}
	s := send(t, quick, at(c))
	s.put(t, 0, 1)
	s.until(t, "said", func() bool { return strings.Contains(s.log(), "rejects some") })
	if s.count(Dropped) != 1 || s.count(Written) != 0 || strings.Contains(s.log(), "t0ken") {
		t.Errorf("%v\n%s", s.counts, s.log())
	}
}

// TestG18_OTLPStops: the end waits for a collector for as long as it is told, and says what is lost.
func TestG18_OTLPStops(t *testing.T) {
	c := newCollector(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	c.answer = func(int, http.ResponseWriter, *http.Request) bool { <-release; return true }
	s := send(t, quick, at(c))
	s.put(t, 0, 700)
	began := time.Now()
	s.close(50 * time.Millisecond)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	s.put(t, 700, 701)
	if s.count(Dropped) != 701 || strings.Count(s.log(), "are lost") != 2 || !strings.Contains(s.log(), `"lost"=700`) {
		t.Errorf("%v\n%s", s.counts, s.log())
	}
	s.close(0) // again
}
