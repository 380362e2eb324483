package prometheus

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Keys of a Secret with credentials.
const (
	KeyBearerToken = "bearerToken"
	KeyUsername    = "username"
	KeyPassword    = "password"
	KeyCA          = "ca.crt"
	KeyCertificate = "tls.crt"
	KeyPrivateKey  = "tls.key"
)

// Credentials authenticate to a server, and the server to us. The zero value has none, and trusts the system's roots.
// It prints nothing of what it holds.
type Credentials struct {
	bearerToken, username, password string
	ca, certificate, privateKey     string
	// headers are lines of a name, a colon and a value: a Config is the key of a map, and a slice cannot be part of one.
	headers string
	// hidden are the values of headers that are secret, one a line.
	hidden string
}

// Header is sent with every query. Its value is given, or the key of a Secret's data that holds it.
type Header struct {
	Name, Value, SecretKey string
}

// CredentialsError says what is wrong with credentials, without repeating them.
type CredentialsError struct {
	Reason string
}

// Error implements error.
func (e *CredentialsError) Error() string { return e.Reason }

// CredentialsFromSecret takes credentials from the data of a Secret: bearerToken, or username and password; ca.crt; and
// tls.crt with tls.key; and the values of headers. Keys that it does not know are left alone. With headers, the Secret may hold
// nothing else, or there may be none. The error is a *CredentialsError.
func CredentialsFromSecret(data map[string][]byte, headers ...Header) (Credentials, error) {
	text := func(key string) string { return string(bytes.TrimRight(data[key], "\r\n")) }
	c := Credentials{
		bearerToken: text(KeyBearerToken), username: text(KeyUsername), password: text(KeyPassword),
		ca: text(KeyCA), certificate: text(KeyCertificate), privateKey: text(KeyPrivateKey),
	}
	if err := c.addHeaders(text, headers); err != nil {
		return Credentials{}, err
	}
	if err := c.validate(); err != nil {
		return Credentials{}, err
	}
	return c, nil
}

// reserved are headers that Belay or HTTP itself sets.
var reserved = []string{"Authorization", "Proxy-Authorization", "Host", "User-Agent", "Cookie", "Connection", "Content-Length", "Content-Type",
	"Content-Encoding", "Accept-Encoding", "Transfer-Encoding", "Te", "Trailer", "Upgrade"}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")

func (c *Credentials) addHeaders(text func(string) string, headers []Header) error {
	seen := map[string]bool{}
	for _, h := range headers {
		name, value := http.CanonicalHeaderKey(h.Name), h.Value
		if h.SecretKey != "" {
			if value = text(h.SecretKey); value == "" {
				return &CredentialsError{Reason: fmt.Sprintf("it holds no %s, which header %s needs", clip(h.SecretKey), clip(h.Name))}
			}
			c.hidden += value + "\n"
		}
		switch {
		case !headerName.MatchString(h.Name):
			return &CredentialsError{Reason: fmt.Sprintf("%q is no name of a header", clip(h.Name))}
		case slices.Contains(reserved, name):
			return &CredentialsError{Reason: fmt.Sprintf("header %s cannot be set: credentials belong into secretRef, and the rest is HTTP's own", name)}
		case seen[name]:
			return &CredentialsError{Reason: fmt.Sprintf("header %s is given twice", name)}
		case value == "" || hasControl(value):
			return &CredentialsError{Reason: fmt.Sprintf("the value of header %s must be one line of text", name)}
		}
		seen[name] = true
		c.headers += name + ":" + value + "\n"
	}
	return nil
}

func (c Credentials) validate() error {
	switch {
	case c == Credentials{}:
		return &CredentialsError{Reason: "it holds none of bearerToken, username and password, ca.crt, tls.crt and tls.key"}
	case c.bearerToken != "" && c.username != "":
		return &CredentialsError{Reason: "it holds both bearerToken and username: only one can be sent"}
	case (c.username == "") != (c.password == ""):
		return &CredentialsError{Reason: "username and password go together, and one is missing"}
	case strings.Contains(c.username, ":"):
		return &CredentialsError{Reason: "username must not contain a colon"}
	case hasControl(c.bearerToken) || hasControl(c.username) || hasControl(c.password):
		return &CredentialsError{Reason: "bearerToken, username and password must be one line of text"}
	}
	_, err := c.tlsConfig()
	return err
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// tlsConfig of the zero value has the system's roots and no client certificate.
func (c Credentials) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(c.ca)) {
			return nil, &CredentialsError{Reason: "ca.crt holds no certificate in PEM"}
		}
	}
	if (c.certificate == "") != (c.privateKey == "") {
		return nil, &CredentialsError{Reason: "tls.crt and tls.key go together, and one is missing"}
	}
	if c.certificate != "" {
		pair, err := tls.X509KeyPair([]byte(c.certificate), []byte(c.privateKey))
		if err != nil {
			return nil, &CredentialsError{Reason: "tls.crt and tls.key are not a certificate in PEM and its key"}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func (c Credentials) authorize(req *http.Request) {
	for line := range strings.Lines(c.headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		req.Header.Set(name, value)
	}
	switch {
	case c.bearerToken != "":
		req.Header.Set("Authorization", "Bearer "+c.bearerToken)
	case c.username != "":
		req.SetBasicAuth(c.username, c.password)
	}
}

// redact takes credentials out of a text that a server had a hand in.
func (c Credentials) redact(s string) string {
	basic := base64.StdEncoding.EncodeToString([]byte(c.username + ":" + c.password))
	for _, secret := range append(strings.Split(c.hidden, "\n"), c.bearerToken, basic, c.password) {
		if secret != "" && secret != "Og==" {
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return s
}

// String implements fmt.Stringer.
func (c Credentials) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (c Credentials) GoString() string { return "[redacted]" }
