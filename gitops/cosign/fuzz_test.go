package cosign

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/belay-delivery/belay/gitops/cosign/cosigntest"
)

// FuzzVerify changes what a registry sends: only what was signed is accepted, however it is wrapped.
func FuzzVerify(f *testing.F) {
	key := cosigntest.NewKey(f, "ed25519")
	keys, err := ParseKeys(map[string][]byte{"cosign.pub": key.PEM()})
	if err != nil {
		f.Fatal(err)
	}
	payload := cosigntest.Payload("ghcr.io/shop/web", one)
	signature, bundle := key.Sign(payload), key.Bundle(cosigntest.Statement(PredicateSign, hexOne))
	other := key.Bundle(cosigntest.Statement("https://slsa.dev/provenance/v1", hexOne))
	f.Add(payload, signature, bundle)
	f.Add([]byte("{}"), "AAAA", other)
	f.Add([]byte(nil), "", []byte(`{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[{}]}}`))
	f.Fuzz(func(t *testing.T, p []byte, s string, b []byte) {
		if got, err := keys.Simple(p, s, one); err == nil && (!bytes.Equal(p, payload) || s != signature || got.As != "ghcr.io/shop/web") {
			t.Errorf("accepted %q with %q", p, s)
		}
		if _, err := keys.Bundle(b, "sha256:"+strings.Repeat("0", 64)); err == nil {
			t.Errorf("accepted %q for another digest", b)
		}
		_, _ = keys.Bundle(b, one)
	})
}

var strictName = regexp.MustCompile(`^[a-z0-9.:\[\]-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}$`)

// FuzzParseImage: what is read as an image is a plain name, and reads as the same again.
func FuzzParseImage(f *testing.F) {
	for _, seed := range []string{"nginx@" + one, "ghcr.io/shop/web:1@" + one, "[::1]:5000/a@" + one, "a/../b@" + one, "a%2fb@" + one, "http://x/y@" + one, "localhost/a@" + one} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		image, err := ParseImage(text)
		if err != nil {
			return
		}
		name := image.String()
		again, err := ParseImage(name)
		if err != nil || again != image || !strictName.MatchString(name) || strings.Contains(name, "..") || !Match("**", image.Repository) {
			t.Errorf("%q is read as %q, and that as %q, %v", text, name, again, err)
		}
	})
}

// FuzzParseKeys: no text makes it panic, and nothing of it is told.
func FuzzParseKeys(f *testing.F) {
	key := cosigntest.NewKey(f, "ecdsa")
	f.Add(key.PEM())
	f.Add(key.PrivatePEM())
	f.Add([]byte("-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(map[string][]byte{"a.pub": text})
		if (err == nil) == (len(keys) == 0) || len(keys) > maxKeys {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if k.signed([]byte("x"), []byte("y")) {
				t.Error("it has signed anything")
			}
		}
	})
}

// FuzzMatch: a pattern without stars names itself alone.
func FuzzMatch(f *testing.F) {
	f.Add("ghcr.io/shop/**", "ghcr.io/shop/web")
	f.Add("a.b/c", "aXb/c")
	f.Add("***", "(")
	f.Fuzz(func(t *testing.T, pattern, repository string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(repository) {
			return // neither the API server nor a reference of an image lets such a thing in
		}
		got := Match(pattern, repository)
		if !strings.Contains(pattern, "*") && !strings.HasPrefix(pattern, hubHost) && got != (pattern == repository) {
			t.Errorf("%q matches %q: %v", pattern, repository, got)
		}
	})
}
