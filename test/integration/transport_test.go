package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// breaker stands between a manager and the API server, and breaks what goes through: requests are not sent, their answers
// are lost or are errors, frames of watches are held up, or lost, after which the watch ends with 410 Gone.
type breaker struct {
	w *world
	// lag is how long a frame of a watch is held up at most.
	lag time.Duration
	// writes of all managers of a world go one by one, and the invariants are asked for after each.
	writes *sync.Mutex

	mu     sync.Mutex
	chance *rand.Rand
	off    bool

	cut, lost, refused, held, dropped, expired, written atomic.Int64
}

var errCut = errors.New("the test cut the connection")

// roll says whether something of so many in a thousand happens.
func (b *breaker) roll(thousandths int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.off && b.chance.IntN(1000) < thousandths
}

func (b *breaker) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.off {
		return 0
	}
	return time.Duration(b.chance.Int64N(int64(b.lag)))
}

func (b *breaker) heal() {
	b.mu.Lock()
	b.off = true
	b.mu.Unlock()
}

func (b *breaker) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		resource, verb := requested(r)
		switch {
		case verb == "watch":
			return b.watch(next, r)
		case resource == "" || strings.HasPrefix(resource, "events"):
			return next.RoundTrip(r)
		case r.Method == http.MethodGet:
			return b.send(next, r)
		}
		b.writes.Lock()
		defer b.writes.Unlock()
		b.written.Add(1)
		response, err := b.send(next, r)
		b.w.check(verb + " " + resource)
		return response, err
	})
}

// send sends a request, unless it is cut off before, refused, or its answer lost.
func (b *breaker) send(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	switch {
	case b.roll(30):
		b.cut.Add(1)
		return nil, errCut
	case b.roll(30):
		b.refused.Add(1)
		code := []int{http.StatusInternalServerError, http.StatusGatewayTimeout, http.StatusServiceUnavailable}[b.refused.Load()%3]
		return status(r, code, "InternalError", "broken by the test"), nil
	}
	response, err := next.RoundTrip(r)
	if err == nil && r.Method != http.MethodGet && b.roll(60) {
		b.lost.Add(1)
		_ = response.Body.Close()
		return nil, errCut
	}
	return response, err
}

func status(r *http.Request, code int, reason, message string) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":%q}`, reason, code, message)
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func (b *breaker) watch(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if b.roll(100) {
		b.expired.Add(1)
		return status(r, http.StatusGone, "Expired", "too old resource version"), nil
	}
	response, err := next.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	out, in := io.Pipe()
	body := response.Body
	response.Body = &frames{Reader: out, close: func() error { _ = out.Close(); return body.Close() }}
	go b.pump(body, in)
	return response, nil
}

type frames struct {
	io.Reader
	close func() error
}

func (f *frames) Close() error { return f.close() }

// pump hands frames on: late, or not at all, and then the watch ends as one does that is too old.
func (b *breaker) pump(from io.ReadCloser, to *io.PipeWriter) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 && err == nil {
			if pause := b.wait(); pause > 0 {
				b.held.Add(1)
				time.Sleep(pause)
			}
			if lost := b.roll(60); lost || b.roll(20) {
				if lost { // and the watch goes on a while as if nothing had happened
					b.dropped.Add(1)
					time.Sleep(b.wait())
				}
				_, _ = to.Write([]byte(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"too old"}}` + "\n"))
				err = io.ErrUnexpectedEOF
			} else if _, failed := to.Write(line); failed != nil {
				err = failed
			}
		}
		if err != nil {
			_ = to.CloseWithError(err)
			_ = from.Close()
			return
		}
	}
}

func (b *breaker) String() string {
	return fmt.Sprintf("%d writes, %d requests cut off, %d answers lost, %d refused, %d frames held up, %d lost, %d watches expired",
		b.written.Load(), b.cut.Load(), b.lost.Load(), b.refused.Load(), b.held.Load(), b.dropped.Load(), b.expired.Load())
}

// TestBrokenTransport: two managers at once, without leader election, with caches that lag differently, over connections that
// break: each story ends as it does undisturbed, with the invariants holding after every write, and then there is rest.
func TestBrokenTransport(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		bad  bool
		then func(*world)
		want v1alpha1.Outcome
	}{
		"promotion": {want: v1alpha1.OutcomePromoted},
		"rollback":  {bad: true, want: v1alpha1.OutcomeRolledBack},
		"abort": {then: func(w *world) {
			w.say(v1alpha1.ActionAbort)
		}, want: v1alpha1.OutcomeAborted},
		"superseded": {then: func(w *world) { w.deploy("v3") }, want: v1alpha1.OutcomePromoted},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s-%d", name, seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(ro *v1alpha1.Rollout) { ro.Spec.ProgressDeadline = "5m" })
				writes := &sync.Mutex{}
				var breakers []*breaker
				var seen []*ledger
				for i, lag := range []time.Duration{50 * time.Millisecond, 600 * time.Millisecond} {
					b := &breaker{w: w, lag: lag, writes: writes, chance: rand.New(rand.NewPCG(seed, uint64(i)))}
					breakers = append(breakers, b)
					seen = append(seen, startManager(t, w, func(cfg *rest.Config) {
						cfg.ContentType = "application/json" // frames that are lines
						cfg.Wrap(b.wrap)
					}))
				}
				// Informers wait up to 30 s between tries when watches expire again and again: trouble ends in time for that.
				trouble := time.AfterFunc(time.Minute, func() {
					for _, b := range breakers {
						b.heal()
					}
				})
				defer trouble.Stop()
				is := func(what string, holds func(*v1alpha1.Rollout) bool) {
					t.Helper()
					w.playUntil(what, []string{app}, holds)
				}
				is("healthy", func(ro *v1alpha1.Rollout) bool { return ro.Status.Phase == "Healthy" })
				if story.bad {
					w.analyst.verdicts[hash(t, "v2")] = v1alpha1.VerdictFail
				}
				w.deploy("v2")
				if story.then != nil {
					is("half", func(ro *v1alpha1.Rollout) bool {
						return ro.Status.Attempt != nil && ro.Status.Attempt.ConfirmedAt != nil
					})
					story.then(w)
				}
				end := func(ro *v1alpha1.Rollout) bool {
					return len(ro.Status.History) >= 2 && ro.Status.Attempt == nil && ro.Status.Previous == nil && ro.Status.Replicas == 2 && ro.Status.History[0].Outcome == story.want
				}
				is("the end, in spite of everything", end)
				for _, b := range breakers {
					t.Log(b)
					b.heal()
					if b.cut.Load()+b.lost.Load()+b.refused.Load() == 0 || b.held.Load() == 0 {
						t.Errorf("nothing was broken: %s", b)
					}
				}
				is("the end", end)
				for _, s := range seen {
					quiet(t, s)
				}
				if refs := fmt.Sprint(w.getRoute(app).Object["spec"]); strings.Contains(refs, "app-canary") || w.getRoute(app).GetAnnotations()["belay.dev/split"] != "" {
					t.Errorf("T9: the route at the end: %s", refs)
				}
			})
		}
	}
}
