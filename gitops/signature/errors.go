package signature

import (
	"errors"
	"fmt"
)

// Reason is why a signature does not count.
type Reason string

// The reasons.
const (
	// Unsigned: the commit carries no signature.
	Unsigned Reason = "Unsigned"
	// Multiple: the commit carries more than one signature.
	Multiple Reason = "MultipleSignatures"
	// Malformed: the commit or its signature cannot be read.
	Malformed Reason = "Malformed"
	// UnknownKey: the key is not among the trusted signers.
	UnknownKey Reason = "UnknownKey"
	// WrongPrincipal: the key is trusted, but not for the committer's mail address.
	WrongPrincipal Reason = "WrongPrincipal"
	// NotValid: the key was expired, not yet valid, or revoked.
	NotValid Reason = "KeyNotValid"
	// Weak: the key or the hash is too weak.
	Weak Reason = "WeakKey"
	// Bad: the signature is not of this commit.
	Bad Reason = "BadSignature"
)

// Error is a signature that does not count, and why.
type Error struct {
	Reason Reason
	text   string
}

func (e *Error) Error() string { return e.text }

func fail(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, text: fmt.Sprintf(format, args...)}
}

// ReasonOf returns the reason of an error of this package, "" of any other.
func ReasonOf(err error) Reason {
	var known *Error
	if errors.As(err, &known) {
		return known.Reason
	}
	return ""
}
