package gittest

import (
	"encoding/pem"
	"net/http/httptest"
)

// TLS serves the repositories of a Server over https, with a certificate of its own.
type TLS struct {
	http *httptest.Server
	// CA is the PEM certificate that a client must trust.
	CA []byte
}

// TLS starts an https server for the same repositories; it stops with the test.
func (s *Server) TLS() *TLS {
	s.t.Helper()
	secure := httptest.NewTLSServer(s.handle)
	s.t.Cleanup(secure.Close)
	return &TLS{http: secure, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})}
}

// URL is where a repository is served over https.
func (s *TLS) URL(repository string) string { return s.http.URL + "/" + repository + ".git" }
