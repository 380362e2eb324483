package otlp

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	maxAnswer     = 64 << 10
	maxRetryAfter = 5 * time.Minute
)

// connection posts batches to a collector.
type connection struct {
	settings Settings
	version  string
	client   *http.Client
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

func newConnection(s Settings, version string) *connection {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.MaxResponseHeaderBytes = s.TLS, maxAnswer
	return &connection{settings: s, version: version, client: &http.Client{Transport: transport, Timeout: s.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // headers are for the collector that was named
	}}}
}

// encode is the body of a request: an ExportLogsServiceRequest, which on the wire is a LogsData. The package of the former would
// bring gRPC along.
func (c *connection) encode(records []*logs.LogRecord) ([]byte, error) {
	from := maps.Clone(c.settings.Resource)
	from[string(semconv.ServiceNameKey)] = cmp.Or(from[string(semconv.ServiceNameKey)], "belay")
	from[string(semconv.ServiceVersionKey)] = cmp.Or(from[string(semconv.ServiceVersionKey)], c.version)
	of := &resource.Resource{}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		of.Attributes = append(of.Attributes, &common.KeyValue{Key: key, Value: text(from[key])})
	}
	scope := &common.InstrumentationScope{Name: "belay.dev/audit", Version: c.version}
	raw, err := proto.Marshal(&logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{Resource: of, SchemaUrl: semconv.SchemaURL,
		ScopeLogs: []*logs.ScopeLogs{{Scope: scope, SchemaUrl: semconv.SchemaURL, LogRecords: records}}}}})
	if err != nil || !c.settings.Gzip {
		return raw, err
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	_, err = zip.Write(raw)
	err = errors.Join(err, zip.Close())
	return out.Bytes(), err
}

// send posts a body once.
func (c *connection) send(ctx context.Context, body []byte) answer {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.settings.Endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return answer{why: "no request can be made for it"}
	}
	for name, value := range c.settings.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("User-Agent", "belay/"+c.version)
	request.Header.Set("Content-Type", "application/x-protobuf")
	if c.settings.Gzip {
		request.Header.Set("Content-Encoding", "gzip")
	}
	response, err := c.client.Do(request)
	if err != nil {
		return answer{why: reason(err), again: true}
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	a := read(response, said)
	if err != nil && a.why == "" {
		return answer{why: "its answer was cut off: " + reason(err), again: true}
	}
	return a
}

// read is what an answer means, after the specification of OTLP. What it says in words may hold what we sent, and is left out.
func read(response *http.Response, body []byte) answer {
	code := response.StatusCode
	if code >= 200 && code < 300 {
		if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "application/x-protobuf" {
			return answer{}
		}
		return answer{rejected: rejected(body)}
	}
	a := answer{why: fmt.Sprintf("it answers %d %s", code, http.StatusText(code))}
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		a.again, a.after = true, retryAfter(response.Header.Get("Retry-After"))
	}
	return a
}

// rejected reads partial_success.rejected_log_records of an ExportLogsServiceResponse: field 1 of field 1.
func rejected(body []byte) int {
	partial, _ := fieldOne(body)
	_, records := fieldOne(partial)
	return int(min(max(int64(records), 0), batchEvents))
}

// fieldOne is field 1 of a message, be it bytes or a number.
func fieldOne(message []byte) (content []byte, number uint64) {
	for len(message) > 0 {
		id, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			break
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(id, kind, message); n < 0 {
			break
		}
		switch {
		case id == 1 && kind == protowire.BytesType:
			content, _ = protowire.ConsumeBytes(message)
		case id == 1 && kind == protowire.VarintType:
			number, _ = protowire.ConsumeVarint(message)
		}
		message = message[n:]
	}
	return content, number
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
