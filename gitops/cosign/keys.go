package cosign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	suffixKey  = ".pub"
	maxKeyData = 64 << 10
	maxKeys    = 32
	minRSABits = 2048
	maxRSABits = 8192
)

// Key is a public key that is trusted.
type Key struct {
	// Name is the entry of the Secret that holds it.
	Name string
	// Fingerprint is SHA256: and the unpadded base64 of the hash of its PKIX form.
	Fingerprint string
	public      crypto.PublicKey
}

// Keys are public keys, any of which may have signed.
type Keys []Key

// ParseKeys reads the entries of a Secret that end in .pub, each with one or more public keys in PEM: ECDSA P-256, RSA of 2048
// to 8192 bits, Ed25519. Other entries are passed over. An error names the entry.
func ParseKeys(data map[string][]byte) (Keys, error) {
	var keys Keys
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !strings.HasSuffix(name, suffixKey) {
			continue
		}
		found, err := parseEntry(name, data[name])
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", name, err)
		}
		if keys = append(keys, found...); len(keys) > maxKeys {
			return nil, fmt.Errorf("more than %d public keys", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no entry ends in %q: put a public key (PEM) into cosign.pub", suffixKey)
	}
	return keys, nil
}

func parseEntry(name string, text []byte) (Keys, error) {
	if len(text) > maxKeyData {
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), maxKeyData)
	}
	var keys Keys
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		key.Name = name
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, fmt.Errorf("more than %d public keys", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no PEM block: it must begin with -----BEGIN PUBLIC KEY-----")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (Key, error) {
	var public any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return Key{}, errors.New("it holds a private key, which must not be here: give the public one")
	default:
		return Key{}, errors.New("it holds a PEM block that is no public key: it must be PUBLIC KEY")
	}
	if err != nil {
		return Key{}, fmt.Errorf("reading the public key: %w", err)
	}
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("an ECDSA key of curve %s: it must be P-256", key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return Key{}, fmt.Errorf("an RSA key of %d bits: it must have %d to %d", bits, minRSABits, maxRSABits)
		}
	case ed25519.PublicKey:
	default:
		return Key{}, fmt.Errorf("a key of type %T: it must be ECDSA P-256, RSA or Ed25519", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("naming the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return Key{Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), public: public}, nil
}

// Has says whether a fingerprint is that of one of the keys.
func (k Keys) Has(fingerprint string) bool {
	return slices.ContainsFunc(k, func(key Key) bool { return key.Fingerprint == fingerprint })
}

// signer is the key that has signed message.
func (k Keys) signer(message, signature []byte) (Key, bool) {
	for _, key := range k {
		if key.signed(message, signature) {
			return key, true
		}
	}
	return Key{}, false
}

// signed verifies as cosign signs: SHA-256 for ECDSA and RSA (PKCS #1 v1.5), and Ed25519 either plain or over SHA-512.
func (k Key) signed(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, sum[:], signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
	case ed25519.PublicKey:
		long := sha512.Sum512(message)
		return len(signature) == ed25519.SignatureSize && (ed25519.Verify(public, message, signature) ||
			ed25519.VerifyWithOptions(public, long[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil)
	}
	return false
}
