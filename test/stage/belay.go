package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// belayNamespace and belayAccount are the ServiceAccount that config/rbac gives rights to.
const (
	belayNamespace = "belay-system"
	belayAccount   = "belay"
)

// Belay is the manager as a process that has the rights of config/rbac and no others.
type Belay struct {
	Process
	bed   *Bed
	ready string // URL of /readyz
	// Metrics is the URL of its metrics, Webhook the one that Git servers tell of pushes.
	Metrics, Webhook string
	args             []string
	env              []string
}

// StartBelay starts the manager with leader election, and returns once it is ready.
func (b *Bed) StartBelay(ctx context.Context) (*Belay, error) {
	kubeconfig := filepath.Join(b.Work, "belay.kubeconfig")
	if err := b.writeKubeconfig(ctx, kubeconfig); err != nil {
		return nil, err
	}
	metrics, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	probes, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	webhook, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	m := &Belay{bed: b, Metrics: "http://" + metrics + "/metrics", Webhook: "http://" + webhook + "/hooks/", ready: "http://" + probes + "/readyz", env: append(os.Environ(), "KUBECONFIG="+kubeconfig),
		args: []string{"--prometheus-address=" + b.PrometheusURL, "--leader-election-namespace=" + belayNamespace,
			"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + probes, "--zap-log-level=debug", "--zap-time-encoding=rfc3339nano",
			"--audit=" + b.AuditFile(), "--webhook-bind-address=" + webhook}}
	return m, m.Start(ctx)
}

// AuditFile is where it writes the audit stream.
func (b *Bed) AuditFile() string { return filepath.Join(b.Work, "audit.jsonl") }

// Start starts the manager again, after Kill or Stop.
func (m *Belay) Start(ctx context.Context) error {
	cmd := exec.Command(m.bed.Program("belay"), m.args...)
	cmd.Env = m.env
	var err error
	if m.Process, err = m.bed.Ledger.Start("belay", filepath.Join(m.bed.Work, "logs", "belay.log"), cmd); err != nil {
		return err
	}
	err = Poll(ctx, "Belay to be ready", time.Minute, func(ctx context.Context) error { return answers(ctx, m.ready) })
	if err != nil {
		return fmt.Errorf("%w; the last lines of %s:\n%s", err, m.Log, m.Tail(15))
	}
	return nil
}

// Around is what the manager said about a namespace shortly before and after a moment: what it did, and why.
func (m *Belay) Around(namespace string, moment time.Time) string {
	const before, after = 5 * time.Second, time.Second
	data, err := os.ReadFile(m.Log)
	if err != nil {
		return fmt.Sprintf("no log: %v", err)
	}
	var out strings.Builder
	for line := range bytes.Lines(data) {
		var entry struct {
			Namespace, Msg, Action, Reason, Message string
			TS                                      time.Time
		}
		if json.Unmarshal(line, &entry) != nil || entry.Namespace != namespace {
			continue
		}
		if entry.TS.After(moment.Add(-before)) && entry.TS.Before(moment.Add(after)) {
			fmt.Fprintln(&out, entry.TS.UTC().Format("15:04:05.000"), entry.Msg, entry.Action, entry.Reason, entry.Message)
		}
	}
	return out.String()
}

// writeKubeconfig writes the credentials of Belay's ServiceAccount: a token that the API server made for it.
func (b *Bed) writeKubeconfig(ctx context.Context, path string) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: belayNamespace, Name: belayAccount}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(24 * 3600))}}
	if err := b.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return fmt.Errorf("asking for a token of ServiceAccount %s/%s: %w", belayNamespace, belayAccount, err)
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["testbed"] = &clientcmdapi.Cluster{Server: b.Config.Host, CertificateAuthorityData: b.Config.CAData,
		CertificateAuthority: b.Config.CAFile}
	cfg.AuthInfos[belayAccount] = &clientcmdapi.AuthInfo{Token: request.Status.Token}
	cfg.Contexts["belay"] = &clientcmdapi.Context{Cluster: "testbed", AuthInfo: belayAccount, Namespace: belayNamespace}
	cfg.CurrentContext = "belay"
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("writing Belay's kubeconfig: %w", err)
	}
	return nil
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}
