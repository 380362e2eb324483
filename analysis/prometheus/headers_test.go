package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHeadersAreSentAndSecretOnesNeverTold(t *testing.T) {
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		answer(400, `{"status":"error","errorType":"bad_data","error":"tenant team-a, key s3cret-key, token t0ken"}`)(w, r)
	}))
	t.Cleanup(srv.Close)
	creds, err := CredentialsFromSecret(map[string][]byte{"apiKey": []byte("s3cret-key\n"), KeyBearerToken: []byte("t0ken")},
		Header{Name: "x-scope-orgid", Value: "team-a: b"}, Header{Name: "X-Api-Key", SecretKey: "apiKey"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(t, Config{Address: srv.URL, Credentials: creds}).Query(t.Context(), "up", t0)
	if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "t0ken") || !strings.Contains(err.Error(), "tenant team-a") {
		t.Errorf("error %v", err)
	}
	if got.Get("X-Scope-OrgID") != "team-a: b" || got.Get("X-Api-Key") != "s3cret-key" || got.Get("Authorization") != "Bearer t0ken" {
		t.Errorf("sent %v", got)
	}
	if text := fmt.Sprintf("%v %+v %#v", creds, creds, creds); strings.Contains(text, "s3cret") || strings.Contains(text, "team-a") {
		t.Errorf("printed: %s", text)
	}
}

func TestHeadersWithoutASecret(t *testing.T) {
	a, err := CredentialsFromSecret(nil, Header{Name: "X-Scope-OrgID", Value: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := CredentialsFromSecret(nil, Header{Name: "X-Scope-OrgID", Value: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if a == b || a == (Credentials{}) {
		t.Error("tenants share a client")
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		headers []Header
		want    string
	}{
		"reserved":     {[]Header{{Name: "authorization", Value: "x"}}, "Authorization cannot be set: credentials belong into secretRef"},
		"no name":      {[]Header{{Name: "a b", Value: "x"}}, "is no name of a header"},
		"two lines":    {[]Header{{Name: "a", Value: "s3cret\r\nHost: evil"}}, "must be one line of text"},
		"empty":        {[]Header{{Name: "a"}}, "must be one line of text"},
		"twice":        {[]Header{{Name: "X-a", Value: "1"}, {Name: "x-A", Value: "2"}}, "X-A is given twice"},
		"no such key":  {[]Header{{Name: "a", SecretKey: "k"}}, "it holds no k, which header a needs"},
		"secret lines": {[]Header{{Name: "a", SecretKey: "lines"}}, "must be one line of text"},
	} {
		_, err := CredentialsFromSecret(map[string][]byte{"lines": []byte("s3cret\nx")}, tc.headers...)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
