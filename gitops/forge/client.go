package forge

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	maxAnswer  = 8 << 20
	maxMessage = 512
	timeout    = 30 * time.Second
	// maxBody is how much of a description is sent: GitHub takes 65,536 characters.
	maxBody = 60_000
)

// Error is an answer of a forge that is not a success.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Message is the forge's own, bounded and on one line.
	Message string
	what    string
}

func (e *Error) Error() string {
	hint := ""
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = " (does the token have the right to open pull requests?)"
	case http.StatusNotFound:
		hint = " (is the repository there, and may the token see it?)"
	}
	return fmt.Sprintf("%s: HTTP status %d: %s%s", e.what, e.Status, e.Message, hint)
}

// client speaks JSON with one API.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
	kind  Type
}

func newClient(base *url.URL, o Options) client {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.CA},
		TLSHandshakeTimeout:   timeout / 2,
		ResponseHeaderTimeout: timeout,
		DisableKeepAlives:     true, // a few calls a day
		ForceAttemptHTTP2:     true,
	}
	return client{base: base, token: o.Token, kind: o.Type, http: &http.Client{
		Transport: transport, Timeout: timeout,
		// The token must not follow a redirect anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// call makes one request; path is escaped, below the API's address. out is nil where the answer does not matter.
func (c client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	what := fmt.Sprintf("asking %s at %s", c.kind, c.base.Host)
	target, err := url.Parse(strings.TrimRight(c.base.String(), "/") + "/" + path)
	if err != nil {
		return fmt.Errorf("%s: building the URL: %w", what, err)
	}
	target.RawQuery = query.Encode()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: encoding the request: %w", what, err)
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "belay")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer response.Body.Close()
	return c.answer(what, response, out)
}

func (c client) answer(what string, response *http.Response, out any) error {
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: reading the answer: %w", what, err)
	case len(raw) > maxAnswer:
		return fmt.Errorf("%s: the answer is above %d bytes", what, maxAnswer)
	case response.StatusCode >= 300:
		return &Error{Status: response.StatusCode, Message: c.clean(said(raw)), what: what}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s: the answer is not the JSON that was expected (is it the address of the API?)", what)
	}
	return nil
}

// said finds the sentence in an answer: GitHub and Gitea have message and errors, GitLab message as text, list or map.
func said(raw []byte) string {
	var fields struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(raw, &fields) != nil {
		return string(raw)
	}
	var parts []string
	for _, part := range []json.RawMessage{fields.Message, fields.Error, fields.Errors} {
		text := string(part)
		var sentence string
		if json.Unmarshal(part, &sentence) == nil {
			text = sentence
		}
		if text != "" && text != "null" && text != "[]" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ": ")
}

// clean makes a forge's text fit for a condition, and keeps the token out even where a server echoes it.
func (c client) clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	text = strings.ReplaceAll(text, c.token, "[token]") // not before: what was dropped may have stood in it
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// exists says whether a forge refused to create because there is one already.
func exists(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		return false
	}
	return refused.Status == http.StatusConflict ||
		refused.Status == http.StatusUnprocessableEntity && strings.Contains(strings.ToLower(refused.Message), "already exists")
}

func description(text string) string {
	if len(text) > maxBody {
		text = strings.ToValidUTF8(text[:maxBody], "") + "…"
	}
	return text
}
