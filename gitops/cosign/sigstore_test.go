package cosign

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// TestG21_WhatSigstoreSigned: testdata/sigstore.json was made with the libraries of cosign, by testdata/generate.go.txt.
func TestG21_WhatSigstoreSigned(t *testing.T) {
	raw, err := os.ReadFile("testdata/sigstore.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Kind, PEM, Image, Signature string
		Payload                     []byte
		Bundle                      json.RawMessage
	}
	if err := json.Unmarshal(raw, &rows); err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, r := range rows {
		keys, err := ParseKeys(map[string][]byte{"cosign.pub": []byte(r.PEM)})
		if err != nil {
			t.Fatal(err)
		}
		others, err := ParseKeys(map[string][]byte{"cosign.pub": []byte(rows[(i+1)%3].PEM)})
		if err != nil {
			t.Fatal(err)
		}
		image, err := ParseImage(r.Image)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys.Simple(r.Payload, r.Signature, image.Digest); err != nil || got.As != image.Repository {
			t.Errorf("%s: %+v, %v", r.Kind, got, err)
		}
		if _, err := keys.Bundle(r.Bundle, image.Digest); err != nil {
			t.Errorf("%s: bundle: %v", r.Kind, err)
		}
		if _, err := others.Simple(r.Payload, r.Signature, image.Digest); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: another's key: %v", r.Kind, err)
		}
		if _, err := others.Bundle(r.Bundle, image.Digest); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: bundle, another's key: %v", r.Kind, err)
		}
	}
}
