package stage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Sample is one request and what became of it.
type Sample struct {
	Sent    time.Time `json:"t"`       // when it was due
	MS      float64   `json:"ms"`      // from then to the end of the answer
	Status  int       `json:"status"`  // 0 without an answer
	Version string    `json:"version"` // of the application that answered; empty: the gateway did, or nobody
	Err     string    `json:"error"`
}

// Failed tells whether there was no 2xx answer.
func (s Sample) Failed() bool { return s.Status < 200 || s.Status > 299 }

// Answered is when the answer had come.
func (s Sample) Answered() time.Time {
	return s.Sent.Add(time.Duration(s.MS * float64(time.Millisecond)))
}

// Samples are the requests of a run, in the order in which they were sent.
type Samples []Sample

// readSamples reads a file of one sample per line.
func readSamples(path string) (Samples, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading samples: %w", err)
	}
	defer f.Close()
	var all Samples
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return nil, fmt.Errorf("reading samples: %w", err)
			}
			slices.SortStableFunc(all, func(a, b Sample) int { return a.Sent.Compare(b.Sent) })
			return all, nil
		}
		var s Sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("reading sample %d: %w", len(all)+1, err)
		}
		all = append(all, s)
	}
}

// Where returns the samples for which keep is true.
func (s Samples) Where(keep func(Sample) bool) Samples {
	var out Samples
	for _, one := range s {
		if keep(one) {
			out = append(out, one)
		}
	}
	return out
}

// Between are those sent from a time on and before another.
func (s Samples) Between(from, to time.Time) Samples {
	return s.Where(func(one Sample) bool { return !one.Sent.Before(from) && one.Sent.Before(to) })
}

// Of are those that a version answered.
func (s Samples) Of(version string) Samples {
	return s.Where(func(one Sample) bool { return one.Version == version })
}

// NotOf are those that a version did not answer.
func (s Samples) NotOf(version string) Samples {
	return s.Where(func(one Sample) bool { return one.Version != version })
}

// Failed are those that failed.
func (s Samples) Failed() Samples { return s.Where(Sample.Failed) }

// Rate is how many were dealt with in a second, on average: the time goes on until the last answer, so that a load generator or a
// gateway that did not keep up shows.
func (s Samples) Rate() float64 {
	var last time.Time
	for _, one := range s {
		if one.Answered().After(last) {
			last = one.Answered()
		}
	}
	if len(s) == 0 || !last.After(s[0].Sent) {
		return 0
	}
	return float64(len(s)) / last.Sub(s[0].Sent).Seconds()
}

// SentRate is how many were due in a second, on average.
func (s Samples) SentRate() float64 {
	if n := len(s); n > 1 && s[n-1].Sent.After(s[0].Sent) {
		return float64(n-1) / s[n-1].Sent.Sub(s[0].Sent).Seconds()
	}
	return 0
}

// ErrorRatio is the share of those that failed.
func (s Samples) ErrorRatio() float64 {
	if len(s) == 0 {
		return 0
	}
	return float64(len(s.Failed())) / float64(len(s))
}

// Describe counts the samples by version and status, for messages.
func (s Samples) Describe() string {
	counts, order := map[string]int{}, []string{}
	for _, one := range s {
		key := fmt.Sprintf("%s %d %s", one.Version, one.Status, one.Err)
		if counts[key] == 0 {
			order = append(order, key)
		}
		counts[key]++
	}
	out := fmt.Sprintf("%d requests", len(s))
	for _, key := range order {
		out += fmt.Sprintf("; %s: %d", key, counts[key])
	}
	return out
}
