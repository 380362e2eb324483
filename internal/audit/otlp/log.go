package otlp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"github.com/belay-delivery/belay/internal/audit"
)

// What comes of an event.
const (
	Written = "written"
	Dropped = "dropped"
)

// Options of a Log.
type Options struct {
	// Version of the manager.
	Version string
	Log     logr.Logger
	// Told is called once for each event, when it is known what came of it: Written or Dropped. It must not block.
	Told func(kind, result string)
}

// Log is an audit.Log that sends events to a collector. Write never waits for it.
type Log struct {
	logger otellog.Logger
	queue  *queue
}

// New begins to send. Nothing is sent until there is an event: the collector need not be there yet.
func New(s Settings, o Options) (*Log, error) {
	return newLog(s, o, bounds{events: maxEvents, bytes: maxBytes, first: firstWait, most: mostWait, patience: patience})
}

func newLog(s Settings, o Options, b bounds) (*Log, error) {
	ctx := context.Background()
	from, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("belay"), semconv.ServiceVersion(o.Version)), resource.WithFromEnv())
	if err != nil {
		return nil, errors.New("OTEL_RESOURCE_ATTRIBUTES must be NAME=VALUE, comma-separated, and values percent-encoded")
	}
	c := newConnection(s)
	options := []otlploghttp.Option{otlploghttp.WithEndpointURL(s.Endpoint.String()), otlploghttp.WithHeaders(s.Headers), otlploghttp.WithTimeout(s.Timeout),
		otlploghttp.WithCompression(otlploghttp.NoCompression), otlploghttp.WithRetry(otlploghttp.RetryConfig{}), otlploghttp.WithHTTPClient(c.client)}
	if s.Gzip {
		options = append(options, otlploghttp.WithCompression(otlploghttp.GzipCompression))
	}
	if s.TLS != nil {
		options = append(options, otlploghttp.WithTLSClientConfig(s.TLS))
	}
	if c.exporter, err = otlploghttp.New(ctx, options...); err != nil {
		return nil, fmt.Errorf("making the exporter: %w", err)
	}
	q := newQueue(c, b, o)
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(from), sdklog.WithProcessor(q))
	logger := provider.Logger("belay.dev/audit", otellog.WithInstrumentationVersion(o.Version), otellog.WithSchemaURL(semconv.SchemaURL))
	return &Log{logger: logger, queue: q}, nil
}

// Write implements audit.Log: it puts an event at the end of the queue.
func (l *Log) Write(e audit.Event) error {
	record, err := recordOf(e)
	if err != nil {
		return err
	}
	l.logger.Emit(context.Background(), record)
	return nil
}

// Close sends what is queued, each batch once more, until the context ends. What is left then is dropped.
func (l *Log) Close(ctx context.Context) { _ = l.queue.Shutdown(ctx) }

const kindAttribute = "belay.kind"

// recordOf is the log record of an event: its line is the body, and what people search for are attributes.
func recordOf(e audit.Event) (otellog.Record, error) {
	var r otellog.Record
	line, err := audit.Line(e)
	if err != nil {
		return r, err
	}
	r.SetEventName("belay.audit." + strings.ToLower(e.Kind))
	r.SetTimestamp(e.Time)
	r.SetObservedTimestamp(time.Now())
	r.SetBody(otellog.StringValue(string(line)))
	r.SetSeverity(otellog.SeverityInfo)
	if warns[e.Outcome] {
		r.SetSeverity(otellog.SeverityWarn)
	}
	r.SetSeverityText(r.Severity().String())
	r.AddAttributes(otellog.String(kindAttribute, e.Kind))
	for _, a := range []struct{ key, value string }{
		{string(semconv.LogRecordUIDKey), e.ID},
		{string(semconv.K8SNamespaceNameKey), e.Subject.Namespace},
		{"k8s.object.kind", e.Subject.Kind},
		{"k8s.object.name", e.Subject.Name},
		{"k8s.object.uid", e.Subject.UID},
		{string(semconv.VCSRefHeadRevisionKey), e.Commit},
		{"belay.object", e.Object},
		{"belay.actor", e.Actor},
		{"belay.trigger", e.Trigger},
		{"belay.digest", e.Digest},
		{"belay.outcome", e.Outcome},
		{"belay.reason", e.Reason},
	} {
		if a.value != "" {
			r.AddAttributes(otellog.String(a.key, strings.ToValidUTF8(a.value, "\ufffd")))
		}
	}
	return r, nil
}

// warns are the outcomes that somebody may want to look at.
var warns = map[string]bool{
	"Failed": true, "RolledBack": true, "VerdictRolledBack": true, "Aborted": true, "VerdictAborted": true, // rounds and attempts
	"Open": true, "AwaitingApproval": true, "Fighting": true, // drift
	"Refused": true, "Declined": true, "Suspended": true, "Conflict": true, "Rejected": true, // decisions and reverts
}
