// Command belay is the controller manager.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	_ "time/tzdata" // windows of Syncs name time zones, and an image may have none

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/belay-delivery/belay/controllers/rollout"
)

// version is set by the build.
var version = "unknown"

func main() {
	o, logs := options{}, zap.Options{}
	o.bind(flag.CommandLine)
	logs.BindFlags(flag.CommandLine)
	flag.Parse()
	log := zap.New(zap.UseFlagOptions(&logs))
	ctrl.SetLogger(log)
	if err := run(log, o); err != nil {
		log.Error(err, "Belay stops")
		os.Exit(1)
	}
}

// options are the flags of the manager.
type options struct {
	metricsAddress, probeAddress string
	leaderElect                  bool
	leaderNamespace              string
	bundleNamespace              string
	namespaces                   string
	prometheusAddress            string
	allowFileRepositories        bool
	allowLocalWebChecks          bool
	plainHTTPRegistries          string
	gitDir                       string
	gitMiB                       int64
	routePolicies                string
	webhookAddress               string
	rollouts                     int
	qps                          float64
	audit                        string
	auditBytes                   int64
	auditKeep                    int
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", "127.0.0.1:8080", "where /metrics is served; 0 turns it off")
	fs.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served; 0 turns them off")
	fs.BoolVar(&o.leaderElect, "leader-elect", true, "take part in leader election: only one of several managers acts")
	fs.StringVar(&o.leaderNamespace, "leader-election-namespace", "", "namespace of the Lease; the manager's own where it runs in a cluster")
	fs.StringVar(&o.bundleNamespace, "bundle-namespace", "", "namespace of the Secrets that keep what Syncs have applied, for when Git is down: by default that of the Lease, or the manager's own; none keeps nothing")
	fs.StringVar(&o.namespaces, "namespaces", "", "comma-separated namespaces to watch; empty means all")
	fs.StringVar(&o.prometheusAddress, "prometheus-address", "", "server of metrics that name none, e.g. http://prometheus.monitoring:9090; it is asked without credentials")
	fs.BoolVar(&o.allowFileRepositories, "allow-file-repositories", false, "let Repositories read file:// URLs, that is, the manager's own disk")
	fs.BoolVar(&o.allowLocalWebChecks, "allow-local-web-checks", false, "let web metrics ask loopback and link-local addresses and metadata services of clouds, which the manager may reach and others not")
	fs.StringVar(&o.plainHTTPRegistries, "plain-http-registries", "", "comma-separated registries, each HOST:PORT, that may be asked for signatures of images without TLS, and at loopback and link-local addresses")
	fs.StringVar(&o.webhookAddress, "webhook-bind-address", "0", "where Git servers may tell of pushes, e.g. :9292; 0 turns it off")
	fs.StringVar(&o.gitDir, "git-dir", filepath.Join(os.TempDir(), "belay-git"), "folder for local copies of repositories, which may be lost at any time; of one manager only")
	fs.Int64Var(&o.gitMiB, "git-size", 1024, "how many MiB local copies of repositories may take: those used longest ago are dropped")
	fs.StringVar(&o.routePolicies, "route-policies", "", "comma-separated kinds of policies, each RESOURCE.GROUP, that may be attached to single rules of routes; a step with match or mirror that would go around one is refused. Needs the right to list them: see config/policies")
	fs.IntVar(&o.rollouts, "concurrent-rollouts", 8, "how many Rollouts are worked on at once")
	fs.StringVar(&o.audit, "audit", "", "where audit events go, comma-separated: stdout, otlp (a collector: see the variables OTEL_EXPORTER_OTLP_*), the path of a file; empty turns it off")
	fs.Int64Var(&o.auditBytes, "audit-max-bytes", 64<<20, "size at which the audit file is rotated")
	fs.IntVar(&o.auditKeep, "audit-keep", 5, "how many rotated audit files are kept")
	fs.Float64Var(&o.qps, "kube-api-qps", 100, "requests per second to the API server; the burst is twice that")
}

// validate names the flag that is wrong, and what would be right.
func (o *options) validate() error {
	var errs []error
	if a := o.prometheusAddress; a != "" && !strings.HasPrefix(a, "http://") && !strings.HasPrefix(a, "https://") {
		errs = append(errs, fmt.Errorf("--prometheus-address %q must begin with http:// or https://", a))
	}
	if _, err := rollout.ParsePolicies(o.routePolicies); err != nil {
		errs = append(errs, fmt.Errorf("--route-policies: %w", err))
	}
	for _, host := range commaList(o.plainHTTPRegistries) {
		if _, port, err := net.SplitHostPort(host); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("--plain-http-registries %q must be HOST:PORT", host))
		}
	}
	if o.rollouts < 1 {
		errs = append(errs, fmt.Errorf("--concurrent-rollouts %d must be at least 1", o.rollouts))
	}
	if o.gitMiB < 1 {
		errs = append(errs, fmt.Errorf("--git-size %d must be at least 1", o.gitMiB))
	}
	if err := o.checkAudit(); err != nil {
		errs = append(errs, err)
	}
	if o.auditBytes < 64<<10 {
		errs = append(errs, fmt.Errorf("--audit-max-bytes %d must be at least 65536", o.auditBytes))
	}
	if o.auditKeep < 1 {
		errs = append(errs, fmt.Errorf("--audit-keep %d must be at least 1", o.auditKeep))
	}
	if o.qps <= 0 {
		errs = append(errs, fmt.Errorf("--kube-api-qps %g must be above 0", o.qps))
	}
	return errors.Join(errs...)
}

func run(log logr.Logger, o options) error {
	if err := o.validate(); err != nil {
		return err
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	cfg.QPS, cfg.Burst = float32(o.qps), int(2*o.qps)
	mgr, err := newManager(cfg, o)
	if err != nil {
		return err
	}
	if err := addControllers(mgr, o); err != nil {
		return err
	}
	flush, err := addAudit(mgr, o)
	if err != nil {
		return err
	}
	log.Info("Starting", "bundles", bundleNamespace(o), "version", version, "namespaces", o.namespaces, "prometheus", o.prometheusAddress != "")
	if err := mgr.Start(ctrl.SetupSignalHandler()); err != nil {
		flush(0) // the lease may be another's: nothing is waited for
		return err
	}
	flush(flushTime) // the lease has been given back: nobody waits for it
	return nil
}
