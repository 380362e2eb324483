package testbed

import (
	"context"
	_ "embed" // Prometheus' configuration
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"text/template"

	"github.com/belay-delivery/belay/test/testbed/parts"
)

//go:embed prometheus.yaml.tmpl
var prometheusTemplate string

var prometheusConfig = template.Must(template.New("prometheus").Parse(prometheusTemplate))

// start starts the components in the order of their needs. What needs nothing but the API server starts side by side.
func (t *Testbed) start(ctx context.Context) error {
	if t.opts.has(Git) {
		if err := t.startGit(ctx); err != nil {
			return err
		}
	}
	if !t.opts.has(ControlPlane) {
		return nil
	}
	cluster, err := t.startControlPlane(ctx)
	if err != nil {
		return err
	}
	if t.opts.has(Node) {
		if err := t.startNode(); err != nil {
			return err
		}
	}
	if err := cluster.installGatewayAPI(ctx, t.info.Programs[parts.CRDs]); err != nil {
		return err
	}
	t.say("Gateway API definitions established")
	if t.opts.has(Gateway) {
		if err := t.startGateway(ctx, cluster); err != nil {
			return err
		}
	}
	if t.opts.has(Prometheus) {
		if err := t.startPrometheus(); err != nil {
			return err
		}
	}
	return t.awaitAll(ctx, cluster)
}

// awaitAll waits until what was started works.
func (t *Testbed) awaitAll(ctx context.Context, c *cluster) error {
	checks := map[string]func(context.Context) error{"the default service account": c.hasServiceAccount}
	if t.opts.has(Node) {
		checks["the node"], checks["the metrics API"] = c.hasNode, c.hasMetrics
	}
	if t.opts.has(Gateway) {
		checks["the gateway"] = c.hasGateway
	}
	if t.opts.has(Prometheus) {
		checks["Prometheus"] = func(ctx context.Context) error { return answers(ctx, t.info.PrometheusURL+"/-/ready") }
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(checks))
	for what, check := range checks {
		wg.Go(func() {
			err := await(ctx, what, check)
			if err == nil {
				t.say(what + " is there")
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func (t *Testbed) startGit(ctx context.Context) error {
	p, err := t.slot.Ports(1)
	if err != nil {
		return err
	}
	t.info.GitRoot, t.info.GitURL = filepath.Join(t.opts.Dir, "git"), fmt.Sprintf("http://127.0.0.1:%d", p)
	t.info.GitUser, t.info.GitPassword = "belay", newPassword()
	env := []string{"TESTBED_GIT_USER=" + t.info.GitUser, "TESTBED_GIT_PASSWORD=" + t.info.GitPassword}
	if err := t.spawn(Git, env, t.opts.Program, "git-server", "--root", t.info.GitRoot, "--address", "127.0.0.1:"+port(p)); err != nil {
		return err
	}
	err = await(ctx, "the Git server", func(ctx context.Context) error { return answers(ctx, t.info.GitURL+"/healthz") })
	if err == nil {
		t.say("Git server is there")
	}
	return err
}

func (t *Testbed) startControlPlane(ctx context.Context) (*cluster, error) {
	first, err := t.slot.Ports(3)
	if err != nil {
		return nil, err
	}
	dir, box := filepath.Join(t.opts.Dir, "controlplane"), t.info.Programs[parts.Kubebox]
	t.info.Kubeconfig = filepath.Join(dir, "pki", "admin.kubeconfig")
	t.info.APIServerURL = fmt.Sprintf("https://127.0.0.1:%d", first)
	t.info.Assets = filepath.Join(t.opts.Dir, "assets")
	if err := LinkAssets(t.info.Assets, box); err != nil {
		return nil, err
	}
	if err := t.spawn(ControlPlane, nil, box, "up", "--dir", dir, "--port", port(first), "--etcd-port", port(first+1),
		"--controller-manager-flag=--horizontal-pod-autoscaler-sync-period=2s"); err != nil { // 15 s by itself
		return nil, err
	}
	var c *cluster
	err = await(ctx, "the API server", func(ctx context.Context) error {
		if c, err = connect(t.info.Kubeconfig); err != nil {
			return err
		}
		return c.isReady(ctx)
	})
	if err == nil {
		t.say("API server is ready")
	}
	return c, err
}

// LinkAssets makes dir a KUBEBUILDER_ASSETS folder: etcd, kube-apiserver and kubectl, all of them kubebox.
func LinkAssets(dir, kubebox string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the assets folder: %w", err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"} {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("replacing an asset: %w", err)
		}
		if err := os.Symlink(kubebox, link); err != nil {
			return fmt.Errorf("linking an asset: %w", err)
		}
	}
	return nil
}

func (t *Testbed) startNode() error {
	metrics, err := t.slot.Ports(1)
	if err != nil {
		return err
	}
	t.info.Images, t.info.PodCIDR = filepath.Join(t.opts.Dir, "images"), t.slot.Pods.String()
	sample := filepath.Join(t.info.Images, "sample")
	if err := os.MkdirAll(sample, 0o755); err != nil {
		return fmt.Errorf("making the sample image: %w", err)
	}
	if err := os.Symlink(t.info.Programs[parts.Sample], filepath.Join(sample, "entrypoint")); err != nil {
		return fmt.Errorf("making the sample image: %w", err)
	}
	logs := filepath.Join(t.info.Logs, "pods")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("making the folder of pod logs: %w", err)
	}
	return t.spawn(Node, nil, t.opts.Program, "node", "--kubeconfig", t.info.Kubeconfig, "--name", "node-0",
		"--pods", t.info.PodCIDR, "--images", t.info.Images, "--logs", logs, "--metrics", "127.0.0.1:"+port(metrics))
}

func (t *Testbed) startPrometheus() error {
	p, err := t.slot.Ports(1)
	if err != nil {
		return err
	}
	t.info.PrometheusURL = fmt.Sprintf("http://127.0.0.1:%d", p)
	dir := filepath.Join(t.opts.Dir, "prometheus")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making Prometheus' folder: %w", err)
	}
	path := filepath.Join(dir, "prometheus.yaml")
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing Prometheus' configuration: %w", err)
	}
	if err := errors.Join(prometheusConfig.Execute(f, t.info), f.Close()); err != nil {
		return fmt.Errorf("writing Prometheus' configuration: %w", err)
	}
	return t.spawn(Prometheus, nil, t.info.Programs[parts.Prometheus], "--config.file="+path,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:"+port(p),
		"--web.enable-lifecycle", "--scrape.discovery-reload-interval=1s", // else new pods are seen up to 5 s late
		"--storage.tsdb.retention.time=1d", "--log.level=warn")
}
