package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/belay-delivery/belay/test/testbed/controlplane/internal/pki"
)

// stopGrace bounds how long one component may take to end after it was told to.
const stopGrace = 20 * time.Second

// Options say where a control plane lives and what is part of it.
type Options struct {
	Dir         string // etcd's data and pki/ are kept below it
	Port        int    // of the API server, on 127.0.0.1
	EtcdPort    int    // of etcd's clients, on 127.0.0.1; its peers use the next one
	Controllers string // kube-controller-manager's --controllers; empty leaves it out
	Scheduler   bool
	Manager     []string  // further flags of kube-controller-manager, after our own
	Progress    io.Writer // one line per component that is up
}

func (o Options) server() string  { return fmt.Sprintf("https://127.0.0.1:%d", o.Port) }
func (o Options) etcdURL() string { return fmt.Sprintf("http://127.0.0.1:%d", o.EtcdPort) }
func (o Options) key(name string) string {
	return filepath.Join(o.Dir, "pki", name)
}

// component is a running part: cancel tells it to stop, done delivers how it ended.
type component struct {
	name   string
	cancel context.CancelFunc
	done   chan error
}

// plane is what has been started, in that order.
type plane struct {
	opts    Options
	since   time.Time
	running []*component
	failed  chan error
}

// Run starts the control plane and keeps it until ctx ends or a component ends by itself, which is an error. It returns when every
// component has stopped, in the reverse order of their start.
func Run(ctx context.Context, o Options) error {
	p := &plane{opts: o, since: time.Now(), failed: make(chan error, 4)}
	err := p.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-p.failed:
		}
	}
	return errors.Join(err, p.stop())
}

func (p *plane) start(ctx context.Context) error {
	o := p.opts
	if err := pki.Write(filepath.Join(o.Dir, "pki"), o.server(), net.IPv4(10, 96, 0, 1)); err != nil {
		return err
	}
	if err := p.startEtcd(ctx); err != nil {
		return fmt.Errorf("starting etcd: %w", err)
	}
	if err := p.startAPIServer(ctx); err != nil {
		return fmt.Errorf("starting kube-apiserver: %w", err)
	}
	if o.Controllers != "" {
		if err := p.startControllerManager(ctx); err != nil {
			return fmt.Errorf("starting kube-controller-manager: %w", err)
		}
	}
	if o.Scheduler {
		if err := p.startScheduler(ctx); err != nil {
			return fmt.Errorf("starting kube-scheduler: %w", err)
		}
	}
	p.say("all started")
	return nil
}

// add runs a component on a context of its own, so that it outlives ctx until stop reaches it.
func (p *plane) add(ctx context.Context, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &component{name: name, cancel: cancel, done: make(chan error, 1)}
	p.running = append(p.running, c)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			p.failed <- fmt.Errorf("%s ended: %w", name, cause(err))
		}
		c.done <- err
	}()
}

func cause(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

func (p *plane) stop() error {
	var all error
	for i := len(p.running) - 1; i >= 0; i-- {
		c := p.running[i]
		c.cancel()
		select {
		case <-c.done:
			p.say(c.name + " stopped")
		case <-time.After(stopGrace):
			all = errors.Join(all, fmt.Errorf("%s did not stop within %s", c.name, stopGrace))
		}
	}
	return all
}

func (p *plane) say(what string) {
	fmt.Fprintf(p.opts.Progress, "%6.2fs %s\n", time.Since(p.since).Seconds(), what)
}
