package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	metricsService = "metrics" // in kube-system
	metricsHost    = metricsService + "." + metav1.NamespaceSystem + ".svc"
	metricsObject  = "/apis/apiregistration.k8s.io/v1/apiservices/" + metricsVersion + "." + metricsGroup
	fieldManager   = "belay-testbed-node"
)

// serveMetrics is the API metrics.k8s.io until ctx ends. Only the API server can speak to it, with the certificate of its proxy: it
// has checked by then who asks, and with what rights.
func (a *agent) serveMetrics(ctx context.Context) error {
	proxy, err := a.proxyAuthority(ctx)
	if err != nil {
		return err
	}
	pair, certificate, err := selfSigned(metricsHost)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", a.Metrics)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: proxy.authority, VerifyConnection: proxy.verify}
	server := &http.Server{Handler: a.metricsAPI(), TLSConfig: config, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	if err := a.announceMetrics(ctx, listener.Addr().(*net.TCPAddr).Port, certificate); err != nil {
		return errors.Join(err, server.Close())
	}
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return server.Close()
		case err := <-ended:
			return fmt.Errorf("serving metrics: %w", err)
		case <-tick.C:
			a.readUsage()
		}
	}
}

// readUsage takes a reading of every container.
func (a *agent) readUsage() {
	pods := a.running()
	if len(pods) == 0 {
		return
	}
	at := time.Now()
	all, err := readProcesses()
	if err != nil {
		a.Log.Error("reading what pods use", "error", err)
		return
	}
	for _, p := range pods {
		for _, c := range p.containers {
			c.used.read(all, at)
		}
	}
}

// running are this node's pods.
func (a *agent) running() []*pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*pod
	for _, p := range a.pods {
		out = append(out, p)
	}
	return out
}

// frontProxy is how the API server shows that it is the one that asks.
type frontProxy struct {
	authority *x509.CertPool
	names     []string
}

func (p frontProxy) verify(s tls.ConnectionState) error {
	if name := s.PeerCertificates[0].Subject.CommonName; len(p.names) > 0 && !slices.Contains(p.names, name) {
		return fmt.Errorf("client %q is none of %v", name, p.names)
	}
	return nil
}

// proxyAuthority reads what the API server publishes for the servers of extension APIs, waiting until it has.
func (a *agent) proxyAuthority(ctx context.Context) (frontProxy, error) {
	const name, key = "extension-apiserver-authentication", "requestheader-client-ca-file"
	for {
		cm, err := a.client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return frontProxy{}, fmt.Errorf("reading ConfigMap %s: %w", name, err)
		}
		if err == nil && cm.Data[key] != "" {
			p := frontProxy{authority: x509.NewCertPool()}
			if !p.authority.AppendCertsFromPEM([]byte(cm.Data[key])) {
				return p, fmt.Errorf("ConfigMap %s holds no certificate under %s", name, key)
			}
			return p, json.Unmarshal([]byte(cm.Data["requestheader-allowed-names"]), &p.names)
		}
		select {
		case <-ctx.Done():
			return frontProxy{}, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// announceMetrics makes the API server send metrics.k8s.io here. The Service has no address of its own: its name stands for ours.
func (a *agent) announceMetrics(ctx context.Context, port int, certificate []byte) error {
	host, _, err := net.SplitHostPort(a.Metrics)
	if err != nil {
		return fmt.Errorf("announcing metrics: %w", err)
	}
	service := map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": metricsService, "namespace": metav1.NamespaceSystem},
		"spec": map[string]any{"type": corev1.ServiceTypeExternalName, "externalName": host,
			"ports": []any{map[string]any{"port": port}}},
	}
	api := map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": metricsVersion + "." + metricsGroup},
		"spec": map[string]any{"group": metricsGroup, "version": metricsVersion, "groupPriorityMinimum": 100, "versionPriority": 100,
			"caBundle": certificate, "service": map[string]any{"namespace": metav1.NamespaceSystem, "name": metricsService, "port": port}},
	}
	path := "/api/v1/namespaces/" + metav1.NamespaceSystem + "/services/" + metricsService
	return errors.Join(a.apply(ctx, path, service), a.apply(ctx, metricsObject, api))
}

// apply creates or updates an object by server-side apply.
func (a *agent) apply(ctx context.Context, path string, object map[string]any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	err = a.client.CoreV1().RESTClient().Patch(types.ApplyPatchType).AbsPath(path).
		Param("fieldManager", fieldManager).Param("force", strconv.FormatBool(true)).Body(body).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("applying %s: %w", path, err)
	}
	return nil
}

// selfSigned returns a fresh key for a host, and its certificate as PEM, by which others know it.
func selfSigned(host string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("generating the key of %s: %w", host, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("signing the certificate of %s: %w", host, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
