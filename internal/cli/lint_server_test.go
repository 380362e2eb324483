package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// TestLintAsksTheServerWithCredentialsThatItNeverPrints runs the whole command against a server that knows nothing but the
// credentials, and that repeats them.
func TestLintAsksTheServerWithCredentialsThatItNeverPrints(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var seen http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		if r.FormValue("query") == "vector(1)" {
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"status":"error","errorType":"bad_data","error":"%s %s"}`, r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"))
	}))
	t.Cleanup(srv.Close)
	template := file("t.yaml", "apiVersion: belay.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec:\n  metrics:\n  - {name: errors, compare: {preset: http-server, errors: {}}}\n")
	token, key := file("token", "t0ken-s3cret\n"), file("key", "k3y-s3cret\n")
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(t.Context(), append([]string{"lint", "-f", template}, args...), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out})
		return code, out.String()
	}
	code, out := run("--prometheus", srv.URL, "--prometheus-token-file", token, "--prometheus-header", "X-Api-Key: @"+key, "--prometheus-header", "X-Scope-OrgID: team-a")
	if code != ExitError || !strings.Contains(out, "compare.errors.total") || !strings.Contains(out, "[redacted]") || strings.Contains(out, "s3cret") {
		t.Errorf("code %d: %s", code, out)
	}
	if seen.Get("Authorization") != "Bearer t0ken-s3cret" || seen.Get("X-Api-Key") != "k3y-s3cret" || seen.Get("X-Scope-OrgID") != "team-a" {
		t.Errorf("sent %v", seen)
	}
	for want, args := range map[string][]string{
		"need --prometheus, the address":              {"--prometheus-token-file", token},
		"header number 1 is not 'Name: value'":        {"--prometheus", srv.URL, "--prometheus-header", "s3cret"},
		"username and password go together":           {"--prometheus", srv.URL, "--prometheus-username", "me"},
		"the address of Prometheus is not valid":      {"--prometheus", "http://me:s3cret@x"},
		"reading a credential: open":                  {"--prometheus", srv.URL, "--prometheus-ca-file", filepath.Join(dir, "none")},
		"ca.crt holds no certificate":                 {"--prometheus", srv.URL, "--prometheus-ca-file", token},
		"only one can be sent":                        {"--prometheus", srv.URL, "--prometheus-token-file", token, "--prometheus-username", "me", "--prometheus-password-file", key},
		"header Authorization cannot be set: credent": {"--prometheus", srv.URL, "--prometheus-header", "Authorization: Bearer s3cret"},
	} {
		if code, out := run(args...); code != ExitError || !strings.Contains(out, want) || strings.Contains(out, "s3cret") {
			t.Errorf("%v: code %d, %q, want %q", args, code, out, want)
		}
	}
	if code, out := run(); code != ExitOK {
		t.Errorf("without a server: code %d: %s", code, out)
	}
}
