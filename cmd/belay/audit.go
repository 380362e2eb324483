package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	observe "github.com/belay-delivery/belay/controllers/audit"
	"github.com/belay-delivery/belay/internal/audit"
	"github.com/belay-delivery/belay/internal/audit/otlp"
)

const (
	toStdout = "stdout"
	toFile   = "file"
	toOTLP   = "otlp"
)

// flushTime is how long the manager sends audit events after it has stopped.
const flushTime = 5 * time.Second

// auditTo reads --audit: the places, and the path of the file where it is one.
func (o *options) auditTo() (to []string, path string, err error) {
	for _, place := range commaList(o.audit) {
		switch {
		case place == toStdout || place == toOTLP:
		case strings.Contains(place, "://"):
			return nil, "", errors.New("--audit takes no URL: it must be otlp, and the URL of the collector in OTEL_EXPORTER_OTLP_ENDPOINT")
		case strings.Contains(place, "/"):
			place, path = toFile, place
		default:
			return nil, "", fmt.Errorf("--audit %q must be stdout, otlp, or the path of a file with a slash, e.g. ./%s", place, place)
		}
		if slices.Contains(to, place) {
			return nil, "", fmt.Errorf("--audit %q must name stdout, otlp and a file once each at most", o.audit)
		}
		to = append(to, place)
	}
	return to, path, nil
}

// checkAudit says what is wrong with --audit, and with the environment where it matters.
func (o *options) checkAudit() error {
	to, _, err := o.auditTo()
	if err == nil && slices.Contains(to, toOTLP) {
		if _, err = otlp.FromEnvironment(os.Getenv); err != nil {
			err = fmt.Errorf("--audit otlp: %w", err)
		}
	}
	return err
}

// addAudit has the leader write audit events where the flags say. Once the manager has stopped, flush sends what was not yet sent,
// for as long as it is told, and says what is lost.
func addAudit(mgr ctrl.Manager, o options) (flush func(time.Duration), err error) {
	flush = func(time.Duration) {}
	to, path, err := o.auditTo()
	if err != nil {
		return flush, err
	}
	for _, place := range to {
		observer := &observe.Observer{Cache: mgr.GetCache(), Name: place, Log: mgr.GetLogger().WithName("audit")}
		switch place {
		case toStdout:
			observer.To = audit.NewStream(os.Stdout)
		case toFile:
			file, err := audit.OpenFile(path, o.auditBytes, o.auditKeep)
			if err != nil {
				return flush, fmt.Errorf("--audit: %w", err)
			}
			observer.To, observer.Remembers = file, true
		case toOTLP:
			collector, err := openCollector(observer.Log)
			if err != nil {
				return flush, fmt.Errorf("--audit otlp: %w", err)
			}
			observer.To, observer.Counts = collector, true
			flush = func(most time.Duration) {
				ctx, cancel := context.WithTimeout(context.Background(), most)
				defer cancel()
				collector.Close(ctx)
			}
		}
		if err := mgr.Add(observer); err != nil {
			return flush, fmt.Errorf("adding the audit: %w", err)
		}
	}
	return flush, nil
}

func openCollector(log logr.Logger) (*otlp.Log, error) {
	settings, err := otlp.FromEnvironment(os.Getenv)
	if err != nil {
		return nil, err
	}
	log.Info("Audit events go to a collector", "collector", settings.Host())
	return otlp.New(settings, otlp.Options{Version: version, Log: log, Told: func(kind, result string) { observe.Count(toOTLP, kind, result) }}), nil
}
