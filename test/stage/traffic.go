package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// LoadOptions say what traffic is sent through the gateway.
type LoadOptions struct {
	Name   string // of the run, for its files
	Host   string
	Path   string
	Rate   int    // requests per second
	Header string // name=value of every request; empty: none
	Keep   bool   // a run that nobody will stop: no samples are kept
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
	if o.Header != "" {
		args = append(args, "--header", o.Header)
	}
	if !o.Keep {
		args = append(args, "--samples", l.samples)
	}
	_ = os.Remove(l.summary) // of an earlier run, if there is one
	var err error
	l.Process, err = b.Ledger.Start("load-"+o.Name, filepath.Join(b.Work, "logs", "load-"+o.Name+".log"), exec.Command(b.Program("testbed"), args...))
	return l, err
}

// Serves waits until the gateway has been seen to serve a version at a path, several times in a row: a route and pods that are new
// are not there for the gateway at the very moment the API server says so.
func (b *Bed) Serves(ctx context.Context, host, path, version string) error {
	return Poll(ctx, fmt.Sprintf("version %s of %s to be served", version, host), time.Minute, func(ctx context.Context) error {
		for range 5 {
			got, err := ask(ctx, b.GatewayURL+path, host)
			if err == nil && got != version {
				err = fmt.Errorf("version %q answers", got)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ask returns the version that answers a request.
func ask(ctx context.Context, url, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", host, err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", host, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking %s: %s", host, res.Status)
	}
	return res.Header.Get("X-Version"), nil
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

// AwaitOnly waits until n answers in a row, as far as they are counted, were a version's.
func (l *Load) AwaitOnly(ctx context.Context, version string, n int) error {
	before, err := l.Now()
	if err != nil {
		return err
	}
	return Poll(ctx, fmt.Sprintf("%d answers of version %s alone", n, version), time.Minute, func(context.Context) error {
		now, err := l.Now()
		if err != nil {
			return err
		}
		for v := range now {
			if v != version && now[v].Total > before[v].Total {
				before = now
				return fmt.Errorf("version %s answered too", v)
			}
		}
		if got := now[version].Total - before[version].Total; got < n {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}

// More waits until a number of further requests have been answered, by whomever.
func (l *Load) More(ctx context.Context, n int) error {
	total := func() (sum int, err error) {
		now, err := l.Now()
		for _, v := range now {
			sum += v.Total
		}
		return sum, err
	}
	before, err := total()
	if err != nil {
		return err
	}
	return Poll(ctx, fmt.Sprintf("%d more answers", n), time.Minute, func(context.Context) error {
		now, err := total()
		if err == nil && now-before < n {
			err = fmt.Errorf("there are %d", now-before)
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
