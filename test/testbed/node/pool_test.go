package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestPoolReusesReleasedAddresses(t *testing.T) {
	in := netip.MustParsePrefix("10.244.0.0/29")
	p := newPool(in)
	var first netip.Addr
	for round := range 100 { // many more than the prefix holds
		a, err := p.take()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if !in.Contains(a) {
			t.Fatalf("%s is outside %s", a, in)
		}
		if round == 0 {
			first = a
		} else if round == 1 && a == first {
			t.Error("an address just released was given out again while others were free")
		}
		p.release(a)
	}
}

func TestPoolNeverGivesAnAddressTwice(t *testing.T) {
	p := newPool(netip.MustParsePrefix("10.244.0.0/29"))
	seen := map[netip.Addr]bool{}
	for {
		a, err := p.take()
		if err != nil {
			break
		}
		if seen[a] {
			t.Fatalf("%s was given out twice", a)
		}
		seen[a] = true
	}
	if len(seen) != 4 {
		t.Errorf("a /29 gave %d addresses, want 4", len(seen))
	}
}

func TestFindImage(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"sample", "sample_v9", "host_5000_app"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, folder, "entrypoint"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for image, want := range map[string]string{
		"sample": "sample", "sample:v1": "sample", "sample:v9": "sample_v9", "host:5000/app": "host_5000_app",
		"host:5000/app:x": "host_5000_app", "missing:v1": "", "missing": "",
	} {
		got, err := findImage(dir, image)
		if want == "" {
			if err == nil {
				t.Errorf("%s was found at %s", image, got)
			}
			continue
		}
		if err != nil || filepath.Base(got) != want {
			t.Errorf("%s: got %s, %v; want %s", image, got, err, want)
		}
	}
}
