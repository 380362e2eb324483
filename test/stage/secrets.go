package stage

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// shortest is how short a value may be that is looked for: a shorter one would be found by chance.
const shortest = 12

// Planted are secret values by the names of what they are.
type Planted map[string]string

// Leaks says which of the values a text holds: as they are, line by line, or in base64 (also as a part of something longer), hex, a
// URL, or JSON.
func (p Planted) Leaks(text []byte) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		for form, as := range formsOf(p[name]) {
			if bytes.Contains(text, []byte(as)) {
				out = append(out, fmt.Sprintf("%s (%s)", name, form))
			}
		}
	}
	slices.Sort(out)
	return out
}

// formsOf are the ways in which a value may be written.
func formsOf(value string) map[string]string {
	out := map[string]string{}
	lines := slices.DeleteFunc(strings.Split(value, "\n"), func(line string) bool {
		return len(line) < shortest || strings.HasPrefix(line, "-----")
	})
	for i, line := range lines {
		name := func(form string) string {
			if len(lines) == 1 {
				return form
			}
			return fmt.Sprintf("line %d, %s", i+1, form)
		}
		quoted, _ := json.Marshal(line)
		out[name("as it is")], out[name("hex")] = line, hex.EncodeToString([]byte(line))
		out[name("URL")], out[name("JSON")] = url.QueryEscape(line), string(quoted[1:len(quoted)-1])
		for before := range 3 {
			for alphabet, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 for URLs": base64.RawURLEncoding} {
				out[name(fmt.Sprintf("%s at %d", alphabet, before))] = within(encoding, line, before)
			}
		}
	}
	return out
}

// within is what the encoding of a text that has so many bytes (modulo 3) before the value, and some behind it, holds for sure.
func within(encoding *base64.Encoding, value string, before int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + value))
	first := (before*8 + 5) / 6           // characters that hold bits of what is before
	last := (before + len(value)) * 8 / 6 // whole characters of the value
	return encoded[first:min(last, len(encoded))]
}
