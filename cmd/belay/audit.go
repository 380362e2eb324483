package main

import (
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	observe "github.com/belay-delivery/belay/controllers/audit"
	"github.com/belay-delivery/belay/internal/audit"
)

// addAudit has the leader write audit events where the flags say.
func addAudit(mgr ctrl.Manager, o options) error {
	observer := &observe.Observer{Cache: mgr.GetCache(), Log: mgr.GetLogger().WithName("audit")}
	switch o.audit {
	case "":
		return nil
	case "stdout":
		observer.To = audit.NewStream(os.Stdout)
	default:
		file, err := audit.OpenFile(o.audit, o.auditBytes, o.auditKeep)
		if err != nil {
			return fmt.Errorf("--audit: %w", err)
		}
		observer.To, observer.Remembers = file, true
	}
	return mgr.Add(observer)
}
