package otlp

import (
	"context"
	"strings"
	"time"

	"github.com/go-logr/logr"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"

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
type Log struct{ queue *queue }

// New begins to send. Nothing is sent until there is an event: the collector need not be there yet.
func New(s Settings, o Options) *Log {
	return newLog(s, o, bounds{events: maxEvents, bytes: maxBytes, first: firstWait, most: mostWait, patience: patience})
}

func newLog(s Settings, o Options, b bounds) *Log {
	return &Log{queue: newQueue(newConnection(s, o.Version), b, o)}
}

// Write implements audit.Log: it puts an event at the end of the queue.
func (l *Log) Write(e audit.Event) error {
	record, err := recordOf(e)
	if err != nil {
		return err
	}
	l.queue.add(e.Kind, record)
	return nil
}

// Close sends what is queued, each batch once more, until the context ends. What is left then is dropped.
func (l *Log) Close(ctx context.Context) { l.queue.close(ctx) }

// recordOf is the log record of an event: its line is the body, and what people search for are attributes.
func recordOf(e audit.Event) (*logs.LogRecord, error) {
	line, err := audit.Line(e)
	if err != nil {
		return nil, err
	}
	r := &logs.LogRecord{TimeUnixNano: uint64(e.Time.UnixNano()), ObservedTimeUnixNano: uint64(time.Now().UnixNano()), EventName: "belay.audit." + strings.ToLower(e.Kind),
		SeverityNumber: logs.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO", Body: text(string(line))}
	if warns[e.Outcome] {
		r.SeverityNumber, r.SeverityText = logs.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	}
	for _, a := range []struct{ key, value string }{
		{string(semconv.LogRecordUIDKey), e.ID},
		{string(semconv.K8SNamespaceNameKey), e.Subject.Namespace},
		{"k8s.object.kind", e.Subject.Kind}, // these three as the collector's own receiver of Kubernetes events has them
		{"k8s.object.name", e.Subject.Name},
		{"k8s.object.uid", e.Subject.UID},
		{string(semconv.VCSRefHeadRevisionKey), e.Commit},
		{"belay.kind", e.Kind},
		{"belay.object", e.Object},
		{"belay.actor", e.Actor},
		{"belay.trigger", e.Trigger},
		{"belay.digest", e.Digest},
		{"belay.outcome", e.Outcome},
		{"belay.reason", e.Reason},
	} {
		if a.value != "" {
			r.Attributes = append(r.Attributes, &common.KeyValue{Key: a.key, Value: text(a.value)})
		}
	}
	return r, nil
}

func text(value string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(value, "\ufffd")}}
}

// warns are the outcomes that somebody may want to look at.
var warns = map[string]bool{
	"Failed": true, "Unhealthy": true, "RolledBack": true, "VerdictRolledBack": true, "Aborted": true, "VerdictAborted": true, // rounds and attempts
	"Open": true, "AwaitingApproval": true, "Fighting": true, // drift
	"Refused": true, "Declined": true, "Suspended": true, "Conflict": true, "Rejected": true, // decisions and reverts
}
