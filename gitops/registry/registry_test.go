package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/belay-delivery/belay/gitops/cosign"
	"github.com/belay-delivery/belay/gitops/cosign/cosigntest"
	"github.com/belay-delivery/belay/gitops/registry/registrytest"
)

// candidates are all signatures of an image, and an error.
func candidates(t *testing.T, s *Session, image string) ([]Candidate, int, error) {
	t.Helper()
	parsed, err := cosign.ParseImage(image)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out []Candidate
	left, err := s.Signatures(ctx, parsed, func(c Candidate) bool { out = append(out, c); return false })
	return out, left, err
}

func open(t *testing.T, credentials Credentials, plain ...string) *Session {
	t.Helper()
	s := Client{PlainHTTP: plain}.Open(credentials)
	t.Cleanup(s.Close)
	return s
}

func credentialsOf(t *testing.T, data map[string][]byte) Credentials {
	t.Helper()
	var c Credentials
	if err := c.Add(data); err != nil {
		t.Fatal(err)
	}
	return c
}

func dockerConfig(host, user, password string) []byte {
	raw, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}}})
	return raw
}

func refused(t *testing.T, err error, fragments ...string) {
	t.Helper()
	var known *Error
	if !errors.As(err, &known) {
		t.Fatalf("%v is no *Error", err)
	}
	for _, f := range fragments {
		if !strings.Contains(err.Error(), f) {
			t.Errorf("%q does not say %q", err, f)
		}
	}
	if len(err.Error()) > maxErrorText+200 || strings.Contains(err.Error(), "://") {
		t.Errorf("%q is too long, or tells a URL", err)
	}
}

func TestG21_SignaturesAreFoundInBothPlaces(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		server := registrytest.New(t, registry.WithReferrersSupport(referrers))
		digest := server.Push("shop/web")
		image := server.Host + "/shop/web@" + digest
		session := open(t, Credentials{}, server.Host)
		if got, left, err := candidates(t, session, image); err != nil || len(got) != 0 || left != 0 {
			t.Errorf("no signature: %v, %d, %v", got, left, err)
		}
		if got, _, err := candidates(t, session, server.Host+"/nowhere@"+digest); err != nil || len(got) != 0 {
			t.Errorf("no repository: %v, %v", got, err)
		}
		server.Sign("shop/web", digest, registrytest.Layer{Payload: []byte("p1"), Signature: "s1"}, registrytest.Layer{Payload: []byte("p2"), Signature: "s2"})
		server.Refer("shop/web", digest, cosign.PredicateSign, []byte("{}"))
		server.Refer("shop/web", digest, "https://slsa.dev/provenance/v1", []byte(`{"provenance":1}`))
		got, left, err := candidates(t, session, image)
		if err != nil || left != 0 || len(got) != 3 {
			t.Fatalf("referrers %v: %+v, %d, %v", referrers, got, left, err)
		}
		if string(got[0].Payload) != "p1" || got[0].Signature != "s1" || string(got[1].Payload) != "p2" || string(got[2].Bundle) != "{}" {
			t.Errorf("referrers %v: %+v", referrers, got)
		}
	}
}

func TestVisitEndsTheSearch(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	server.Sign("web", digest, registrytest.Layer{Payload: []byte("p1"), Signature: "s1"}, registrytest.Layer{Payload: []byte("p2"), Signature: "s2"})
	image, _ := cosign.ParseImage(server.Host + "/web@" + digest)
	_, err := open(t, Credentials{}, server.Host).Signatures(t.Context(), image, func(Candidate) bool { return true })
	asked := server.Asked()
	if err != nil || registrytest.Count(asked, "GET /v2/web/blobs/") != 1 || registrytest.Count(asked, "GET /v2/web/referrers/") != 0 {
		t.Errorf("%v, %v", asked, err)
	}
}

func TestG21_ManySignaturesAreBounded(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	var layers []registrytest.Layer
	for i := range MaxCandidates + 10 {
		layers = append(layers, registrytest.Layer{Payload: fmt.Appendf(nil, "%d", i), Signature: "s"})
	}
	server.Sign("web", digest, layers...)
	server.Refer("web", digest, cosign.PredicateSign, []byte("{}"))
	got, left, err := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
	if err != nil || len(got) != MaxCandidates || left != 11 {
		t.Errorf("%d candidates, %d left, %v", len(got), left, err)
	}
	if n := registrytest.Count(server.Asked(), "GET /v2/web/blobs/"); n != MaxCandidates {
		t.Errorf("%d blobs were asked for", n)
	}
}

func TestG21_HugeContentIsNotRead(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	server.Sign("web", digest, registrytest.Layer{Payload: make([]byte, cosign.MaxPayload+1), Signature: "s"}, registrytest.Layer{Payload: []byte("fine"), Signature: "s"})
	session := open(t, Credentials{}, server.Host)
	got, _, err := candidates(t, session, server.Host+"/web@"+digest)
	if err != nil || len(got) != 2 || got[0].Problem == nil || !strings.Contains(got[0].Problem.Error(), "larger than 65536") || string(got[1].Payload) != "fine" {
		t.Errorf("%+v, %v", got, err)
	}
	// Without end, and without a length.
	var written atomic.Int64
	for _, path := range []string{"/manifests/sha256-", "/referrers/", "/blobs/"} {
		server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, path) {
				return false
			}
			if strings.Contains(path, "referrers") {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			}
			for chunk := make([]byte, 1<<16); ; {
				n, err := w.Write(chunk)
				if written.Add(int64(n)); err != nil {
					return true
				}
			}
		})
		written.Store(0)
		got, _, err := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
		if path == "/blobs/" { // the length is known from the manifest
			if err == nil && got[1].Problem == nil {
				t.Errorf("%s: %+v", path, got)
			}
		} else {
			refused(t, err, "its answer is larger than 4194304 bytes")
		}
		if written.Load() > 4*maxAnswer {
			t.Errorf("%s: %d bytes were sent", path, written.Load())
		}
	}
	server.Intercept(func(w http.ResponseWriter, r *http.Request) bool { // said to be long
		if !strings.Contains(r.URL.Path, "/manifests/sha256-") {
			return false
		}
		w.Header().Set("Content-Length", "1000000000")
		return true
	})
	_, _, err = candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
	refused(t, err, "larger")
}

func TestG21_ContentIsCheckedAgainstItsDigest(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	server.Sign("web", digest, registrytest.Layer{Payload: []byte("right"), Signature: "s"})
	server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write([]byte("wrong"))
			return true
		}
		return false
	})
	got, _, err := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
	if err == nil || len(got) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestG21_OnlyWhatMayBeAskedIs: no plain HTTP, no address that only the manager may reach, unless it is named.
func TestG21_OnlyWhatMayBeAskedIs(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	_, port, _ := strings.Cut(server.Host, ":")
	for _, host := range []string{server.Host, "localhost:" + port, "127.1.2.3:" + port, "169.254.169.254", "[::1]:" + port} {
		_, _, err := candidates(t, open(t, Credentials{}), host+"/web@"+digest)
		refused(t, err, "registry "+host+": ", "is not asked", "--plain-http-registries")
	}
	if asked := server.Asked(); len(asked) > 0 {
		t.Errorf("asked: %v", asked)
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := registrytest.New(t)
	server := registrytest.New(t)
	digest := server.Push("web")
	server.Sign("web", digest, registrytest.Layer{Payload: []byte("p"), Signature: "s"})
	auth := make(chan string, 16)
	elsewhere.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		auth <- r.Header.Get("Authorization")
		_, _ = w.Write([]byte("p"))
		return true
	})
	target := elsewhere.URL + "/blob?X-Signature=secret"
	server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	credentials := credentialsOf(t, map[string][]byte{keyConfig: dockerConfig(server.Host, "belay", "hunter2")})
	got, _, err := candidates(t, open(t, credentials, server.Host, elsewhere.Host), server.Host+"/web@"+digest)
	if err != nil || len(got) != 1 || string(got[0].Payload) != "p" {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := <-auth; a != "" {
		t.Errorf("the redirect was followed with %q", a)
	}
	// To an address that is not asked: a registry must not make the manager ask it.
	_, _, err = candidates(t, open(t, credentials, server.Host), server.Host+"/web@"+digest)
	refused(t, err, elsewhere.Host+" is not asked")
	target = "http://169.254.169.254/latest/meta-data"
	_, _, err = candidates(t, open(t, credentials, server.Host), server.Host+"/web@"+digest)
	refused(t, err, "169.254.169.254")
	if len(auth) > 0 {
		t.Error("it was asked")
	}
	// In a circle.
	server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			return false
		}
		http.Redirect(w, r, r.URL.String(), http.StatusFound)
		return true
	})
	_, _, err = candidates(t, open(t, credentials, server.Host), server.Host+"/web@"+digest)
	refused(t, err, "redirects")
}

// TestTokens: the registry names a server that exchanges credentials for a token.
func TestTokens(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	server.Sign("web", digest, registrytest.Layer{Payload: []byte("p"), Signature: "s"})
	realm := server.URL + "/token"
	server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if user, password, _ := r.BasicAuth(); user != "belay" || password != "hunter2" {
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"hunter2 is wrong"}]}`)
				return true
			}
			_, _ = fmt.Fprint(w, `{"token":"t0ken"}`)
			return true
		}
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	image := server.Host + "/web@" + digest
	right := credentialsOf(t, map[string][]byte{keyConfig: dockerConfig(server.Host, "belay", "hunter2")})
	if got, _, err := candidates(t, open(t, right, server.Host), image); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []Credentials{{}, credentialsOf(t, map[string][]byte{keyConfig: dockerConfig(server.Host, "belay", "other")}),
		credentialsOf(t, map[string][]byte{keyConfig: dockerConfig("ghcr.io", "belay", "hunter2")})} {
		_, _, err := candidates(t, open(t, wrong, server.Host), image)
		refused(t, err, "HTTP status 401 for web", "pullSecrets")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a registry's own words are told: %v", err)
		}
	}
	realm = "http://169.254.169.254/token"
	_, _, err := candidates(t, open(t, right, server.Host), image)
	refused(t, err, "169.254.169.254")
}

func TestPrivateCA(t *testing.T) {
	server := registrytest.NewTLS(t)
	digest := server.Push("web")
	server.Sign("web", digest, registrytest.Layer{Payload: []byte("p"), Signature: "s"})
	image := server.Host + "/web@" + digest
	_, _, err := candidates(t, open(t, Credentials{}, server.Host), image)
	refused(t, err)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if got, _, err := candidates(t, open(t, credentialsOf(t, map[string][]byte{keyCA: ca}), server.Host), image); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestProxy: what the manager is started with is used, and a proxy is no way around what is refused.
func TestProxy(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	digest := "sha256:" + strings.Repeat("1a", 32)
	_, _, err := candidates(t, open(t, Credentials{}), "ghcr.io/shop/web@"+digest)
	refused(t, err, "Bad Gateway")
	if len(asked) != 1 || asked[0] != "CONNECT ghcr.io:443" {
		t.Errorf("the proxy was asked for %v", asked)
	}
	asked = nil
	_, _, err = candidates(t, open(t, Credentials{}), "169.254.169.254/shop/web@"+digest)
	refused(t, err, "is not asked")
	if len(asked) > 0 {
		t.Errorf("the proxy was asked for %v", asked)
	}
}

func TestARegistryThatDoesNotAnswer(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	parsed, _ := cosign.ParseImage(server.Host + "/web@" + digest)
	release := make(chan struct{})
	server.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := open(t, Credentials{}, server.Host).Signatures(ctx, parsed, func(Candidate) bool { return false })
	refused(t, err, "it did not answer in time")
	for status, want := range map[int]string{500: "HTTP status 500", 429: "asked too often", 403: "HTTP status 403 for web"} {
		server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, "<html>https://example.com/?token=x</html>")
			return true
		})
		_, _, err := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
		refused(t, err, want)
	}
	server.Close()
	_, _, one := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
	_, _, two := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
	refused(t, one, "connection refused")
	if one.Error() != two.Error() {
		t.Errorf("%q and %q: a status is written for each", one, two)
	}
}

func TestCredentials(t *testing.T) {
	var c Credentials
	for text, want := range map[string]string{
		"":                                   "neither .dockerconfigjson nor ca.crt",
		"hunter2":                            "is not JSON",
		`{"auths":{"a":{"auth":"hunter2"}}}`: "auth of \"a\": it is not",
		strings.Repeat("x", maxConfig+1):     "larger than",
	} {
		err := c.Add(map[string][]byte{keyConfig: []byte(text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.40s: %v", text, err)
		}
	}
	if err := c.Add(map[string][]byte{keyCA: []byte("x")}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("ca.crt: %v", err)
	}
	c = credentialsOf(t, map[string][]byte{keyConfig: []byte(`{"credsStore":"evil","auths":{
		"https://index.docker.io/v1/":{"username":"hub","password":"p"},
		"ghcr.io":{"username":"all","password":"p"},
		"ghcr.io/shop":{"username":"shop","password":"p"},
		"http://r.example.com:5000":{"identitytoken":"id"}}}`)})
	for _, test := range []struct{ host, repository, user string }{
		{"docker.io", "library/nginx", "hub"}, {"ghcr.io", "other/web", "all"}, {"ghcr.io", "shop/web", "shop"}, {"ghcr.io", "shopping/web", "all"}, {"evil.io", "shop/web", ""},
	} {
		got, err := c.of(test.host, test.repository).Authorization()
		if err != nil || got.Username != test.user {
			t.Errorf("%s/%s is asked as %q, want %q: %v", test.host, test.repository, got.Username, test.user, err)
		}
	}
	if got, _ := c.of("r.example.com:5000", "web").Authorization(); got.IdentityToken != "id" {
		t.Error("no token")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", c, c, c, c); strings.Contains(text, "shop") {
		t.Errorf("they tell: %s", text)
	}
}

// TestG21_EndToEnd: a signature that is fetched holds, and a tampered one does not.
func TestG21_EndToEnd(t *testing.T) {
	server := registrytest.New(t)
	digest := server.Push("web")
	key := cosigntest.NewKey(t, "ecdsa")
	keys, err := cosign.ParseKeys(map[string][]byte{"cosign.pub": key.PEM()})
	if err != nil {
		t.Fatal(err)
	}
	payload := cosigntest.Payload(server.Host+"/web", digest)
	server.Sign("web", digest, registrytest.Layer{Payload: append([]byte(" "), payload...), Signature: key.Sign(payload)}, registrytest.Layer{Payload: payload, Signature: key.Sign(payload)})
	got, _, err := candidates(t, open(t, Credentials{}, server.Host), server.Host+"/web@"+digest)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := keys.Simple(got[0].Payload, got[0].Signature, digest); !errors.Is(err, cosign.ErrUntrusted) {
		t.Errorf("tampered: %v", err)
	}
	if signed, err := keys.Simple(got[1].Payload, got[1].Signature, digest); err != nil || signed.As != server.Host+"/web" {
		t.Errorf("%+v, %v", signed, err)
	}
}
