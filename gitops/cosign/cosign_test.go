package cosign

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/cosign/cosigntest"
)

var (
	hexOne = strings.Repeat("1a", 32)
	one    = "sha256:" + hexOne
)

func keysOf(t *testing.T, keys ...cosigntest.Key) Keys {
	t.Helper()
	var text []byte
	for _, k := range keys {
		text = append(text, k.PEM()...)
	}
	parsed, err := ParseKeys(map[string][]byte{"cosign.pub": text})
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestG21_SignaturesOfEveryKindOfKey(t *testing.T) {
	other := cosigntest.NewKey(t, "ecdsa")
	for _, kind := range []string{"ecdsa", "rsa", "ed25519"} {
		key := cosigntest.NewKey(t, kind)
		keys := keysOf(t, other, key)
		payload := cosigntest.Payload("ghcr.io/shop/web", one)
		got, err := keys.Simple(payload, key.Sign(payload), one)
		if err != nil || got.As != "ghcr.io/shop/web" || got.Key.Fingerprint != keys[1].Fingerprint {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if _, err := keysOf(t, other).Simple(payload, key.Sign(payload), one); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: wrong key: %v", kind, err)
		}
		bundle := key.Bundle(cosigntest.Statement(PredicateSign, hexOne))
		if got, err := keys.Bundle(bundle, one); err != nil || got.As != "" || got.Key.Fingerprint != keys[1].Fingerprint {
			t.Errorf("%s: bundle: %+v, %v", kind, got, err)
		}
		if _, err := keysOf(t, other).Bundle(bundle, one); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: bundle, wrong key: %v", kind, err)
		}
	}
}

// TestG21_EveryByteOfThePayloadCounts flips each bit of the payload, and of its signature.
func TestG21_EveryByteOfThePayloadCounts(t *testing.T) {
	key := cosigntest.NewKey(t, "ed25519")
	keys := keysOf(t, key)
	payload := cosigntest.Payload("ghcr.io/shop/web", one)
	signature := key.Sign(payload)
	for i := range payload {
		for bit := range 8 {
			changed := bytes.Clone(payload)
			changed[i] ^= 1 << bit
			if _, err := keys.Simple(changed, signature, one); err == nil {
				t.Fatalf("byte %d, bit %d: accepted", i, bit)
			}
		}
	}
	for i := range len(signature) - 2 { // the padding
		changed := []byte(signature)
		changed[i] = map[bool]byte{true: 'A', false: 'B'}[changed[i] == 'B']
		if _, err := keys.Simple(payload, string(changed), one); err == nil {
			t.Fatalf("character %d of the signature: accepted", i)
		}
	}
}

func TestG21_WhatATrustedKeySignedElsewhere(t *testing.T) {
	key := cosigntest.NewKey(t, "ecdsa")
	keys := keysOf(t, key)
	for text, want := range map[string]string{
		string(cosigntest.Payload("ghcr.io/shop/web", "sha256:"+strings.Repeat("2b", 32))):                    "another digest, sha256:2b2b",
		string(cosigntest.Payload("", one)):                                                                   "names no image",
		string(cosigntest.Payload("UPPER!", one)):                                                             "names no image",
		`{"critical":{"type":"atomic container signature","image":{"docker-manifest-digest":"` + one + `"}}}`: `type "atomic container signature"`,
		"not JSON": "no payload of cosign",
		`[]`:       "no payload of cosign",
	} {
		_, err := keys.Simple([]byte(text), key.Sign([]byte(text)), one)
		var claim *ClaimError
		if !errors.As(err, &claim) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		string(cosigntest.Statement(PredicateSign, strings.Repeat("2b", 32))):                   "another digest",
		string(cosigntest.Statement("https://slsa.dev/provenance/v1", hexOne)):                  "which is no signature",
		strings.Replace(string(cosigntest.Statement(PredicateSign, hexOne)), "/v1", "/v0.1", 1): "no in-toto statement",
		"{}": "no in-toto statement",
	} {
		_, err := keys.Bundle(key.Bundle([]byte(text)), one)
		var claim *ClaimError
		if !errors.As(err, &claim) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	key := cosigntest.NewKey(t, "ecdsa")
	keys := keysOf(t, key)
	payload := cosigntest.Payload("ghcr.io/shop/web", one)
	for signature, want := range map[string]string{"": "no signature", "%%": "not base64", strings.Repeat("A", maxSignature+1): "no signature", "AAAA": ErrUntrusted.Error()} {
		if _, err := keys.Simple(payload, signature, one); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", signature, err)
		}
	}
	large := make([]byte, MaxPayload+1)
	if _, err := keys.Simple(large, key.Sign(large), one); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("large payload: %v", err)
	}
	for text, want := range map[string]string{
		"":   "no Sigstore bundle",
		"[]": "no Sigstore bundle",
		"{}": "no signed in-toto statement",
		`{"messageSignature":{"signature":"AAAA"}}`: "no signed in-toto statement",
		`{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"%"}]}}`:        ErrUntrusted.Error(),
		`{"dsseEnvelope":{"payloadType":"text/plain","payload":"e30=","signatures":[{"sig":"AAAA"}]}}`:                       "no signed in-toto statement",
		`{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"` + strings.Repeat("A", MaxBundle) + `"}}`: "larger",
	} {
		if _, err := keys.Bundle([]byte(text), one); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	key := cosigntest.NewKey(t, "ecdsa")
	many := bytes.Repeat(key.PEM(), maxKeys+1)
	for _, test := range []struct {
		data map[string][]byte
		want string
	}{
		{map[string][]byte{}, `no entry ends in ".pub"`},
		{map[string][]byte{"cosign.key": key.PrivatePEM(), "cosign.password": []byte("x")}, `no entry ends in ".pub"`},
		{map[string][]byte{"cosign.pub": []byte("hello")}, `entry "cosign.pub": it holds no PEM block`},
		{map[string][]byte{"a.pub": key.PrivatePEM()}, `entry "a.pub": it holds a private key`},
		{map[string][]byte{"a.pub": cosigntest.NewKey(t, "ecdsa-p384").PEM()}, "curve P-384: it must be P-256"},
		{map[string][]byte{"a.pub": []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}, "reading the public key"},
		{map[string][]byte{"a.pub": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, "no public key"},
		{map[string][]byte{"a.pub": many}, "more than 32 public keys"},
		{map[string][]byte{"a.pub": many[:20*len(key.PEM())], "b.pub": many[:20*len(key.PEM())]}, "more than 32 public keys"},
		{map[string][]byte{"a.pub": make([]byte, maxKeyData+1)}, "more than 65536"},
	} {
		_, err := ParseKeys(test.data)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "BEGIN PRIVATE") {
			t.Errorf("the error tells the key: %v", err)
		}
	}
	both, err := ParseKeys(map[string][]byte{"b.pub": key.PEM(), "a.pub": cosigntest.NewKey(t, "rsa").PEM(), "cosign.key": key.PrivatePEM()})
	if err != nil || len(both) != 2 || both[0].Name != "a.pub" || !strings.HasPrefix(both[1].Fingerprint, "SHA256:") || !both.Has(both[0].Fingerprint) || both.Has("SHA256:x") {
		t.Errorf("%+v, %v", both, err)
	}
}

func TestParseImage(t *testing.T) {
	for text, want := range map[string]string{
		"nginx@" + one:                          "docker.io/library/nginx@" + one,
		"nginx:1.27@" + one:                     "docker.io/library/nginx@" + one,
		"shop/web@" + one:                       "docker.io/shop/web@" + one,
		"index.docker.io/shop/web@" + one:       "docker.io/shop/web@" + one,
		"GHCR.io/shop/web@" + one:               "ghcr.io/shop/web@" + one,
		"ghcr.io/a/b/c:x@" + one:                "ghcr.io/a/b/c@" + one,
		"registry.shop.svc:5000/web@" + one:     "registry.shop.svc:5000/web@" + one,
		"localhost/web@" + one:                  "localhost/web@" + one,
		"ghcr.io/shop/web:1":                    ErrNoDigest.Error(),
		"ghcr.io/shop/web@sha256:12":            "its digest is not",
		"ghcr.io/shop/web@sha512:" + hexOne:     "its digest is not",
		"ghcr.io/shop/web@" + one + "@" + one:   "its digest is not",
		"ghcr.io/shop/Web@" + one:               "is not the name of an image",
		"":                                      "is not the name of an image",
		"https://ghcr.io/shop/web@" + one:       "is not the name of an image",
		"ghcr.io/../web@" + one:                 "is not the name of an image",
		"[::1]:5000/web@" + one:                 "[::1]:5000/web@" + one,
		strings.Repeat("a", 2000) + "@" + one:   "more than 1024 bytes",
		"ghcr.io/shop/web?x=y@" + one:           "is not the name of an image",
		"ghcr.io/shop/web#a@" + one:             "is not the name of an image",
		"user:password@ghcr.io/shop/web@" + one: "",
	} {
		got, err := ParseImage(text)
		switch {
		case err == nil && want == "":
			t.Errorf("%s: read as %s", text, got)
		case err == nil && got.String() != want, err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%s: %s, %v, want %q", text, got, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, repository string
		want                bool
	}{
		{"**", "ghcr.io/a/b", true},
		{"ghcr.io/shop/*", "ghcr.io/shop/web", true},
		{"ghcr.io/shop/*", "ghcr.io/shop/web/debug", false},
		{"ghcr.io/shop/**", "ghcr.io/shop/web/debug", true},
		{"ghcr.io/shop/**", "ghcr.io/shop", false},
		{"ghcr.io/shop/**", "ghcr.io/shopping/web", false},
		{"ghcr.io/shop/web", "ghcr.io/shop/web", true},
		{"ghcr.io/shop/web", "ghcrXio/shop/web", false},
		{"ghcr.io/shop/web", "evil.io/ghcr.io/shop/web", false},
		{"*.example.com/**", "r.example.com/a", true},
		{"*.example.com/**", "evil.com/.example.com/a", false},
		{"index.docker.io/library/*", "docker.io/library/nginx", true},
		{"ghcr.io/*/web", "ghcr.io/shop/web", true},
		{"ghcr.io/w*b/x", "ghcr.io/web/x", true},
	} {
		if got := Match(test.pattern, test.repository); got != test.want {
			t.Errorf("%s on %s: %v", test.pattern, test.repository, got)
		}
	}
}

func TestRuleForTakesTheFirst(t *testing.T) {
	rules := []v1alpha1.ImageRule{{Images: []string{"ghcr.io/shop/web"}}, {Images: []string{"quay.io/**", "ghcr.io/**"}}}
	var got []int
	for _, repository := range []string{"ghcr.io/shop/web", "ghcr.io/shop/api", "docker.io/library/nginx"} {
		got = append(got, RuleFor(rules, repository))
	}
	if !slices.Equal(got, []int{0, 1, -1}) {
		t.Errorf("%v", got)
	}
}

func TestSignedAs(t *testing.T) {
	for _, test := range []struct {
		as, repository string
		patterns       []string
		want           bool
	}{
		{"ghcr.io/shop/web", "ghcr.io/shop/web", nil, true},
		{"ghcr.io/shop/api", "ghcr.io/shop/web", nil, false},
		{"ghcr.io/shop/web", "mirror.example.com/web", []string{"ghcr.io/shop/*"}, true},
		{"mirror.example.com/web", "mirror.example.com/web", []string{"ghcr.io/shop/*"}, false},
		{"", "ghcr.io/shop/web", nil, true},
	} {
		if got := SignedAs(test.as, test.repository, test.patterns); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
