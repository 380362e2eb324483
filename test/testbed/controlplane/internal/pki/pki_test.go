package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteMakesPairsThatVerify(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, "https://127.0.0.1:1", net.IPv4(10, 96, 0, 1)); err != nil {
		t.Fatal(err)
	}
	for _, pair := range []struct{ file, authority string }{
		{"apiserver", "ca"}, {"admin", "ca"}, {"controller-manager", "ca"}, {"scheduler", "ca"}, {"front-proxy-client", "front-proxy-ca"},
	} {
		t.Run(pair.file, func(t *testing.T) {
			if err := verify(dir, pair.file, pair.authority); err != nil {
				t.Error(err)
			}
		})
	}
	if verify(dir, "admin", "front-proxy-ca") == nil {
		t.Error("the admin's pair verifies against the wrong authority")
	}
}

func verify(dir, file, authority string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(dir, authority+".crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}
