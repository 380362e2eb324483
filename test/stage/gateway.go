package stage

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"time"
)

// WithGateway starts one more gateway, with a Gateway and a class called name and with the given least time between two changes of
// its configuration, and returns the bed as it is seen from there: applications of App are routed by it, loads go through it.
func (b *Bed) WithGateway(ctx context.Context, name string, throttle time.Duration) (*Bed, error) {
	web, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	api, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, webPort, _ := net.SplitHostPort(web)
	_, apiPort, _ := net.SplitHostPort(api)
	cmd := exec.Command(b.Program("testbed"), "gateway", name, "--dir", b.Dir, "--port", webPort, "--api-port", apiPort, "--throttle", throttle.String())
	p, err := b.Ledger.Start(name, filepath.Join(b.Work, "logs", name+".log"), cmd)
	if err != nil {
		return nil, err
	}
	err = Poll(ctx, "gateway "+name, time.Minute, func(ctx context.Context) error { return answers(ctx, "http://"+api+"/ping") })
	if err != nil {
		return nil, fmt.Errorf("%w; the last lines of %s:\n%s", err, p.Log, p.Tail(15))
	}
	seen := *b
	seen.GatewayURL, seen.GatewayName = "http://"+web, name
	return &seen, nil
}
