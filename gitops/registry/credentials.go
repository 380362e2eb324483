package registry

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	keyConfig  = ".dockerconfigjson"
	keyCA      = "ca.crt"
	maxConfig  = 256 << 10
	maxEntries = 256
)

// Credentials are what registries are asked with. They tell nothing of themselves.
type Credentials struct {
	entries []entry
	ca      [][]byte
}

type entry struct {
	// host with its port, and path: the beginning of the repositories that it is for.
	host, path string
	auth       authn.AuthConfig
}

// String tells nothing of what it holds.
func (Credentials) String() string { return "[redacted]" }

// GoString tells nothing of what it holds.
func (Credentials) GoString() string { return "[redacted]" }

// Add takes up a Secret with .dockerconfigjson, ca.crt or both. Helpers that a file may name are never run. Errors never
// repeat what the Secret holds.
func (c *Credentials) Add(data map[string][]byte) error {
	config, ca := data[keyConfig], data[keyCA]
	switch {
	case len(config) == 0 && len(ca) == 0:
		return fmt.Errorf("it has neither %s nor %s", keyConfig, keyCA)
	case len(config) > maxConfig || len(ca) > maxConfig:
		return fmt.Errorf("it is larger than %d bytes", maxConfig)
	}
	if len(ca) > 0 {
		if !x509.NewCertPool().AppendCertsFromPEM(ca) {
			return fmt.Errorf("%s holds no certificate in PEM", keyCA)
		}
		c.ca = append(c.ca, ca)
	}
	if len(config) == 0 {
		return nil
	}
	var file struct {
		Auths map[string]struct {
			Username      string `json:"username"`
			Password      string `json:"password"`
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
			RegistryToken string `json:"registrytoken"`
		} `json:"auths"`
	}
	if json.Unmarshal(config, &file) != nil { // its error would repeat what it read
		return fmt.Errorf("%s is not JSON of the form {\"auths\": {…}}", keyConfig)
	}
	for _, address := range slices.Sorted(maps.Keys(file.Auths)) {
		auth := file.Auths[address]
		user, password := auth.Username, auth.Password
		if user == "" && password == "" && auth.Auth != "" {
			var err error
			if user, password, err = basic(auth.Auth); err != nil {
				return fmt.Errorf("%s: auth of %q: %w", keyConfig, address, err)
			}
		}
		host, path := split(address)
		c.entries = append(c.entries, entry{host: host, path: path, auth: authn.AuthConfig{Username: user, Password: password,
			IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken}})
	}
	if len(c.entries) > maxEntries {
		return fmt.Errorf("more than %d registries", maxEntries)
	}
	return nil
}

func basic(text string) (user, password string, err error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "", errors.New("it is not base64")
	}
	user, password, found := strings.Cut(strings.TrimRight(string(raw), "\x00"), ":")
	if !found {
		return "", "", errors.New("it is not user:password in base64")
	}
	return user, password, nil
}

// split reads an address as it stands in such files: host, host/path or a URL, with Docker Hub's old form.
func split(address string) (host, path string) {
	for _, scheme := range []string{"https://", "http://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	host, path, _ = strings.Cut(address, "/")
	host, path = strings.ToLower(host), strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = "docker.io"
	}
	return host, path
}

// of is what a repository of a registry is asked with: the entry with the longest path that fits.
func (c Credentials) of(registry, repository string) authn.Authenticator {
	best := -1
	for i, e := range c.entries {
		if e.host == registry && (e.path == "" || repository == e.path || strings.HasPrefix(repository, e.path+"/")) &&
			(best < 0 || len(e.path) > len(c.entries[best].path)) {
			best = i
		}
	}
	if best < 0 {
		return authn.Anonymous
	}
	return authn.FromConfig(c.entries[best].auth)
}

// roots are the system's certificates, and those given.
func (c Credentials) roots() *x509.CertPool {
	if len(c.ca) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, pem := range c.ca {
		pool.AppendCertsFromPEM(pem)
	}
	return pool
}

// redact takes what is secret out of a text that a server had a hand in.
func (c Credentials) redact(text string) string {
	for _, e := range c.entries {
		for _, secret := range []string{e.auth.Password, e.auth.IdentityToken, e.auth.RegistryToken,
			base64.StdEncoding.EncodeToString([]byte(e.auth.Username + ":" + e.auth.Password))} {
			if len(secret) > 2 {
				text = strings.ReplaceAll(text, secret, "[redacted]")
			}
		}
	}
	return text
}
