package stage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCanaryWeight(t *testing.T) {
	for _, c := range []struct {
		name, backends string
		percent        float64
		listed         bool
	}{
		{"at rest", "[{name: shop}]", 0, false},
		{"split", "[{name: shop-canary, weight: 10}, {name: shop, weight: 90}]", 10, true},
		{"no weight means 1", "[{name: shop-canary}, {name: shop, weight: 3}]", 25, true},
		{"listed at 0", "[{name: shop-canary, weight: 0}, {name: shop}]", 0, true},
		{"foreign backends count", "[{name: shop-canary, weight: 1}, {name: other, weight: 1}, {name: shop, weight: 2}]", 25, true},
		{"nothing is served", "[{name: shop-canary, weight: 0}]", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := Documents("spec: {rules: [{backendRefs: [{name: shop}]}, {backendRefs: " + c.backends + "}]}\napiVersion: v1\nkind: X\n")
			if err != nil {
				t.Fatal(err)
			}
			if percent, listed := CanaryWeight(objects[0], "shop-canary"); percent != c.percent || listed != c.listed {
				t.Errorf("CanaryWeight = %v, %v, want %v, %v", percent, listed, c.percent, c.listed)
			}
		})
	}
}

func TestReadSamples(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples")
	lines := `{"t":"2026-01-01T00:00:01Z","ms":5,"status":500,"version":"v3","error":""}
{"t":"2026-01-01T00:00:00Z","ms":2,"status":200,"version":"v2","error":""}
{"t":"2026-01-01T00:00:02Z","ms":1000,"status":0,"version":"","error":"timeout"}
`
	if err := os.WriteFile(path, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := readSamples(path)
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Version != "v2" || all.Rate() != 1 || all.SentRate() != 1 || len(all.Failed()) != 2 || len(all.Failed().NotOf("v3")) != 1 {
		t.Errorf("samples are not as written: %+v", all)
	}
	from := all[0].Sent
	if got := all.Between(from.Add(time.Second), from.Add(2*time.Second)); len(got) != 1 || got[0].Version != "v3" {
		t.Errorf("Between = %+v, want the second one only", got)
	}
	if got, want := all[2].Answered(), from.Add(3*time.Second); !got.Equal(want) {
		t.Errorf("Answered = %s, want %s", got, want)
	}
	if err := os.WriteFile(path, []byte(lines+`{"t":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readSamples(path); err == nil {
		t.Error("a torn file of samples is read without an error")
	}
}

func TestRelease(t *testing.T) {
	app := (&Bed{}).App("shop", "checkout")
	files, err := app.Files("apps")
	if err != nil {
		t.Fatal(err)
	}
	old := files["apps/rollout.yaml"]
	var changed []string
	after := strings.Split(Release("v1", "v3", "0.05")(old), "\n")
	for i, line := range strings.Split(old, "\n") {
		if after[i] != line {
			changed = append(changed, strings.TrimSpace(after[i]))
		}
	}
	want := []string{"image: sample:v3", "- {name: VERSION, value: v3}", `- {name: ERROR_RATE, value: "0.05"}`}
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Errorf("lines changed (-want +got):\n%s", diff)
	}
}

func TestLedgerStopsExactlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	p, err := LedgerIn(dir).Start("sleeper", filepath.Join(dir, "log"), exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	stale := Process{Name: "recycled", PID: other.Process.Pid, Start: "another boot/1"}
	if stale.Alive() || stale.Kill() != nil {
		t.Error("a process with another start time counts as ours")
	}
	ended, err := LedgerIn(dir).StopAll() // as a later run does, from the file
	if err != nil || len(ended) != 1 || ended[0].PID != p.PID || p.Alive() {
		t.Errorf("StopAll = %v, %v, want the sleeper", ended, err)
	}
	if _, err := startTime(other.Process.Pid); err != nil {
		t.Errorf("somebody else's process is gone: %v", err)
	}
}

func TestIdleSince(t *testing.T) {
	before, err := parseCPUTime("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 1 1 1 1 1 1 1\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseCPUTime("cpu  160 0 50 820 55 5 5 5 99 99\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.IdleSince(before); got != 0.25 { // 25 of 100 ticks; guests are part of the first two
		t.Errorf("IdleSince = %v, want 0.25", got)
	}
	if got := before.IdleSince(before); got != 0 {
		t.Errorf("IdleSince with no time between = %v, want 0", got)
	}
	for _, text := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu a 2 3 4 5 6 7 8\n"} {
		if _, err := parseCPUTime(text); err == nil {
			t.Errorf("%q is taken for the processors' times", text)
		}
	}
}

func TestBlueGreenApp(t *testing.T) {
	app := (&Bed{}).App("shop", "checkout")
	app.BlueGreen = true
	files, err := app.Files("")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Documents(files["rollout.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	spec, _ := objects[0].Object["spec"].(map[string]any)
	want := map[string]any{"blueGreen": map[string]any{"hold": "1s", "bake": "5s", "scaleDownDelay": "3s"}}
	if diff := cmp.Diff(want, spec["strategy"]); diff != "" {
		t.Errorf("the strategy is not as wanted (-want +got):\n%s", diff)
	}
}
