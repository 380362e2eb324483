package prometheus

import (
	"crypto/tls"
	"net/http"
)

// TLSConfig has the roots and the client certificate of the credentials. The zero value has the system's roots.
func (c Credentials) TLSConfig() (*tls.Config, error) { return c.tlsConfig() }

// Authorize adds the credentials to a request.
func (c Credentials) Authorize(req *http.Request) { c.authorize(req) }

// Redact takes the credentials out of a text that a server had a hand in.
func (c Credentials) Redact(s string) string { return c.redact(s) }
