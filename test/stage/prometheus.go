package stage

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"time"
)

// Prometheus is one more Prometheus with the configuration of the testbed's own, so that it can be stopped while others are asked.
type Prometheus struct {
	Process
	URL  string
	bed  *Bed
	name string
}

// OwnPrometheus starts one.
func (b *Bed) OwnPrometheus(ctx context.Context, name string) (*Prometheus, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p := &Prometheus{URL: "http://" + address, bed: b, name: name}
	return p, p.Start(ctx)
}

// Start starts it again, after Stop or Kill, with the samples that it had.
func (p *Prometheus) Start(ctx context.Context) (err error) {
	address, err := url.Parse(p.URL)
	if err != nil {
		return fmt.Errorf("starting a Prometheus: %w", err)
	}
	cmd := exec.Command(p.bed.Programs["prometheus"], "--config.file="+filepath.Join(p.bed.Dir, "prometheus", "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(p.bed.Work, p.name), "--web.listen-address="+address.Host,
		"--scrape.discovery-reload-interval=1s", "--storage.tsdb.retention.time=1d", "--log.level=warn")
	if p.Process, err = p.bed.Ledger.Start(p.name, filepath.Join(p.bed.Work, "logs", p.name+".log"), cmd); err != nil {
		return err
	}
	err = Poll(ctx, "Prometheus "+p.name, time.Minute, func(ctx context.Context) error { return answers(ctx, p.URL+"/-/ready") })
	if err != nil {
		return fmt.Errorf("%w; the last lines of %s:\n%s", err, p.Log, p.Tail(15))
	}
	return nil
}
