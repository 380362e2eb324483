package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/belay-delivery/belay/internal/netguard"
)

const (
	// maxAnswer bounds one answer and maxBytes all of a session.
	maxAnswer = 4 << 20
	maxBytes  = 64 << 20
	// maxRedirects is how many are followed for one request.
	maxRedirects = 5
	maxHeaders   = 64 << 10
	dialTimeout  = 5 * time.Second
	waitTimeout  = 15 * time.Second
)

// refusal is why a request is not made.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// errTooLarge says that an answer is larger than is read.
var errTooLarge = fmt.Errorf("its answer is larger than %d bytes", maxAnswer)

// guarded is a transport that asks only what may be asked, and reads only so much.
type guarded struct {
	inner *http.Transport
	// plain are the hosts, with port, that may be asked without TLS and at any address.
	plain []string
	left  atomic.Int64
}

func newTransport(plain []string, credentials Credentials) *guarded {
	proxies := httpproxy.FromEnvironment()
	choose := proxies.ProxyFunc()
	g := &guarded{plain: plain}
	g.left.Store(maxBytes)
	checked := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		if err := netguard.Check(address); err != nil {
			return &refusal{text: err.Error() + " (the manager's --plain-http-registries allows a registry there)"}
		}
		return nil
	}}
	free := &net.Dialer{Timeout: dialTimeout}
	open := append(slices.Clone(plain), proxyHosts(proxies)...)
	g.inner = &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return choose(r.URL) },
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if slices.Contains(open, address) {
				return free.DialContext(ctx, network, address)
			}
			return checked.DialContext(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: credentials.roots()},
		TLSHandshakeTimeout:    waitTimeout,
		ResponseHeaderTimeout:  waitTimeout,
		MaxResponseHeaderBytes: maxHeaders,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        waitTimeout,
		ForceAttemptHTTP2:      true,
	}
	return g
}

// proxyHosts are the addresses of the proxies that the manager was started with: these may be local.
func proxyHosts(config *httpproxy.Config) []string {
	var out []string
	for _, text := range []string{config.HTTPProxy, config.HTTPSProxy} {
		u, err := url.Parse(text)
		if err == nil && u.Host == "" { // host:port alone
			u, err = url.Parse("http://" + text)
		}
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443", "socks5": "1080"}[u.Scheme]
		}
		if port == "" {
			port = "80"
		}
		out = append(out, net.JoinHostPort(u.Hostname(), port))
	}
	return out
}

// RoundTrip implements http.RoundTripper.
func (g *guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := g.allowed(request.URL); err != nil {
		return nil, err
	}
	if redirects(request) > maxRedirects {
		return nil, &refusal{text: fmt.Sprintf("it answers with more than %d redirects", maxRedirects)}
	}
	if g.left.Load() <= 0 {
		return nil, &refusal{text: fmt.Sprintf("more than %d bytes were read in all", maxBytes)}
	}
	response, err := g.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.ContentLength > maxAnswer {
		_ = response.Body.Close()
		return nil, errTooLarge
	}
	response.Body = &bounded{ReadCloser: response.Body, left: maxAnswer, all: &g.left}
	return response, nil
}

// redirects is how many answers led to a request.
func redirects(request *http.Request) int {
	n := 0
	for request.Response != nil && request.Response.Request != nil && n <= maxRedirects {
		request = request.Response.Request
		n++
	}
	return n
}

// allowed judges a URL, also where a proxy would resolve its host.
func (g *guarded) allowed(u *url.URL) error {
	if slices.Contains(g.plain, hostPort(u)) {
		return nil
	}
	if u.Scheme != "https" {
		return &refusal{text: fmt.Sprintf("%s is not asked without TLS (the manager's --plain-http-registries allows it)", u.Host)}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := netguard.Refuse(addr); why != "" {
			return &refusal{text: fmt.Sprintf("%s is not asked: %s (the manager's --plain-http-registries allows it)", addr, why)}
		}
	}
	return nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// bounded is a body that ends with an error where it is too long.
type bounded struct {
	io.ReadCloser
	left int64
	all  *atomic.Int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.all.Add(-int64(n)) < 0 || b.left < 0 {
		return 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("reading an answer: %w", err)
	}
	return n, err
}
