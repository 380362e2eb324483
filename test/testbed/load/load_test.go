package load

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunCountsByVersion(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" {
			http.Error(w, "wrong host", http.StatusTeapot)
			return
		}
		if n.Add(1)%4 == 0 {
			w.Header().Set("X-Version", "v2")
			http.Error(w, "boom", http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Version", "v1")
	}))
	defer server.Close()
	o := Options{URL: server.URL, Host: "shop.example", Rate: 400, Duration: 500 * time.Millisecond}
	var lines bytes.Buffer
	r := NewRecorder(o, &lines)
	if err := Run(t.Context(), o, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.json")
	if err := r.Save(path, true); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got Summary
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.All.Total != 200 || got.All.Failed != 50 || got.Version["v1"].Total != 150 || got.Version["v1"].Failed != 0 || got.Version["v2"].Failed != 50 {
		t.Errorf("wrong counts: %s", text)
	}
	if got.Version["v2"].FirstFail == nil || got.Version["v1"].FirstFail != nil || !got.Done {
		t.Errorf("wrong times: %s", text)
	}
	if n := bytes.Count(lines.Bytes(), []byte("\n")); n != 200 {
		t.Errorf("%d samples written, want 200", n)
	}
}

func TestRunCountsMissingAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	o := Options{URL: server.URL, Rate: 100, Duration: 100 * time.Millisecond}
	r := NewRecorder(o, nil)
	if err := Run(t.Context(), o, r); err != nil {
		t.Fatal(err)
	}
	if c := r.sum.Version[""]; c == nil || c.Failed != 10 || len(c.Errors) != 1 {
		t.Errorf("got %+v, want 10 failed for one reason", c)
	}
}

func TestRunRefusesBadRates(t *testing.T) {
	for _, rate := range []float64{0, -1, 1e9} {
		if err := Run(t.Context(), Options{URL: "http://127.0.0.1", Rate: rate}, NewRecorder(Options{}, nil)); err == nil {
			t.Errorf("rate %v was taken", rate)
		}
	}
}
