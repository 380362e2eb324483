package stage

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAroundShowsOneNamespaceNearAMoment(t *testing.T) {
	m := &Belay{Process: Process{Log: filepath.Join(t.TempDir(), "belay.log")}}
	log := `{"ts":"2026-03-01T12:00:00.5Z","msg":"Acting","namespace":"a","action":"too early"}
{"ts":"2026-03-01T12:00:06.5Z","msg":"Acting","namespace":"a","action":"patch"}
not JSON
{"ts":"2026-03-01T12:00:07Z","msg":"Acting","namespace":"b","action":"of another"}
{"ts":"2026-03-01T12:00:12Z","msg":"Acting","namespace":"a","action":"too late"}
`
	if err := os.WriteFile(m.Log, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got := m.Around("a", time.Date(2026, 3, 1, 12, 0, 10, 0, time.UTC))
	if want := "12:00:06.500 Acting patch  \n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
