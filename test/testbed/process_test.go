package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// sleeper starts a process that does nothing, and is waited for.
func sleeper(t *testing.T) (Process, <-chan struct{}) {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	p, err := identify("sleeper", cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p, ended
}

func TestCleanEndsOnlyWhatIsRecorded(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, marker), 0o755); err != nil {
		t.Fatal(err)
	}
	left, leftEnded := sleeper(t)
	reused, reusedEnded := sleeper(t)
	reused.Start += "0" // recorded by another process that had this id once
	r := recordIn(dir)
	for _, p := range []Process{left, reused} {
		if err := r.add(p); err != nil {
			t.Fatal(err)
		}
	}
	ended, err := Clean(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(ended) != 1 || ended[0] != left {
		t.Errorf("ended %+v, want only %+v", ended, left)
	}
	select {
	case <-leftEnded:
	case <-time.After(10 * time.Second):
		t.Error("the recorded process still runs")
	}
	select {
	case <-reusedEnded:
		t.Error("a process was ended that only has a recorded process' id")
	default:
	}
	if again, err := Clean(dir); err != nil || len(again) != 0 {
		t.Errorf("cleaning twice: %v, %v", again, err)
	}
}

func TestCleanAsksTheKeeperFirst(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, marker), 0o755); err != nil {
		t.Fatal(err)
	}
	keeper, ended := sleeper(t)
	if err := writeJSON(keeperFile(dir), keeper); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(filepath.Join(dir, infoFile), Info{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the keeper still runs")
	}
	if _, err := ReadInfo(dir); err == nil {
		t.Error("testbed.json is still there")
	}
}

func TestEmptyRefusesForeignFolders(t *testing.T) {
	dir := t.TempDir()
	if err := empty(dir); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if empty(dir) == nil {
		t.Error("a folder with foreign content was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "git")); err != nil {
		t.Error("foreign content was removed")
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		ok   bool
	}{
		{"all", Options{Dir: "d"}, true},
		{"control plane only", Options{Dir: "d", Components: []string{ControlPlane}}, true},
		{"no folder", Options{}, false},
		{"unknown", Options{Dir: "d", Components: []string{"kafka"}}, false},
		{"gateway without control plane", Options{Dir: "d", Components: []string{Gateway}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.o.complete(); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
