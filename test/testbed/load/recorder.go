package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Count is what is known about one version's requests, or about all.
type Count struct {
	Total     int            `json:"total"`
	Failed    int            `json:"failed"`
	Statuses  map[int]int    `json:"statuses"`
	Errors    map[string]int `json:"errors,omitempty"` // requests without an answer, by reason
	First     time.Time      `json:"first"`
	Last      time.Time      `json:"last"`
	FirstFail *time.Time     `json:"firstFailure,omitempty"`
	LastFail  *time.Time     `json:"lastFailure,omitempty"`
	MeanMS    float64        `json:"meanMs"`
	MaxMS     float64        `json:"maxMs"`

	took time.Duration
}

// Summary is the state of a run; times are when requests were due.
type Summary struct {
	URL     string            `json:"url"`
	Host    string            `json:"host,omitempty"`
	Rate    float64           `json:"rate"`
	Started time.Time         `json:"started"`
	Updated time.Time         `json:"updated"`
	Done    bool              `json:"done"`
	All     *Count            `json:"all"`
	Version map[string]*Count `json:"versions"` // "" are those without a version
}

// Recorder adds up samples; it may be used by several goroutines.
type Recorder struct {
	mu      sync.Mutex
	sum     Summary
	samples *bufio.Writer
}

// NewRecorder returns a recorder for a run with options o. If samples is not nil, every sample is written to it, as one line of JSON.
func NewRecorder(o Options, samples io.Writer) *Recorder {
	r := &Recorder{sum: Summary{URL: o.URL, Host: o.Host, Rate: o.Rate, Started: time.Now(), All: newCount(), Version: map[string]*Count{}}}
	if samples != nil {
		r.samples = bufio.NewWriter(samples)
	}
	return r
}

func newCount() *Count { return &Count{Statuses: map[int]int{}} }

// Add counts one sample.
func (r *Recorder) Add(s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.sum.Version[s.Version]
	if v == nil {
		v = newCount()
		r.sum.Version[s.Version] = v
	}
	r.sum.All.add(s)
	v.add(s)
	if r.samples != nil {
		_ = json.NewEncoder(r.samples).Encode(map[string]any{ // bufio keeps an error for Flush
			"t": s.Sent, "ms": ms(s.Took), "status": s.Status, "version": s.Version, "error": s.Err,
		})
	}
}

func (c *Count) add(s Sample) {
	c.Total++
	if c.First.IsZero() || s.Sent.Before(c.First) {
		c.First = s.Sent
	}
	if s.Sent.After(c.Last) {
		c.Last = s.Sent
	}
	c.took += s.Took
	c.MeanMS = ms(c.took) / float64(c.Total)
	c.MaxMS = max(c.MaxMS, ms(s.Took))
	if s.Status != 0 {
		c.Statuses[s.Status]++
	} else {
		c.addError(s.Err)
	}
	if s.Failed() {
		c.fail(s.Sent)
	}
}

// addError counts an error by its reason; reasons past the twentieth are counted together.
func (c *Count) addError(reason string) {
	if c.Errors == nil {
		c.Errors = map[string]int{}
	}
	if _, known := c.Errors[reason]; !known && len(c.Errors) >= 20 {
		reason = "other"
	}
	c.Errors[reason]++
}

func (c *Count) fail(at time.Time) {
	c.Failed++
	if c.FirstFail == nil || at.Before(*c.FirstFail) {
		c.FirstFail = &at
	}
	if c.LastFail == nil || at.After(*c.LastFail) {
		c.LastFail = &at
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// JSON returns the summary as it stands.
func (r *Recorder) JSON(done bool) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Updated, r.sum.Done = time.Now(), done
	return json.Marshal(r.sum)
}

// Flush writes out the samples still held back.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.samples == nil {
		return nil
	}
	return r.samples.Flush()
}

// Save writes the summary to path so that a reader never sees half of it.
func (r *Recorder) Save(path string, done bool) error {
	text, err := r.JSON(done)
	if err != nil {
		return fmt.Errorf("encoding the summary: %w", err)
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(tmp, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}
