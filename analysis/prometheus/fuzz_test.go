package prometheus

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// canned answers every request with the same bytes.
type canned struct {
	code int
	body []byte
}

// RoundTrip implements http.RoundTripper.
func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.code, Status: http.StatusText(c.code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(c.body)), Request: req}, nil
}

func cannedClient(t *testing.T, code uint16, body []byte) *Client {
	t.Helper()
	creds, err := CredentialsFromSecret(map[string][]byte{KeyBearerToken: []byte("s3cret-token")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := newWith(Config{Address: "http://prometheus.test", Credentials: creds}, canned{code: 200 + int(code)%400, body: body})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// proper fails where an error is not one for people: one line, of a bounded length, without the credentials.
func proper(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 8*maxErrorText || strings.ContainsAny(text, "\r\n") || strings.Contains(text, "s3cret-token") || !utf8.ValidString(text) {
		t.Fatalf("error %q", text)
	}
}

var answers = []string{
	fmt.Sprintf(vector, sample("0.062")), fmt.Sprintf(vector, ""), fmt.Sprintf(vector, sample("NaN")+","+sample("-Inf")),
	`{"status":"success","data":{"resultType":"scalar","result":[1777636800,"3"]}}`,
	`{"status":"success","warnings":["s3cret-token"],"infos":["x"],"data":{"resultType":"matrix","result":[]}}`,
	`{"status":"error","errorType":"bad_data","error":"parse error near s3cret-token\n"}`,
	fmt.Sprintf(matrix, series(`"__name__":"x_bucket","le":"0.1"`, `[1,"3"]`, `[2.5,"4"]`)),
	fmt.Sprintf(matrix, `{"metric":{"__name__":"x"},"histograms":[[1,{"count":"3","sum":"2","buckets":[[0,"0.5","1","3"]]}],[2,{"count":"4","sum":"1e300","buckets":[[3,"-1","1","NaN"],[0,"1","1","4"]]}]]}`),
	fmt.Sprintf(matrix, `{"metric":{},"histograms":[[1,null]]},null,{"metric":null,"values":null}`),
	`{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, "", "null", `{"data":null}`, "<html>s3cret-token",
}

// FuzzDecodeNumber: whatever a server answers to an instant query, there is a number or a proper error.
func FuzzDecodeNumber(f *testing.F) {
	for _, a := range answers {
		f.Add(uint16(0), []byte(a))
		f.Add(uint16(200), []byte(a))
	}
	f.Fuzz(func(t *testing.T, code uint16, body []byte) {
		if _, err := cannedClient(t, code, body).Query(context.Background(), "up", t0); err != nil {
			proper(t, err)
		}
	})
}

// FuzzDecodeSamples: whatever a server answers to a range selector, there are series in order, each once, or a proper error.
func FuzzDecodeSamples(f *testing.F) {
	for _, a := range answers {
		f.Add(uint16(0), []byte(a))
		f.Add(uint16(222), []byte(a))
	}
	f.Fuzz(func(t *testing.T, code uint16, body []byte) {
		got, err := cannedClient(t, code, body).Samples(context.Background(), "up", t0, time.Minute)
		if err != nil {
			proper(t, err)
			return
		}
		for _, s := range got {
			if s.Labels == nil {
				t.Fatal("a series without labels")
			}
			for i := 1; i < len(s.Points); i++ {
				if s.Points[i].At.Before(s.Points[i-1].At) {
					t.Fatalf("%v goes back in time", s.Labels)
				}
			}
		}
	})
}
