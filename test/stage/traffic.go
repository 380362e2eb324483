package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// LoadOptions say what traffic is sent through the gateway.
type LoadOptions struct {
	Name string // of the run, for its files
	Host string
	Path string
	Rate int  // requests per second
	Keep bool // a run that nobody will stop: no samples are kept
}

// Load is a run of the load generator: requests at a constant rate, whatever becomes of them.
type Load struct {
	Process
	samples, summary string
}

// StartLoad starts a run.
func (b *Bed) StartLoad(o LoadOptions) (*Load, error) {
	dir := filepath.Join(b.Work, "load")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of loads: %w", err)
	}
	l := &Load{samples: filepath.Join(dir, o.Name+".samples"), summary: filepath.Join(dir, o.Name+".json")}
	args := []string{"load", "--url", b.GatewayURL + o.Path, "--host", o.Host, "--rate", fmt.Sprint(o.Rate), "--out", l.summary}
	if !o.Keep {
		args = append(args, "--samples", l.samples)
	}
	_ = os.Remove(l.summary) // of an earlier run, if there is one
	var err error
	l.Process, err = b.Ledger.Start("load-"+o.Name, filepath.Join(b.Work, "logs", "load-"+o.Name+".log"), exec.Command(b.Program("testbed"), args...))
	return l, err
}

// VersionCount is how often a version answered so far.
type VersionCount struct {
	Total  int       `json:"total"`
	Failed int       `json:"failed"`
	Last   time.Time `json:"last"`
}

// Now is what became of the requests so far, by version.
func (l *Load) Now() (map[string]VersionCount, error) {
	text, err := os.ReadFile(l.summary)
	if err != nil {
		return nil, fmt.Errorf("reading the load's summary: %w", err)
	}
	var sum struct {
		Versions map[string]VersionCount `json:"versions"`
	}
	if err := json.Unmarshal(text, &sum); err != nil {
		return nil, fmt.Errorf("reading the load's summary: %w", err)
	}
	return sum.Versions, nil
}

// Await waits until a version has answered a number of requests.
func (l *Load) Await(ctx context.Context, version string, n int) error {
	return Poll(ctx, fmt.Sprintf("%d answers of version %s", n, version), time.Minute, func(context.Context) error {
		now, err := l.Now()
		if err == nil && now[version].Total < n {
			err = fmt.Errorf("there are %d, of all versions: %+v", now[version].Total, now)
		}
		return err
	})
}

// Finish ends the run and returns every request of it.
func (l *Load) Finish() (Samples, error) {
	if err := l.Stop(); err != nil {
		return nil, err
	}
	return readSamples(l.samples)
}
