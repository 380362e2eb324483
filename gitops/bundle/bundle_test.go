package bundle

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

const manifests = `apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {empty: "", text: "äö\u2028\n<&>"}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {whole: 3, wide: 9007199254740993, part: 0.5, round: 1.0, tiny: 1e-7, huge: 1e30, none: null, yes: true, list: [1, {a: []}, {}]}
`

func rendered(t *testing.T, content string) []render.Object {
	t.Helper()
	objects, err := render.Render(tree.FromMap(map[string]string{"apps/a.yaml": content}), "apps")
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestG05_BundleComesBackAsItWas(t *testing.T) {
	in := Bundle{Source: SourceOf("https://git/fleet", "apps"), Commit: "c0ffee", Objects: rendered(t, manifests)}
	digest := render.Digest(in.Objects)
	parts, err := Pack(in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Pack(in)
	if err != nil || !reflect.DeepEqual(parts, again) {
		t.Errorf("the same bundle gives other bytes (%v)", err)
	}
	out, err := Unpack(parts, digest)
	if err != nil {
		t.Fatal(err)
	}
	if out.Source != in.Source || out.Commit != in.Commit || len(out.Objects) != len(in.Objects) {
		t.Fatalf("got %+v", out)
	}
	for i := range out.Objects {
		if out.Objects[i].Origin != in.Objects[i].Origin {
			t.Errorf("origin %v, want %v", out.Objects[i].Origin, in.Objects[i].Origin)
		}
	}
	spec := out.Objects[1].Object["spec"].(map[string]any)
	if spec["wide"] != int64(9007199254740993) || spec["part"] != 0.5 {
		t.Errorf("numbers changed: %v", spec)
	}
}

func TestUnpackRefuses(t *testing.T) {
	b := Bundle{Objects: rendered(t, manifests)}
	digest := render.Digest(b.Objects)
	good, err := Pack(b)
	if err != nil {
		t.Fatal(err)
	}
	cut := [][]byte{good[0][:len(good[0])-10]}
	other, err := Pack(Bundle{Objects: b.Objects[:1]})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"nothing":        {nil, "EOF"},
		"cut off":        {cut, "unexpected EOF"},
		"another bundle": {other, "somebody has changed it"},
		"a later form":   {[][]byte{zipped(t, strings.NewReader(`{"form":2}`))}, "its form 2 is not known"},
		"no JSON":        {[][]byte{zipped(t, strings.NewReader("{"))}, "unexpected end of JSON"},
		"a bomb":         {[][]byte{zipped(t, strings.NewReader(strings.Repeat(" ", MaxInflated+1)))}, "too large"},
		"many parts":     {make([][]byte, MaxParts+1), "5 parts are more than 4"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Unpack(test.parts, digest); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func zipped(t *testing.T, content *strings.Reader) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := content.WriteTo(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPackIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	objects := func(n int) []render.Object {
		var all []render.Object
		for i := range n {
			var noise strings.Builder
			for noise.Len() < 900<<10 {
				fmt.Fprintf(&noise, "%016x", random.Uint64())
			}
			all = append(all, render.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
				"metadata": map[string]any{"name": fmt.Sprint("c", i)}, "data": map[string]any{"noise": noise.String()}}}})
		}
		return all
	}
	b := Bundle{Objects: objects(3)}
	parts, err := Pack(b)
	if err != nil || len(parts) < 2 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for _, part := range parts {
		if len(part) > MaxPart {
			t.Errorf("a part has %d bytes", len(part))
		}
	}
	if _, err := Unpack(parts, render.Digest(b.Objects)); err != nil {
		t.Error(err)
	}
	if _, err := Pack(Bundle{Objects: objects(12)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("12 times 900 KiB of noise: %v", err)
	}
}
