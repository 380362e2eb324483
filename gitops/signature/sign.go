package signature

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	// namespace is what Git signs under with SSH keys.
	namespace = "git"
	// minRSABits is the shortest RSA key that is signed with or trusted.
	minRSABits = 2048
	maxKeyText = 64 << 10
)

// Key is a private key. It prints as its kind.
type Key struct {
	ssh ssh.Signer
	pgp *openpgp.Entity
}

// ParseKey reads a private key: an OpenSSH or PEM one, or an armored OpenPGP one that holds exactly one key. The
// passphrase is needed where it is encrypted. An error never holds anything of the key.
func ParseKey(private, passphrase []byte) (Key, error) {
	switch {
	case len(private) > maxKeyText:
		return Key{}, fmt.Errorf("reading signing key: %d bytes, more than %d", len(private), maxKeyText)
	case bytes.Contains(private, []byte("BEGIN PGP PUBLIC KEY")):
		return Key{}, errors.New("reading signing key: it is a public key; the private one is needed (gpg --armor --export-secret-keys)")
	case bytes.Contains(private, []byte("BEGIN PGP")):
		return parsePGP(private, passphrase)
	}
	signer, err := ssh.ParsePrivateKey(private)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && len(passphrase) > 0 {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(private, passphrase)
	}
	switch {
	case errors.As(err, &locked):
		return Key{}, errors.New("reading signing key: it is encrypted and there is no passphrase")
	case err != nil:
		return Key{}, errors.New("reading signing key: neither an SSH nor an OpenPGP private key that the passphrase opens")
	}
	if err := strongSSH(signer.PublicKey()); err != nil {
		return Key{}, fmt.Errorf("reading signing key: %w", err)
	}
	return Key{ssh: signer}, nil
}

func parsePGP(private, passphrase []byte) (Key, error) {
	entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(private))
	if err != nil || len(entities) != 1 {
		return Key{}, fmt.Errorf("reading signing key: the OpenPGP text holds %d private keys, want 1", len(entities))
	}
	entity := entities[0]
	if entity.PrivateKey == nil {
		return Key{}, errors.New("reading signing key: the OpenPGP text holds no private key")
	}
	if err := entity.DecryptPrivateKeys(passphrase); err != nil {
		return Key{}, errors.New("reading signing key: the passphrase does not open the OpenPGP key")
	}
	return Key{pgp: entity}, nil
}

// Fingerprint names the public half: SHA256:… for SSH, upper-case hexadecimal for OpenPGP.
func (k Key) Fingerprint() string {
	switch {
	case k.ssh != nil:
		return ssh.FingerprintSHA256(k.ssh.PublicKey())
	case k.pgp != nil:
		return fingerprint(k.pgp.PrimaryKey)
	}
	return ""
}

// PublicLine is the public half as a line of Signers has it after the principals.
func (k Key) PublicLine() string {
	switch {
	case k.ssh != nil:
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.ssh.PublicKey())))
	case k.pgp != nil:
		return keyTypePGP + " " + fingerprint(k.pgp.PrimaryKey)
	}
	return ""
}

// IsZero says that there is no key.
func (k Key) IsZero() bool { return k.ssh == nil && k.pgp == nil }

// String names the kind of key.
func (k Key) String() string {
	switch {
	case k.ssh != nil:
		return "ssh signing key"
	case k.pgp != nil:
		return "openpgp signing key"
	}
	return "no signing key"
}

// Format keeps every verb of fmt from looking inside.
func (k Key) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(k.String())) }

// MarshalJSON writes the kind of key.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// Sign returns the armored signature of a commit object that has none yet, for its gpgsig header. The time in an OpenPGP
// signature is the committer's.
func Sign(key Key, payload []byte) (string, error) {
	commit, err := ParseCommit(payload)
	switch {
	case err != nil:
		return "", fmt.Errorf("signing: %w", err)
	case commit.Signature != "":
		return "", errors.New("signing: the commit is signed already")
	case key.IsZero():
		return "", errors.New("signing: there is no key")
	case key.pgp != nil:
		return signPGP(key.pgp, payload, commit.When)
	}
	signature, err := sshsig.Sign(bytes.NewReader(payload), key.ssh, sshsig.HashSHA512, namespace)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return string(sshsig.Armor(signature)), nil
}

func signPGP(entity *openpgp.Entity, payload []byte, when time.Time) (string, error) {
	random := false
	config := &packet.Config{
		Time: func() time.Time { return when }, DefaultHash: crypto.SHA512,
		MinRSABits: minRSABits, NonDeterministicSignaturesViaNotation: &random,
	}
	var raw bytes.Buffer
	if err := openpgp.DetachSign(&raw, []*openpgp.Entity{entity}, bytes.NewReader(payload), config); err != nil {
		return "", fmt.Errorf("signing with key %s at %s: %w", fingerprint(entity.PrimaryKey), when.UTC().Format(time.RFC3339), err)
	}
	var out strings.Builder
	writer, err := armor.EncodeWithChecksumOption(&out, openpgp.SignatureType, nil, true)
	if err == nil {
		_, err = writer.Write(raw.Bytes())
	}
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return out.String() + "\n", nil
}

// Attach puts a signature into the commit object that it is of, as the last field of its header.
func Attach(payload []byte, signature string) []byte {
	head, message, _ := bytes.Cut(payload, []byte("\n\n"))
	var out bytes.Buffer
	out.Write(head)
	out.WriteString("\n" + headerSignature + " ")
	out.WriteString(strings.ReplaceAll(strings.TrimRight(signature, "\n"), "\n", "\n "))
	out.WriteString("\n\n")
	out.Write(message)
	return out.Bytes()
}

// strongSSH refuses what OpenSSH or we hold to be too weak, and what is not a plain key.
func strongSSH(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		wrapped, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return fail(Weak, "the RSA key's length is not known")
		}
		if public, ok := wrapped.CryptoPublicKey().(*rsa.PublicKey); !ok || public.N.BitLen() < minRSABits {
			return fail(Weak, "the RSA key is shorter than %d bits", minRSABits)
		}
		return nil
	}
	return fail(Weak, "keys of type %s are not accepted: use ed25519, ecdsa, their sk- variants, or RSA of at least %d bits", key.Type(), minRSABits)
}

func fingerprint(key *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(key.Fingerprint))
}
