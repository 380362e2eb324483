package prometheus

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const vector = `{"status":"success","data":{"resultType":"vector","result":[%s]}}`

func sample(v string) string { return fmt.Sprintf(`{"metric":{"a":"b"},"value":[1777636800,%q]}`, v) }

func answer(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func client(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		code int
		body string
		want float64
		err  string
		is   func(error) bool
	}{
		"vector":         {body: fmt.Sprintf(vector, sample("0.062")), want: 0.062},
		"scalar":         {body: `{"status":"success","data":{"resultType":"scalar","result":[1777636800,"3"]}}`, want: 3},
		"NaN":            {body: fmt.Sprintf(vector, sample("NaN")), want: math.NaN()},
		"infinite":       {body: fmt.Sprintf(vector, sample("-Inf")), want: math.Inf(-1)},
		"infos are fine": {body: `{"status":"success","infos":["metric might not be a counter"],"data":{"resultType":"scalar","result":[1,"3"]}}`, want: 3},
		"no series":      {body: fmt.Sprintf(vector, ""), is: func(err error) bool { return errors.Is(err, ErrNoData) }},
		"several series": {
			body: fmt.Sprintf(vector, sample("1")+","+sample("2")+","+sample("3")), err: "gives 3 series where one number is needed: aggregate them",
			is: func(err error) bool { e := (*ResultError)(nil); return errors.As(err, &e) && e.Series == 3 },
		},
		"string":         {body: `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, err: "", is: func(err error) bool { return err != nil }},
		"matrix":         {body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, err: "gives a matrix"},
		"histogram":      {body: fmt.Sprintf(vector, `{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}`), err: "gives a histogram"},
		"no result":      {body: `{"status":"success"}`, err: "result without a type"},
		"warnings":       {body: `{"status":"success","warnings":["store-2 is away"],"data":{"resultType":"scalar","result":[1,"3"]}}`, err: "the answer is not complete: store-2 is away"},
		"refused query":  {code: 400, body: `{"status":"error","errorType":"bad_data","error":"parse error"}`, err: "refuses the query: parse error", is: isQueryError},
		"not executed":   {code: 422, body: `{"status":"error","errorType":"execution","error":"many-to-many"}`, err: "many-to-many"},
		"error with 200": {body: `{"status":"error","errorType":"timeout","error":"query timed out"}`, err: "query timed out"},
		"unavailable":    {code: 503, body: "private page", err: "server error: 503"},
		"forbidden":      {code: 403, body: "private page", err: "client error: 403"},
		"not JSON":       {body: "private page", err: "does not answer as Prometheus does"},
		"not JSON, 400":  {code: 400, body: "private page", err: "client error: 400"},
		"too large":      {body: fmt.Sprintf(vector, sample(strings.Repeat(" ", maxAnswer))), err: "larger than 1048576 bytes"},
		"redirect":       {code: 302, body: "private page", err: "redirect (302), which is not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(answer(max(tc.code, 200), tc.body))
			t.Cleanup(srv.Close)
			got, err := client(t, Config{Address: srv.URL}).Query(t.Context(), "up", t0)
			if tc.err == "" && tc.is == nil {
				if err != nil || got != tc.want && !(math.IsNaN(got) && math.IsNaN(tc.want)) {
					t.Fatalf("%v, %v, want %v", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || tc.is != nil && !tc.is(err) {
				t.Errorf("error %v, want one with %q", err, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "private") {
				t.Errorf("the error repeats what is no answer of Prometheus: %v", err)
			}
		})
	}
}

func isQueryError(err error) bool { e := (*QueryError)(nil); return errors.As(err, &e) }

func TestRequest(t *testing.T) {
	var got map[string]string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = map[string]string{
			"method": r.Method, "path": r.URL.Path, "query": r.FormValue("query"), "time": r.FormValue("time"),
			"timeout": r.FormValue("timeout"), "auth": r.Header.Get("Authorization"),
		}
		answer(200, fmt.Sprintf(vector, sample("1")))(w, r)
	}))
	t.Cleanup(srv.Close)
	if _, err := client(t, Config{Address: srv.URL + "/prom/", Timeout: 7 * time.Second}).Query(t.Context(), `up{a="b"}`, t0); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"method": "POST", "path": "/prom/api/v1/query", "query": `up{a="b"}`, "time": "1777636800", "timeout": "7s", "auth": ""}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRedirectsNeverCarryCredentials(t *testing.T) {
	asked := false
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(thief.Close)
	for _, code := range []int{301, 302, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(thief.URL, code))
		creds, _ := CredentialsFromSecret(map[string][]byte{KeyBearerToken: []byte("s3cret")})
		_, err := client(t, Config{Address: srv.URL, Credentials: creds}).Query(t.Context(), "up", t0)
		srv.Close()
		if err == nil || asked {
			t.Errorf("%d: error %v, other host asked: %t", code, err, asked)
		}
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	_, err := client(t, Config{Address: srv.URL, Timeout: 20 * time.Millisecond}).Query(t.Context(), "up", t0)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, Config{Address: srv.URL}).Query(ctx, "up", t0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	for given, want := range map[time.Duration]time.Duration{0: defaultTimeout, -1: defaultTimeout, time.Hour: maxTimeout, time.Second: time.Second} {
		if got := timeoutOf(Config{Timeout: given}); got != want {
			t.Errorf("timeout %s gives %s, want %s", given, got, want)
		}
	}
}

func TestCompressedAnswersAreBoundedToo(t *testing.T) {
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	_, _ = fmt.Fprintf(zip, vector, sample(strings.Repeat(" ", 64<<20)))
	_ = zip.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body.Bytes())
	}))
	t.Cleanup(srv.Close)
	_, err := client(t, Config{Address: srv.URL}).Query(t.Context(), "up", t0)
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	_, err := client(t, Config{Address: srv.URL}).Query(t.Context(), "secret_query", t0)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "secret_query") {
		t.Errorf("error %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"":                           "must begin with http",
		"ftp://x":                    "must begin with http",
		"http://":                    "no host",
		"http://:9090":               "no host",
		"http://u:hunter2@x":         "holds a user",
		"http://x?token=hunter2":     "holds a query",
		"http://x#hunter2":           "fragment",
		"http://hunter2\x7f/":        "does not parse",
		"https://prom.example:9090/": "",
	} {
		_, err := New(Config{Address: address})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", address, err, want)
		}
		if e := (*AddressError)(nil); want != "" && !errors.As(err, &e) {
			t.Errorf("%q: error is a %T", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the address: %v", err)
		}
	}
}

func TestAuthentication(t *testing.T) {
	ca, caKey := newCA(t)
	server := issue(t, ca, caKey, "server")
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	cert, key := clientPEM(t, issue(t, ca, caKey, "client"))
	var auth, peer string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth, peer = r.Header.Get("Authorization"), ""
		if len(r.TLS.PeerCertificates) > 0 {
			peer = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		answer(200, fmt.Sprintf(vector, sample("1")))(w, r)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for name, tc := range map[string]struct {
		data            map[string][]byte
		auth, peer, err string
	}{
		"bearer":             {data: map[string][]byte{KeyBearerToken: []byte("tok\n"), KeyCA: caPEM}, auth: "Bearer tok"},
		"basic":              {data: map[string][]byte{KeyUsername: []byte("u"), KeyPassword: []byte("p"), KeyCA: caPEM}, auth: "Basic dTpw"},
		"client certificate": {data: map[string][]byte{KeyCertificate: cert, KeyPrivateKey: key, KeyCA: caPEM}, peer: "client"},
		"unknown authority":  {data: map[string][]byte{KeyBearerToken: []byte("hunter2")}, err: "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			auth, peer = "", ""
			creds, err := CredentialsFromSecret(tc.data)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client(t, Config{Address: srv.URL, Credentials: creds}).Query(t.Context(), "up", t0)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if auth != tc.auth || peer != tc.peer {
				t.Errorf("server saw %q from %q, want %q from %q", auth, peer, tc.auth, tc.peer)
			}
		})
	}
}

func TestCredentialsFromSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		data map[string]string
		err  string
	}{
		"empty":             {nil, "holds none of"},
		"other keys":        {map[string]string{"token": "hunter2"}, "holds none of"},
		"two kinds":         {map[string]string{"bearerToken": "hunter2", "username": "u", "password": "p"}, "both"},
		"no password":       {map[string]string{"username": "hunter2"}, "go together"},
		"no username":       {map[string]string{"password": "hunter2"}, "go together"},
		"colon":             {map[string]string{"username": "hunter2:x", "password": "p"}, "colon"},
		"header injection":  {map[string]string{"bearerToken": "hunter2\r\nX-Evil: 1"}, "one line"},
		"bad CA":            {map[string]string{"ca.crt": "hunter2"}, "no certificate"},
		"certificate alone": {map[string]string{"tls.crt": "hunter2"}, "go together"},
		"bad pair":          {map[string]string{"tls.crt": "hunter2", "tls.key": "hunter2"}, "not a certificate"},
		"good":              {map[string]string{"username": "u", "password": "hunter2\n", "more": "x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range tc.data {
				data[k] = []byte(v)
			}
			creds, err := CredentialsFromSecret(data)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if text := fmt.Sprintf("%v %+v %#v %v", creds, creds, creds, err); strings.Contains(text, "hunter2") {
				t.Errorf("printed: %s", text)
			}
		})
	}
}

func TestErrorsNeverHoldCredentials(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a server that echoes
		w.WriteHeader(400)
		_, password, _ := r.BasicAuth()
		_, _ = fmt.Fprintf(w, `{"status":"error","errorType":"bad_data","error":"%s %s"}`, r.Header.Get("Authorization"), password)
	}))
	t.Cleanup(srv.Close)
	for _, data := range []map[string][]byte{
		{KeyBearerToken: []byte("hunter2")}, {KeyUsername: []byte("u"), KeyPassword: []byte("hunter2")},
	} {
		creds, _ := CredentialsFromSecret(data)
		_, err := client(t, Config{Address: srv.URL, Credentials: creds}).Query(t.Context(), "up", t0)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "dTpodW50ZXIy") || !strings.Contains(err.Error(), "[redacted]") {
			t.Errorf("error %v", err)
		}
	}
}

func TestPoolKeepsClientsAndForgetsSome(t *testing.T) {
	var p Pool
	a, err := p.Querier(Config{Address: "http://a"})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := p.Querier(Config{Address: "http://a"}); again != a {
		t.Error("the same Config gives another Client")
	}
	if other, _ := p.Querier(Config{Address: "http://a", Credentials: Credentials{bearerToken: "x"}}); other == a {
		t.Error("other credentials give the same Client")
	}
	for i := range 2 * maxPooled {
		if _, err := p.Querier(Config{Address: fmt.Sprintf("http://h%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.clients) > maxPooled {
		t.Errorf("%d clients", len(p.clients))
	}
	if e := (*AddressError)(nil); !errors.As(func() error { _, err := p.Querier(Config{}); return err }(), &e) {
		t.Error("a bad address is not an *AddressError")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever a server answers, there is one number or an error of bounded size, and no panic.
func FuzzAnswer(f *testing.F) {
	f.Add(200, fmt.Sprintf(vector, sample("1")))
	f.Add(200, fmt.Sprintf(vector, "null"))
	f.Add(200, fmt.Sprintf(vector, sample("1")+","+sample("2")))
	f.Add(200, `{"status":"success","data":{"resultType":"scalar","result":null}}`)
	f.Add(200, `{"status":"success","data":{"resultType":"vector","result":[{"value":[],"histogram":[1,{}]}]}}`)
	f.Add(400, `{"status":"error","errorType":"bad_data","error":"x"}`)
	f.Fuzz(func(t *testing.T, code int, body string) {
		code = 200 + (code%400+400)%400
		c, err := newWith(Config{Address: "http://x"}, roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(body)), Request: r, Header: http.Header{}}, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		v, err := c.Query(t.Context(), "up", t0)
		if err != nil && (v != 0 || len(err.Error()) > 4*maxErrorText+200) {
			t.Fatalf("%v, %v", v, err)
		}
		if err == nil && code/100 != 2 {
			t.Fatalf("status %d gives %v", code, v)
		}
	})
}

func newCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return ca, key
}

func issue(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func clientPEM(t *testing.T, c tls.Certificate) (cert, key []byte) {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}
