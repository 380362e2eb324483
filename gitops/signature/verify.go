package signature

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	beginSSH     = "-----BEGIN SSH SIGNATURE-----"
	endSSH       = "-----END SSH SIGNATURE-----"
	beginPGP     = "-----BEGIN PGP SIGNATURE-----"
	endPGP       = "-----END PGP SIGNATURE-----"
	maxSignature = 64 << 10
)

// Signer is who signed a commit.
type Signer struct {
	// Email is the committer's mail address, for which the key counts.
	Email string
	// Fingerprint of the key: SHA256:… for SSH, hexadecimal for OpenPGP (of the primary key).
	Fingerprint string
	// Roles in which the key counts for the address, sorted.
	Roles []Role
}

// Has says whether the signer has a role.
func (s Signer) Has(role Role) bool { return slices.Contains(s.Roles, role) }

// IsBot says that the signer may commit reverts only.
func (s Signer) IsBot() bool { return s.Has(Bots) }

// Verify checks a raw commit object (the bytes after "commit <size>\0") against the trusted signers. Its errors have a
// Reason.
func Verify(signers Signers, raw []byte) (Signer, error) {
	commit, err := ParseCommit(raw)
	if err != nil {
		return Signer{}, err
	}
	return signers.verify(commit)
}

func (s Signers) verify(c Commit) (Signer, error) {
	text := strings.TrimSpace(c.Signature)
	var key string
	var err error
	switch {
	case text == "":
		return Signer{}, fail(Unsigned, "the commit is not signed")
	case len(text) > maxSignature:
		return Signer{}, fail(Malformed, "the signature has %d bytes, more than %d", len(text), maxSignature)
	case strings.Count(text, "-----BEGIN ") != 1 || strings.Count(text, "-----END ") != 1:
		return Signer{}, fail(Multiple, "the commit holds %d signatures; exactly one is accepted", strings.Count(text, "-----BEGIN "))
	case strings.HasPrefix(text, beginSSH) && strings.HasSuffix(text, endSSH):
		key, err = s.verifySSH(c.Payload, text)
	case strings.HasPrefix(text, beginPGP) && strings.HasSuffix(text, endPGP):
		key, err = s.verifyPGP(c.Payload, text)
	default:
		return Signer{}, fail(Malformed, "the signature is neither one of SSH nor one of OpenPGP")
	}
	if err != nil {
		return Signer{}, err
	}
	return s.identify(key, c)
}

// identify finds what a key that has signed counts for.
func (s Signers) identify(key string, c Commit) (Signer, error) {
	found := Signer{Email: c.CommitterEmail, Fingerprint: key}
	known, named := false, false
	for _, l := range s.lines {
		if l.fingerprint != key {
			continue
		}
		known = true
		if !l.matches(c.CommitterEmail) {
			continue
		}
		named = true
		if l.validAt(c.When) {
			found.Roles = append(found.Roles, l.role)
		}
	}
	switch {
	case !known:
		return Signer{}, fail(UnknownKey, "the commit is signed by key %s, which is not among the trusted signers", key)
	case !named:
		return Signer{}, fail(WrongPrincipal, "key %s is not trusted for the committer %q", key, c.CommitterEmail)
	case len(found.Roles) == 0:
		return Signer{}, fail(NotValid, "key %s is not valid at the commit's time %s", key, c.When.Format(time.RFC3339))
	}
	slices.Sort(found.Roles)
	found.Roles = slices.Compact(found.Roles)
	return found, nil
}

func (s Signers) verifySSH(payload []byte, text string) (string, error) {
	signature, err := sshsig.Unarmor([]byte(text))
	if err != nil {
		return "", fail(Malformed, "the SSH signature cannot be read: %v", err)
	}
	if err := strongSSH(signature.PublicKey); err != nil {
		return "", err
	}
	if !touched(signature) {
		return "", fail(Bad, "the security key signed without being touched")
	}
	err = sshsig.Verify(bytes.NewReader(payload), signature, signature.PublicKey, signature.HashAlgorithm, namespace)
	switch {
	case errors.Is(err, sshsig.ErrNamespaceMismatch):
		return "", fail(Bad, "the SSH signature is of the namespace %q, not %q", signature.Namespace, namespace)
	case err != nil:
		return "", fail(Bad, "the SSH signature is not of this commit")
	}
	return ssh.FingerprintSHA256(signature.PublicKey), nil
}

// touched says whether a security key tells of the presence of a person, as ssh-keygen demands; other keys cannot.
func touched(signature *sshsig.Signature) bool {
	if !strings.HasPrefix(signature.PublicKey.Type(), "sk-") {
		return true
	}
	const userPresent = 1
	return len(signature.Signature.Rest) > 0 && signature.Signature.Rest[0]&userPresent != 0
}

func (s Signers) verifyPGP(payload []byte, text string) (string, error) {
	found, raw, err := onePacket(text)
	if err != nil {
		return "", err
	}
	weak := map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true}
	config := &packet.Config{
		Time: func() time.Time { return found.CreationTime }, MinRSABits: minRSABits,
		RejectHashAlgorithms: weak, RejectMessageHashAlgorithms: weak,
	}
	_, entity, err := openpgp.VerifyDetachedSignature(s.ring, bytes.NewReader(payload), bytes.NewReader(raw), config)
	var weakAlgorithm pgperrors.WeakAlgorithmError
	switch {
	case err == nil:
		return fingerprint(entity.PrimaryKey), nil
	case weak[found.Hash], errors.As(err, &weakAlgorithm):
		return "", fail(Weak, "the OpenPGP signature is too weak: %v", err)
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fail(UnknownKey, "the commit is signed by an OpenPGP key that is not among the trusted signers")
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrKeyRevoked), errors.Is(err, pgperrors.ErrSignatureExpired),
		errors.Is(err, pgperrors.ErrSignatureOlderThanKey):
		return "", fail(NotValid, "the OpenPGP key was not valid when the commit was signed: %v", err)
	}
	return "", fail(Bad, "the OpenPGP signature does not count for this commit: %v", err)
}

// onePacket takes the armor off and makes sure that there is one signature of a binary document in it, and no more.
func onePacket(text string) (*packet.Signature, []byte, error) {
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil || block.Type != openpgp.SignatureType {
		return nil, nil, fail(Malformed, "the OpenPGP signature cannot be read")
	}
	raw, err := io.ReadAll(io.LimitReader(block.Body, maxSignature))
	if err != nil {
		return nil, nil, fail(Malformed, "the OpenPGP signature cannot be read: %v", err)
	}
	reader := bytes.NewReader(raw)
	first, err := packet.Read(reader)
	if err != nil {
		return nil, nil, fail(Malformed, "the OpenPGP signature cannot be read: %v", err)
	}
	signature, ok := first.(*packet.Signature)
	switch {
	case !ok || signature.SigType != packet.SigTypeBinary:
		return nil, nil, fail(Malformed, "the OpenPGP text is not a signature of a binary document")
	case reader.Len() > 0:
		return nil, nil, fail(Multiple, "the OpenPGP text holds more than one signature; exactly one is accepted")
	}
	return signature, raw, nil
}
