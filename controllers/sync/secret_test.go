package sync

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
	observe "github.com/belay-delivery/belay/controllers/audit"
	"github.com/belay-delivery/belay/internal/lint"
)

// tellsNothing searches all that is said of the Sync for values of Secrets that were planted.
func (w *world) tellsNothing(s *v1alpha1.Sync) {
	w.Helper()
	text := fmt.Sprintf("%+v", s.Status)
	for len(w.events.Events) > 0 {
		text += <-w.events.Events
	}
	for _, e := range observe.EventsOf(s) {
		raw, err := json.Marshal(e)
		if err != nil {
			w.Fatal(err)
		}
		text += string(raw)
	}
	for _, planted := range []string{"planted", "4711471147", "cGxhbnRlZ"} {
		if strings.Contains(text, planted) {
			w.Errorf("it shows %s: %s", planted, text)
		}
	}
}

// TestG18_RefusedSecretsAreNotShown: the API server, policies, webhooks and kustomize repeat values in their refusals; status, Events and
// the audit do not.
func TestG18_RefusedSecretsAreNotShown(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n"
	for name, c := range map[string]struct {
		file, content string
		reason, want  string
	}{
		"a number":           {"a.yaml", secret + "stringData: {password: 4711471147, other: x}\n", ReasonDenied, "stringData.password is a number, and must be text: put it into quotes"},
		"a map":              {"a.yaml", secret + "stringData: {password: {plantedkey: x}}\n", ReasonDenied, "stringData.password is a map"},
		"no base64":          {"a.yaml", secret + "data: {password: plantedplain!}\n", ReasonDenied, "data.password is not base64"},
		"a list":             {"a.yaml", secret + "stringData: [planted]\n", ReasonDenied, "stringData is a list, and must be a map"},
		"a field too much":   {"a.yaml", secret + "stringdata: {password: planted}\n", ReasonDenied, "stringdata is no field; its own words are not shown"},
		"a type":             {"a.yaml", secret + "type: {planted: x}\n", ReasonDenied, "type is a map, and must be text"},
		"a label":            {"a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {note: 4711471147}}\n", ReasonDenied, "its own words are not shown"},
		"of another type":    {"a.yaml", secret + "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: planted}\n", ReasonDenied, "data[.dockerconfigjson]"},
		"a generator":        {"kustomization.yaml", "secretGenerator: [{name: a, literals: [planted]}]\n", ReasonRenderFailed, "kustomization.yaml: line 1: secretGenerator: a literal is KEY=VALUE"},
		"without a kind":     {"a.yaml", "apiVersion: v1\nkind: List\nitems:\n- {metadata: {name: a}, stringData: {password: planted}}\n", ReasonRenderFailed, "item 0: apiVersion or kind is missing"},
		"may not be changed": {"a.yaml", secret + "immutable: 4711471147\n", ReasonDenied, "immutable is a number"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start(v1alpha1.PruneDisabled, map[string]string{"apps/" + c.file: c.content}, "secrets", "namespaces")
			s := w.reconcile()
			expect(t, s, "False/"+c.reason, c.want)
			w.tellsNothing(s)
			t.Log(v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionReady).Message)
		})
	}
}

// TestG18_WhatOthersSayOfSecretsIsNotShown: refusals of a policy or webhook at each request.
func TestG18_WhatOthersSayOfSecretsIsNotShown(t *testing.T) {
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"admission webhook \"vault.example.com\" denied the request: the password planted is too weak, ` +
		`planted (data.x: expected planted)","details":{"causes":[{"field":"data.password","message":"planted"},{"field":"is planted","message":"x"}]}}`
	answer := func(method string, dry bool) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			if r.Method != method || !strings.HasSuffix(r.URL.Path, "/secrets/a") || (r.URL.Query().Get("dryRun") != "") != dry {
				return nil
			}
			return &http.Response{StatusCode: 422, Header: http.Header{"Content-Type": {"application/json"}, "Warning": {`299 - "planted is bad"`}},
				Body: io.NopCloser(bytes.NewBufferString(body)), Request: r}
		}
	}
	w := newWorld(t)
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: planted}\n"
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": secret, "apps/b.yaml": configMap("b", "1")}, "secrets", "configmaps")
	for _, step := range []struct {
		method string
		dry    bool
		reason string
	}{{"PATCH", true, ReasonDenied}, {"PATCH", false, ReasonApplyFailed}, {"GET", false, ReasonDenied}} {
		w.seen.answer = answer(step.method, step.dry)
		s := w.reconcile()
		expect(t, s, "False/"+step.reason, "denied by vault.example.com", "data.password is not what it must be")
		w.tellsNothing(s)
	}
	w.seen.answer = nil
	expect(t, w.reconcile(), "True/Applied")
	w.commit(map[string]string{"apps/a.yaml": ""})
	w.seen.answer = answer("DELETE", false)
	s := w.reconcile()
	expect(t, s, "False/PruneFailed", "denied by vault.example.com")
	w.tellsNothing(s)
}

// TestG18_AMissingRightIsNamed for Secrets as well.
func TestG18_AMissingRightIsNamed(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: planted}\n"}, "configmaps")
	s := w.reconcile()
	expect(t, s, "False/Denied", "Secret "+w.env.Namespace+"/a (apps/a.yaml): ServiceAccount deployer has no right to get it")
	w.tellsNothing(s)
}

// TestG18_SecretsCheckedOfflineAreNotShown, which is what happens to those of a namespace that comes with the bundle.
func TestG18_SecretsCheckedOfflineAreNotShown(t *testing.T) {
	schemas, err := lint.SchemasOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	for fields, want := range map[string]string{
		"stringData: {password: 4711471147}":           "stringData.password is a number",
		"metadata: {name: a, labels: {x: 4711471147}}": "which one is not shown",
		"planted: planted":                             "which one is not shown",
	} {
		got := wellFormed(t.Context(), schemas, object(t, "{apiVersion: v1, kind: Secret, "+fields+"}"))
		if !strings.Contains(got, want) || strings.Contains(got, "planted") || strings.Contains(got, "4711") {
			t.Errorf("%s: %q, want %q", fields, got, want)
		}
	}
}
