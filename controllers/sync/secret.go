package sync

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// hushed is an error about a Secret in words of our own: the API server, admission policies and webhooks repeat values in theirs.
type hushed struct {
	text  string
	cause error
}

func (h *hushed) Error() string { return h.text }
func (h *hushed) Unwrap() error { return h.cause }

// said are the words of whoever refused, to be read by code and shown to nobody.
func said(err error) string {
	var h *hushed
	if errors.As(err, &h) {
		return h.cause.Error()
	}
	return err.Error()
}

func isSecret(e v1alpha1.InventoryEntry) bool { return e.Group == "" && e.Kind == "Secret" }

// quiet takes the values out of an error about an object.
func (t tenant) quiet(e v1alpha1.InventoryEntry, err error) error {
	var transport *url.Error
	if err == nil || !isSecret(e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || meta.IsNoMatchError(err) ||
		errors.As(err, &transport) {
		return err
	}
	return &hushed{text: t.inOurWords(err), cause: err}
}

var (
	noRight  = regexp.MustCompile(`cannot ([a-z]+) resource "secrets"`)
	noType   = regexp.MustCompile(`\): (\.[A-Za-z0-9_./\[\]-]{1,256}): expected ([a-z]+),`)
	noSchema = regexp.MustCompile(`\): (\.[A-Za-z0-9_./\[\]-]{1,256}): field not declared in schema`)
	noField  = regexp.MustCompile(`(?:unknown|duplicate) field "([A-Za-z0-9_./\[\]-]{1,256})"`)
	denied   = regexp.MustCompile(`(?:admission webhook|ValidatingAdmissionPolicy|MutatingAdmissionPolicy) ["']([A-Za-z0-9.-]{1,253})["']`)
	nameOnly = regexp.MustCompile(`^[A-Za-z0-9_./\[\]-]{1,256}$`)
)

func (t tenant) inOurWords(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "the request failed; why is not shown, since it may repeat a value of the Secret"
	}
	answer := status.Status()
	if m := noRight.FindStringSubmatch(answer.Message); m != nil && answer.Code == http.StatusForbidden {
		return fmt.Sprintf("%s has no right to %s it", t.account, m[1])
	}
	var what []string
	if m := noType.FindStringSubmatch(answer.Message); m != nil {
		what = append(what, fmt.Sprintf("%s must be a %s", strings.TrimPrefix(m[1], "."), m[2]))
	}
	if m := noSchema.FindStringSubmatch(answer.Message); m != nil {
		what = append(what, strings.TrimPrefix(m[1], ".")+" is no field")
	}
	for _, m := range noField.FindAllStringSubmatch(answer.Message, maxNamed) {
		what = append(what, m[1]+" is no field, or is there twice")
	}
	if m := denied.FindStringSubmatch(answer.Message); m != nil {
		what = append(what, "denied by "+m[1])
	}
	if answer.Details != nil {
		for _, cause := range answer.Details.Causes[:min(len(answer.Details.Causes), maxNamed)] {
			if nameOnly.MatchString(cause.Field) {
				what = append(what, fmt.Sprintf("%s is not what it must be", cause.Field))
			}
		}
	}
	text := fmt.Sprintf("the API server answers %d %s", answer.Code, cmp.Or(string(answer.Reason), http.StatusText(int(answer.Code))))
	if len(what) > 0 {
		text += ": " + strings.Join(slices.Compact(what), ", ")
	}
	return text + "; its own words are not shown, since they may repeat a value of the Secret (kubectl apply --server-side --dry-run=server tells you)"
}

// wrongSecret finds what the API server would refuse with the value in its answer; nil: nothing.
func wrongSecret(u *unstructured.Unstructured) *Fault {
	if !isSecret(entryOf(u)) {
		return nil
	}
	var wrong []string
	for _, field := range []string{"data", "stringData"} {
		values, ok := u.Object[field].(map[string]any)
		if !ok && u.Object[field] != nil {
			wrong = append(wrong, fmt.Sprintf("%s is %s, and must be a map of names to text", field, typeOf(u.Object[field])))
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			text, isText := values[key].(string)
			_, err := base64.StdEncoding.DecodeString(text)
			switch {
			case !isText && values[key] != nil:
				wrong = append(wrong, fmt.Sprintf("%s.%s is %s, and must be text: put it into quotes", field, cut(key, 253), typeOf(values[key])))
			case isText && field == "data" && err != nil:
				wrong = append(wrong, fmt.Sprintf("data.%s is not base64: encode it, or write it in plain under stringData", cut(key, 253)))
			}
		}
	}
	if _, ok := u.Object["type"].(string); !ok && u.Object["type"] != nil {
		wrong = append(wrong, fmt.Sprintf("type is %s, and must be text", typeOf(u.Object["type"])))
	}
	if _, ok := u.Object["immutable"].(bool); !ok && u.Object["immutable"] != nil {
		wrong = append(wrong, fmt.Sprintf("immutable is %s, and must be true or false", typeOf(u.Object["immutable"])))
	}
	if len(wrong) == 0 {
		return nil
	}
	message := strings.Join(wrong[:min(len(wrong), maxNamed)], "; ")
	if more := len(wrong) - maxNamed; more > 0 {
		message += fmt.Sprintf("; and %d more", more)
	}
	return &Fault{Denied: true, Final: true, Message: message}
}

func typeOf(value any) string {
	switch value.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	}
	return "a number"
}
