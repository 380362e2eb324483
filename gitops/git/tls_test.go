package git_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/git/gittest"
)

// anotherCA is a certificate that no server has.
func anotherCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// TestG25_HTTPSWithItsOwnCA: git http-backend behind TLS, with basic authentication and with a bearer token, read and written to;
// without the CA, or with another one, nothing is sent.
func TestG25_HTTPSWithItsOwnCA(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	head := server.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	secure := server.TLS()
	url := secure.URL("fleet")
	for name, test := range map[string]struct {
		require func()
		data    map[string]string
		want    error
	}{
		"basic":              {func() { server.RequireBasicAuth("bot", "s3cret") }, map[string]string{"username": "bot", "password": "s3cret"}, nil},
		"basic, wrong":       {func() { server.RequireBasicAuth("bot", "s3cret") }, map[string]string{"username": "bot", "password": "guess"}, git.ErrAuth},
		"bearer":             {func() { server.RequireBearer("t0ken") }, map[string]string{"bearerToken": "t0ken"}, nil},
		"bearer, wrong":      {func() { server.RequireBearer("t0ken") }, map[string]string{"bearerToken": "guess"}, git.ErrAuth},
		"anonymous, refused": {func() { server.RequireBearer("t0ken") }, nil, git.ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			test.require()
			data := map[string][]byte{git.KeyCA: secure.CA}
			for key, value := range test.data {
				data[key] = []byte(value)
			}
			auth, err := git.AuthFromSecret(url, data)
			if err != nil {
				t.Fatal(err)
			}
			remote := git.Remote{URL: url, Branch: "main", Auth: auth}
			store, err := git.NewStore("")
			if err != nil {
				t.Fatal(err)
			}
			got, err := remote.FetchInto(t.Context(), store, git.Ref{Branch: "main"}, 1)
			if !errors.Is(err, test.want) || err == nil && got.Commit != head {
				t.Fatalf("FetchInto: %v, %v, want %s, %v", got, err, head, test.want)
			}
			if test.want != nil {
				return
			}
			repo, err := remote.Fetch(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			content := []byte("a: " + name + "\n")
			if head, err = repo.Write(repo.Head(), map[string]*[]byte{"a.yaml": &content}, options("by "+name)); err != nil {
				t.Fatal(err)
			}
			if err := remote.Push(t.Context(), repo, repo.Head(), head); err != nil {
				t.Errorf("Push: %v", err)
			}
			if got := server.File("fleet", "main", "a.yaml"); got != string(content) {
				t.Errorf("a.yaml: %q", got)
			}
		})
	}
	server.RequireBearer("t0ken")
	before := server.Requests()
	for name, ca := range map[string][]byte{"no CA": nil, "another CA": anotherCA(t)} {
		data := map[string][]byte{"bearerToken": []byte("t0ken")}
		if ca != nil {
			data[git.KeyCA] = ca
		}
		auth, err := git.AuthFromSecret(url, data)
		if err != nil {
			t.Fatal(err)
		}
		_, err = git.Remote{URL: url, Branch: "main", Auth: auth}.Head(t.Context())
		if !errors.Is(err, git.ErrAuth) || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%s: %v, want that the server is not known", name, err)
		}
	}
	if server.Requests() != before {
		t.Error("a request was sent to a server that is not known")
	}
}
