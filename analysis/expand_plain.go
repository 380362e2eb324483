package analysis

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// expandPlain expands placeholders in a text that is neither a query nor a regular expression, and escapes their values.
// {{canary.pods}} and {{stable.pods}} are regular expressions, and have no place in it.
func expandPlain(text string, vars Variables, escape func(string) (string, error)) (string, error) {
	var problem error
	out := placeholder.ReplaceAllStringFunc(text, func(match string) string {
		name := placeholder.FindStringSubmatch(match)[1]
		value, err := valueOf(name, vars)
		if err == nil && strings.HasSuffix(name, ".pods") {
			err = fmt.Errorf("placeholder {{%s}} is a regular expression, and has no place here", name)
		}
		if err == nil {
			value, err = escape(value)
		}
		if err != nil && problem == nil {
			problem = err
		}
		return value
	})
	switch {
	case problem != nil:
		return "", problem
	case len(out) > maxExpanded:
		return "", fmt.Errorf("it has %d bytes after expansion: at most %d are sent", len(out), maxExpanded)
	}
	return out, nil
}

func asIs(s string) (string, error) { return s, nil }

// inJSON escapes a value for use between the quotes of a JSON string.
func inJSON(s string) (string, error) {
	quoted, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("escaping a value: %w", err)
	}
	return string(quoted[1 : len(quoted)-1]), nil
}

var (
	hostPart = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	// urlParts are scheme, authority, path, and the rest.
	urlParts = regexp.MustCompile(`^(https?://)([^/?]*)([^?]*)(.*)$`)
)

// expandURL escapes the values of placeholders by where they stand, so that none changes which host, path or parameter is
// meant.
func expandURL(text string, vars Variables) (string, error) {
	parts := urlParts.FindStringSubmatch(text)
	if parts == nil {
		return "", errors.New("it must begin with http:// or https://, and may not span lines")
	}
	escapes := []func(string) (string, error){inHost, inPath, func(s string) (string, error) { return url.QueryEscape(s), nil }}
	out := parts[1]
	for i, escape := range escapes {
		expanded, err := expandPlain(parts[i+2], vars, escape)
		if err != nil {
			return "", err
		}
		out += expanded
	}
	if u, err := url.Parse(out); err != nil || u.Hostname() == "" || u.User != nil {
		return "", errors.New("it is no URL with a host, and without a user")
	}
	return out, nil
}

func inHost(s string) (string, error) {
	if !hostPart.MatchString(s) {
		return "", errors.New("a value in the host of a URL must be letters, digits, dots and dashes")
	}
	return s, nil
}

// inPath keeps a value within its segment of the path.
func inPath(s string) (string, error) {
	if s == "." || s == ".." {
		return "", errors.New("a value in the path of a URL must not be . or ..")
	}
	return url.PathEscape(s), nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
