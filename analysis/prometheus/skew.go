package prometheus

import (
	"net/http"
	"sync"
	"time"
)

const (
	// minSkew is what is left alone: a Date header has whole seconds, and answers take their time.
	minSkew = 2 * time.Second
	// maxSkew is beyond what is allowed for: steps and pods have times of other clocks, too.
	maxSkew = 2 * time.Minute
)

// skew is the difference between a server's clock and ours. Samples have the server's time, and all else has ours.
type skew struct {
	now   func() time.Time
	mu    sync.Mutex
	known time.Duration
}

// learn takes in the Date header of an answer. What a cache answers says nothing.
func (s *skew) learn(h http.Header, sent time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || h.Get("Age") != "" {
		return
	}
	took := s.now().Sub(sent)
	offset := date.Add(500 * time.Millisecond).Sub(sent.Add(took / 2)) // the header is rounded down
	if took < 0 || took > 10*time.Second {
		return // too slow to tell
	}
	unsure := 500*time.Millisecond + took/2
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case offset.Abs() < minSkew+unsure:
		s.known = 0
	case (offset - s.known).Abs() > time.Second+unsure: // what is known stays as long as it may be true: times do not waver
		s.known = offset.Round(time.Second)
	}
}

// ahead is by how much the server's clock is ahead of ours, 0 where it cannot be told from ours.
func (s *skew) ahead() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// lag in words.
func lag(ahead time.Duration) string {
	if ahead < 0 {
		return ahead.Abs().String() + " behind ours"
	}
	return ahead.String() + " ahead of ours"
}
