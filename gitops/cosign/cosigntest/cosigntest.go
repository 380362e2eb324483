// Package cosigntest signs images for tests as cosign does, and as it does not. That it does it rightly is shown by
// gitops/cosign/testdata, which the libraries of cosign have made.
package cosigntest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
)

// Key is a private key, of one of the kinds ecdsa, rsa, ed25519.
type Key struct {
	t      testing.TB
	signer crypto.Signer
}

// NewKey makes a key.
func NewKey(t testing.TB, kind string) Key {
	t.Helper()
	var signer crypto.Signer
	var err error
	switch kind {
	case "ecdsa":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no kind of key: %s", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{t: t, signer: signer}
}

// PEM is the public half.
func (k Key) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil {
		k.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// PrivatePEM is the private half.
func (k Key) PrivatePEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		k.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Sign returns a signature in base64.
func (k Key) Sign(message []byte) string {
	digest, options := message, crypto.SignerOpts(crypto.Hash(0))
	if _, pure := k.signer.(ed25519.PrivateKey); !pure {
		sum := sha256.Sum256(message)
		digest, options = sum[:], crypto.SHA256
	}
	signature, err := k.signer.Sign(rand.Reader, digest, options)
	if err != nil {
		k.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// Payload is what a signature of the older form is of.
func Payload(reference, digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, reference, digest)
}

// Statement is what a signature of the newer form is of.
func Statement(predicate, hex string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, hex, predicate)
}

// Bundle wraps a statement, signed, into a Sigstore bundle.
func (k Key) Bundle(statement []byte) []byte {
	const payloadType = "application/vnd.in-toto+json"
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(statement), statement)
	raw, err := json.Marshal(map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "any"}},
		"dsseEnvelope": map[string]any{"payload": statement, "payloadType": payloadType,
			"signatures": []map[string]string{{"sig": k.Sign(message)}}},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return raw
}
