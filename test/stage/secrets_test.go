package stage

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestLeaksAreFound: a value is found in every form in which it is likely to be written, and nowhere else.
func TestLeaksAreFound(t *testing.T) {
	value := "s3cr3t/with+\"quotes\" & more"
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\nAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n-----END OPENSSH PRIVATE KEY-----\n"
	planted := Planted{"token": value, "key": key}
	quoted, err := json.Marshal(map[string]string{"message": "wrong token " + value})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{
		"plain":         "wrong token: " + value + ".",
		"JSON":          string(quoted),
		"URL":           "http://x?token=" + url.QueryEscape(value),
		"hex":           hex.EncodeToString([]byte("x" + value)),
		"a Secret":      "data:\n  token: " + base64.StdEncoding.EncodeToString([]byte(value)),
		"for URLs":      base64.RawURLEncoding.EncodeToString([]byte("ab" + value + "c")),
		"a line of it":  "error at AAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz",
		"the whole key": fmt.Sprintf("%q", key),
		"a key in data": base64.StdEncoding.EncodeToString([]byte(key)),
	}
	for n := range 7 {
		found[fmt.Sprintf("basic, %d before", n)] = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", n)+":"+value+strings.Repeat("z", n)))
	}
	for name, text := range found {
		if len(planted.Leaks([]byte(text))) == 0 {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
	for _, text := range []string{"", "wrong token: [redacted]", "-----BEGIN OPENSSH PRIVATE KEY-----", base64.StdEncoding.EncodeToString([]byte("s3cr3t of somebody else, and more"))} {
		if leaks := planted.Leaks([]byte(text)); len(leaks) > 0 {
			t.Errorf("%q holds nothing, and %v was found", text, leaks)
		}
	}
}
