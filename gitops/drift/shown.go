package drift

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// maxShown is how long a value may be in a report.
const maxShown = 256

// key makes digests of short secrets useless to whoever reads a report: it lives as long as the process.
var key = func() []byte {
	k := make([]byte, 32)
	_, _ = rand.Read(k)
	return k
}()

var sensitive = regexp.MustCompile(`(?i)passw|secret|token|credential|api-?_?key|private-?_?key|authorization`)

// Shown is a value as it may stand in a status, an Event or a log: bounded, and for Secrets, and fields that by their names
// hold one, only a digest by which two of them can be told apart.
func Shown(kind schema.GroupKind, path fieldpath.Path, value any) string {
	if value == nil {
		return "(absent)"
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return "(unreadable)"
	}
	if Hidden(kind, path, value) {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write(raw)
		return "(hidden, digest " + hex.EncodeToString(mac.Sum(nil))[:8] + ")"
	}
	text := string(raw)
	if s, ok := value.(string); ok {
		text = s
	}
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown-3], "") + "…"
	}
	return text
}

// Hidden says that a value is not shown.
func Hidden(kind schema.GroupKind, path fieldpath.Path, value any) bool {
	if kind == (schema.GroupKind{Kind: "Secret"}) {
		text := path.String()
		return text != ".type" && text != ".immutable" && !strings.HasPrefix(text, ".metadata.labels.")
	}
	for _, element := range path {
		if sensitive.MatchString(element.String()) {
			return true
		}
	}
	return holdsSensitive(value)
}

// holdsSensitive looks for an environment variable or a key of that name within a value that is shown whole.
func holdsSensitive(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		name, _ := v["name"].(string)
		if _, plain := v["value"]; plain && sensitive.MatchString(name) {
			return true
		}
		for name, below := range v {
			_, isText := below.(string)
			if isText && sensitive.MatchString(name) || holdsSensitive(below) {
				return true
			}
		}
	case []any:
		for _, below := range v {
			if holdsSensitive(below) {
				return true
			}
		}
	}
	return false
}
