package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

const matrix = `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`

func series(labels string, points ...string) string {
	return fmt.Sprintf(`{"metric":{%s},"values":[%s]}`, labels, strings.Join(points, ","))
}

// counting answers every question, after it was let go, and counts them.
type counting struct {
	*httptest.Server
	asked atomic.Int32
	hold  chan struct{} // nil: answers at once
	seen  chan struct{}
}

func newCounting(t *testing.T, hold bool, body string, change func(http.Header)) *counting {
	t.Helper()
	c := &counting{seen: make(chan struct{}, 1)}
	if hold {
		c.hold = make(chan struct{})
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.asked.Add(1)
		select {
		case c.seen <- struct{}{}:
		default:
		}
		if c.hold != nil {
			<-c.hold
		}
		if change != nil {
			change(w.Header())
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(c.Close)
	return c
}

func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	srv := newCounting(t, true, fmt.Sprintf(matrix, series(`"a":"b"`, `[1777636800,"3"]`)), nil)
	c := client(t, Config{Address: srv.URL})
	ask := func(ctx context.Context) error {
		got, err := c.Samples(ctx, "up", t0, time.Minute)
		if err == nil && (len(got) != 1 || got[0].Points[0].Value != 3) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}
	impatient, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	errs := make(chan error, 22)
	wg.Go(func() {
		if err := ask(impatient); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), srv.Listener.Addr().String()) {
			errs <- fmt.Errorf("who gave up: %w", err)
		}
	})
	<-srv.seen
	for range 20 {
		wg.Go(func() { errs <- ask(t.Context()) })
	}
	cancel() // the first one gives up: the others get their answer
	close(srv.hold)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if err := ask(t.Context()); err != nil {
		t.Error(err)
	}
	if n := srv.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestOtherQuestionsAreAskedAnew(t *testing.T) {
	srv := newCounting(t, false, fmt.Sprintf(matrix, ""), nil)
	pool := &Pool{}
	ask := func(cfg Config, selector string, until time.Time, span time.Duration) {
		t.Helper()
		cfg.Address = srv.URL
		q, err := pool.Querier(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.(Sampler).Samples(t.Context(), selector, until, span); err != nil {
			t.Fatal(err)
		}
	}
	alice, err := CredentialsFromSecret(map[string][]byte{KeyBearerToken: []byte("alice")})
	if err != nil {
		t.Fatal(err)
	}
	bob, err := CredentialsFromSecret(map[string][]byte{KeyBearerToken: []byte("bob")})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ask(Config{}, "up", t0, time.Minute)
		ask(Config{}, "down", t0, time.Minute)
		ask(Config{}, "up", t0.Add(time.Second), time.Minute)
		ask(Config{}, "up", t0, time.Hour)
		ask(Config{Credentials: alice}, "up", t0, time.Minute)
		ask(Config{Credentials: bob}, "up", t0, time.Minute)
	}
	if n := srv.asked.Load(); n != 6 {
		t.Errorf("asked %d times, want 6: what one may read is not given to another", n)
	}
}

func TestAnswersAreKeptForAShortTime(t *testing.T) {
	body := fmt.Sprintf(vector, sample("1"))
	srv := newCounting(t, false, body, nil)
	c := client(t, Config{Address: srv.URL})
	now := t0
	c.shared.now = func() time.Time { return now }
	ask := func(query string) {
		t.Helper()
		if _, err := c.Query(t.Context(), query, t0); err != nil {
			t.Fatal(err)
		}
	}
	ask("up")
	now = now.Add(keptFor - time.Millisecond)
	ask("up")
	if n := srv.asked.Load(); n != 1 {
		t.Errorf("asked %d times within %s", n, keptFor)
	}
	now = now.Add(time.Millisecond)
	ask("up")
	if n := srv.asked.Load(); n != 2 {
		t.Errorf("asked %d times after %s", n, keptFor)
	}
	for i := range 3 * maxKept {
		now = now.Add(time.Millisecond)
		ask(fmt.Sprintf("up%d", i))
	}
	if n := len(c.shared.kept); n != maxKept {
		t.Errorf("%d answers are kept", n)
	}
	before := srv.asked.Load()
	ask(fmt.Sprintf("up%d", 3*maxKept-1))
	if srv.asked.Load() != before {
		t.Error("the newest answer makes place for older ones")
	}
	now = now.Add(time.Hour)
	ask("up")
	if len(c.shared.kept) != 1 || c.shared.size != 1 {
		t.Errorf("old answers stay: %d of size %d", len(c.shared.kept), c.shared.size)
	}
}

func TestErrorsAndLargeAnswersAreNotKept(t *testing.T) {
	now := t0
	s := &sharing{now: func() time.Time { now = now.Add(time.Microsecond); return now }}
	asked := 0
	for range 2 {
		_, err := s.do(t.Context(), "k", func(context.Context) (any, int, error) { asked++; return nil, 0, errors.New("away") })
		if err == nil {
			t.Fatal("no error")
		}
	}
	if _, err := s.do(t.Context(), "panic", func(context.Context) (any, int, error) { panic("s3cret") }); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a panic while decoding: %v", err)
	}
	for range 2 {
		if _, err := s.do(t.Context(), "large", func(context.Context) (any, int, error) { asked++; return 1, maxKeptSize + 1, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 4 || len(s.kept) != 0 {
		t.Errorf("asked %d times, kept %d", asked, len(s.kept))
	}
	for i := range 3 {
		s.keep(fmt.Sprint(i), i, maxKeptSize/2)
	}
	if _, first := s.find("0"); first || len(s.kept) != 2 || s.size != maxKeptSize/2*2 {
		t.Errorf("kept %d of size %d", len(s.kept), s.size)
	}
}

// A server whose clock is ahead is asked for its own time, and its samples come in ours.
func TestClockSkew(t *testing.T) {
	for _, tc := range []struct {
		off, ahead time.Duration
		refused    string
	}{
		{off: 0}, {off: time.Second}, {off: -2 * time.Second},
		{off: 40 * time.Second, ahead: 40 * time.Second},
		{off: -75 * time.Second, ahead: -75 * time.Second},
		{off: 10 * time.Minute, refused: "ahead of ours: set the clocks right"},
		{off: -10 * time.Minute, refused: "behind ours: set the clocks right"},
	} {
		var at atomic.Value
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at.Store(r.FormValue("time"))
			w.Header().Set("Date", time.Now().Add(tc.off).UTC().Format(http.TimeFormat))
			_, _ = io.WriteString(w, fmt.Sprintf(matrix, series(`"a":"b"`, `[1777636790,"3"]`)))
		}))
		t.Cleanup(srv.Close)
		c := client(t, Config{Address: srv.URL})
		got, err := c.Samples(t.Context(), "up", t0, time.Minute)
		if tc.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%s off: %v", tc.off, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		// The header has whole seconds, and the machine may be slow: a second more or less is as good.
		if ahead := c.Ahead(); (ahead - tc.ahead).Abs() > time.Second {
			t.Errorf("%s off: ahead is %s", tc.off, ahead)
		}
		want := fmt.Sprint(t0.Add(c.Ahead()).Unix())
		if at.Load() != want || !got[0].Points[0].At.Equal(time.Unix(1777636790, 0).Add(-c.Ahead())) {
			t.Errorf("%s off: asked for %v, want %s; sample at %s", tc.off, at.Load(), want, got[0].Points[0].At)
		}
	}
}

// What is known of a clock does not waver with the second that it is measured in, and what cannot be measured is left alone.
func TestSkewStaysAsLongAsItMayBeTrue(t *testing.T) {
	now := t0
	s := &skew{now: func() time.Time { return now }}
	learn := func(date time.Time, took time.Duration, age string) time.Duration {
		sent := now
		now = now.Add(took)
		h := http.Header{"Date": {date.UTC().Format(http.TimeFormat)}}
		if age != "" {
			h.Set("Age", age)
		}
		s.learn(h, sent)
		return s.ahead()
	}
	first := learn(now.Add(30*time.Second), 0, "")
	if first < 30*time.Second || first > 31*time.Second {
		t.Fatalf("ahead %s", first)
	}
	for _, off := range []time.Duration{29500, 30500, 31000} {
		if got := learn(now.Add(off*time.Millisecond), 0, ""); got != first {
			t.Errorf("%s off: %s, was %s", off*time.Millisecond, got, first)
		}
	}
	if got := learn(now.Add(time.Hour), 0, "600"); got != first {
		t.Errorf("what a cache says was taken: %s", got)
	}
	if got := learn(now.Add(time.Hour), time.Minute, ""); got != first {
		t.Errorf("a slow answer was taken: %s", got)
	}
	if got := learn(now, 0, ""); got != 0 {
		t.Errorf("set right: %s", got)
	}
	s.learn(http.Header{"Date": {"yesterday"}}, now)
	s.learn(http.Header{}, now)
	if s.ahead() != 0 {
		t.Error("no date says something")
	}
}

func TestSamplesThatCannotBeTrue(t *testing.T) {
	for name, tc := range map[string]struct{ body, err string }{
		"twice":           {series(`"a":"b"`, `[1,"3"]`) + "," + series(`"a":"b"`, `[1,"3"]`), `the series {a="b"} twice`},
		"not in order":    {series(`"__name__":"up"`, `[2,"3"]`, `[1,"3"]`), "samples of up that are not in order"},
		"no result":       {"-", "the query gives a result without a type"},
		"not a number":    {series(`"a":"b"`, `[1,"x"]`), "does not answer as Prometheus does"},
		"partial answers": {"", "store-2 is away"},
	} {
		body := fmt.Sprintf(matrix, tc.body)
		if tc.body == "-" {
			body = `{"status":"success"}`
		}
		if tc.body == "" {
			body = `{"status":"success","warnings":["store-2 is away"],"data":{"resultType":"matrix","result":[]}}`
		}
		srv := httptest.NewServer(answer(200, body))
		t.Cleanup(srv.Close)
		if _, err := client(t, Config{Address: srv.URL}).Samples(t.Context(), "up", t0, time.Minute); err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want %q", name, err, tc.err)
		}
	}
}

func TestSamplesAreTakenAsTheyAre(t *testing.T) {
	srv := httptest.NewServer(answer(200, `{"status":"success","infos":["fine"],"data":{"resultType":"matrix","result":[`+
		series(`"a":"b"`, `[1,"NaN"]`, `[2,"+Inf"]`, `[2,"4"]`)+`]}}`))
	t.Cleanup(srv.Close)
	got, err := client(t, Config{Address: srv.URL}).Samples(t.Context(), "up", t0, time.Minute)
	if err != nil || len(got) != 1 || len(got[0].Points) != 3 {
		t.Errorf("what is no count is the builder's to leave out: %v, %v", got, err)
	}
}

func TestTooManySeries(t *testing.T) {
	var m model.Matrix
	for i := range maxSeries + 1 {
		m = append(m, &model.SampleStream{Metric: model.Metric{"i": model.LabelValue(fmt.Sprint(i))}, Values: []model.SamplePair{{Timestamp: 1, Value: 1}}})
	}
	if _, err := flatten(m, 0); err == nil || !strings.Contains(err.Error(), "more than 50000 series") {
		t.Errorf("%v", err)
	}
}

// A native histogram becomes many samples: what would be too many is refused before they are made.
func TestTooManyPoints(t *testing.T) {
	one := &model.SampleStream{Metric: model.Metric{"__name__": "x"}, Histograms: make([]model.SampleHistogramPair, 40_000)}
	for i := range one.Histograms {
		one.Histograms[i] = model.SampleHistogramPair{Timestamp: model.Time(i), Histogram: &model.SampleHistogram{Count: 1, Sum: 1}}
	}
	var err error
	took := testing.AllocsPerRun(1, func() { _, err = flatten(model.Matrix{one}, 0) })
	if err == nil || !strings.Contains(err.Error(), "more than 4194304 samples") || took > 1000 {
		t.Errorf("%v, after %g allocations", err, took)
	}
}
