package registry

import (
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzCredentials: whatever a Secret holds, its errors tell nothing of it, and what a server repeats is taken out.
func FuzzCredentials(f *testing.F) {
	f.Add([]byte(`{"auths":{"ghcr.io":{"auth":"YTpzZWNyZXQ="}}}`), "ghcr.io", "shop/web")
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"username":"u","password":"secret"}}}`), "docker.io", "library/nginx")
	f.Add([]byte(`{"auths":[]}`), "", "")
	f.Fuzz(func(t *testing.T, config []byte, host, repository string) {
		var c Credentials
		if err := c.Add(map[string][]byte{keyConfig: config}); err != nil {
			if len(err.Error()) > 2000 && len(config) < 1000 {
				t.Errorf("%v", err)
			}
			return
		}
		auth, err := c.of(host, repository).Authorization()
		if err != nil {
			t.Fatal(err)
		}
		if p := auth.Password; len(p) > 2 && !strings.Contains("[redacted]", p) {
			for _, form := range []string{p, base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + p))} {
				if strings.Contains(c.redact("no: "+form), form) && !strings.Contains("no: [redacted]", form) {
					t.Errorf("%q is told: %q", form, c.redact("no: "+form))
				}
			}
		}
	})
}
