package git

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh"
)

// Keys of a credentials Secret.
const (
	KeyUsername    = "username"
	KeyPassword    = "password"
	KeyBearerToken = "bearerToken"
	KeyIdentity    = "identity"
	KeyKnownHosts  = "known_hosts"
	KeyCA          = "ca.crt"
)

const (
	maxSecretValue = 64 << 10
	// minRedacted is how long what is taken out of texts is at least: a shorter one would tear up words, and protects nothing.
	minRedacted = 4
)

// Auth is how to authenticate to a server and how to know it. Its zero value is
// anonymous access with the system's trust store. It prints as its kind only.
type Auth struct {
	username   string
	password   string
	bearer     string
	signer     ssh.Signer
	knownHosts []byte
	ca         *x509.CertPool
}

// String names the kind of credential, never its content.
func (a Auth) String() string {
	switch {
	case a.signer != nil:
		return "ssh key"
	case a.bearer != "":
		return "bearer token"
	case a.username != "" || a.password != "":
		return "basic"
	}
	return "anonymous"
}

// GoString is String.
func (a Auth) GoString() string { return "git.Auth(" + a.String() + ")" }

// MarshalJSON writes the kind of credential, never its content.
func (a Auth) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// Format keeps every verb of fmt from looking inside.
func (a Auth) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(a.String())) }

// redact takes the credentials out of a text, in the forms in which they are sent.
func (a Auth) redact(text string) string {
	secrets := []string{a.bearer}
	if a.password != "" {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(a.username+":"+a.password)), a.password)
	}
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if len(form) >= minRedacted {
				text = strings.ReplaceAll(text, form, "[redacted]")
			}
		}
	}
	return text
}

// AuthFromSecret reads the credentials for a URL from the data of a Secret:
// username and password, or bearerToken, and ca.crt for https; identity and
// known_hosts for ssh (there is no mode without known_hosts). An error names the
// key that is missing or malformed, never a value.
func AuthFromSecret(rawURL string, data map[string][]byte) (Auth, error) {
	endpoint, err := parseURL(rawURL)
	if err != nil {
		return Auth{}, err
	}
	for key, value := range data {
		if len(value) > maxSecretValue {
			return Auth{}, fmt.Errorf("reading git credentials: key %q: %d bytes: %w", key, len(value), ErrTooLarge)
		}
	}
	switch endpoint.Protocol {
	case "ssh":
		return sshAuth(data)
	case "http", "https":
		return httpAuth(endpoint.Protocol, data)
	}
	return Auth{}, nil
}

func sshAuth(data map[string][]byte) (Auth, error) {
	for _, key := range []string{KeyIdentity, KeyKnownHosts} {
		if len(strings.TrimSpace(string(data[key]))) == 0 {
			return Auth{}, fmt.Errorf("reading git credentials for ssh: key %q is missing", key)
		}
	}
	signer, err := ssh.ParsePrivateKey(data[KeyIdentity])
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && len(data[KeyPassword]) > 0 {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data[KeyIdentity], data[KeyPassword])
	}
	if errors.As(err, &locked) {
		return Auth{}, fmt.Errorf("reading git credentials: key %q is encrypted and key %q is missing", KeyIdentity, KeyPassword)
	}
	if err != nil {
		return Auth{}, fmt.Errorf("reading git credentials: key %q is not a private key that this key %q opens", KeyIdentity, KeyPassword)
	}
	if _, _, _, _, _, err := ssh.ParseKnownHosts(data[KeyKnownHosts]); err != nil {
		return Auth{}, fmt.Errorf("reading git credentials: key %q holds no host key", KeyKnownHosts)
	}
	return Auth{signer: signer, knownHosts: data[KeyKnownHosts]}, nil
}

func httpAuth(protocol string, data map[string][]byte) (Auth, error) {
	auth := Auth{
		username: strings.TrimSpace(string(data[KeyUsername])),
		password: strings.TrimRight(string(data[KeyPassword]), "\r\n"),
		bearer:   strings.TrimSpace(string(data[KeyBearerToken])),
	}
	switch {
	case auth.bearer != "" && (auth.username != "" || auth.password != ""):
		return Auth{}, fmt.Errorf("reading git credentials: keys %q and %q exclude each other", KeyBearerToken, KeyUsername)
	case auth.username != "" && auth.password == "":
		return Auth{}, fmt.Errorf("reading git credentials: key %q is missing beside %q", KeyPassword, KeyUsername)
	case auth.username == "" && auth.password != "":
		return Auth{}, fmt.Errorf("reading git credentials: key %q is missing beside %q", KeyUsername, KeyPassword)
	case auth.String() == "anonymous" && len(data[KeyCA]) == 0:
		return Auth{}, fmt.Errorf("reading git credentials for %s: one of the keys %q with %q, %q or %q is missing",
			protocol, KeyUsername, KeyPassword, KeyBearerToken, KeyCA)
	}
	if len(data[KeyCA]) == 0 {
		return auth, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data[KeyCA]) {
		return Auth{}, fmt.Errorf("reading git credentials: key %q holds no PEM certificate", KeyCA)
	}
	auth.ca = pool
	return auth, nil
}

// parseURL accepts https, http, ssh (also user@host:path) and file URLs, none
// with a password in it.
func parseURL(raw string) (*transport.Endpoint, error) {
	if parsed, err := url.Parse(raw); err == nil && parsed.User != nil {
		_, hasPassword := parsed.User.Password()
		if hasPassword || parsed.Scheme != "ssh" {
			return nil, fmt.Errorf("parsing git URL of host %q: credentials belong in a Secret, not in the URL", parsed.Host)
		}
	}
	endpoint, err := transport.NewEndpoint(raw)
	if err != nil {
		return nil, fmt.Errorf("parsing git URL: not an absolute URL")
	}
	switch endpoint.Protocol {
	case "http", "https", "ssh":
		if endpoint.Host == "" || strings.HasPrefix(endpoint.Host, "-") {
			return nil, fmt.Errorf("parsing git URL %q: host is missing", raw)
		}
	case "file":
	default:
		return nil, fmt.Errorf("parsing git URL %q: scheme %q is none of https, http, ssh and file", raw, endpoint.Protocol)
	}
	if endpoint.Path == "" || endpoint.Path == "/" || strings.HasPrefix(endpoint.Path, "-") {
		return nil, fmt.Errorf("parsing git URL %q: path is missing", raw)
	}
	return endpoint, nil
}

// SameRepository says whether two URLs are of one repository: the same path on the same host, whatever the protocol, the user, and
// whether it ends in .git. Ports count where they are not the protocol's own.
func SameRepository(a, b string) bool {
	if a == b {
		return true
	}
	one, err := parseURL(a)
	other, errOther := parseURL(b)
	return err == nil && errOther == nil && placeOf(one) == placeOf(other)
}

func placeOf(e *transport.Endpoint) string {
	host := strings.ToLower(e.Host)
	if standard := map[string]int{"http": 80, "https": 443, "ssh": 22}[e.Protocol]; e.Port != 0 && e.Port != standard {
		host = fmt.Sprintf("%s:%d", host, e.Port)
	}
	return host + "/" + strings.TrimSuffix(strings.Trim(e.Path, "/"), ".git")
}
