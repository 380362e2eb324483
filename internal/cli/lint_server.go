package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/belay-delivery/belay/analysis/prometheus"
)

// maxSecretBytes bounds the size of a file with a credential.
const maxSecretBytes = 1 << 20

// serverOptions say which Prometheus is asked, and how. Secrets are taken from files, so that they are neither in the history of
// a shell nor in a list of processes.
type serverOptions struct {
	address, tokenFile, username, passwordFile string
	headers                                    []string
	caFile, certFile, keyFile                  string
	timeout                                    time.Duration
}

func (o *serverOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.address, "prometheus", "", "Address of a Prometheus, such as http://localhost:9090: ask it whether it has the metrics' series and they tell the revisions apart")
	f.StringVar(&o.tokenFile, "prometheus-token-file", "", "File with the bearer token for --prometheus")
	f.StringVar(&o.username, "prometheus-username", "", "User name for --prometheus")
	f.StringVar(&o.passwordFile, "prometheus-password-file", "", "File with the password of --prometheus-username")
	f.StringArrayVar(&o.headers, "prometheus-header", nil, "Header for --prometheus, 'Name: value', or 'Name: @FILE' with its value in a file; may be given several times")
	f.StringVar(&o.caFile, "prometheus-ca-file", "", "File with the certificates that --prometheus is trusted by")
	f.StringVar(&o.certFile, "prometheus-cert-file", "", "File with the client certificate for --prometheus")
	f.StringVar(&o.keyFile, "prometheus-key-file", "", "File with the key of --prometheus-cert-file")
	f.DurationVar(&o.timeout, "prometheus-timeout", 10*time.Second, "Time for one query, at most 1m")
}

// client for the server; nil where none is asked.
func (o *serverOptions) client() (*prometheus.Client, error) {
	if o.address == "" {
		if o.tokenFile+o.username+o.passwordFile+o.caFile+o.certFile+o.keyFile != "" || len(o.headers) > 0 {
			return nil, errors.New("flags --prometheus-… need --prometheus, the address of the server")
		}
		return nil, nil
	}
	data := map[string][]byte{}
	if o.username != "" {
		data[prometheus.KeyUsername] = []byte(o.username)
	}
	for key, file := range map[string]string{prometheus.KeyBearerToken: o.tokenFile, prometheus.KeyPassword: o.passwordFile,
		prometheus.KeyCA: o.caFile, prometheus.KeyCertificate: o.certFile, prometheus.KeyPrivateKey: o.keyFile} {
		if file == "" {
			continue
		}
		raw, err := readSecretFile(file)
		if err != nil {
			return nil, err
		}
		data[key] = raw
	}
	headers, err := o.parseHeaders(data)
	if err != nil {
		return nil, err
	}
	cfg := prometheus.Config{Address: o.address, Timeout: o.timeout}
	if len(data) > 0 || len(headers) > 0 {
		if cfg.Credentials, err = prometheus.CredentialsFromSecret(data, headers...); err != nil {
			return nil, fmt.Errorf("credentials of --prometheus: %w", err)
		}
	}
	c, err := prometheus.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("--prometheus: %w", err)
	}
	return c, nil
}

// parseHeaders gives the headers; all of their values are secret.
func (o *serverOptions) parseHeaders(data map[string][]byte) ([]prometheus.Header, error) {
	var out []prometheus.Header
	for i, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("--prometheus-header number %d is not 'Name: value'", i+1)
		}
		raw := []byte(value)
		if file, is := strings.CutPrefix(value, "@"); is {
			var err error
			if raw, err = readSecretFile(file); err != nil {
				return nil, err
			}
		}
		key := fmt.Sprintf("header %d", i)
		data[key] = raw
		out = append(out, prometheus.Header{Name: name, SecretKey: key})
	}
	return out, nil
}

func readSecretFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading a credential: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a credential: %w", err)
	case len(raw) > maxSecretBytes:
		return nil, fmt.Errorf("reading a credential: %s is larger than 1 MiB", name)
	case len(strings.TrimSpace(string(raw))) == 0:
		return nil, fmt.Errorf("reading a credential: %s is empty", name)
	}
	return raw, nil
}
