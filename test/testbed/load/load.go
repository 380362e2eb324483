package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options say what is sent, where and for how long.
type Options struct {
	URL         string
	Host        string            // Host header; empty takes the URL's
	Header      map[string]string // of every request
	Rate        float64           // requests per second
	Duration    time.Duration     // 0 goes on until the context ends
	Concurrency int               // requests under way at once, at most; default 64
	Timeout     time.Duration     // of one request; default 10 s
}

// Sample is what became of one request.
type Sample struct {
	Sent    time.Time     // when it was due
	Took    time.Duration // from then to the end of the answer
	Status  int           // 0 without an answer
	Version string        // header X-Version of the answer
	Err     string        // without an answer: why
}

// Failed tells whether the request did not get a 2xx answer.
func (s Sample) Failed() bool { return s.Status < 200 || s.Status > 299 }

func (o *Options) check() error {
	if o.Rate <= 0 || o.Rate > 100_000 {
		return fmt.Errorf("rate is %v requests per second, want more than 0 and at most 100000", o.Rate)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 64
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return nil
}

// Run sends requests until the duration is over or ctx ends, waits for those under way, and hands every Sample to the recorder.
func Run(ctx context.Context, o Options, r *Recorder) error {
	if err := o.check(); err != nil {
		return err
	}
	template, err := http.NewRequest(http.MethodGet, o.URL, nil)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	template.Host = o.Host
	for name, value := range o.Header {
		template.Header.Set(name, value)
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: o.Timeout}).DialContext,
		MaxIdleConnsPerHost: o.Concurrency, MaxConnsPerHost: o.Concurrency, IdleConnTimeout: time.Minute,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport, Timeout: o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	due := make(chan time.Time, 16*o.Concurrency)
	var workers sync.WaitGroup
	for range o.Concurrency {
		workers.Go(func() {
			for at := range due {
				r.Add(send(client, template, at))
			}
		})
	}
	pace(ctx, o, due)
	close(due)
	workers.Wait()
	return nil
}

// pace puts each request's due time into the channel when it has come.
func pace(ctx context.Context, o Options, due chan<- time.Time) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		after := time.Duration(float64(n) / o.Rate * float64(time.Second))
		if o.Duration > 0 && after >= o.Duration {
			return
		}
		at := start.Add(after)
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return
		case due <- at:
		}
	}
}

func send(client *http.Client, template *http.Request, at time.Time) Sample {
	s := Sample{Sent: at}
	res, err := client.Do(template.Clone(context.Background()))
	if err == nil {
		s.Status, s.Version = res.StatusCode, res.Header.Get("X-Version")
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
	}
	s.Took = time.Since(at)
	if err != nil {
		s.Status, s.Err = 0, reason(err)
	}
	return s
}

// reason is an error without the addresses that make every one different.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	return err.Error()
}
