package box

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	basecompat "k8s.io/component-base/compatibility"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// newRegistry returns a component registry of its own over a copy of the default feature gates.
func newRegistry() (basecompat.ComponentGlobalsRegistry, error) {
	r := basecompat.NewComponentGlobalsRegistry()
	gates := utilfeature.DefaultMutableFeatureGate.DeepCopy()
	if err := r.Register(basecompat.DefaultKubeComponent, compatibility.DefaultBuildEffectiveVersion(), gates); err != nil {
		return nil, fmt.Errorf("registering the component: %w", err)
	}
	return r, nil
}

func parseFlags(sets cliflag.NamedFlagSets, args []string) error {
	fs := pflag.NewFlagSet("embedded", pflag.ContinueOnError)
	for _, f := range sets.FlagSets {
		fs.AddFlagSet(f)
	}
	return fs.Parse(args)
}

func (o Options) apiServerFlags() []string {
	return []string{
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", o.Port), "--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // a loopback address is no valid endpoint
		"--etcd-servers=" + o.etcdURL(), "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
		"--client-ca-file=" + o.key("ca.crt"),
		"--tls-cert-file=" + o.key("apiserver.crt"), "--tls-private-key-file=" + o.key("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + o.key("sa.pub"), "--service-account-signing-key-file=" + o.key("sa.key"),
		"--requestheader-client-ca-file=" + o.key("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + o.key("front-proxy-client.crt"), "--proxy-client-key-file=" + o.key("front-proxy-client.key"),
		"--allow-privileged=true", "--profiling=false",
	}
}

func (p *plane) startAPIServer(ctx context.Context) error {
	s := options.NewServerRunOptions()
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	s.GenericServerRunOptions.ComponentGlobalsRegistry = registry
	if err := parseFlags(s.Flags(), p.opts.apiServerFlags()); err != nil {
		return fmt.Errorf("parsing its flags: %w", err)
	}
	if err := registry.Set(); err != nil {
		return fmt.Errorf("setting its feature gates: %w", err)
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return fmt.Errorf("completing its options: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("checking its options: %w", utilerrors.NewAggregate(errs))
	}
	p.add(ctx, "kube-apiserver", func(ctx context.Context) error { return app.Run(ctx, completed) })
	if err := p.awaitReadyz(ctx); err != nil {
		return err
	}
	p.say("kube-apiserver ready")
	return nil
}

// awaitReadyz waits until the API server says that it is ready, or has ended.
func (p *plane) awaitReadyz(ctx context.Context) error {
	client, err := p.opts.adminClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if isReady(ctx, client, p.opts.server()+"/readyz") {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-p.failed:
			return err
		case <-tick.C:
		}
	}
}

func isReady(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (o Options) adminClient() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(o.key("admin.crt"), o.key("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("loading the admin's key: %w", err)
	}
	ca, err := os.ReadFile(o.key("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("loading the authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}},
	}, nil
}
