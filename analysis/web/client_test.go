package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/analysis/prometheus"
)

var local = Client{AllowLocal: true}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRequestAndAnswer(t *testing.T) {
	creds, err := prometheus.CredentialsFromSecret(map[string][]byte{"bearerToken": []byte("tok")})
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-State", "fine")
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Key"), r.Header.Get("Authorization"), body)
	})
	a, err := local.Do(t.Context(), Request{Method: "POST", URL: url + "/a?b=c", Body: "hello", Credentials: creds, Header: http.Header{"X-Key": {"k"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(a.Body); got != "POST /a?b=c k Bearer tok hello" || a.Status != http.StatusTeapot || a.Headers["x-state"] != "fine" {
		t.Errorf("got %d %q %v", a.Status, got, a.Headers)
	}
}

// TestLocalAddressesAreRefused: on the address that is dialled, not on what the URL says.
func TestLocalAddressesAreRefused(t *testing.T) {
	asked := false
	url := serve(t, func(http.ResponseWriter, *http.Request) { asked = true })
	for _, u := range []string{url, strings.Replace(url, "127.0.0.1", "localhost", 1), strings.Replace(url, "127.0.0.1", "[::ffff:127.0.0.1]", 1),
		strings.Replace(url, "127.0.0.1", "127.1.2.3", 1)} {
		_, err := Client{}.Do(t.Context(), Request{Method: "GET", URL: u})
		var refused *AddressError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "loopback") || !strings.Contains(err.Error(), "--allow-local-web-checks") {
			t.Errorf("%s: got %v, want that it is refused", u, err)
		}
	}
	if asked {
		t.Error("the server was asked")
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") })
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		}
	})
	if a, err := local.Do(t.Context(), Request{Method: "GET", URL: url + "/here"}); err != nil || a.Status != 200 {
		t.Errorf("within the host: %d, %v", a.Status, err)
	}
	if _, err := local.Do(t.Context(), Request{Method: "GET", URL: url + "/away"}); err == nil || !strings.Contains(err.Error(), "redirect to another host") {
		t.Errorf("to another host: %v", err)
	}
	if _, err := local.Do(t.Context(), Request{Method: "GET", URL: url + "/round"}); err == nil || !strings.Contains(err.Error(), "more than 5 redirects") {
		t.Errorf("in a circle: %v", err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			_, _ = w.Write(make([]byte, maxAnswer+1))
		case "/most":
			_, _ = w.Write(make([]byte, maxAnswer))
		case "/bomb":
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			_, _ = z.Write(make([]byte, 8*maxAnswer))
			_ = z.Close()
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		case "/never":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-done
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		}
	})
	for path, want := range map[string]string{"/long": "larger than", "/bomb": "larger than", "/never": "no answer within 200ms", "/cut": "unexpected EOF"} {
		if _, err := local.Do(t.Context(), Request{Method: "GET", URL: url + path, Timeout: 200 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), want) {
			if path == "/never" || !errors.Is(err, context.DeadlineExceeded) { // a slow machine
				t.Errorf("%s: %v, want an error with %q", path, err, want)
			}
		}
	}
	if a, err := local.Do(t.Context(), Request{Method: "GET", URL: url + "/most"}); err != nil || len(a.Body) != maxAnswer {
		t.Errorf("the most: %d, %v", len(a.Body), err)
	}
}

// TestTLS: the server is trusted by the given CA alone, and is shown the client's certificate.
func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	creds, err := prometheus.CredentialsFromSecret(map[string][]byte{"ca.crt": ca})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Do(t.Context(), Request{Method: "GET", URL: s.URL, Credentials: creds}); err != nil {
		t.Errorf("with its CA: %v", err)
	}
	if _, err := local.Do(t.Context(), Request{Method: "GET", URL: s.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without: %v", err)
	}
}

// TestClientCertificate: a server that asks for one is shown that of the Secret.
func TestClientCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, len(r.TLS.PeerCertificates))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	data := map[string][]byte{"ca.crt": certificate}
	ask := func() (string, error) {
		creds, err := prometheus.CredentialsFromSecret(data)
		if err != nil {
			t.Fatal(err)
		}
		a, err := local.Do(t.Context(), Request{Method: "GET", URL: s.URL, Credentials: creds})
		return string(a.Body), err
	}
	if _, err := ask(); err == nil {
		t.Error("without a certificate there is an answer")
	}
	data["tls.crt"], data["tls.key"] = certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	if got, err := ask(); err != nil || got != "1" {
		t.Errorf("with one: %q, %v", got, err)
	}
}

// TestNothingSecretIsTold: neither an error nor a printed request holds what is secret, nor the path and query.
func TestNothingSecretIsTold(t *testing.T) {
	const secret = "hunter2"
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte(r.Header.Get("X-Key") + " is no HTTP\r\n\r\n"))
		_ = conn.Close()
	})
	r := Request{Method: "GET", URL: url + "/?token=" + secret, Header: http.Header{"X-Key": {secret}}, Secrets: []string{secret}}
	_, err := local.Do(t.Context(), r)
	if err == nil {
		t.Fatal("there is an answer")
	}
	for what, text := range map[string]string{"error": err.Error(), "request": fmt.Sprintf("%v %+v %#v", r, r, r)} {
		if strings.Contains(text, secret) {
			t.Errorf("%s tells the secret: %s", what, text)
		}
	}
	if _, err := local.Do(t.Context(), Request{Method: "GET", URL: "http://user:" + secret + "@x"}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a URL with a password: %v", err)
	}
}
