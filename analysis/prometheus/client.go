package prometheus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

const (
	// maxAnswer bounds the size of an answer, in bytes after decompression.
	maxAnswer      = 1 << 20
	maxTimeout     = 60 * time.Second
	defaultTimeout = 10 * time.Second
	maxErrorText   = 300
)

// Querier asks for one number.
type Querier interface {
	// Query gives the value of an instant query at a time. It is NaN or infinite if the server says so.
	Query(ctx context.Context, query string, at time.Time) (float64, error)
}

// Config says whom to ask, and how.
type Config struct {
	// Address of the server: http or https, a host, and perhaps a path; no user, query or fragment.
	Address string
	// Timeout of one query; at most 60s, and 10s if it is not positive.
	Timeout time.Duration
	// Credentials for the server; the zero value means none.
	Credentials Credentials
}

// Client asks one server. It is safe for use by several goroutines.
type Client struct {
	api     promv1.API
	host    string
	timeout time.Duration
	creds   Credentials
	close   func()
	shared  *sharing
	skew    *skew
}

var (
	_ Querier = (*Client)(nil)
	_ Sampler = (*Client)(nil)
)

// New makes a Client. It asks nothing yet. The error is an *AddressError or a *CredentialsError.
func New(cfg Config) (*Client, error) {
	tlsConfig, err := cfg.Credentials.tlsConfig()
	if err != nil {
		return nil, err
	}
	transport := newTransport(tlsConfig)
	c, err := newWith(cfg, transport)
	if err != nil {
		return nil, err
	}
	c.close = transport.CloseIdleConnections
	return c, nil
}

// newWith makes a Client that asks by way of a transport.
func newWith(cfg Config, transport http.RoundTripper) (*Client, error) {
	u, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	skew := &skew{now: time.Now}
	c, err := api.NewClient(api.Config{Address: u.String(), RoundTripper: &guard{next: transport, creds: cfg.Credentials, skew: skew}})
	if err != nil {
		return nil, &AddressError{Reason: "it does not parse"}
	}
	return &Client{api: promv1.NewAPI(c), host: u.Host, timeout: timeoutOf(cfg), creds: cfg.Credentials, close: func() {},
		shared: &sharing{now: time.Now}, skew: skew}, nil
}

func timeoutOf(cfg Config) time.Duration {
	if cfg.Timeout <= 0 {
		return defaultTimeout
	}
	return min(cfg.Timeout, maxTimeout)
}

func newTransport(tlsConfig *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        2 * time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil: // the error would repeat the address, and with it a password that should not be there
		return nil, &AddressError{Reason: "it does not parse"}
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, &AddressError{Reason: "it must begin with http:// or https://"}
	case u.Host == "" || u.Hostname() == "":
		return nil, &AddressError{Reason: "it has no host"}
	case u.User != nil:
		return nil, &AddressError{Reason: "it holds a user: credentials belong into a Secret"}
	case u.RawQuery != "" || u.Fragment != "":
		return nil, &AddressError{Reason: "it holds a query or fragment"}
	}
	return u, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.close() }

// Query asks an instant query for a time, and waits for its answer no longer than the timeout. It is ErrNoData if no
// series matches.
func (c *Client) Query(ctx context.Context, query string, at time.Time) (float64, error) {
	got, err := c.shared.do(ctx, key("value", query, at, 0), func(ctx context.Context) (any, int, error) {
		value, _, err := c.evaluate(ctx, query, at)
		if err != nil {
			return nil, 0, err
		}
		n, err := number(value)
		return n, 1, err
	})
	if err != nil {
		return 0, c.ended(ctx, err)
	}
	return got.(float64), nil
}

// evaluate asks for a query's value at a time of our clock, and gives by how much the server's clock is ahead.
func (c *Client) evaluate(ctx context.Context, query string, at time.Time) (model.Value, time.Duration, error) {
	for try := 0; ; try++ {
		ahead := c.skew.ahead()
		if ahead.Abs() > maxSkew {
			return nil, 0, fmt.Errorf("the clock of Prometheus at %s is %s: set the clocks right", c.host, lag(ahead))
		}
		limited, cancel := context.WithTimeout(ctx, c.timeout)
		value, warnings, _, err := c.api.Query(limited, query, at.Add(ahead), promv1.WithTimeout(c.timeout), promv1.WithLimit(maxSeries))
		late := limited.Err() != nil
		cancel()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, 0, fmt.Errorf("asking Prometheus at %s: %w", c.host, ctx.Err())
		case err != nil && late:
			return nil, 0, fmt.Errorf("asking Prometheus at %s: no answer within %s: %w", c.host, c.timeout, context.DeadlineExceeded)
		case err != nil:
			return nil, 0, c.explain(err)
		case len(warnings) > 0:
			return nil, 0, fmt.Errorf("asking Prometheus at %s: the answer is not complete: %s", c.host, clip(c.creds.redact(warnings[0])))
		case try == 0 && c.skew.ahead() != ahead: // its answer shows that it has another time
			continue
		}
		return value, ahead, nil
	}
}

// ended says of a caller that gave up why it has no answer.
func (c *Client) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("asking Prometheus at %s: %w", c.host, ctx.Err())
	}
	return err
}

// Ahead is by how much the server's clock is ahead of ours, in whole seconds; 0 while the difference is below what can be
// measured, or nothing was asked yet. Times of questions and answers allow for it.
func (c *Client) Ahead() time.Duration { return c.skew.ahead() }

// explain makes an error for people of what the API client says.
func (c *Client) explain(err error) error {
	var apiErr *promv1.Error
	if errors.As(err, &apiErr) {
		text := clip(c.creds.redact(apiErr.Msg))
		switch apiErr.Type {
		case promv1.ErrBadData:
			return &QueryError{Host: c.host, Text: text}
		case promv1.ErrBadResponse:
			return fmt.Errorf("asking Prometheus at %s: it does not answer as Prometheus does: %s", c.host, text)
		default:
			return fmt.Errorf("asking Prometheus at %s: %s", c.host, text)
		}
	}
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		err = urlErr.Err // the rest is the method and the whole URL
	}
	return fmt.Errorf("asking Prometheus at %s: %s", c.host, clip(c.creds.redact(err.Error())))
}

// guard adds credentials to requests, and bounds what comes back.
type guard struct {
	next  http.RoundTripper
	creds Credentials
	skew  *skew
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", "belay")
	g.creds.authorize(req)
	sent := g.skew.now()
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	g.skew.learn(resp.Header, sent)
	if resp.StatusCode/100 == 3 {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("it answers with a redirect (%d), which is not followed: give the address that it leads to", resp.StatusCode)
	}
	limit := limitOf(req.Context())
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: limit, limit: limit}
	return resp, nil
}

// boundedBody fails when more than it allows is read.
type boundedBody struct {
	io.ReadCloser
	left, limit int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", b.limit)
	}
	return n, err
}
