package otlp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

const (
	maxEvents   = 4096
	maxBytes    = 16 << 20
	batchEvents = 512
	batchBytes  = 1 << 20
	// overhead is about what a record takes beside its texts.
	overhead = 2 << 10

	firstWait = time.Second
	mostWait  = 30 * time.Second
	// patience is how long a batch is tried.
	patience = time.Hour
)

// bounds of a queue: what it holds, and for how long it is tried.
type bounds struct {
	events, bytes         int
	first, most, patience time.Duration
}

type item struct {
	record *logs.LogRecord
	kind   string
	size   int
}

// queue keeps records until they were sent, or there is no room.
type queue struct {
	to     *connection
	bounds bounds
	told   func(kind, result string)
	log    logr.Logger

	mu     sync.Mutex
	items  []item
	bytes  int
	closed bool

	wake, closing, done chan struct{}
	// ctx ends when nothing is sent any more.
	ctx    context.Context
	cancel context.CancelFunc

	burst burst
}

func newQueue(to *connection, b bounds, o Options) *queue {
	q := &queue{to: to, bounds: b, told: o.Told, log: o.Log.WithValues("collector", to.settings.Host()),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.run()
	return q
}

// add takes a record in, and drops the oldest where there is no room.
func (q *queue) add(kind string, record *logs.LogRecord) {
	if out, closed := q.put(item{record: record, kind: kind, size: overhead + proto.Size(record)}); closed {
		q.drop(out, "the manager stops")
	} else if len(out) > 0 {
		q.drop(out, fmt.Sprintf("the queue of %d events or %d MiB is full", q.bounds.events, q.bounds.bytes>>20))
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// put returns what there is no room for.
func (q *queue) put(in item) (out []item, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return []item{in}, true
	}
	q.items, q.bytes = append(q.items, in), q.bytes+in.size
	n := 0
	for len(q.items)-n > q.bounds.events || q.bytes > q.bounds.bytes && len(q.items)-n > 1 {
		q.bytes -= q.items[n].size
		n++
	}
	out = append(out, q.items[:n]...)
	clear(q.items[:n])
	q.items = q.items[n:]
	return out, false
}

// take takes a batch from the head, and says whether there will be no more.
func (q *queue) take() (batch []item, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.items) && n < batchEvents && (n == 0 || size+q.items[n].size <= batchBytes) {
		size += q.items[n].size
		n++
	}
	batch = append(batch, q.items[:n]...)
	clear(q.items[:n])
	q.items, q.bytes = q.items[n:], q.bytes-size
	if len(q.items) == 0 {
		q.items = nil // and the array below it
	}
	return batch, q.closed
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

func (q *queue) run() {
	defer close(q.done)
	for {
		batch, closed := q.take()
		switch {
		case len(batch) > 0:
			q.deliver(batch)
		case closed:
			return
		default:
			select {
			case <-q.wake:
			case <-q.closing:
			}
		}
	}
}

// deliver sends a batch until the collector takes or refuses it, or time is up; once more where the manager stops.
func (q *queue) deliver(batch []item) {
	records := make([]*logs.LogRecord, len(batch))
	for i := range batch {
		records[i] = batch[i].record
	}
	body, err := q.to.encode(records)
	if err != nil {
		q.drop(batch, "they could not be encoded")
		return
	}
	began := time.Now()
	for wait := q.bounds.first; ; wait = min(2*wait, q.bounds.most) {
		last := q.stopping()
		a := q.to.send(q.ctx, body)
		switch {
		case a.why == "":
			q.taken(batch, a.rejected)
			return
		case !a.again:
			q.drop(batch, a.why+", which is final; its own log may say more")
			return
		case last:
			q.drop(batch, a.why+", and the manager stops")
			return
		case time.Since(began) > q.bounds.patience:
			q.drop(batch, fmt.Sprintf("%s, for %s", a.why, q.bounds.patience))
			return
		}
		if q.burst.troubled() {
			q.log.Info("The collector does not take audit events; they are kept in memory, and sent again", "why", a.why)
		}
		q.pause(max(wait/2+rand.N(wait/2+1), a.after))
	}
}

func (q *queue) stopping() bool {
	select {
	case <-q.closing:
		return true
	default:
		return false
	}
}

func (q *queue) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.closing:
	}
}

// taken counts a batch that the collector has. It does not say which records it rejected, only how many.
func (q *queue) taken(batch []item, rejected int) {
	n := len(batch) - min(rejected, len(batch))
	for _, i := range batch[:n] {
		q.told(i.kind, Written)
	}
	if n < len(batch) {
		q.drop(batch[n:], "it rejects some of a request; its own log may say why")
	} else if lost, over := q.burst.over(q.waiting() == 0); over {
		q.log.Info("The collector takes audit events again", "lost", lost)
	}
}

func (q *queue) drop(items []item, why string) {
	for _, i := range items {
		q.told(i.kind, Dropped)
	}
	if q.burst.lose(len(items)) {
		q.log.Error(nil, "Audit events are lost: they do not reach the collector", "why", why)
	}
}

// close sends what there is, until the context ends.
func (q *queue) close(ctx context.Context) {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	if first {
		close(q.closing)
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		q.cancel()
		<-q.done // nothing is waited for any more
	}
	q.cancel()
	q.to.client.CloseIdleConnections()
	if lost, over := q.burst.over(true); over {
		q.log.Info("Sending audit events has stopped", "lost", lost)
	}
}

// burst is a time in which the collector does not take all that there is, from the first request or event on that it concerns until
// the queue is empty. It is told of once: that it does not answer, that events are lost, and that it is over.
type burst struct {
	mu             sync.Mutex
	silent, losing bool
	lost           int
}

// troubled is true where it is to be told.
func (b *burst) troubled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.silent
	b.silent = true
	return !was
}

// lose is true where it is to be told.
func (b *burst) lose(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.losing
	b.losing, b.lost = true, b.lost+n
	return !was
}

// over ends a burst, if there is one and the queue is empty.
func (b *burst) over(empty bool) (lost int, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !empty || !b.silent && !b.losing {
		return 0, false
	}
	lost = b.lost
	b.silent, b.losing, b.lost = false, false, 0
	return lost, true
}
