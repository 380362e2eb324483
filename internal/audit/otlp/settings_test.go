package otlp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const endpoint, general = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"

func TestEndpoints(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"default":         {nil, "http://localhost:4318/v1/logs"},
		"all signals":     {map[string]string{general: "http://c:4318"}, "http://c:4318/v1/logs"},
		"with a path":     {map[string]string{general: "https://c/otlp/"}, "https://c/otlp/v1/logs"},
		"logs":            {map[string]string{endpoint: "https://c/some/where", general: "http://other"}, "https://c/some/where"},
		"logs, no path":   {map[string]string{endpoint: "https://c"}, "https://c/"},
		"empty is unset":  {map[string]string{endpoint: "", general: "http://c"}, "http://c/v1/logs"},
		"an IPv6 address": {map[string]string{general: "http://[::1]:4318"}, "http://[::1]:4318/v1/logs"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := FromEnvironment(func(name string) string { return test.env[name] })
			if err != nil || s.Endpoint.String() != test.want || s.Timeout != 10*time.Second || s.Gzip || s.TLS != nil || len(s.Headers) != 0 {
				t.Errorf("%+v, %v, want %s", s, err, test.want)
			}
		})
	}
}

// TestSettingsAreChecked: an error names the variable and what would be right, and never the value.
func TestSettingsAreChecked(t *testing.T) {
	pemless := filepath.Join(t.TempDir(), "s3cret.pem")
	if err := os.WriteFile(pemless, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"no scheme":        {map[string]string{general: "s3cret:4318"}, general + " must be a URL such as"},
		"another scheme":   {map[string]string{general: "grpc://s3cret:4317"}, general + " must be a URL such as"},
		"no host":          {map[string]string{endpoint: "http:///s3cret"}, endpoint + " must be a URL such as"},
		"not a URL":        {map[string]string{endpoint: "http://s3cret\x01"}, endpoint + " must be a URL such as"},
		"a password":       {map[string]string{general: "https://user:s3cret@c"}, general + " must hold no user"},
		"a query":          {map[string]string{general: "https://c?key=s3cret"}, general + " must end with the path"},
		"a header":         {map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=b,s3cret"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 2 must be NAME=VALUE"},
		"a header's name":  {map[string]string{"OTEL_EXPORTER_OTLP_LOGS_HEADERS": "api key=s3cret"}, "LOGS_HEADERS: entry 1"},
		"a header's value": {map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "k=s3cret%0aX: y"}, "entry 1"},
		"an escape":        {map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "k=s3cret%zz"}, "entry 1"},
		"gRPC":             {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf"},
		"compression":      {map[string]string{"OTEL_EXPORTER_OTLP_COMPRESSION": "s3cret"}, "OTEL_EXPORTER_OTLP_COMPRESSION must be gzip or none"},
		"timeout":          {map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of milliseconds from 1 to 600000"},
		"no timeout":       {map[string]string{"OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "0"}, "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT must be"},
		"no such CA":       {map[string]string{general: "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, "OTEL_EXPORTER_OTLP_CERTIFICATE must name a file of PEM certificates"},
		"CA without TLS":   {map[string]string{general: "http://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, "OTEL_EXPORTER_OTLP_CERTIFICATE must be unset where the endpoint begins with http://"},
		"half a pair":      {map[string]string{general: "https://c", "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/none"}, "OTEL_EXPORTER_OTLP_CLIENT_KEY must be set together with"},
		"no such pair":     {map[string]string{general: "https://c", "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/none", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/none"}, "must name a PEM certificate and its key"},
		"resource":         {map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "a=b,=s3cret"}, "OTEL_RESOURCE_ATTRIBUTES: entry 2 must be NAME=VALUE"},
		"all at once":      {map[string]string{general: "s3cret", "OTEL_EXPORTER_OTLP_TIMEOUT": "s3cret"}, "OTEL_EXPORTER_OTLP_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := FromEnvironment(func(name string) string { return test.env[name] })
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if _, err := FromEnvironment(func(name string) string {
		return map[string]string{general: "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": pemless}[name]
	}); err == nil || !strings.Contains(err.Error(), "there is none in") {
		t.Errorf("got %v", err)
	}
}

// pair writes a certificate that is its own authority, and its key.
func pair(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestG18_OTLPMutualTLS: both sides are who they should be; a collector that the authorities do not know gets nothing.
func TestG18_OTLPMutualTLS(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := pair(t, dir, "server")
	clientCert, clientKey := pair(t, dir, "client")
	own, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	if raw, err := os.ReadFile(clientCert); err != nil || !clients.AppendCertsFromPEM(raw) {
		t.Fatal(err)
	}
	c := &collector{}
	c.Server = httptest.NewUnstartedServer(c)
	c.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	c.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.StartTLS()
	t.Cleanup(c.Close)
	env := at(c)
	env["OTEL_EXPORTER_OTLP_CERTIFICATE"], env["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"], env["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = serverCert, clientCert, clientKey
	s := send(t, quick, env)
	s.put(t, 0, 10)
	s.until(t, "written", func() bool { return s.count(Written) == 10 })
	inOrder(t, c.seen(), 0, 10)

	env["OTEL_EXPORTER_OTLP_CERTIFICATE"] = clientCert // an authority, but of somebody else
	asked := c.asked()
	s = send(t, quick, env)
	s.put(t, 0, 1)
	s.until(t, "refused", func() bool { return strings.Contains(s.log(), "certificate") })
	if c.asked() != asked || s.count(Written) != 0 {
		t.Errorf("%d requests", c.asked()-asked)
	}
}

// TestG18_OTLPSecretsStay: whatever a collector answers, or what stands in its place, nothing that was sent is told.
func TestG18_OTLPSecretsStay(t *testing.T) {
	const secret = "t0psecret"
	echo := func(reply func(request string) string) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					buffer := make([]byte, 4096)
					n, _ := conn.Read(buffer)
					_, _ = io.WriteString(conn, reply(string(buffer[:n])))
				}()
			}
		}()
		return listener.Addr().String()
	}
	body := func(code int) func(string) string {
		return func(request string) string {
			return "HTTP/1.1 " + http.StatusText(code) + "\r\n" + request
		}
	}
	for name, reply := range map[string]func(string) string{
		"as it came": func(request string) string { return request },
		"as status":  func(string) string { return "HTTP/1.1 400 " + secret + "\r\nContent-Length: 0\r\n\r\n" },
		"as code":    func(string) string { return "HTTP/1.1 " + secret + "\r\n\r\n" },
		"as header":  func(string) string { return "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n" },
		"as length":  func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n" },
		"as place": func(string) string {
			return "HTTP/1.1 302 Found\r\nLocation: http://" + secret + "/\r\nContent-Length: 0\r\n\r\n"
		},
		"as body, 401":      func(string) string { return "HTTP/1.1 401 x\r\nContent-Length: 9\r\n\r\n" + secret },
		"as body, 503":      func(string) string { return "HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\n" + secret },
		"as body, cut off":  func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + secret },
		"behind no code":    body(http.StatusBadRequest),
		"as unknown coding": func(string) string { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n" },
		"as time to try": func(string) string {
			return "HTTP/1.1 429 x\r\nRetry-After: " + secret + "\r\nContent-Length: 0\r\n\r\n"
		},
		"as a protobuf text": func(string) string {
			return "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 13\r\n\r\n\x0a\x0b\x12\x09" + secret
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := send(t, quick, map[string]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://" + echo(reply) + "/in/" + secret,
				"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20" + secret + ",api-key=" + secret})
			s.put(t, 0, 1)
			s.until(t, "said", func() bool { return s.log() != "" || s.count(Written) == 1 })
			s.close(0)
			if strings.Contains(s.log(), secret) {
				t.Errorf("said %s", s.log())
			}
			t.Log(s.log())
		})
	}
}
