package cosign

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of what is looked at, in bytes.
const (
	MaxPayload   = 64 << 10
	MaxBundle    = 1 << 20
	maxSignature = 4 << 10
	maxSigners   = 16
)

const (
	typeSimple    = "cosign container image signature"
	typeStatement = "https://in-toto.io/Statement/v1"
	typeInToto    = "application/vnd.in-toto+json"
	// PredicateSign is the predicate type of a statement that is a signature, as against an attestation of something else.
	PredicateSign = "https://sigstore.dev/cosign/sign/v1"
)

// ErrUntrusted says that none of the keys has signed.
var ErrUntrusted = errors.New("it is signed by none of the trusted keys")

// ClaimError says that a trusted key has signed something else.
type ClaimError struct{ text string }

func (e *ClaimError) Error() string { return e.text }

func claims(format string, args ...any) error { return &ClaimError{text: fmt.Sprintf(format, args...)} }

// Signed is a signature that holds.
type Signed struct {
	Key Key
	// As is the image that the signer named, without tag; empty where the form has no room for it.
	As string
}

// Simple verifies a payload, its signature in base64, and that it is about the digest (sha256:…). Whether it names the right
// repository is for SignedAs to say.
func (k Keys) Simple(payload []byte, signature, digest string) (Signed, error) {
	if len(payload) > MaxPayload {
		return Signed{}, fmt.Errorf("its payload is larger than %d bytes", MaxPayload)
	}
	raw, err := decode(signature)
	if err != nil {
		return Signed{}, err
	}
	key, ok := k.signer(payload, raw)
	if !ok {
		return Signed{}, ErrUntrusted
	}
	var said struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &said); err != nil {
		return Signed{}, claims("a trusted key has signed something that is no payload of cosign")
	}
	switch c := said.Critical; {
	case c.Type != typeSimple:
		return Signed{}, claims("a trusted key has signed a payload of type %q, not %q", short(c.Type), typeSimple)
	case c.Image.Digest != digest:
		return Signed{}, claims("a trusted key has signed another digest, %s", short(c.Image.Digest))
	case c.Identity.Reference == "":
		return Signed{}, claims("a trusted key has signed a payload that names no image (docker-reference)")
	}
	as, err := Repository(said.Critical.Identity.Reference)
	if err != nil {
		return Signed{}, claims("a trusted key has signed for %q, which names no image", short(said.Critical.Identity.Reference))
	}
	return Signed{Key: key, As: as}, nil
}

// Bundle verifies a Sigstore bundle with a DSSE envelope, and that its statement is a signature of the digest.
func (k Keys) Bundle(raw []byte, digest string) (Signed, error) {
	if len(raw) > MaxBundle {
		return Signed{}, fmt.Errorf("its bundle is larger than %d bytes", MaxBundle)
	}
	var bundle struct {
		Envelope struct {
			Payload     []byte `json:"payload"`
			PayloadType string `json:"payloadType"`
			Signatures  []struct {
				Sig string `json:"sig"`
			} `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(raw, &bundle); err != nil {
		return Signed{}, errors.New("it is no Sigstore bundle")
	}
	envelope := bundle.Envelope
	if envelope.PayloadType != typeInToto || len(envelope.Signatures) == 0 || len(envelope.Signatures) > maxSigners {
		return Signed{}, errors.New("its bundle holds no signed in-toto statement")
	}
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(envelope.PayloadType), envelope.PayloadType, len(envelope.Payload))
	message = append(message, envelope.Payload...)
	for _, s := range envelope.Signatures {
		signature, err := decode(s.Sig)
		if err != nil {
			continue
		}
		if key, ok := k.signer(message, signature); ok {
			return Signed{Key: key}, checkStatement(envelope.Payload, digest)
		}
	}
	return Signed{}, ErrUntrusted
}

func checkStatement(payload []byte, digest string) error {
	var statement struct {
		Type      string `json:"_type"`
		Predicate string `json:"predicateType"`
		Subject   []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(payload, &statement); err != nil || statement.Type != typeStatement {
		return claims("a trusted key has signed something that is no in-toto statement (%s)", typeStatement)
	}
	if statement.Predicate != PredicateSign {
		return claims("a trusted key has signed a statement of type %q, which is no signature (%s)", short(statement.Predicate), PredicateSign)
	}
	hex, _ := strings.CutPrefix(digest, "sha256:")
	for _, subject := range statement.Subject {
		if subject.Digest["sha256"] == hex {
			return nil
		}
	}
	return claims("a trusted key has signed another digest")
}

func decode(signature string) ([]byte, error) {
	if signature == "" || len(signature) > maxSignature {
		return nil, fmt.Errorf("it carries no signature of 1 to %d characters", maxSignature)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil {
		return nil, errors.New("its signature is not base64")
	}
	return raw, nil
}

// SignedAs says whether a signature counts for an image of a repository: it names that one, or one of the patterns. Where it
// names none, the digest alone decides.
func SignedAs(as, repository string, patterns []string) bool {
	if as == "" {
		return true
	}
	if len(patterns) == 0 {
		return as == repository
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, as) })
}

// ClaimedAs is the error that says that an image was signed under a name that does not count.
func ClaimedAs(as string) error {
	return claims("a trusted key has signed it as %s, which is another repository (signedAs of the rule can allow it)", short(as))
}

func short(text string) string {
	const most = 128
	text = strings.ToValidUTF8(text, "?")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
