package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	defaultEndpoint = "http://localhost:4318"
	defaultTimeout  = 10 * time.Second
	maxTimeout      = 10 * time.Minute
)

// Settings say where the collector is and how it is spoken to.
type Settings struct {
	// Endpoint is the whole URL that log records are posted to.
	Endpoint *url.URL
	// Headers go with each request. They may be secret.
	Headers map[string]string
	Gzip    bool
	// Timeout is that of one request.
	Timeout time.Duration
	// TLS is nil where the environment says nothing: the system's authorities, no certificate of our own.
	TLS *tls.Config
	// Resource says what sends: service.name, k8s.cluster.name.
	Resource map[string]string
}

// environment reads variables of OpenTelemetry: that of logs goes before that of all signals.
// Host is what may be told of the endpoint: others have tokens in the path.
func (s Settings) Host() string { return s.Endpoint.Scheme + "://" + s.Endpoint.Host }

type environment func(string) string

func (get environment) pick(suffix string) (name, value string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_LOGS_" + suffix, "OTEL_EXPORTER_OTLP_" + suffix} {
		if value := strings.TrimSpace(get(name)); value != "" {
			return name, value
		}
	}
	return "", ""
}

// FromEnvironment reads the variables that the specification of OpenTelemetry has for exporters. An error names each variable that
// is wrong and never its value, which may be secret.
func FromEnvironment(get func(string) string) (Settings, error) {
	env, s := environment(get), Settings{}
	var errs [7]error
	s.Endpoint, errs[0] = env.endpoint()
	name, value := env.pick("HEADERS")
	s.Headers, errs[1] = pairs(name, value, func(key, value string) bool {
		return httpguts.ValidHeaderFieldName(key) && httpguts.ValidHeaderFieldValue(value)
	})
	s.Gzip, errs[2] = env.gzip()
	s.Timeout, errs[3] = env.timeout()
	s.TLS, errs[4] = env.tls(s.Endpoint)
	if name, value := env.pick("PROTOCOL"); name != "" && value != "http/protobuf" {
		errs[5] = fmt.Errorf("%s must be http/protobuf or unset: nothing else is spoken; collectors listen for it on port 4318", name)
	}
	s.Resource, errs[6] = pairs("OTEL_RESOURCE_ATTRIBUTES", env("OTEL_RESOURCE_ATTRIBUTES"), func(key, _ string) bool { return key != "" })
	if name := env("OTEL_SERVICE_NAME"); name != "" && s.Resource != nil {
		s.Resource["service.name"] = name
	}
	return s, errors.Join(errs[:]...)
}

func (get environment) endpoint() (*url.URL, error) {
	name, value := get.pick("ENDPOINT")
	if name == "" {
		value = defaultEndpoint
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("%s must be a URL such as http://collector.monitoring:4318", name)
	case u.User != nil:
		return nil, fmt.Errorf("%s must hold no user and password: give them in OTEL_EXPORTER_OTLP_HEADERS, as Authorization=Basic%%20…", name)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s must end with the path: no ? and no #", name)
	}
	if name != "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" { // that one is taken as it is
		u.Path = strings.TrimRight(u.Path, "/") + "/v1/logs"
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// pairs reads NAME=VALUE, comma-separated, values percent-encoded.
func pairs(name, value string, valid func(key, value string) bool) (map[string]string, error) {
	out := map[string]string{}
	for i, entry := range strings.Split(value, ",") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		key, escaped, found := strings.Cut(entry, "=")
		key = strings.TrimSpace(key)
		text, err := url.PathUnescape(strings.TrimSpace(escaped))
		if !found || err != nil || !valid(key, text) {
			return nil, fmt.Errorf("%s: entry %d must be NAME=VALUE, and the value percent-encoded where it has commas, percent signs or spaces", name, i+1)
		}
		out[key] = text
	}
	return out, nil
}

func (get environment) gzip() (bool, error) {
	name, value := get.pick("COMPRESSION")
	if value != "" && value != "none" && value != "gzip" {
		return false, fmt.Errorf("%s must be gzip or none", name)
	}
	return value == "gzip", nil
}

func (get environment) timeout() (time.Duration, error) {
	name, value := get.pick("TIMEOUT")
	if name == "" {
		return defaultTimeout, nil
	}
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil || ms < 1 || ms > maxTimeout.Milliseconds() {
		return 0, fmt.Errorf("%s must be a number of milliseconds from 1 to %d", name, maxTimeout.Milliseconds())
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// tls reads the certificates. Our own is read again for each connection, so that it may be renewed.
func (get environment) tls(endpoint *url.URL) (*tls.Config, error) {
	caName, caFile := get.pick("CERTIFICATE")
	certName, certFile := get.pick("CLIENT_CERTIFICATE")
	keyName, keyFile := get.pick("CLIENT_KEY")
	names := map[string]bool{caName: true, certName: true, keyName: true}
	delete(names, "")
	if len(names) == 0 {
		return nil, nil
	}
	if endpoint != nil && endpoint.Scheme != "https" {
		return nil, fmt.Errorf("%s must be unset where the endpoint begins with http://, or the endpoint must begin with https://", strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caName != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("%s must name a file of PEM certificates: %w", caName, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s must name a file of PEM certificates: there is none in %s", caName, caFile)
		}
	}
	if (certName == "") != (keyName == "") {
		return nil, fmt.Errorf("%s%s must be set together with the other of OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and …_CLIENT_KEY", certName, keyName)
	}
	if certName != "" {
		if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
			return nil, fmt.Errorf("%s and %s must name a PEM certificate and its key: %w", certName, keyName, err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certFile, keyFile)
			return &pair, err
		}
	}
	return config, nil
}
