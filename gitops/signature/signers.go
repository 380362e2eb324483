package signature

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/ssh"
)

// Role is what a signer may do.
type Role string

// The roles, which are also the keys of the data that ParseSigners reads.
const (
	// Authors may commit anything.
	Authors Role = "authors"
	// Approvers may commit anything, and their signature can count as an approval.
	Approvers Role = "approvers"
	// Bots may commit reverts only.
	Bots Role = "bots"
)

const (
	keyTypePGP    = "openpgp"
	suffixPGP     = ".asc"
	maxSignerData = 256 << 10
	maxSigners    = 512
)

// Signers are the trusted keys: which key counts for which mail addresses, in which role.
type Signers struct {
	lines []line
	ring  openpgp.EntityList
}

// line is one line of a list of signers.
type line struct {
	role          Role
	principals    []string
	fingerprint   string
	after, before time.Time
}

// ParseSigners reads lists of signers. The keys of data are roles (authors, approvers, bots); their values have the form of
// OpenSSH's allowed_signers: one signer per line,
//
//	principals [options] keytype key [comment]
//
// where principals are mail addresses, separated by commas, with the wildcards * and ?; and options namespaces="git",
// valid-after="20260101", valid-before="20270101Z". The keytype openpgp is ours: the key is the fingerprint of the primary
// key, which stands armored in a value of data whose key ends in .asc. An error names the key of data and the line.
func ParseSigners(data map[string][]byte) (Signers, error) {
	var s Signers
	for _, name := range slices.Sorted(maps.Keys(data)) {
		text := data[name]
		if len(text) > maxSignerData {
			return Signers{}, fmt.Errorf("reading signers: key %q: %d bytes, more than %d", name, len(text), maxSignerData)
		}
		var err error
		switch role := Role(name); {
		case role == Authors || role == Approvers || role == Bots:
			err = s.addLines(role, string(text))
		case strings.HasSuffix(name, suffixPGP):
			err = s.addRing(text)
		default:
			err = fmt.Errorf("it is none of %q, %q, %q and names that end in %q", Authors, Approvers, Bots, suffixPGP)
		}
		if err != nil {
			return Signers{}, fmt.Errorf("reading signers: key %q: %w", name, err)
		}
	}
	if err := s.check(); err != nil {
		return Signers{}, fmt.Errorf("reading signers: %w", err)
	}
	return s, nil
}

func (s *Signers) addRing(text []byte) error {
	entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not an armored OpenPGP public key (gpg --armor --export): %w", err)
	}
	for _, entity := range entities {
		if entity.PrivateKey != nil {
			return fmt.Errorf("it holds the private key of %s: a list of signers holds public keys only", fingerprint(entity.PrimaryKey))
		}
	}
	s.ring = append(s.ring, entities...)
	return nil
}

func (s *Signers) addLines(role Role, text string) error {
	for i, raw := range strings.Split(text, "\n") {
		raw = strings.TrimSpace(raw)
		if raw == "" || strings.HasPrefix(raw, "#") {
			continue
		}
		parsed, err := parseLine(raw)
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		parsed.role = role
		s.lines = append(s.lines, parsed)
	}
	return nil
}

// check looks at the lists as a whole.
func (s *Signers) check() error {
	if len(s.lines) == 0 || len(s.lines) > maxSigners {
		return fmt.Errorf("there are %d signers, want 1 to %d", len(s.lines), maxSigners)
	}
	bots := map[string]bool{}
	for _, l := range s.lines {
		bots[l.fingerprint] = bots[l.fingerprint] || l.role == Bots
	}
	for _, l := range s.lines {
		switch {
		case bots[l.fingerprint] && l.role != Bots:
			return fmt.Errorf("key %s is in %q and in %q: a bot's key is for reverts only", l.fingerprint, Bots, l.role)
		case !strings.HasPrefix(l.fingerprint, "SHA256:") && !s.inRing(l.fingerprint):
			return fmt.Errorf("OpenPGP key %s is in %q, but in no value whose key ends in %q", l.fingerprint, l.role, suffixPGP)
		}
	}
	return nil
}

func (s *Signers) inRing(wanted string) bool {
	return slices.ContainsFunc(s.ring, func(e *openpgp.Entity) bool { return fingerprint(e.PrimaryKey) == wanted })
}

func parseLine(text string) (line, error) {
	principals, rest, found := strings.Cut(strings.ReplaceAll(text, "\t", " "), " ")
	if !found {
		return line{}, fmt.Errorf("want: principals [options] keytype key")
	}
	l := line{}
	for principal := range strings.SplitSeq(strings.Trim(principals, `"`), ",") {
		principal = strings.ToLower(strings.TrimSpace(principal))
		if principal == "" || strings.ContainsAny(principal, "![]\\<> ") {
			return line{}, fmt.Errorf("principal %q is not a mail address, nor a pattern with * and ?", principal)
		}
		l.principals = append(l.principals, principal)
	}
	options, err := l.parseKey(strings.TrimSpace(rest))
	if err != nil {
		return line{}, err
	}
	for _, option := range options {
		if err := l.parseOption(option); err != nil {
			return line{}, err
		}
	}
	return l, nil
}

// parseKey reads the rest of a line after the principals, and returns its options.
func (l *line) parseKey(rest string) ([]string, error) {
	var options []string
	fields := strings.Fields(rest)
	if at := slices.Index(fields, keyTypePGP); at == 0 || at == 1 {
		if at == 1 {
			options = strings.Split(fields[0], ",")
		}
		if len(fields) < at+2 {
			return nil, fmt.Errorf("the fingerprint of the OpenPGP key is missing")
		}
		l.fingerprint = strings.ToUpper(fields[at+1])
		if raw, err := hex.DecodeString(l.fingerprint); err != nil || len(raw) != 20 && len(raw) != 32 {
			return nil, fmt.Errorf("%q is not the full fingerprint of an OpenPGP key (40 or 64 hexadecimal digits)", fields[at+1])
		}
		return options, nil
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return nil, fmt.Errorf("it holds no public key of SSH, nor %q with a fingerprint", keyTypePGP)
	}
	if err := strongSSH(key); err != nil {
		return nil, err
	}
	l.fingerprint = ssh.FingerprintSHA256(key)
	return options, nil
}

func (l *line) parseOption(option string) error {
	name, value, _ := strings.Cut(option, "=")
	value = strings.Trim(value, `"`)
	var err error
	switch strings.ToLower(name) {
	case "namespaces":
		if !slices.Contains(strings.Split(value, ","), namespace) {
			return fmt.Errorf("option namespaces=%q does not allow %q", value, namespace)
		}
	case "valid-after":
		l.after, err = parseTime(value)
	case "valid-before":
		l.before, err = parseTime(value)
	default:
		return fmt.Errorf("option %q is not known; there are namespaces, valid-after and valid-before", name)
	}
	if err != nil {
		return fmt.Errorf("option %s=%q: want a time like 20260131, 202601311200 or 20260131120000, in UTC", name, value)
	}
	return nil
}

func parseTime(value string) (time.Time, error) {
	value = strings.TrimSuffix(value, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(layout) == len(value) {
			return time.Parse(layout, value)
		}
	}
	return time.Time{}, fmt.Errorf("not a time")
}

// matches says whether the line's principals name a mail address.
func (l line) matches(email string) bool {
	email = strings.ToLower(strings.TrimSpace(email))
	return email != "" && slices.ContainsFunc(l.principals, func(pattern string) bool {
		// Without "/" in the pattern's reach, path.Match's * is any text; an address with a slash matches itself only.
		matched, err := path.Match(pattern, email)
		return err == nil && matched || pattern == email
	})
}

func (l line) validAt(when time.Time) bool {
	return (l.after.IsZero() || !when.Before(l.after)) && (l.before.IsZero() || when.Before(l.before))
}
