package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/belay-delivery/belay/analysis/condition"
	"github.com/belay-delivery/belay/analysis/prometheus"
)

const (
	// maxAnswer bounds the body of an answer, in bytes after decompression.
	maxAnswer      = 1 << 20
	maxHeaders     = 64 << 10
	maxRedirects   = 5
	maxTimeout     = 60 * time.Second
	defaultTimeout = 10 * time.Second
	maxErrorText   = 300
)

// Request is what is asked.
type Request struct {
	Method, URL string
	Header      http.Header
	Body        string
	// Timeout of the request with its answer; at most 60s, and 10s if it is not positive.
	Timeout time.Duration
	// Credentials for the server; the zero value means none.
	Credentials prometheus.Credentials
	// Secrets are values of headers that must not be told.
	Secrets []string
}

// String tells nothing of what a request holds.
func (r Request) String() string { return "[redacted]" }

// GoString tells nothing of what a request holds.
func (r Request) GoString() string { return "[redacted]" }

// Redact takes what is secret out of a text that a server had a hand in.
func (r Request) Redact(s string) string {
	for _, secret := range r.Secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return r.Credentials.Redact(s)
}

// Client asks servers.
type Client struct {
	// AllowLocal lets it ask addresses that are refused otherwise.
	AllowLocal bool
}

// Do sends a request and reads the answer, of any status. An error is an *AddressError, a *prometheus.CredentialsError, or
// that there is no answer. Each request has a connection of its own: credentials are kept by nobody.
func (c Client) Do(ctx context.Context, r Request) (condition.Answer, error) {
	u, err := parseURL(r.URL)
	if err != nil {
		return condition.Answer{}, err
	}
	tlsConfig, err := r.Credentials.TLSConfig()
	if err != nil {
		return condition.Answer{}, err
	}
	timeout := min(r.Timeout, maxTimeout)
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, r.Method, u.String(), strings.NewReader(r.Body))
	if err != nil {
		return condition.Answer{}, &AddressError{Reason: "the request cannot be made"}
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "belay")
	r.Credentials.Authorize(req)
	answer, err := c.send(req, tlsConfig)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return answer, fmt.Errorf("asking %s: %w", u.Host, ctx.Err())
	case limited.Err() != nil:
		return answer, fmt.Errorf("asking %s: no answer within %s: %w", u.Host, timeout, context.DeadlineExceeded)
	}
	return answer, explain(err, u.Host, r)
}

func (c Client) send(req *http.Request, tlsConfig *tls.Config) (condition.Answer, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !c.AllowLocal {
		dialer.Control = control
	}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: tlsConfig, TLSHandshakeTimeout: 10 * time.Second,
		DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeaders}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: sameOrigin}
	resp, err := client.Do(req)
	if err != nil {
		return condition.Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return condition.Answer{}, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return condition.Answer{}, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	headers := map[string]string{}
	for name, values := range resp.Header {
		if len(values) > 0 {
			headers[strings.ToLower(name)] = strings.ToValidUTF8(values[0], "?")
		}
	}
	return condition.Answer{Status: resp.StatusCode, Headers: headers, Body: body}, nil
}

// sameOrigin follows redirects within scheme, host and port: what else they lead to was not meant by the template.
func sameOrigin(req *http.Request, via []*http.Request) error {
	switch first := via[0]; {
	case req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host || req.URL.User != nil:
		return errors.New("it answers with a redirect to another host, which is not followed: give the URL that it leads to")
	case len(via) > maxRedirects:
		return fmt.Errorf("it answers with more than %d redirects", maxRedirects)
	}
	return nil
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // the error would repeat the URL, and with it what should not be told
		return nil, &AddressError{Reason: "the URL does not parse"}
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, &AddressError{Reason: "the URL must begin with http:// or https://"}
	case u.Hostname() == "":
		return nil, &AddressError{Reason: "the URL has no host"}
	case u.User != nil:
		return nil, &AddressError{Reason: "the URL holds a user: credentials belong into a Secret"}
	}
	return u, nil
}

// explain makes an error for people of what the HTTP client says.
func explain(err error, host string, r Request) error {
	if refused := (*AddressError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("asking %s: %w", host, refused)
	}
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		err = urlErr.Err // the rest is the method and the whole URL
	}
	text := []rune(r.Redact(strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "?")), " ")))
	if len(text) > maxErrorText {
		text = append(text[:maxErrorText-1], '…')
	}
	return fmt.Errorf("asking %s: %s", host, string(text))
}
