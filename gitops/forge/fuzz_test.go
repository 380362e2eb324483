package forge

import (
	"strings"
	"testing"
	"unicode"
)

// FuzzAnswer: what a forge says becomes one bounded line, and the token is not in it, however it is hidden.
func FuzzAnswer(f *testing.F) {
	const token = "t0ken-of-belay"
	for _, seed := range []string{`{"message":"no","errors":[{"message":"GH013"}]}`, `{"message":{"base":["x"]}}`, token, "t0ken\u200b-of-belay", "t0ken\x00-of-belay", `"t0ken\u0000-of-belay"`, `{"message":"t0ken\u200d-of-belay"}`} {
		f.Add([]byte(seed))
	}
	c := client{token: token}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := c.clean(said(raw))
		if strings.Contains(text, token) || len(text) > maxMessage+len("…") || strings.IndexFunc(text, unicode.IsControl) >= 0 {
			t.Errorf("%q becomes %q", raw, text)
		}
	})
}
