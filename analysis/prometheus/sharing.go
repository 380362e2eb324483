package prometheus

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// keptFor is how long an answer is given to others that ask the same. A question holds its time, so that what is kept is what
	// would be answered again.
	keptFor = 10 * time.Second
	// maxKept and maxKeptSize bound what is kept of one server, in answers and in samples.
	maxKept, maxKeptSize = 64, 200000
)

// sharing asks a server the same thing once: those that ask while it is under way wait for it, and those that ask shortly after
// get the same answer. A Client has one address and one set of credentials, so what one tenant may read is never given to
// another. Errors are not kept.
type sharing struct {
	now    func() time.Time
	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]kept
	size   int
}

type kept struct {
	answer any
	size   int
	until  time.Time
}

// key of a question.
func key(kind, query string, at time.Time, span time.Duration) string {
	return kind + " " + strconv.FormatInt(at.UnixNano(), 10) + " " + strconv.FormatInt(int64(span), 10) + " " + query
}

// do gives the answer for a key, with ask where it is not there. One caller that gives up takes nothing from the others.
func (s *sharing) do(ctx context.Context, key string, ask func(context.Context) (any, int, error)) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if answer, ok := s.find(key); ok {
		return answer, nil
	}
	done := s.flight.DoChan(key, func() (any, error) {
		if answer, ok := s.find(key); ok { // came in between
			return answer, nil
		}
		answer, size, err := calmly(context.WithoutCancel(ctx), ask)
		if err == nil {
			s.keep(key, answer, size)
		}
		return answer, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-done:
		return result.Val, result.Err
	}
}

// calmly makes an error of a panic: what a server answers is not trusted, and there is nobody above this goroutine.
func calmly(ctx context.Context, ask func(context.Context) (any, int, error)) (answer any, size int, err error) {
	defer func() {
		if recover() != nil {
			answer, size, err = nil, 0, errors.New("the answer of Prometheus could not be decoded: this is a bug of Belay or of its libraries, please report it")
		}
	}()
	return ask(ctx)
}

func (s *sharing) find(key string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	k, ok := s.kept[key]
	return k.answer, ok
}

func (s *sharing) keep(key string, answer any, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > maxKeptSize {
		return
	}
	s.sweep()
	s.drop(key)
	for len(s.kept) >= maxKept || s.size+size > maxKeptSize {
		oldest := ""
		for key, k := range s.kept {
			if oldest == "" || k.until.Before(s.kept[oldest].until) {
				oldest = key
			}
		}
		s.drop(oldest)
	}
	if s.kept == nil {
		s.kept = map[string]kept{}
	}
	s.size += size
	s.kept[key] = kept{answer: answer, size: size, until: s.now().Add(keptFor)}
}

func (s *sharing) drop(key string) {
	s.size -= s.kept[key].size
	delete(s.kept, key)
}

// sweep lets go of what is old.
func (s *sharing) sweep() {
	now := s.now()
	for key, k := range s.kept {
		if !now.Before(k.until) {
			s.drop(key)
		}
	}
}
