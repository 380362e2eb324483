package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

const (
	maxAnswer     = 64 << 10
	maxRetryAfter = 5 * time.Minute
)

// connection sends batches by way of the exporter, one at a time, and sees for itself what the collector answers: the exporter
// puts the answer's body into its errors, which may hold what we sent.
type connection struct {
	exporter sdklog.Exporter
	client   *http.Client
	host     string
	under    http.RoundTripper
	last     answer
}

// answer is what came of one request.
type answer struct {
	// why it was not taken; empty where it was.
	why string
	// again: it may be taken later.
	again bool
	// after is how long the collector asks to be left alone.
	after time.Duration
	// rejected is how many records of a request that was taken were not.
	rejected int
}

func newConnection(s Settings) *connection {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.MaxResponseHeaderBytes = s.TLS, maxAnswer
	c := &connection{under: transport, host: s.Host()}
	c.client = &http.Client{Transport: c, Timeout: s.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // headers are for the collector that was named
	}}
	return c
}

// send sends a batch once. It is called by one goroutine.
func (c *connection) send(ctx context.Context, batch []sdklog.Record) answer {
	if ctx.Err() != nil {
		return answer{why: "there was no time left", again: true}
	}
	c.last = answer{why: "a request could not be made of them"}
	_ = c.exporter.Export(ctx, batch) // what it says is in c.last, without secrets
	return c.last
}

// RoundTrip implements http.RoundTripper. The exporter sees the status alone.
func (c *connection) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.under.RoundTrip(request)
	if err != nil {
		c.last = answer{why: reason(err), again: true}
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if c.last = read(response, body); err != nil && c.last.why == "" {
		c.last = answer{why: "its answer was cut off: " + reason(err), again: true}
		return nil, err
	}
	response.Body, response.ContentLength = http.NoBody, 0
	return response, nil
}

// read is what an answer means, after the specification of OTLP.
func read(response *http.Response, body []byte) answer {
	code := response.StatusCode
	if code >= 200 && code < 300 {
		var said collogs.ExportLogsServiceResponse
		kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
		if kind != "application/x-protobuf" || proto.Unmarshal(bytes.Clone(body), &said) != nil {
			return answer{}
		}
		return answer{rejected: int(max(0, said.GetPartialSuccess().GetRejectedLogRecords()))}
	}
	a := answer{why: fmt.Sprintf("it answers %d %s", code, http.StatusText(code))}
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		a.again, a.after = true, retryAfter(response.Header.Get("Retry-After"))
	}
	return a
}

func retryAfter(value string) time.Duration {
	var after time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = time.Until(at)
	}
	return min(max(after, 0), maxRetryAfter)
}

// reason is why there was no answer, from errors that hold nothing of what was sent or came back.
func reason(err error) string {
	var (
		dns         *net.DNSError
		op          *net.OpError
		certificate *tls.CertificateVerificationError
		timeout     net.Error
	)
	switch {
	case errors.As(err, &dns):
		return dns.Error()
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS: the endpoint may have to begin with http://"
	case errors.Is(err, context.Canceled):
		return "there was no time left"
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &op) && op.Op != "proxyconnect":
		return op.Error()
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return "the connection failed, or what came is no HTTP"
}
