package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func event(n int) Event {
	return Event{Time: time.Date(2026, 3, 1, 12, n, 0, 0, time.UTC), Kind: KindAttempt, Actor: "belay", Outcome: "Promoted",
		Subject: Subject{Kind: "Rollout", Namespace: "n", Name: "a", UID: "u"}, Object: fmt.Sprint("attempt ", n)}.Seal(n)
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(raw)) {
		var e Event
		if json.Unmarshal([]byte(line), &e) == nil {
			out = append(out, e.Object)
		}
	}
	return out
}

func open(t *testing.T, path string, limit int64) *File {
	t.Helper()
	f, err := OpenFile(path, limit, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func put(t *testing.T, f Log, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if err := f.Write(event(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestG18_OnceAlsoAcrossRestarts: an event that is written again, by this process or the next, is there once.
func TestG18_OnceAlsoAcrossRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	put(t, open(t, path, 1<<20), 1, 2, 2, 1)
	put(t, open(t, path, 1<<20), 2, 3)
	if got := fmt.Sprint(lines(t, path)); got != "[attempt 1 attempt 2 attempt 3]" {
		t.Errorf("lines %s", got)
	}
}

// TestG18_ACrashInALine costs that line and no other.
func TestG18_ACrashInALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	put(t, open(t, path, 1<<20), 1)
	raw, err := lineOf(event(2))
	if err != nil {
		t.Fatal(err)
	}
	torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := torn.Write(raw[:len(raw)/2]); err != nil {
		t.Fatal(err)
	}
	if err := torn.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, path, 1<<20), 2, 3)
	if got := fmt.Sprint(lines(t, path)); got != "[attempt 1 attempt 2 attempt 3]" {
		t.Errorf("lines %s", got)
	}
}

// TestG18_RotationIsBounded: so many files, so large, and what was just rotated is not written again.
func TestG18_RotationIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	f := open(t, path, 1000)
	for n := range 40 {
		put(t, f, n, n, max(n-1, 0))
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	var all []string
	for _, name := range []string{path + ".2", path + ".1", path} {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 1000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		all = append(all, lines(t, name)...)
	}
	for i := range all {
		if want := fmt.Sprint("attempt ", 40-len(all)+i); all[i] != want {
			t.Errorf("line %d is %s, want %s", i, all[i], want)
		}
	}
}

// TestG18_ANewLeader goes on in the file as the last one left it, however long it stood by.
func TestG18_ANewLeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	first, standby := open(t, path, 1000), open(t, path, 1000)
	for n := range 9 {
		put(t, first, n)
	}
	put(t, standby, 8, 9)
	if got := fmt.Sprint(lines(t, path+".1"), lines(t, path)); strings.Count(got, "attempt 8") != 1 || !strings.HasSuffix(got, "attempt 9]") {
		t.Errorf("lines %s", got)
	}
}

// TestG18_AFailedWrite costs that event and no other.
func TestG18_AFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := open(t, path, 1<<20)
	put(t, f, 1)
	if err := f.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(event(2)); err == nil {
		t.Error("an event was written to a file that is closed")
	}
	if err := os.WriteFile(path, append([]byte(strings.Join(lines(t, path), "")+"\n{half of a li"), make([]byte, 3<<20)...), 0o600); err != nil {
		t.Fatal(err) // and what came of it is longer than any line
	}
	put(t, f, 3)
	put(t, open(t, path, 8<<20), 3, 4)
	if got := fmt.Sprint(lines(t, path)); got != "[attempt 3 attempt 4]" {
		t.Errorf("lines %s", got)
	}
}

// TestG18_AFailedRotation is said with each event, and loses none; what was rotated before it is not rotated twice.
func TestG18_AFailedRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := open(t, path, 600)
	put(t, f, 1, 2, 3)
	old := lines(t, path+".1")
	if err := os.MkdirAll(path+".2/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for n := 4; n < 10; n++ {
		if err := f.Write(event(n)); err != nil && strings.Contains(err.Error(), "rotating") {
			failed++
		}
	}
	now := fmt.Sprint(lines(t, path))
	if failed == 0 || !strings.HasSuffix(now, "attempt 9]") || fmt.Sprint(lines(t, path+".1")) != fmt.Sprint(old) {
		t.Errorf("%d failed, lines %v, then %s", failed, old, now)
	}
	if err := os.RemoveAll(path + ".2"); err != nil {
		t.Fatal(err)
	}
	put(t, f, 9, 10)
	if got := fmt.Sprint(lines(t, path+".2"), lines(t, path+".1"), lines(t, path)); got != fmt.Sprintf("%v %s [attempt 10]", old, now) {
		t.Errorf("lines %s", got)
	}
}

func TestLinesAreBounded(t *testing.T) {
	e := event(1)
	e.Message, e.Reason = strings.Repeat("é", 5000), strings.Repeat("x", 5000)
	var out bytes.Buffer
	if err := NewStream(&out).Write(e.Seal()); err != nil || out.Len() > 3*maxText || !json.Valid(out.Bytes()) {
		t.Errorf("%d bytes: %v", out.Len(), err)
	}
}

// TestSameEventSameID, whenever it is told.
func TestSameEventSameID(t *testing.T) {
	later := event(1)
	later.Time, later.Message = later.Time.Add(time.Hour), "told otherwise"
	if a, b := event(1).ID, later.Seal(1).ID; a != b || a == event(2).ID {
		t.Errorf("%s, %s", a, b)
	}
}
