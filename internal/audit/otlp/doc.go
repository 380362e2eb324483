// Package otlp sends audit events to an OpenTelemetry collector, one log record each, by OTLP over HTTP.
//
// Whoever writes an event never waits: it goes to a queue in memory, bounded in events and bytes. One goroutine takes batches from
// its head and sends each until the collector has taken or refused it, so that events arrive in the order in which they were
// written. A collector that does not answer costs nothing until the queue is full; then the oldest events are dropped. What is
// dropped is counted, and logged once until the collector has caught up. Nothing that the collector says, and nothing of the
// headers, gets into a log or an error.
package otlp
